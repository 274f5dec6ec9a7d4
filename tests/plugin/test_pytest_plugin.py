"""The pytest plugin, as a host meets it: installed, in a folder of his own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from botguard.errors import ConfigurationError
from botguard.testing import FakeClock, IdempotencyStoreSuite, suites_for
from botguard.testing.models import ClaimModel
from botguard.testing.storages import storage_at

pytest_plugins = ["pytester"]

A_BOT = """
    from botguard import Actor, Context

    ANN = Context(org="acme", actor=Actor("ann"))

    def book(guard):
        @guard.command("orders.create", key="{id}")
        def create(payload: dict) -> str:
            return "booked"

        return guard.run("orders.create", {"id": 1}, context=ANN)
"""


@pytest.fixture
def host(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a bot in it. Warnings are errors there too."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(bot=A_BOT)
    return pytester


def python(*arguments: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


# ── what it costs who does not use it ────────────────────────────────────────────────────────────────────────────────


def test_loading_it_loads_nothing_of_the_package(tmp_path: Path) -> None:
    code = """if True:
        import sys, pytest
        before = set(sys.modules)
        import _botguard_pytest
        print(sorted(set(sys.modules) - before))
    """
    assert python("-c", code, cwd=tmp_path).strip() == "['_botguard_pytest']"


def test_a_run_without_its_fixtures_never_sees_it(host: pytest.Pytester) -> None:
    host.makepyfile(
        test_other="""
        import sys

        def test_nothing_was_loaded():
            assert not [name for name in sys.modules if name.partition(".")[0] in ("botguard", "hypothesis", "sqlalchemy")]
        """
    )
    result = host.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    assert "botguard" not in result.stdout.str().split("collected", 1)[1]


def test_it_can_be_switched_off(host: pytest.Pytester) -> None:
    host.makepyfile(test_bot="def test_it(guard):\n    pass\n")
    result = host.runpytest_subprocess("-p", "no:botguard")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'guard' not found*"])


# ── fixtures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", ["memory://", "sqlite://", "sqlite:///rows.db"])
def test_each_test_has_a_guard_without_rows_and_its_clock(host: pytest.Pytester, where: str) -> None:
    host.makepyfile(
        test_bot="""
        import pytest
        from bot import book

        @pytest.mark.parametrize("turn", range(3))
        def test_without_rows(guard, turn):
            assert not book(guard).replayed

        def test_with_the_clock_of_guard_and_storage(guard, botguard_clock):
            assert not book(guard).replayed
            assert guard.run("orders.create", {"id": 1}, context=book.__globals__["ANN"]).replayed
            botguard_clock.advance(30 * 86400)
            assert not guard.run("orders.create", {"id": 1}, context=book.__globals__["ANN"]).replayed
        """
    )
    result = host.runpytest_inprocess(f"--botguard-storage={where}")
    result.assert_outcomes(passed=4)
    assert not list(host.path.glob("*.db*")), "files that were made are removed"


def test_the_option_decides_what_the_rows_are_kept_in(host: pytest.Pytester) -> None:
    host.makepyfile(
        kit_shop="""
        from botguard.adapters.memory import MemoryStorage

        class ShopStorage(MemoryStorage):
            closed = []

            def close(self):
                self.closed.append(self)

        def make_storage(clock):
            return ShopStorage(clock=clock)
        """,
        test_bot="""
        from kit_shop import ShopStorage
        from bot import book

        def test_one(guard, botguard_storage):
            assert type(botguard_storage) is ShopStorage
            assert not book(guard).replayed

        def test_it_is_closed_afterwards():
            assert len(ShopStorage.closed) == 1
        """,
    )
    result = host.runpytest_inprocess("--botguard-storage=kit_shop:make_storage")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["botguard: fixtures on kit_shop:make_storage"])


def test_a_file_that_was_there_stays_as_it_is(tmp_path: Path) -> None:
    there = tmp_path / "shop.db"
    there.write_bytes(b"the host's own")
    with storage_at(f"sqlite:///{there}", FakeClock()):
        assert len(list(tmp_path.glob("shop-*.db"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shop.db"]
    assert there.read_bytes() == b"the host's own"


@pytest.mark.parametrize("url", ["", "memory", "memory://x", "sqlite:shop.db", "sqlite://shop.db", "postgresql://h/db"])
def test_what_names_no_storage_is_a_usage_error(url: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="names no storage|cannot be loaded") as refused,
        storage_at(url, FakeClock()),
    ):
        pass
    assert refused.value.code in ("BG290", "BG291")


def test_a_usage_error_comes_before_any_test(host: pytest.Pytester) -> None:
    host.makepyfile(test_bot="def test_it(guard):\n    pass\n")
    result = host.runpytest_inprocess("--botguard-storage=nonsense://")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: [[]BG290[]] --botguard-storage: 'nonsense://' names no storage*sqlite:///file.db*"]
    )


def blocks_of(page: str) -> str:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / page).read_text(encoding="utf-8")
    return "\n\n".join(re.findall(r"(?<!-->\n)```python\n(.*?)```", text, re.DOTALL))


def test_the_page_on_bots_is_a_test_file_that_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_page=blocks_of("test-your-bot.md"))
    pytester.runpytest_inprocess("-W", "error").assert_outcomes(passed=3)


# ── the suites on a host's store ─────────────────────────────────────────────────────────────────────────────────────

STORES = """
    from botguard.adapters.memory import MemoryStorage
    from botguard.adapters.sqlite import SqliteStorage
    from botguard.ports.idempotency import Ack

    def storage(clock):
        return MemoryStorage(clock=clock)

    def claims(clock):
        return storage(clock).idempotency

    def events():
        return storage(None).events

    def no_clock():
        return storage(None)

    def nothing(clock):
        return object()

    def forgetful(clock):
        made = claims(clock)
        made.release = lambda key, claim_id: Ack.APPLIED
        return made

    class Rows:
        "Time is the rows' age; the file has another form for event loops."
        capabilities = frozenset({"events"})

        def make_store(self):
            import tempfile
            self.folder = tempfile.TemporaryDirectory()
            return SqliteStorage(self.folder.name + "/rows.db", clock=self.clock, shared_limits=True)

        def age(self, seconds):
            self.clock.advance(seconds)

        def close_store(self, made):
            made.close()
            self.folder.cleanup()
"""


@pytest.fixture
def shop(host: pytest.Pytester) -> pytest.Pytester:
    host.makepyfile(kit_shop=STORES)
    return host


def conformance(shop: pytest.Pytester, target: str, *more: str) -> pytest.RunResult:
    return shop.runpytest_inprocess("--pyargs", "botguard.testing", f"--botguard-store=kit_shop:{target}", *more)


def test_a_storage_is_held_to_every_port_it_has_without_a_file_of_the_hosts(shop: pytest.Pytester) -> None:
    result = conformance(shop, "storage", "-v")
    outcomes = result.parseoutcomes()
    assert result.ret == 0
    assert outcomes["passed"] > 100
    assert "failed" not in outcomes
    assert "errors" not in outcomes
    shown = result.stdout.str()
    for suite in ("TestIdempotency", "TestEvents", "TestApprovals"):
        assert f"::{suite}::test_colour_is_declared_and_true PASSED" in shown
    assert "TestLimits" not in shown, "this storage has no limits"
    result.stdout.fnmatch_lines(
        [
            "botguard: conformance of kit_shop:storage",
            "*botguard conformance*",
            "IDEM-01   held      at most one owner of a key at any time *",
        ]
    )


def test_one_store_is_held_to_its_own_port(shop: pytest.Pytester) -> None:
    result = conformance(shop, "claims", "-v", "-k", "idem_02_claim")
    result.assert_outcomes(passed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*TestIdempotency::test_idem_02_claim_of_an_absent_key_wins PASSED*"])


def test_a_class_with_hooks_and_a_form_for_event_loops(shop: pytest.Pytester) -> None:
    result = conformance(shop, "Rows", "-v", "-k", "colour or idem_10_a_short or event_of_a_claim")
    assert result.ret == 0
    shown = result.stdout.str()
    for port in ("Idempotency", "Events", "Approvals", "Limits"):
        for form in ("", "Async"):
            assert f"::Test{port}{form}::test_colour_is_declared_and_true PASSED" in shown
    assert "TestIdempotencyAsync::test_event_of_a_claim_is_stored_if_it_was_won PASSED" in shown


def test_events_need_no_clock(shop: pytest.Pytester) -> None:
    result = conformance(shop, "events", "-k", "empty")
    result.assert_outcomes(passed=1, deselected=result.parseoutcomes()["deselected"])


def test_a_bad_store_fails_and_the_report_says_which_promise(shop: pytest.Pytester) -> None:
    result = conformance(shop, "forgetful", "-k", "release or histories")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: IDEM-13: the key is absent again",
            "E*The shortest history that shows it:",
            "E*1. release k? as c* -> applied",
            "*botguard conformance*",
            "IDEM-13   BROKEN *only what is claimed is released*",
        ]
    )


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("no_clock", "BG292", "takes no clock"),
        ("nothing", "BG292", "has the methods of no port"),
        ("absent", "BG291", "cannot be loaded"),
        ("STORES", "BG291", "cannot be loaded"),
    ],
)
def test_what_cannot_be_held_to_a_port_is_a_usage_error(
    shop: pytest.Pytester, target: str, code: str, said: str
) -> None:
    result = conformance(shop, target)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: [[]{code}[]]*{said}*"])


def test_without_a_store_the_suites_run_on_the_fixtures_storage(shop: pytest.Pytester) -> None:
    result = shop.runpytest_inprocess("--pyargs", "botguard.testing", "-k", "colour", "-q")
    result.assert_outcomes(passed=3, deselected=result.parseoutcomes()["deselected"])


def test_in_a_file_of_the_hosts_it_takes_three_lines(shop: pytest.Pytester) -> None:
    shop.makepyfile(
        test_store="""
        from botguard.testing import suites_for
        from kit_shop import storage

        globals().update(suites_for(storage, threads=4, examples=30))
        """
    )
    result = shop.runpytest_inprocess("-v", "-k", "idem_02 or histories or colour")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["test_store.py::TestIdempotency::test_idem_02_many_at_once_have_one_winner PASSED*"])
    assert "botguard conformance" not in result.stdout.str(), "a host's own run stays as quiet as it was"


def test_the_page_on_stores_is_a_test_file_that_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_page=blocks_of("test-your-store.md"))
    result = pytester.runpytest_inprocess("-W", "error", "-v", "-k", "colour or histories")
    assert result.ret == 0
    for suite in ("TestMyClaims", "TestIdempotency", "TestEvents", "TestApprovals"):
        result.stdout.fnmatch_lines([f"test_page.py::{suite}::test_idem_03_random_histories_are_the_models PASSED*"])


def test_promises_are_in_junit_files(shop: pytest.Pytester) -> None:
    conformance(shop, "claims", "-k", "idem_02_claim", "--junitxml=out.xml")
    assert '<property name="botguard_promise" value="IDEM-02"' in (shop.path / "out.xml").read_text(encoding="utf-8")


def test_the_suites_are_collected_where_every_module_is_a_test_file(shop: pytest.Pytester) -> None:
    result = conformance(shop, "claims", "-v", "-k", "idem_02_claim", "-o", "python_files=*.py")
    assert result.ret == 0
    assert result.stdout.str().count("test_idem_02_claim_of_an_absent_key_wins PASSED") == 1


# ── without pytest in between ────────────────────────────────────────────────────────────────────────────────────────


def test_a_misspelt_capability_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="BG293"):

        class Mine(IdempotencyStoreSuite):
            capabilities = frozenset({"event"})


def test_attributes_are_set_on_each_suite() -> None:
    suites = suites_for(ClaimModel, drift=2.0, threads=3)
    assert list(suites) == ["TestIdempotency"]
    assert (suites["TestIdempotency"].drift, suites["TestIdempotency"].threads) == (2.0, 3)


def test_hypothesis_missing_is_a_skip_that_says_so(shop: pytest.Pytester) -> None:
    shop.makeconftest("import sys\nsys.modules['hypothesis'] = None\n")
    # A process of its own: in this one the module may have been imported already.
    result = shop.runpytest_subprocess(
        "--pyargs",
        "botguard.testing",
        "--botguard-store=kit_shop:claims",
        "-k",
        "histories",
        "-rs",
        "-p",
        "no:hypothesispytest",
    )
    result.stdout.fnmatch_lines(["SKIPPED*hypothesis is missing; pip install 'botguard[[]testing[]]'*"])
