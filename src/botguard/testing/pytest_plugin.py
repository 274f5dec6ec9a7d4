"""What the pytest plugin does once it is asked; ``_botguard_pytest`` is the part that pytest loads in every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from botguard.errors import ConfigurationError
from botguard.testing import conformance, storages
from botguard.testing.promises import PROMISES
from botguard.testing.suites.checks import VACUOUS

__all__ = ["check_options", "collect", "summarise"]


def check_options(config: pytest.Config, store: str | None, storage: str) -> None:
    """Turn what names nothing into a usage error, in words."""
    try:
        storages.check(storage)
        if store is not None:
            conformance.suites_for(store, beside=config.invocation_params.dir)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from error


def collect(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The suites for the store that was named, as if the file held them."""
    if file_path != Path(conformance.__file__):
        return None
    module = ModuleType(conformance.__name__)
    store = parent.config.getoption("--botguard-store")
    vars(module).update(
        conformance.suites_for(store, beside=parent.config.invocation_params.dir)
        if store
        else conformance.suites_of_url(parent.config.getoption("--botguard-storage"))
    )
    node: Any = pytest.Module.from_parent(parent, path=file_path)
    node.obj = module
    return node  # type: ignore[no-any-return]


def summarise(terminal: Any, reports: Iterable[tuple[str, Any]], *, everything: bool) -> None:
    """A row for each promise: held, broken, vacuous or not shown; of those that did not hold, or of all."""
    verdicts: dict[str, Counter[str]] = {}
    for promise, report in reports:
        verdict = _verdict(report)
        if verdict != "held" or report.when == "call":
            verdicts.setdefault(promise, Counter())[verdict] += 1
    terminal.section("botguard conformance")
    for promise, count in sorted(verdicts.items()):
        worst = next(verdict for verdict in ("BROKEN", "VACUOUS", "held", "not shown") if count[verdict])
        if everything or worst in ("BROKEN", "VACUOUS"):
            tests = ", ".join(f"{count[verdict]} {verdict.lower()}" for verdict in sorted(count))
            terminal.line(f"{promise:<9} {worst:<9} {PROMISES.get(promise, '')} [{tests}]")


def _verdict(report: Any) -> str:
    if report.failed:
        return "VACUOUS" if VACUOUS in report.longreprtext else "BROKEN"
    return "not shown" if report.skipped else "held"
