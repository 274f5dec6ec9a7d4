"""Section 4: exact probes from many threads and tasks, honest counts, and nothing held while the handler runs."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pybreaker
import pytest

from botguard import Breaker, ConfigurationError, Outcome, Reason, Rejected, Status
from botguard.stages.breaker import BreakerGate
from botguard.testing import FakeClock
from core.support import Boom, Desk, Order, ctx, on_loop, reasons, together

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


class Ignored(Exception):
    pass


def desk_with(async_: bool = False, **breaker: Any) -> Desk:
    breaker.setdefault("fail_max", 3)
    breaker.setdefault("reset_after", 30.0)
    desk = Desk(async_=async_, breakers={"erp": Breaker(**breaker)})
    return desk.command(breaker="erp", effects="idempotent", key=None)


def state(desk: Desk) -> str:
    return str(desk.guard.describe()["breakers"]["erp"])


def opened(async_: bool = False, **breaker: Any) -> Desk:
    desk = desk_with(async_, **breaker)
    for _ in range(breaker.get("fail_max", 3)):
        desk.fails(Boom()).run()
    desk.effects.clear()
    assert state(desk) == "open"
    return desk.works()


@ASYNC
def test_consecutive_failures_open_it(async_: bool) -> None:
    desk = desk_with(async_)
    for n in range(3):
        assert state(desk) == "closed"
        assert desk.fails(Boom()).run(f"A{n}").status is Status.FAILED
    assert state(desk) == "open"
    refused = desk.works().run("B1")
    assert (refused.status, refused.retry_after) == (Status.UNAVAILABLE, 30.0)
    assert desk.effects == ["A0", "A1", "A2"]


def test_a_success_resets_the_count() -> None:
    desk = desk_with()
    for _ in range(5):
        desk.fails(Boom()).run()
        desk.run()
        desk.works().run()
    assert state(desk) == "closed"


@ASYNC
def test_ignored_neither_counts_nor_resets(async_: bool) -> None:
    desk = desk_with(async_, ignore=(Ignored,))
    for error in (Boom(), Ignored(), Rejected("no"), Boom(), Ignored(), Rejected("no")):
        desk.fails(error).run()
    assert state(desk) == "closed"
    desk.fails(Boom()).run()
    assert state(desk) == "open"


def test_cancellation_neither_counts_nor_resets() -> None:
    desk = desk_with(True, fail_max=2)
    desk.fails(Boom()).run()

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx())

    desk.fails(asyncio.CancelledError())
    on_loop(desk.clock, main())
    assert state(desk) == "closed"
    desk.fails(Boom()).run()
    assert state(desk) == "open"


def test_an_error_that_the_command_calls_final_is_ignored() -> None:
    desk = Desk(breakers={"erp": Breaker(fail_max=1)}).command(breaker="erp", final=Ignored, effects="idempotent")
    desk.fails(Ignored()).run()
    assert state(desk) == "closed"


def test_a_time_out_counts_as_a_failure() -> None:
    desk = Desk(async_=True, breakers={"erp": Breaker(fail_max=1)})
    desk.command(breaker="erp", effects="idempotent", timeout=5.0)

    async def hang() -> None:
        await asyncio.sleep(1000)

    desk.then = lambda order: hang()
    assert Reason.DEADLINE_EXCEEDED in desk.run().reasons
    assert state(desk) == "open"


def test_slow_calls_count() -> None:
    desk = desk_with(fail_max=2, slow_after=1.0)

    def take(seconds: float) -> Outcome:
        desk.then = lambda order: desk.clock.advance(seconds)
        return desk.run()

    for seconds in (1.0, 5.0, 0.5, 5.0):
        assert take(seconds).ok  # slow is a value all the same; exactly slow_after is not slow
    assert state(desk) == "closed"
    take(1.01)
    assert state(desk) == "open"


@ASYNC
def test_open_admits_nothing_before_its_time_is_over(async_: bool) -> None:
    desk = opened(async_)
    desk.clock.advance(29.999)
    refused = desk.run()
    assert refused.status is Status.UNAVAILABLE
    assert refused.retry_after == pytest.approx(0.001)
    desk.clock.advance(0.001)
    assert desk.run().ok
    assert state(desk) == "closed"


def test_a_probe_that_fails_opens_it_again() -> None:
    desk = opened()
    desk.clock.advance(30.0)
    desk.fails(Boom()).run()
    assert state(desk) == "open"
    desk.clock.advance(29.0)
    assert desk.works().run().status is Status.UNAVAILABLE
    desk.clock.advance(1.0)
    assert desk.run().ok


@pytest.mark.parametrize("probes", [1, 3, 5])
def test_half_open_admits_exactly_its_probes_from_sixteen_threads(probes: int) -> None:
    desk = opened(probes=probes)
    desk.clock.advance(30.0)
    inside = threading.Semaphore(0)
    go_on = threading.Event()
    refused = threading.Semaphore(0)

    def then(order: Order) -> str:
        inside.release()
        assert go_on.wait(30)
        return "probed"

    desk.then = then

    def caller() -> Outcome:
        outcome = desk.run()
        if outcome.status is Status.UNAVAILABLE:
            refused.release()
        return outcome

    def watch() -> None:
        for _ in range(probes):
            assert inside.acquire(timeout=30)
        for _ in range(16 - probes):
            assert refused.acquire(timeout=30)
        go_on.set()

    outcomes = together(*[caller] * 16, watch)  # type: ignore[list-item]
    counted = Counter(outcome.status for outcome in outcomes if outcome is not None)
    assert counted == {Status.SUCCEEDED: probes, Status.UNAVAILABLE: 16 - probes}
    assert len(desk.effects) == probes
    assert state(desk) == "closed"


def test_all_probes_must_succeed() -> None:
    desk = opened(probes=3)
    desk.clock.advance(30.0)
    assert [desk.run().ok for _ in range(2)] == [True, True]
    assert state(desk) == "half-open"
    desk.fails(Boom()).run()
    assert state(desk) == "open"


def test_probes_of_cancelled_tasks_come_back() -> None:
    """Sixteen tasks, one after the other a probe, each cancelled inside its handler: exactly one at a time is out."""
    desk = opened(True, probes=1)
    desk.clock.advance(30.0)
    out: list[int] = []
    most: list[int] = []

    async def hang() -> None:
        out.append(1)
        most.append(len(out))
        try:
            await asyncio.Event().wait()
        finally:
            out.pop()

    async def main() -> None:
        desk.then = lambda order: hang()
        for _ in range(16):
            tasks = [
                asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
                for _ in range(16)
            ]
            for _ in range(10):
                await asyncio.sleep(0)
            assert sum(task.done() for task in tasks) == 15
            assert all(task.result().status is Status.UNAVAILABLE for task in tasks if task.done())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    on_loop(desk.clock, main())
    assert set(most) == {1}
    assert len(most) == 16
    assert state(desk) == "half-open"
    assert desk.works().run().ok
    assert state(desk) == "closed"


def test_an_ignored_probe_gives_its_place_back() -> None:
    desk = opened(ignore=(Ignored,))
    desk.clock.advance(30.0)
    for _ in range(5):
        assert isinstance(desk.fails(Ignored()).run().error, Ignored)
        assert state(desk) == "half-open"
    assert desk.works().run().ok
    assert state(desk) == "closed"


# ── the gate itself: what a lost probe and a late result do ─────────────────────────────────────────────────


def gate(**options: Any) -> tuple[BreakerGate, FakeClock]:
    clock = FakeClock()
    options.setdefault("fail_max", 1)
    return BreakerGate("erp", Breaker(**options), clock), clock


def permit(made: BreakerGate) -> tuple[int, int]:
    admitted = made.admit()
    assert isinstance(admitted, tuple), f"refused for {admitted} s"
    return admitted


def refused(made: BreakerGate) -> float:
    admitted = made.admit()
    assert isinstance(admitted, float)
    return admitted


def half_open(**options: Any) -> tuple[BreakerGate, FakeClock]:
    made, clock = gate(**options)
    made.failed(permit(made))
    clock.advance(30.0)
    return made, clock


def test_a_lost_probe_expires() -> None:
    made, clock = half_open(probe_timeout=20.0)
    lost = permit(made)
    assert 0 < refused(made) <= 20.0
    clock.advance(19.5)
    refused(made)
    clock.advance(0.5)
    second = permit(made)
    refused(made)
    made.ok(second)
    assert made.state == "closed"
    made.ok(lost)
    assert made.state == "closed"


def test_a_lost_probes_late_success_does_not_close_it() -> None:
    made, clock = half_open(probe_timeout=20.0)
    lost = permit(made)
    clock.advance(20.0)
    permit(made)
    made.ok(lost)
    assert made.state == "half-open"


def test_the_waits_of_a_half_open_breaker_lead_to_a_probe() -> None:
    made, clock = half_open(probe_timeout=20.0)
    permit(made)
    for _ in range(100):
        admitted = made.admit()
        if isinstance(admitted, tuple):
            return
        assert admitted > 0
        clock.advance(admitted)
    raise AssertionError("never admitted")


@pytest.mark.parametrize("end", ["ok", "failed", "ignored"])
def test_results_of_an_older_era_change_nothing(end: str) -> None:
    made, clock = gate(fail_max=2)
    old = permit(made)  # runs for a long time
    for _ in range(2):
        made.failed(permit(made))
    assert made.state == "open"
    getattr(made, end)(old)
    assert made.state == "open"
    clock.advance(30.0)
    probe = permit(made)
    getattr(made, end)(old)
    assert made.state == "half-open"
    refused(made)  # nor has it given the probe's place away
    made.ok(probe)
    getattr(made, end)(old)
    made.failed(permit(made))
    assert made.state == "closed"  # one failure of this era, not two


def test_a_success_of_an_older_era_resets_nothing() -> None:
    made, clock = gate(fail_max=2)
    old = permit(made)
    for _ in range(2):
        made.failed(permit(made))
    clock.advance(30.0)
    made.ok(permit(made))
    assert made.state == "closed"
    made.failed(permit(made))
    made.ok(old)
    made.failed(permit(made))
    assert made.state == "open"


def test_a_probe_of_an_earlier_half_open_changes_nothing() -> None:
    made, clock = half_open(probes=2)
    slow, quick = permit(made), permit(made)
    made.failed(quick)
    clock.advance(30.0)
    permit(made)
    made.ok(slow)
    made.failed(slow)
    assert made.state == "half-open"


def test_look_takes_no_probe() -> None:
    made, clock = half_open()
    for _ in range(10):
        assert made.look() is None
    permit(made)
    assert made.look() is not None
    made, clock = gate(reset_after=30.0)
    made.failed(permit(made))
    clock.advance(10.0)
    assert made.look() == pytest.approx(20.0)


def test_listeners_are_told() -> None:
    told: list[tuple[str, str]] = []

    class Listener(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            told.append((old_state.name, new_state.name))

    desk = opened(listeners=(Listener(),), fail_max=1)
    desk.clock.advance(30.0)
    desk.run()
    assert told == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]


def test_a_listener_that_breaks_breaks_no_call() -> None:
    class Broken(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            raise RuntimeError("the pager is down")

    desk = desk_with(fail_max=1, listeners=(Broken(),))
    error = Boom()
    outcome = desk.fails(error).run()
    assert outcome.error is error
    assert state(desk) == "open"
    desk.clock.advance(30.0)
    assert desk.works().run().ok
    assert state(desk) == "closed"


def test_a_listener_may_ask_the_guard() -> None:
    """It is called outside the breaker's lock, or at least without holding up whoever asks from inside it."""
    desk = Desk()
    seen: list[str] = []

    class Curious(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            seen.append(state(desk))

    made = Desk(breakers={"erp": Breaker(fail_max=1, listeners=(Curious(),))})
    desk = made.command(breaker="erp", effects="idempotent")
    desk.fails(Boom()).run()
    assert seen == ["open"]


def test_a_listener_may_call_the_guard() -> None:
    """Through the very breaker that it is told about."""
    seen: list[Status] = []

    class Calling(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            seen.append(desk.run("from the listener").status)

    desk = desk_with(fail_max=1, listeners=(Calling(),))
    desk.fails(Boom())
    assert together(desk.run)[0].status is Status.FAILED
    assert seen == [Status.UNAVAILABLE]


def test_one_breaker_for_all_commands_that_name_it() -> None:
    desk = opened(fail_max=1)
    guard = desk.guard

    @guard.command("orders.other", breaker="erp", effects="idempotent")
    def other(order: Order) -> str:
        return "other"

    @guard.command("orders.free", effects="idempotent")
    def free(order: Order) -> str:
        return "free"

    assert guard.run("orders.other", {"order_id": "A1"}, context=ctx()).status is Status.UNAVAILABLE
    assert guard.run("orders.free", {"order_id": "A1"}, context=ctx()).ok


def test_an_open_breaker_leaves_the_key_untouched() -> None:
    desk = opened()
    outcome = desk.run()
    assert reasons(outcome) == ["breaker_open"]
    assert desk.rows() == 0
    assert desk.effects == []


def test_an_interruption_between_claim_and_handler_gives_the_key_back() -> None:
    desk = desk_with()

    def interrupted() -> Any:
        raise KeyboardInterrupt

    desk.guard._parts.breakers["erp"].admit = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        desk.run()
    assert desk.rows() == 0
    assert (desk.last().status, desk.effects) == ("cancelled", [])


def test_handlers_run_side_by_side() -> None:
    """Nothing is held while a handler runs: sixteen are inside at once (how fast that is, the benchmarks tell)."""
    desk = desk_with()
    inside = threading.Barrier(16)

    def then(order: Order) -> str:
        inside.wait(30)
        return "done"

    desk.then = then
    assert all(outcome.ok for outcome in together(*[desk.run] * 16))


def test_an_unknown_breaker_is_refused_when_it_is_declared() -> None:
    with pytest.raises(ConfigurationError, match="BG163"):
        Desk(breakers={"erp": Breaker()}).command(breaker="epr")


@pytest.mark.parametrize(
    "options", [{"fail_max": 0}, {"probes": 0}, {"reset_after": 0}, {"probe_timeout": -1}, {"ignore": (BaseException,)}]
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="BG11[02]"):
        Breaker(**options)
