"""The edge's budget of refusals, and the one event and one count that every run leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from botguard import Outcome, Rejected, Retry, Status
from botguard.adapters.memory import MemoryStorage
from botguard.errors import StoreUnavailable
from botguard.pipeline.refusals import RefusalBudget, RefusalLog
from botguard.testing import FakeClock
from core.support import Boom, Desk, ctx, on_loop, reasons, statuses

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])
STRANGER = {"roles": (), "address": "1.2.3.4"}


@ASYNC
def test_refusals_are_cut_off(async_: bool) -> None:
    desk = Desk(async_=async_, refusals_per_minute=5).command()
    outcomes = [desk.run(f"A{n}", **STRANGER) for n in range(8)]
    assert statuses(*outcomes) == ["denied"] * 5 + ["throttled"] * 3
    assert reasons(outcomes[-1]) == ["too_many_refusals"]
    assert outcomes[-1].retry_after is not None
    assert 0 < outcomes[-1].retry_after <= 60.0


def test_the_budget_comes_back_at_the_time_that_was_said() -> None:
    desk = Desk(refusals_per_minute=2).command()
    desk.clock.advance(17.25)
    for _ in range(2):
        desk.run(**STRANGER)
    refused = desk.run(**STRANGER)
    assert refused.retry_after is not None
    desk.clock.advance(refused.retry_after - 0.25)
    assert desk.run(**STRANGER).status is Status.THROTTLED
    desk.clock.advance(0.25)
    assert desk.run(**STRANGER).status is Status.DENIED


@pytest.mark.parametrize("end", ["ok", "failed", "throttled", "unknown", "pending"])
def test_only_refusals_of_a_guesser_are_charged(end: str) -> None:
    options: dict[str, Any] = {"limits": ["1/hour per user"]} if end == "throttled" else {}
    options |= {"risk": "high"} if end == "pending" else {}
    desk = Desk(refusals_per_minute=2).command(**options)
    if end in ("failed", "unknown"):
        desk.fails(Rejected("no") if end == "failed" else Boom())
    for n in range(10):
        assert "too_many_refusals" not in reasons(desk.run(f"A{n}" if end != "unknown" else "A1"))


@pytest.mark.parametrize("end", ["denied", "invalid", "conflict", "unknown command"])
def test_what_a_guesser_gets_is_charged(end: str) -> None:
    desk = Desk(refusals_per_minute=3).command()
    desk.run()

    def guess(n: int) -> Outcome:
        if end == "denied":
            return desk.run(f"B{n}", actor="g", roles=())
        if end == "invalid":
            return desk.run({"order_id": n}, actor="g")
        if end == "conflict":
            return desk.run("A1", actor="g")
        return desk.guard.run(f"orders.{n}", {}, context=ctx("g"))

    assert statuses(*[guess(n) for n in range(5)])[3:] == ["throttled"] * 2


def test_callers_are_apart() -> None:
    desk = Desk(refusals_per_minute=2).command()
    for _ in range(5):
        desk.run(actor="u1", **STRANGER)
    assert desk.run(actor="u1", roles=(), address="1.2.3.4").status is Status.THROTTLED
    for other in ({"actor": "u2"}, {"address": "5.6.7.8"}, {"channel": "slack"}, {"org": "beta"}):
        assert desk.run(**{"actor": "u1", **STRANGER, **other}).status is Status.DENIED


def test_who_is_cut_off_is_asked_nothing_more() -> None:
    asked: list[str] = []

    def directory(org: str, actor: str) -> None:
        asked.append(actor)

    desk = Desk(directory=directory, refusals_per_minute=3).command()
    for _ in range(10):
        desk.run()
    assert len(asked) == 3


def test_the_budget_is_bounded() -> None:
    budget = RefusalBudget(2, capacity=100)
    for n in range(1000):
        budget.charge((str(n),), 5.0)
    assert len(budget.counts) == 100
    budget.charge(("new",), 65.0)
    assert len(budget.counts) == 1


# ── the log of refusals ─────────────────────────────────────────────────────────────────────────────────────


def test_the_first_few_refusals_a_minute_are_events_then_one_counted_summary() -> None:
    desk = Desk().command()
    desk.clock.advance(60.0 - desk.clock.monotonic() % 60.0)
    outcomes = [desk.run(f"A{n}", roles=()) for n in range(30)]
    assert [bool(outcome.event_id) for outcome in outcomes] == [True] * 5 + [False] * 25
    assert [event.status for event in desk.events()] == ["denied"] * 5
    desk.clock.advance(60.0)
    desk.run("B1", actor="u2", roles=())  # anybody's next refusal closes the minute before
    summaries = [event for event in desk.events() if event.kind == "refusals"]
    assert len(summaries) == 1
    (summary,) = summaries
    assert (summary.org, summary.actor, summary.command, summary.reasons, summary.count, summary.success) == (
        "acme",
        "u1",
        "orders.create",
        "missing_permission",
        25,
        False,
    )
    assert (summary.key, summary.person) == ("", "")


def test_every_refusal_is_counted_once() -> None:
    """Events of refusals plus the counts of summaries is the number of refusals, whoever refused and why."""
    desk = Desk(refusals_per_minute=1000).command(limits=["1/hour per user"])
    desk.run("A1")
    asked = 0
    for minute in range(3):
        for n in range(7 + minute):
            for context in (ctx(roles=()), ctx("u2", roles=()), ctx()):
                desk.run(f"B{minute}-{n}", context)
                asked += 1
        desk.clock.advance(60.0)
    desk.guard.flush()
    refusals = [event for event in desk.events() if event.kind == "refusals" or event.status != "succeeded"]
    assert sum(event.count for event in refusals) == asked


def test_flush_writes_what_is_still_counted() -> None:
    desk = Desk().command()
    for n in range(9):
        desk.run(f"A{n}", roles=())
    desk.guard.flush()
    assert [event.count for event in desk.events() if event.kind == "refusals"] == [4]
    desk.guard.flush()
    assert len([event for event in desk.events() if event.kind == "refusals"]) == 1


def test_the_log_is_bounded() -> None:
    log = RefusalLog(first=2, capacity=10)
    admitted = [log.admit(("acme", f"u{n}", "c", "r"), 1.0) for n in range(100)]
    assert sum(admitted) == 10 + 2  # ten names, and one line that all the others share
    log.close_minute()
    assert log.take_due(100) == [(("acme", "*", "c", "r"), 88)]


# ── one event, one count ────────────────────────────────────────────────────────────────────────────────────


@ASYNC
def test_an_event_tells_who_what_and_how(async_: bool) -> None:
    desk = Desk(async_=async_, policies=[]).command(effects="idempotent", retry=Retry(on=Boom, attempts=2))
    ends: list[Any] = [Boom()]

    def then(order: Any) -> str:
        if ends:
            raise ends.pop()
        desk.clock.advance(0.5)
        return "done"

    desk.then = then
    outcome = desk.run(
        actor="phone", person="maria", channel="telegram", correlation_id="req-7", address="chat 1", delivery="d"
    )
    event = desk.last()
    assert (event.org, event.actor, event.person, event.channel) == ("acme", "phone", "maria", "telegram")
    assert (event.command, event.status, event.success, event.attempts) == ("orders.create", "succeeded", True, 2)
    assert (event.kind, event.count, event.correlation_id, event.replayed) == ("run", 1, "req-7", False)
    assert event.duration_ms == pytest.approx(outcome.duration * 1000.0)
    assert event.at == desk.clock.time()
    assert event.id == outcome.event_id


def test_an_event_holds_no_payload_and_no_error_text() -> None:
    desk = Desk().command().fails(Boom("secret-error"))
    desk.run({"order_id": "secret-order", "amount": 77777})
    assert "secret" not in repr(desk.events())
    assert "77777" not in repr(desk.events())


def test_ids_of_events_are_unique_and_increasing() -> None:
    desk = Desk().command(key=None)
    for _ in range(50):
        desk.run()
    ids = [event.id for event in desk.events()]
    assert len(set(ids)) == 50
    assert [(len(one), one) for one in ids] == sorted((len(one), one) for one in ids)


@ASYNC
def test_every_end_leaves_one_event_and_one_count(async_: bool) -> None:
    desk = Desk(async_=async_).command(effects="idempotent", key=None)
    ends = [None, Boom(), Rejected("no"), None]
    for end in ends:
        desk.works() if end is None else desk.fails(end)
        desk.run()
    desk.run(roles=())
    desk.run({"order_id": 5})
    assert len(desk.events()) == 6
    totals = desk.guard.metrics.totals()["orders.create"]
    assert totals["statuses"] == {"succeeded": 2, "failed": 2, "denied": 1, "invalid": 1}


def test_only_refusals_are_folded_into_summaries() -> None:
    desk = Desk().command(effects="idempotent")
    for _ in range(30):
        desk.run()  # a run and replays
    reading = Desk().command(effects="read", key=None)
    for n in range(30):
        (reading.fails(Boom()) if n % 2 else reading.works()).run()
    asking = Desk().command(risk="high")
    for _ in range(30):
        asking.run()
    assert [len(one.events()) for one in (desk, reading, asking)] == [30, 30, 30]


def test_numbers_exist_at_zero_from_declaration() -> None:
    desk = Desk().command()
    assert desk.guard.metrics.totals()["orders.create"]["statuses"] == {}
    assert set(desk.guard.metrics.totals()) == {"orders.create", "unknown-command"} or set(
        desk.guard.metrics.totals()
    ) == {"orders.create"}


def test_a_trail_that_is_down_changes_no_outcome_but_says_so() -> None:
    desk = Desk().command(effects="read", key=None)

    def down(event: Any) -> None:
        raise StoreUnavailable("down")

    desk.storage.events.append = down
    outcome = desk.run()
    assert (outcome.value, outcome.degraded, reasons(outcome)) == ("created A1", True, ["audit_lost"])
    assert outcome.event_id == ""


class Apart(MemoryStorage):
    """A host's own mixture: its events do not commit with its claims."""

    atomic = frozenset()  # type: ignore[assignment]


def apart(**options: Any) -> tuple[Desk, list[Any]]:
    clock = FakeClock()
    storage = Apart(clock=clock)
    lost: list[Any] = []
    desk = Desk(storage=storage, clock=clock).command(**options)
    return desk, lost


def test_stores_that_do_not_commit_together_still_have_one_event() -> None:
    desk, _ = apart()
    assert desk.run().ok
    assert [event.status for event in desk.events()] == ["succeeded"]


def test_must_audit_announces_itself_before_the_effect() -> None:
    for storage in (MemoryStorage, Apart):
        clock = FakeClock()
        desk = Desk(storage=storage(clock=clock), clock=clock).command(must_audit=True)
        seen: list[list[str]] = []
        desk.then = lambda order, desk=desk, seen=seen: seen.append([event.kind for event in desk.events()])  # type: ignore[misc]
        desk.run()
        assert seen == [["started"]]
        assert [event.kind for event in desk.events()] == ["started", "run"]


@pytest.mark.parametrize("effects", ["external", "idempotent"])
def test_must_audit_is_closed_before_the_effect_and_gives_the_key_back(effects: str) -> None:
    desk, _ = apart(must_audit=True, effects=effects)
    append = desk.storage.events.append

    def down(event: Any) -> None:
        raise StoreUnavailable("the trail is down")

    desk.storage.events.append = down
    outcome = desk.run()
    assert (outcome.status, desk.effects, desk.rows()) == (Status.UNAVAILABLE, [], 0)
    desk.storage.events.append = append
    assert desk.run().ok


def test_a_completion_that_was_lost_is_spooled_and_said() -> None:
    spooled: list[dict[str, Any]] = []

    class Spool:
        def write(self, record: dict[str, Any]) -> None:
            spooled.append(record)

        def drain(self) -> Any:
            for record in spooled:
                yield record, lambda record=record: spooled.remove(record)

    desk = Desk(spool=Spool()).command()
    finish = desk.storage.idempotency.finish

    def down(*args: Any) -> Any:
        raise StoreUnavailable("down")

    desk.storage.idempotency.finish = down
    outcome = desk.run()
    assert (outcome.value, outcome.degraded, reasons(outcome)) == ("created A1", True, ["completion_lost"])
    assert [(record["kind"], record["state"]) for record in spooled] == [("completion", "done")]
    desk.storage.idempotency.finish = finish
    assert desk.guard.apply_spool() == 1
    assert spooled == []
    again = desk.run()
    assert (again.value, again.replayed, desk.effects) == ("created A1", True, ["A1"])


# ── when a store is down (section 5) ────────────────────────────────────────────────────────────────────────


@ASYNC
@pytest.mark.parametrize(("effects", "open_"), [("external", False), ("idempotent", True)])
def test_the_claim_is_closed_or_open_by_effects(effects: str, open_: bool, async_: bool) -> None:
    desk = Desk(async_=async_).command(effects=effects)

    def down(*args: Any) -> Any:
        raise StoreUnavailable("down")

    desk.storage.idempotency.claim = desk.storage.idempotency.peek = down
    outcome = desk.run()
    if open_:
        assert (outcome.value, outcome.degraded, reasons(outcome)) == ("created A1", True, ["claim_skipped"])
        assert desk.last().degraded
    else:
        assert (outcome.status, reasons(outcome)) == (Status.UNAVAILABLE, ["store_unavailable"])
        assert desk.effects == []


@pytest.mark.parametrize("error", [StoreUnavailable("down"), OSError("down"), Boom("bug")])
@pytest.mark.parametrize("part", ["directory", "access", "policy", "context", "consistency", "predict"])
def test_who_must_say_yes_and_cannot_is_no_yes(part: str, error: Exception) -> None:
    from botguard import Check, Rule

    def breaks(*args: Any) -> Any:
        raise error

    class Access:
        permits = staticmethod(breaks)

    class Policies:
        digest = ""
        concerns = staticmethod(lambda command: True)
        decide = staticmethod(breaks)

    guard: dict[str, Any] = {
        "directory": {"directory": breaks},
        "access": {"access": Access()},
        "policy": {"policies": Policies()},
    }.get(part, {})
    checks = [Check(breaks, part)] if part in ("context", "consistency", "predict") else []
    desk = Desk(**guard).command(checks=checks)
    outcome = desk.run()
    assert outcome.status is (Status.DENIED if isinstance(error, Boom) else Status.UNAVAILABLE)
    assert desk.effects == []
    assert Rule is not None


@pytest.mark.parametrize("odd", [True, 1, "yes", object(), {"ok": True}, []])
def test_a_check_that_answers_with_something_else_is_no_yes(odd: Any) -> None:
    from botguard import ConfigurationError

    desk = Desk().command(checks=[lambda call: odd])
    if odd == "yes":
        assert desk.run().status is Status.DENIED
    elif odd == []:
        assert desk.run().ok  # a list of no reasons
    else:
        with pytest.raises(ConfigurationError, match="BG116"):
            desk.run()
    assert desk.effects in ([], ["A1"] if odd == [] else [])


@pytest.mark.parametrize("answer", [1, "yes", None, object()])
def test_an_authorizer_must_say_true(answer: Any) -> None:
    class Access:
        def permits(self, *args: Any) -> Any:
            return answer

    assert reasons(Desk(access=Access()).command().run()) == ["missing_permission"]


def test_a_waiting_event_store_is_waited_for_though_the_caller_is_cancelled() -> None:
    clock = FakeClock()
    storage = Apart(clock=clock)
    desk = Desk(async_=True, storage=storage, clock=clock).command()
    append, begun = storage.events.append, []

    async def slow(event: Any) -> None:
        begun.append(event)
        await asyncio.sleep(5.0)
        append(event)

    storage.events.append = slow  # type: ignore[method-assign, assignment]

    async def main() -> None:
        task = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
        while not begun:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    on_loop(clock, main())
    assert len(desk.events()) == 1
