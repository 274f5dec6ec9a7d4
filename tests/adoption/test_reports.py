"""The report: from this process's counts, from the trail of several processes, for people and for programs."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adoption.support import ACCESS, NAME, Office, bind, ctx
from botguard import ConfigurationError, Guard
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.adoption.report import Tally
from botguard.adoption.trail import ShadowTrail
from botguard.ports.events import Event
from botguard.runtime import SyncRuntime
from botguard.testing import FakeClock

DAY = dt.timedelta(days=1)


def busy(storage: Any = None) -> Office:
    """A morning with something of everything."""
    office = Office(storage=storage, limits=["5/minute per user"])
    office.call(1, request="req-1")
    office.call(1, request="req-2")
    office.clock.advance(30)
    office.call(2, roles=("guest",), request="req-3")
    office.call("many")
    for n in range(20):
        office.call(n + 100)
    return office


def lines(report: Any) -> dict[tuple[str, str], int]:
    return {(row.kind, row.reason): row.count for row in report.rows}


MORNING = {
    ("passed", ""): 5, ("invalid", "invalid_payload"): 1, ("denied", "missing_permission"): 1, ("throttled", "rate_limited"): 16,
    ("replayed", ""): 1, ("charged", "5/minute per user"): 5, ("full", "5/minute per user"): 16,
}  # fmt: skip


def test_counts_times_and_examples() -> None:
    report = busy().report
    assert lines(report) == MORNING
    assert (report.calls, report.refused) == (24, 18)
    rows = {(row.kind, row.reason): row for row in report.rows}
    passed, denied = rows["passed", ""], rows["denied", "missing_permission"]
    assert (passed.last - passed.first, denied.first) == (dt.timedelta(seconds=30), denied.last)
    assert passed.first.tzinfo is dt.UTC
    assert (passed.example, denied.example, rows["replayed", ""].example) == ("req-1", "req-3", "req-2")
    assert rows["throttled", "rate_limited"].example.startswith("key ")
    assert rows["invalid", "invalid_payload"].example == ""
    assert [row.refused for row in report.rows] == [
        row.kind in ("invalid", "denied", "throttled") for row in report.rows
    ]
    assert report.count(NAME) == sum(row.count for row in report.rows)
    assert report.count(kind="denied", reason="missing_permission") == 1
    assert report.count("another.command") == 0


def test_a_report_is_a_value_of_its_moment() -> None:
    office = busy()
    report = office.report
    office.call(1)
    assert report.calls == 24
    assert office.report.calls == 25


def test_no_shadow_no_rows() -> None:
    guard = Guard(storage=MemoryStorage(), access=ACCESS)
    for report in (guard.shadow_report(), guard.shadow_report(since=DAY)):
        assert (report.rows, report.calls, report.left_alone) == ((), 0, ())
        assert "0 calls seen" in str(report)


def test_the_trail_says_the_same() -> None:
    office = busy()
    told = office.guard.shadow_report(since=DAY)
    assert lines(told) == MORNING
    assert (told.truncated, told.unwritten) == (False, 0)
    assert told.since == told.until - DAY


def test_equal_observations_are_five_events_a_minute_and_one_summary() -> None:
    office = Office()
    for _ in range(3):
        for n in range(50):
            office.call(n, roles=("guest",))
        office.clock.advance(60)
    events = office.storage.events.tail()
    assert sorted(event.count for event in events) == [1] * 15 + [45, 45]
    office.guard.flush()
    assert sum(event.count for event in office.storage.events.tail()) == 150
    assert lines(office.guard.shadow_report(since=DAY)) == {("denied", "missing_permission"): 150}


def test_since_begins_where_it_says() -> None:
    office = Office()
    office.call(1)
    office.clock.advance(3600)
    then = dt.datetime.fromtimestamp(office.clock.time(), dt.UTC)
    office.call(2)
    office.clock.advance(3600)
    office.call(2)
    assert lines(office.guard.shadow_report(since=then)) == {("passed", ""): 1, ("replayed", ""): 1}
    assert lines(office.guard.shadow_report(since=dt.timedelta(minutes=30))) == {("replayed", ""): 1}
    assert office.report.calls == 3


@pytest.mark.parametrize("since", [dt.datetime(2027, 1, 1), "yesterday", 3])
def test_since_must_be_a_moment_or_a_length(since: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Office().guard.shadow_report(since=since)
    assert caught.value.code == "BG188"


def test_stages_in_shadow_mode_of_enforced_commands_are_in_the_trail_too() -> None:
    from botguard import Rule

    office = Office(guard={"policies": [Rule(commands="orders.pay", deny="closed")]})

    @office.guard.command("orders.pay", modes={"policy": "shadow"}, bind=bind)
    def pay(ctx: dict[str, Any]) -> str:
        return "paid"

    assert pay(ctx()) == "paid"
    office.call(1)
    told = office.guard.shadow_report(since=DAY)
    assert told.count("orders.pay", "policy", "policy_denied") == 1
    assert told.calls == 1, "an enforced call was no call in shadow"


def test_several_processes_and_restarts_share_one_report(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from adoption.support import Office
from botguard.adapters.sqlite import SqliteStorage
storage = SqliteStorage(Path(sys.argv[1]))
office = Office(storage=storage)
for n in range(9):
    office.call(n % 3)
office.call(1, roles=("guest",))
office.guard.flush()
storage.close()
"""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, str(tmp_path / "bot.db")],
            check=False, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[1], env={"PYTHONPATH": "."},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    storage = SqliteStorage(tmp_path / "bot.db")
    guard = Guard(storage=storage, access=ACCESS, clock=FakeClock())
    report = guard.shadow_report(since=DAY)
    assert lines(report) == {("passed", ""): 6, ("replayed", ""): 12, ("denied", "missing_permission"): 2}
    assert guard.shadow_report().calls == 0
    storage.close()


def test_an_async_storage_is_read_with_await(tmp_path: Path) -> None:
    async def handler(ctx: dict[str, Any]) -> Any:
        return ctx

    storage = SqliteStorage(tmp_path / "bot.db")

    async def main() -> None:
        office = Office(storage=storage.for_async(), handler=handler)
        for n in range(8):
            await office.handler(ctx(n))
        with pytest.raises(ConfigurationError) as caught:
            office.guard.shadow_report(since=DAY)
        assert caught.value.code == "BG165"
        told = await office.guard.shadow_report_async(since=DAY)
        assert lines(told) == {("passed", ""): 8}
        assert (await office.guard.shadow_report_async()).calls == 8

    asyncio.run(main())
    storage.close()


def test_more_events_than_are_read_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botguard.adoption.reading._READ", 3)
    office = Office()
    for n in range(5):
        office.call(n)
    told = office.guard.shadow_report(since=DAY)
    assert (told.calls, told.truncated) == (3, True)
    assert "not read" in str(told)


def test_as_dict_is_plain_data() -> None:
    report = busy().report
    data = json.loads(json.dumps(report.as_dict()))
    assert (data["calls"], data["refused"], data["unwritten"], data["truncated"]) == (24, 18, 0, False)
    assert data["rows"][0] == {
        "command": NAME, "kind": "passed", "reason": "", "count": 5, "first": "2027-01-15T08:00:00+00:00",
        "last": "2027-01-15T08:00:30+00:00", "example": "req-1",
    }  # fmt: skip


def test_the_text_is_for_reading() -> None:
    office = busy()
    office.guard.shadow({"orders.list": lambda: (yield)})
    assert (
        str(office.report)
        == """\
Shadow report, 2027-01-15 08:00:00 to 2027-01-15 08:00:30 UTC
24 calls seen, 18 would have been refused; none was changed.

orders.approve
  passed                                           5  2027-01-15 08:00:00 to 2027-01-15 08:00:30  e.g. req-1
  invalid       invalid_payload                    1  2027-01-15 08:00:30
  denied        missing_permission                 1  2027-01-15 08:00:30  e.g. req-3
  throttled     rate_limited                      16  2027-01-15 08:00:30  e.g. KEY
  replayed                                         1  2027-01-15 08:00:00  e.g. req-2
  full          5/minute per user                 16  2027-01-15 08:00:30  e.g. KEY
  charged       5/minute per user                  5  2027-01-15 08:00:00 to 2027-01-15 08:00:30  e.g. req-1

Left alone
  orders.list: it is a generator: its effects come while its caller iterates""".replace(
            "KEY", next(row.example for row in office.report.rows if row.kind == "full")
        )
    )


def event(reason: str = "", *, command: str = NAME, **other: Any) -> Event:
    made = Event(
        id="e", kind="shadow", at=0.0, org="o", actor="", person="", channel="", command=command, status="denied", reasons=reason,
        attempts=0, duration_ms=0.0, success=False, replayed=False, degraded=False, key="", shadow="", policy_digest="",
        correlation_id="",
    )  # fmt: skip
    return made._replace(**other)


def test_the_lines_are_bounded() -> None:
    tally = Tally(capacity=10)
    for n in range(100):
        tally.add(event(f"reason-{n}"))
    rows = tally.rows()
    assert len(rows) == 11
    assert sum(row.count for row in rows) == 100
    assert next(row for row in rows if row.reason == "*").count == 90


def test_odd_names_of_errors_are_one_word_in_a_row() -> None:
    odd = type("Odd,x=1", (ValueError,), {})
    office = Office(bind=lambda c: (_ for _ in ()).throw(odd))
    office.call(1)
    assert set(office.seen()) == {("not_observed", "Odd;x:1")}
    assert lines(office.guard.shadow_report(since=DAY)) == {("not_observed", "Odd;x:1"): 1}


def test_summaries_stay_bounded_with_a_flood_of_different_observations() -> None:
    clock = FakeClock()
    trail = ShadowTrail(SyncRuntime(clock))
    for n in range(3000):
        trail.add(event("r", command=f"c{n}"))
    assert len(trail._waiting) == 1000
    assert trail.unwritten == 3000
