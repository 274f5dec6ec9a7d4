"""What pytest loads in every run where botguard is installed: two options, three fixtures, the door to the suites.

It stands beside the package and not inside, so that loading it loads nothing of botguard: a run that never asks for a
fixture pays nothing, and coverage still sees the package's first import. Switch it off with ``-p no:botguard``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from botguard import Guard
    from botguard.ports.storage import Storage
    from botguard.testing import FakeClock

__all__: list[str] = []

_STORAGE, _STORE = "--botguard-storage", "--botguard-store"
_MEMORY = "memory://"
#: Which promise a test of a conformance suite is about; also in JUnit files.
_PROMISE = "botguard_promise"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("botguard", "botguard")
    group.addoption(
        _STORAGE,
        metavar="URL",
        default=_MEMORY,
        help="where the fixture 'guard' keeps its rows: memory:// (default), sqlite://, sqlite:///file.db, module:factory",
    )
    group.addoption(
        _STORE,
        metavar="MODULE:FACTORY",
        help="with --pyargs botguard.testing: the store or storage that the conformance suites are run on",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an option that names nothing before any test is collected."""
    named = [config.getoption(_STORE), config.getoption(_STORAGE)]
    if named == [None, _MEMORY]:
        return
    from botguard.testing import pytest_plugin

    pytest_plugin.check_options(config, *named)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what was chosen, if anything was."""
    store, storage = config.getoption(_STORE), config.getoption(_STORAGE)
    lines = [f"botguard: fixtures on {storage}"] if storage != _MEMORY else []
    return [*lines, f"botguard: conformance of {store}"] if store else lines


# ── fixtures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def botguard_clock() -> FakeClock:
    """The clock of the fixture ``guard`` and of its storage; it stands still until it is advanced or slept on."""
    from botguard.testing import FakeClock

    return FakeClock()


@pytest.fixture
def botguard_storage(request: pytest.FixtureRequest, botguard_clock: FakeClock) -> Iterator[Storage]:
    """The storage of the fixture ``guard``: without rows, and closed afterwards. Override it to use your own."""
    from botguard.testing.storages import storage_at

    with storage_at(request.config.getoption(_STORAGE), botguard_clock) as storage:
        yield storage


@pytest.fixture
def guard(botguard_storage: Storage, botguard_clock: FakeClock) -> Guard:
    """A new Guard that lets everybody do everything (``ALLOW_ALL``), on ``botguard_storage`` and ``botguard_clock``."""
    from botguard import ALLOW_ALL, Guard

    return Guard(storage=botguard_storage, access=ALLOW_ALL, clock=botguard_clock)


# ── conformance suites ───────────────────────────────────────────────────────────────────────────────────────────────


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """``pytest --pyargs botguard.testing`` meets one file that makes the suites for the store that was named."""
    if file_path.name != "conformance.py" or file_path.parent.name != "testing":
        return None
    from botguard.testing import pytest_plugin

    return pytest_plugin.collect(file_path, parent)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note which promise each test of a suite is about."""
    for item in items:
        if getattr(getattr(item, "cls", None), "botguard_port", ""):
            doc = getattr(getattr(item, "function", None), "__doc__", None) or ""
            item.user_properties.append((_PROMISE, doc.partition(":")[0]))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell what became of each promise, if a store was named or a promise was broken."""
    reports = [
        (str(dict(report.user_properties)[_PROMISE]), report)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and any(name == _PROMISE for name, _ in report.user_properties)
    ]
    named = config.getoption(_STORE) is not None
    if reports and (named or any(report.failed for _, report in reports)):
        from botguard.testing import pytest_plugin

        pytest_plugin.summarise(terminalreporter, reports, everything=named)
