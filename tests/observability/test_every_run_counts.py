"""Every run of every end leaves exactly one event, or one in a counted summary, and exactly one observation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from botguard import Check, Outcome, Rejected, Retry, Status
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.testing import FakeClock, FaultyStorage, Outage, unavailable_at
from core.support import Boom, Desk, ctx, on_loop, together

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


class Apart(MemoryStorage):
    """A host's own mixture of stores: the event does not commit with the completion."""

    atomic = frozenset()  # type: ignore[assignment]


def counted(desk: Desk) -> Counter[str]:
    """Observations by status, of all commands."""
    found: Counter[str] = Counter()
    for numbers in desk.guard.metrics.totals().values():
        found.update(numbers["statuses"])
    return found


def recorded(desk: Desk) -> Counter[str]:
    """Events by status; a summary counts for what it sums up."""
    found: Counter[str] = Counter()
    for event in desk.events():
        if event.kind in ("run", "refusals"):
            found[event.status] += event.count
    return found


def down(*_: Any) -> Any:
    raise StoreUnavailable("down")


def breaks(*_: Any) -> Any:
    raise Boom("a bug of the host's")


# Each end: what it takes to get there with the next run, and the status of that run.
def succeeded(desk: Desk) -> Any:
    return "A1"


def replayed(desk: Desk) -> Any:
    desk.run("A1")
    return "A1"


def invalid(desk: Desk) -> Any:
    return {"order_id": 5}


def throttled(desk: Desk) -> Any:
    for n in range(2):
        desk.run(f"B{n}")
    return "A1"


def conflict(desk: Desk) -> Any:
    desk.run("A1")
    return {"order_id": "A1", "amount": 7}


def failed(desk: Desk) -> Any:
    desk.fails(Boom())
    return "A1"


def rejected(desk: Desk) -> Any:
    desk.fails(Rejected("out of stock"))
    return "A1"


def failure_replayed(desk: Desk) -> Any:
    desk.fails(Rejected("out of stock")).run("A1")
    return "A1"


def unknown(desk: Desk) -> Any:
    desk.fails(Boom()).run("A1")
    desk.works()
    return "A1"


def unavailable(desk: Desk) -> Any:
    desk.storage.idempotency.claim = desk.storage.idempotency.peek = down
    return "A1"


def in_flight(desk: Desk) -> Any:
    if desk.async_:
        desk.then = lambda order: desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx())
    else:
        desk.then = lambda order: desk.guard.run(desk.name, {"order_id": "A1"}, context=ctx())
    return "A1"


ENDS: dict[Callable[[Desk], Any], Status] = {
    succeeded: Status.SUCCEEDED,
    replayed: Status.SUCCEEDED,
    invalid: Status.INVALID,
    throttled: Status.THROTTLED,
    conflict: Status.CONFLICT,
    failed: Status.FAILED,
    rejected: Status.FAILED,
    failure_replayed: Status.FAILED,
    unknown: Status.UNKNOWN,
    unavailable: Status.UNAVAILABLE,
    in_flight: Status.IN_FLIGHT,
}


@ASYNC
@pytest.mark.parametrize("storage", [MemoryStorage, Apart])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_every_end_of_a_run_by_name(end: Callable[[Desk], Any], storage: Any, async_: bool) -> None:
    clock = FakeClock()
    limits = ["2/hour per user"] if end is throttled else []
    desk = Desk(async_=async_, clock=clock, storage=storage(clock=clock)).command(limits=limits)
    payload = end(desk)
    before = counted(desk)
    outcome = desk.run(payload)
    if end is in_flight:
        assert outcome.ok
        assert outcome.value.status is Status.IN_FLIGHT  # the run inside the run
        assert counted(desk) - before == {"succeeded": 1, "in_flight": 1}
    else:
        assert outcome.status is ENDS[end]
        assert counted(desk) - before == {str(outcome.status): 1}
    assert recorded(desk) == counted(desk)


@ASYNC
@pytest.mark.parametrize("end", ["value", "error", "rejected", "denied", "bad payload"])
def test_every_end_of_a_direct_call(end: str, async_: bool) -> None:
    desk = Desk(async_=async_).command(effects="idempotent")
    if end in ("error", "rejected"):
        desk.fails(Boom() if end == "error" else Rejected("no"))
    try:
        desk.call("A1", roles=() if end == "denied" else ("sales",))
    except Exception:
        assert end != "value"
    assert sum(counted(desk).values()) == 1
    assert recorded(desk) == counted(desk)


@ASYNC
def test_questions_and_answers(async_: bool) -> None:
    desk = Desk(async_=async_).command(risk="high")
    asked = desk.run()
    desk.run()  # shown again
    desk.confirm(asked, ctx("u2"))  # somebody else's press
    assert desk.confirm(asked).ok
    other = desk.run("A2")
    assert other.confirmation is not None
    if async_:
        on_loop(desk.clock, desk.guard.decline_async(other.confirmation.token, context=ctx()))
        on_loop(desk.clock, desk.guard.confirm_async("nonsense", context=ctx()))
    else:
        desk.guard.decline(other.confirmation.token, context=ctx())
        desk.guard.confirm("nonsense", context=ctx())
    assert counted(desk) == {"pending": 3, "denied": 3, "succeeded": 1}
    assert recorded(desk) == counted(desk)


@ASYNC
@pytest.mark.parametrize("where", ["handler", "key", "check", "codec", "directory"])
def test_bugs_of_the_host(where: str, async_: bool) -> None:
    class Codec:
        encode = decode = staticmethod(breaks)

    guard: dict[str, Any] = {"directory": breaks} if where == "directory" else {}
    options: dict[str, Any] = {"effects": "idempotent"}
    options |= {"key": breaks} if where == "key" else {}
    options |= {"checks": [Check(breaks)]} if where == "check" else {}
    options |= {"result": Codec()} if where == "codec" else {}
    desk = Desk(async_=async_, **guard).command(**options)
    if where == "handler":
        desk.fails(Boom())
    desk.run()
    assert sum(counted(desk).values()) == 1
    assert recorded(desk) == counted(desk)


def test_a_wiring_error_that_shows_at_a_call_counts_too() -> None:
    desk = Desk().command(checks=[lambda call: 5])
    with pytest.raises(ConfigurationError):
        desk.run()
    assert counted(desk) == recorded(desk) == {"cancelled": 1}


@pytest.mark.parametrize("begun", [False, True])
def test_cancelled(begun: bool) -> None:
    reached: list[None] = []

    async def hang(*_: Any) -> Any:
        reached.append(None)
        await asyncio.sleep(1000)

    desk = Desk(async_=True).command(checks=[] if begun else [Check(hang)])
    desk.then = hang

    async def main() -> None:
        task = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
        while not reached:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    on_loop(desk.clock, main())
    assert counted(desk) == recorded(desk) == {"unknown" if begun else "cancelled": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupted(error: type[BaseException]) -> None:
    desk = Desk().command().fails(error())
    with pytest.raises(error):
        desk.run()
    assert counted(desk) == recorded(desk) == {"unknown": 1}


def test_attempts_are_one_run() -> None:
    desk = Desk().command(effects="idempotent", retry=Retry(on=Boom, attempts=4, wait=lambda _: 1.0)).fails(Boom())
    assert desk.run().attempts == 4
    assert counted(desk) == recorded(desk) == {"failed": 1}
    assert desk.last().attempts == 4
    assert desk.guard.metrics.totals()[desk.name]["retries"] == 3


@ASYNC
def test_a_flood_of_refusals_is_summed_up_and_every_one_counted(async_: bool) -> None:
    desk = Desk(async_=async_, refusals_per_minute=20).command()
    for n in range(50):
        desk.run(f"A{n}", roles=())
    for n in range(10):
        desk.run({"order_id": n}, ctx("u2"))
    desk.clock.advance(60.0)
    on_loop(desk.clock, desk.guard.flush_async()) if async_ else desk.guard.flush()
    assert counted(desk) == {"denied": 20, "throttled": 30, "invalid": 10}
    # A summary says refused, and by its reason which way; together they are as many as were counted.
    assert sum(recorded(desk).values()) == 60
    by_reason: Counter[str] = Counter()
    for event in desk.events():
        by_reason[event.reasons] += event.count
    assert by_reason == {"missing_permission": 20, "too_many_refusals": 30, "invalid_payload": 10}
    assert len(desk.events()) == 3 * 5 + 3


EFFECTS = pytest.mark.parametrize("effects", ["external", "idempotent", "transactional", "read"])


@EFFECTS
@pytest.mark.parametrize("what", ["idempotency.*", "events.*", "work.*", "unit.*", "*"])
def test_a_store_that_is_down(what: str, effects: str, tmp_path: Path) -> None:
    _one_observation_and_at_most_one_event(Outage(what), effects, tmp_path / "shop.db")


@EFFECTS
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_fails_at_any_one_call(when: Any, effects: str, tmp_path: Path) -> None:
    for n in count(1):
        fault = unavailable_at(n, when)
        _one_observation_and_at_most_one_event(fault, effects, tmp_path / f"shop-{n}.db")
        if fault.fired is None:
            break
    assert n > 1


def _one_observation_and_at_most_one_event(fault: Any, effects: str, path: Path) -> None:
    """One observation in any case; and one event, unless the trail was down, which the outcome then says."""
    clock = FakeClock()
    inner = SqliteStorage(str(path), clock=clock)
    desk = Desk(clock=clock, storage=FaultyStorage(inner, fault))
    desk.command(effects=effects, key=None if effects == "read" else "{order_id}")
    outcome = desk.run()
    assert counted(desk) == {str(outcome.status): 1}
    written = [event.status for event in inner.events.tail(10) if event.kind == "run"]
    if written:
        assert written == [str(outcome.status)]
    else:
        assert "audit_lost" in outcome.reasons
        assert outcome.degraded
    inner.close()


def test_threads_lose_nothing() -> None:
    desk = Desk().command(key=None)

    def work(n: int) -> list[Outcome]:
        return [desk.run({"order_id": f"A{n}"} if m % 3 else {}, actor=f"u{n}-{m}") for m in range(300)]

    together(*[lambda n=n: work(n) for n in range(4)])  # type: ignore[misc]
    assert counted(desk) == {"succeeded": 800, "invalid": 400}
    assert recorded(desk) == counted(desk)
