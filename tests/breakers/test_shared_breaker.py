"""Section 4 over several processes: open for all, probes for all together, and a local breaker where the store is down."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pybreaker
import pytest

from botguard import ALLOW_ALL, Breaker, ConfigurationError, Guard, Outcome, Reason, Rejected, Status
from botguard.adapters.memory import MemoryBreakers, MemoryStorage
from botguard.stages.breaker import BreakerStage
from breakers.kit import Fleet, Watched, state
from core.support import Boom, Desk, Order, ctx, on_loop, reasons, together

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


# ── open for all ────────────────────────────────────────────────────────────────────────────────────────────


@ASYNC
def test_what_one_process_opens_the_others_refuse_within_the_refresh(async_: bool) -> None:
    fleet = Fleet(3, async_=async_)
    assert all(desk.run().ok for desk in fleet)
    fleet.open(0)
    assert fleet[1].run().ok, "the last look is not a second old"
    fleet.refresh()
    for desk in (fleet[1], fleet[2]):
        desk.effects.clear()
        refused = desk.run()
        assert (refused.status, reasons(refused)) == (Status.UNAVAILABLE, ["breaker_open"])
        assert refused.retry_after == pytest.approx(29.0)
        assert not refused.degraded
        assert desk.effects == []
    assert fleet.states() == ["open"] * 3


@pytest.mark.parametrize("refresh", [0.2, 5.0])
def test_refresh_is_declared(refresh: float) -> None:
    fleet = Fleet(2, refresh=refresh)
    assert fleet[1].run().ok
    fleet.open(0)
    fleet.clock.advance(refresh * 0.49)
    assert fleet[1].run().ok
    fleet.clock.advance(refresh * 0.51)
    assert fleet[1].run().status is Status.UNAVAILABLE


def test_a_process_that_slept_looks_before_its_first_call() -> None:
    fleet = Fleet(2)
    fleet.open(0)
    assert fleet[1].run().status is Status.UNAVAILABLE
    assert fleet[1].effects == []


@ASYNC
def test_a_closed_breaker_asks_about_twice_in_a_refresh(async_: bool) -> None:
    fleet = Fleet(1, async_=async_)
    for _ in range(1000):
        assert fleet[0].run().ok
        fleet.clock.advance(0.01)
    assert 10 <= fleet.store.asked["look"] <= 21
    assert set(fleet.store.asked) == {"look"}


def test_failures_are_counted_by_each_process_for_itself() -> None:
    fleet = Fleet(2, fail_max=3)
    for desk in (*fleet, *fleet):
        desk.fails(Boom()).run()
    assert fleet.states() == ["closed"] * 2
    assert fleet.store.asked["open"] == 0
    fleet[0].run()
    assert fleet.store.asked["open"] == 1


def test_an_open_breaker_refuses_without_asking() -> None:
    fleet = Fleet(1)
    fleet.open()
    for _ in range(100):
        assert fleet[0].run().status is Status.UNAVAILABLE
    assert fleet.store.calls() <= 1


def test_listeners_of_every_process_are_told_once() -> None:
    told: list[tuple[int, str]] = []

    class Listener(pybreaker.CircuitBreakerListener):
        def __init__(self, n: int) -> None:
            self.n = n

        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            told.append((self.n, new_state.name))

    fleet = Fleet(0)
    for n in range(2):
        fleet.desks.append(fleet._desk(False, {"fail_max": 2, "listeners": (Listener(n),)}))
    fleet.open(0)
    fleet.refresh()
    fleet[1].run()
    fleet.clock.advance(30.0)
    assert fleet[1].run().ok
    fleet.refresh()
    assert fleet[0].run().ok
    assert told == [(0, "open"), (1, "open"), (1, "half-open"), (1, "closed"), (0, "closed")]


def test_slow_calls_and_time_outs_open_it_for_all() -> None:
    fleet = Fleet(2, fail_max=1, slow_after=1.0)
    fleet[0].then = lambda order: fleet.clock.advance(2.0)
    assert fleet[0].run().ok
    fleet.refresh()
    assert fleet[1].run().status is Status.UNAVAILABLE


# ── probes ──────────────────────────────────────────────────────────────────────────────────────────────────


@ASYNC
def test_a_probe_that_succeeds_closes_it_for_all(async_: bool) -> None:
    fleet = Fleet(3, async_=async_)
    fleet.open(0)
    fleet.clock.advance(30.0)
    assert fleet[1].run().ok
    assert fleet[1].effects == ["A1"]
    fleet.refresh()
    assert [desk.run().ok for desk in fleet] == [True] * 3
    assert fleet.states() == ["closed"] * 3


@ASYNC
def test_a_probe_that_fails_opens_it_for_all(async_: bool) -> None:
    fleet = Fleet(3, async_=async_)
    fleet.open(0)
    fleet.clock.advance(30.0)
    assert fleet[1].fails(Boom()).run().status is Status.FAILED
    fleet.refresh()
    for desk in fleet:
        desk.effects.clear()
        refused = desk.works().run()
        assert (refused.status, refused.retry_after) == (Status.UNAVAILABLE, pytest.approx(29.0))
        assert desk.effects == []


@pytest.mark.parametrize("probes", [1, 3])
def test_half_open_admits_its_probes_over_all_processes(probes: int) -> None:
    """Sixteen threads, four to a process, at the moment when the time is over."""
    fleet = Fleet(4, probes=probes)
    fleet.open(0)
    fleet.clock.advance(30.0)
    inside, out, go_on = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def then(order: Order) -> str:
        inside.release()
        assert go_on.wait(30)
        return "probed"

    for desk in fleet:
        desk.then = then

    def caller(desk: Desk) -> Outcome:
        outcome = desk.run()
        out.release()
        return outcome

    def watch() -> Any:
        for _ in range(probes):
            assert inside.acquire(timeout=30)
        for _ in range(16 - probes):
            assert out.acquire(timeout=30)
        go_on.set()

    outcomes = together(*[lambda desk=desk: caller(desk) for desk in fleet for _ in range(4)], watch)  # type: ignore[misc]
    assert sum(outcome is not None and outcome.ok for outcome in outcomes) == probes
    assert sum(len(desk.effects) for desk in fleet) == probes
    fleet.refresh()
    assert all(desk.run().ok for desk in fleet)
    assert fleet.states() == ["closed"] * 4


def test_probes_of_two_processes_close_it_together() -> None:
    fleet = Fleet(2, probes=2)
    fleet.open(0)
    fleet.clock.advance(30.0)
    assert fleet[0].run().ok
    assert fleet[1].run().ok
    assert fleet.store.inner.look("erp").state == "closed"
    fleet.refresh()
    assert fleet[0].run().ok
    assert fleet.states() == ["closed"] * 2


def test_half_open_and_full_asks_about_as_often_as_closed() -> None:
    fleet = Fleet(2)
    fleet.open(0)
    fleet.clock.advance(30.0)
    fleet.store.inner.admit("erp", 0, "somebody else's", 1, 60.0)
    for _ in range(1000):
        refused = fleet[1].run()
        assert refused.status is Status.UNAVAILABLE
        assert 0 < (refused.retry_after or 0) <= 1.0
        fleet.clock.advance(0.01)
    assert fleet.store.calls() <= 45


@ASYNC
def test_an_ignored_probe_gives_its_place_to_another_process(async_: bool) -> None:
    fleet = Fleet(2, async_=async_)
    fleet.open(0)
    fleet.clock.advance(30.0)
    for _ in range(3):
        assert isinstance(fleet[0].fails(Rejected("no")).run().error, Rejected)
        assert fleet.store.inner.look("erp").state == "half-open"
    assert fleet[1].run().ok
    assert fleet.store.inner.look("erp").state == "closed"


def test_a_lost_probe_expires() -> None:
    fleet = Fleet(2, probe_timeout=20.0)
    fleet.open(0)
    fleet.clock.advance(30.0)
    fleet.store.inner.admit("erp", 0, "its process was killed", 1, 20.0)
    assert fleet[1].run().status is Status.UNAVAILABLE
    fleet.clock.advance(19.0)
    assert fleet[1].run().status is Status.UNAVAILABLE
    fleet.clock.advance(1.0)
    assert fleet[1].run().ok


@pytest.mark.parametrize("fails", [False, True])
def test_the_result_of_an_older_era_is_dropped(fails: bool) -> None:
    """A call that began while it was closed ends when it was opened and closed by others meanwhile."""
    fleet = Fleet(2, fail_max=1)
    assert fleet[1].run().ok

    def then(order: Order) -> str:
        fleet.open(0)
        fleet.clock.advance(30.0)
        assert fleet[0].run().ok
        fleet[1].works().run()  # this process looks, and learns of the newer era
        if fails:
            raise Boom
        return "late"

    fleet[1].then = then
    fleet[1].run()
    assert fleet.states() == ["closed"] * 2
    assert fleet.store.inner.look("erp").state == "closed"


def test_failures_that_were_counted_before_others_closed_it_are_dropped() -> None:
    fleet = Fleet(2, fail_max=2, reset_after=0.1)
    fleet[1].fails(Boom()).run()
    fleet.open(0)
    fleet.clock.advance(0.1)
    assert fleet[0].run().ok
    fleet[1].run()  # it has not looked since, and counts to two
    assert fleet.store.inner.look("erp").state == "closed"
    assert state(fleet[1]) == "closed"


@pytest.mark.parametrize("at", ["open", "admit", "settle"])
def test_a_lost_answer_is_asked_for_again(at: str) -> None:
    fleet = Fleet(2, fail_max=1)
    assert fleet[0].run().ok
    armed = [at]

    def fault(method: str) -> None:
        if armed and method == armed[0]:
            armed.clear()
            fleet.store.lost = 1

    fleet.store.fault = fault
    fleet.open(0)
    fleet.clock.advance(30.0)
    outcome = fleet[0].run()
    assert outcome.ok
    assert not armed
    assert not outcome.degraded
    assert fleet.store.inner.look("erp").state == "closed"


# ── the store is down ───────────────────────────────────────────────────────────────────────────────────────


@ASYNC
def test_without_the_store_the_local_breaker_decides(async_: bool) -> None:
    fleet = Fleet(2, async_=async_)
    fleet.store.down = True
    first = fleet[0].run()
    assert (first.ok, first.degraded, reasons(first)) == (True, True, ["local_breaker"])
    for _ in range(2):
        failed = fleet[0].fails(Boom()).run()
        assert Reason.LOCAL_BREAKER in failed.reasons
    refused = fleet[0].works().run()
    assert (refused.status, refused.reasons[0]) == (Status.UNAVAILABLE, Reason.BREAKER_OPEN)
    assert refused.retry_after == pytest.approx(30.0)
    assert fleet[1].run().ok, "each decides for itself"
    fleet.clock.advance(30.0)
    assert fleet[0].fails(Boom()).run().status is Status.FAILED
    assert fleet[0].works().run().status is Status.UNAVAILABLE
    fleet.clock.advance(30.0)
    assert fleet[0].run().ok
    assert state(fleet[0]) == "closed"
    assert fleet[0].guard.metrics.totals()[fleet[0].name]["degraded"] >= 3
    assert "local_breaker" in fleet[0].last().reasons


def test_a_store_that_is_down_is_asked_once_in_a_refresh() -> None:
    fleet = Fleet(1)
    fleet.store.down = True
    for _ in range(100):
        assert fleet[0].run().degraded
        fleet.clock.advance(0.1)
    assert fleet.store.calls() <= 11


def test_what_was_open_stays_open_when_the_store_goes_down() -> None:
    fleet = Fleet(2)
    fleet.open(0)
    fleet.refresh()
    assert fleet[1].run().status is Status.UNAVAILABLE
    fleet.store.down = True
    fleet.refresh()
    refused = fleet[1].run()
    assert (refused.status, refused.retry_after) == (Status.UNAVAILABLE, pytest.approx(28.0))
    fleet.clock.advance(28.0)
    assert fleet[1].run().ok  # its own probe
    assert state(fleet[1]) == "closed"


@pytest.mark.parametrize("then", ["open", "half-open"])
def test_what_was_found_out_meanwhile_is_told_when_the_store_is_back(then: str) -> None:
    fleet = Fleet(2, effects="read")
    assert all(desk.run().ok for desk in fleet)
    fleet.store.down = True
    fleet.open(0)
    if then == "half-open":
        fleet.clock.advance(30.0)
        fleet[0].fails(Rejected("says nothing")).run()
        assert state(fleet[0]) == "half-open"
    fleet.store.down = False
    fleet.refresh()
    fleet[0].fails(Boom()).run()
    assert fleet.store.inner.look("erp").state == "open"
    assert fleet[1].run().status is Status.UNAVAILABLE


def test_commands_that_claim_tell_it_when_they_next_ask_for_a_probe() -> None:
    """They are refused before their claim, by what this process knows, and ask nobody until its time is over."""
    fleet = Fleet(2)
    assert all(desk.run().ok for desk in fleet)
    fleet.store.down = True
    fleet.open(0)
    fleet.store.down = False
    fleet.clock.advance(30.0)
    seen: list[str] = []
    fleet[0].then = lambda order: seen.append(fleet.store.inner.look("erp").state)
    assert fleet[0].run().ok
    assert seen == ["half-open"]


def test_a_store_that_has_lost_its_rows_is_told_again() -> None:
    fleet = Fleet(2, effects="read")
    fleet.open(0)
    fleet.store.inner = MemoryBreakers(fleet.clock)
    fleet.refresh()
    assert fleet[0].run().status is Status.UNAVAILABLE
    assert fleet[0].effects == []
    assert fleet.store.inner.look("erp").state == "open"
    refused = fleet[1].run()
    assert (refused.status, refused.retry_after) == (Status.UNAVAILABLE, pytest.approx(29.0))


@pytest.mark.parametrize("result", ["ok", "failed"])
def test_a_probe_whose_end_cannot_be_told_counts_here(result: str) -> None:
    fleet = Fleet(1)
    fleet.open(0)
    fleet.clock.advance(30.0)

    def then(order: Order) -> str:
        fleet.store.down = True
        if result == "failed":
            raise Boom
        return "probed"

    fleet[0].then = then
    outcome = fleet[0].run()
    assert outcome.status is (Status.SUCCEEDED if result == "ok" else Status.FAILED)
    assert Reason.LOCAL_BREAKER in outcome.reasons
    assert state(fleet[0]) == ("closed" if result == "ok" else "open")


@pytest.mark.parametrize("at", ["look", "open", "admit", "settle"])
def test_a_store_that_breaks_in_any_way_breaks_no_call(at: str) -> None:
    fleet = Fleet(1, fail_max=1)
    fleet.store.fault = lambda method: ZeroDivisionError("a bug") if method == at else None
    assert fleet[0].run().ok
    assert isinstance(fleet[0].fails(Boom()).run().error, Boom)
    assert fleet[0].works().run().status is Status.UNAVAILABLE
    fleet.clock.advance(30.0)
    assert fleet[0].run().ok


# ── interruptions ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_is_cancelled_anywhere_holds_no_probe() -> None:
    """Cancelled at its first turn, its second, and so on, until it gets through."""
    for at in range(1, 60):
        fleet = Fleet(2, async_=True)
        fleet.open(0)
        fleet.clock.advance(30.0)
        desk = fleet[0]

        async def main(at: int = at, desk: Desk = desk) -> bool:
            task = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
            for _ in range(at):
                await asyncio.sleep(0)
            done = task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return done

        done = on_loop(fleet.clock, main())
        fleet.refresh()
        assert fleet[1].run().ok, f"cancelled at turn {at}"
        if done:
            assert at > 5
            return
    raise AssertionError("it never got through")


def test_a_cancellation_while_the_end_is_told_loses_no_result() -> None:
    fleet = Fleet(1, async_=True)
    desk = Desk(async_=True, clock=fleet.clock, breakers={"erp": Breaker(fail_max=1)}, breaker_store=fleet.store)
    desk.command(breaker="erp", effects="external")
    desk.fails(Boom()).run("A0")
    fleet.clock.advance(30.0)
    desk.works()

    async def main() -> None:
        task = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
        while "A1" not in desk.effects:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    on_loop(fleet.clock, main())
    again = desk.run("A1")
    assert (again.ok, again.replayed, desk.effects) == (True, True, ["A0", "A1"])


@pytest.mark.parametrize("at", ["look", "admit", "settle"])
def test_an_interrupt_passes_through_and_holds_no_probe(at: str) -> None:
    fleet = Fleet(2)
    fleet.open(0)
    fleet.clock.advance(30.0)
    armed = [at]

    def fault(method: str) -> Any:
        if armed and method == armed[0]:
            armed.clear()
            return KeyboardInterrupt()
        return None

    fleet.store.fault = fault
    with pytest.raises(KeyboardInterrupt):
        fleet[0].run()
    fleet.clock.advance(60.0 if at == "settle" else 1.0)  # what could not be told is a lost probe
    assert fleet[1].run().ok


# ── looking, wiring ─────────────────────────────────────────────────────────────────────────────────────────


def test_explain_looks_and_takes_nothing() -> None:
    fleet = Fleet(2)
    fleet.open(0)

    def said() -> str | None:
        verdicts = fleet[1].guard.explain(fleet[1].name, {"order_id": "A1"}, context=ctx())
        return next(verdict.status for verdict in verdicts if verdict.stage == "breaker")

    assert said() == "unavailable"
    fleet.clock.advance(30.0)
    for _ in range(3):
        assert said() is None
    assert fleet[0].run().ok


def test_describe_says_that_it_is_shared() -> None:
    [command] = Fleet(1, refresh=2.0)[0].guard.describe()["commands"].values()
    [options] = [stage["options"] for stage in command["stages"] if stage["stage"] == "breaker"]
    assert (options["shared"], options["refresh"]) == (True, 2.0)


def test_without_a_store_the_stage_is_the_plain_one() -> None:
    desk = Desk(breakers={"erp": Breaker()}).command(breaker="erp")
    plan = desk.guard._plan(desk.name)
    assert type(plan.by_name["breaker"]) is BreakerStage


def test_a_handler_in_shadow_shares_nothing() -> None:
    store = Watched(MemoryBreakers())
    guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL, breakers={"erp": Breaker(fail_max=1)}, breaker_store=store)

    def show(payload: dict[str, Any]) -> None:
        raise Boom

    handlers = guard.shadow({"orders.show": show}, options={"orders.show": {"effects": "read", "breaker": "erp"}})
    for _ in range(3):
        with guard.acting(ctx()), pytest.raises(Boom):
            handlers["orders.show"]({})
    assert store.calls() == 0


@pytest.mark.parametrize(
    ("store", "async_", "code"),
    [
        (object(), False, "BG162"),
        (Watched(MemoryBreakers(), "async"), False, "BG140"),
        (Watched(MemoryBreakers(), "sync"), True, "BG161"),
    ],
)
def test_a_store_of_the_wrong_colour_is_refused(store: Any, async_: bool, code: str) -> None:
    desk = Desk(async_=async_, breakers={"erp": Breaker()}, breaker_store=store)
    with pytest.raises(ConfigurationError, match=code):
        desk.command(breaker="erp")


def test_refresh_must_be_a_time() -> None:
    with pytest.raises(ConfigurationError, match="BG112"):
        Breaker(refresh=0)
