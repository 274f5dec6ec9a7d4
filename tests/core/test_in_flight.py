"""What a duplicate gets while the first one runs: an answer at once, or the first one's result within a bounded wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from botguard import Outcome, Status
from botguard.ports.idempotency import RowState
from botguard.testing import FakeClock
from core.support import Boom, Desk, Order, ctx, on_loop, reasons, together


class Hooked(FakeClock):
    """Does something when somebody sleeps on it for the n-th time."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks: dict[int, Callable[[], None]] = {}

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.hooks.pop(len(self.naps), lambda: None)()


class Running:
    """A first run that waits inside its handler, in a thread of its own, until it is told how to end."""

    def __init__(self, **options: Any) -> None:
        self.clock = Hooked()
        self.desk = Desk(clock=self.clock).command(**options)
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.end: Any = "first"
        self.outcome: Outcome | None = None
        self.desk.then = self._then

    def _then(self, order: Order) -> str:
        if self.inside.is_set():
            return "another run"
        self.inside.set()
        assert self.go_on.wait(30)
        if isinstance(self.end, BaseException):
            raise self.end
        return str(self.end)

    def start(self) -> None:
        def first() -> None:
            self.outcome = self.desk.run()

        self.thread = threading.Thread(target=first, daemon=True)
        self.thread.start()
        assert self.inside.wait(30)

    def finish(self) -> None:
        self.go_on.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def test_reject_answers_at_once() -> None:
    run = Running(effects="idempotent")
    run.start()
    second = run.desk.run()
    run.finish()
    assert (second.status, run.clock.naps) == (Status.IN_FLIGHT, [])
    assert second.retry_after is not None
    assert second.message()


def test_wait_gets_the_first_ones_result() -> None:
    run = Running(effects="idempotent", in_flight="wait")
    run.start()
    run.clock.hooks[4] = run.finish
    second = run.desk.run()
    assert (second.value, second.replayed) == ("first", True)
    assert run.desk.effects == ["A1"]
    assert len(run.clock.naps) == 4


def test_wait_is_bounded() -> None:
    run = Running(effects="idempotent", in_flight="wait", wait=5.0)
    run.start()
    second = run.desk.run()
    assert (second.status, sum(run.clock.naps)) == (Status.IN_FLIGHT, pytest.approx(5.0))
    assert max(run.clock.naps) <= 1.0
    run.finish()


def test_wait_is_bounded_by_the_deadline_too() -> None:
    run = Running(effects="idempotent", in_flight="wait", wait=500.0, deadline=7.0)
    run.start()
    assert run.desk.run().status is Status.IN_FLIGHT
    assert sum(run.clock.naps) == pytest.approx(7.0)
    run.finish()


@pytest.mark.parametrize("how", ["wait", "join"])
def test_who_waited_for_a_run_that_gave_the_key_back_may_run_himself(how: str) -> None:
    run = Running(effects="idempotent", in_flight=how)
    run.end = Boom("no")
    run.start()
    if how == "wait":
        run.clock.hooks[2] = run.finish
        second = run.desk.run()
    else:
        second = _second_joins(run)
    assert (second.value, second.replayed) == ("another run", False)
    assert run.outcome is not None
    assert run.outcome.error is run.end


@pytest.mark.parametrize("how", ["wait", "join"])
def test_who_waited_for_a_run_that_ended_unknown_is_told_so(how: str) -> None:
    run = Running(effects="external", in_flight=how)
    run.end = Boom("no")
    run.start()
    if how == "wait":
        run.clock.hooks[2] = run.finish
        second = run.desk.run()
    else:
        second = _second_joins(run)
    assert second.status is Status.UNKNOWN
    assert run.desk.effects == ["A1"]


def test_who_waits_past_the_lease_takes_an_idempotent_run_over() -> None:
    run = Running(effects="idempotent", in_flight="wait", wait=500.0, deadline=200.0, grace=0.0)
    run.start()
    run.clock.advance(199.0)
    second = run.desk.run()
    assert (second.value, second.replayed) == ("another run", False)
    run.finish()
    assert run.outcome is not None
    assert "lease_lost" in reasons(run.outcome)


def _second_joins(run: Running) -> Outcome:
    """A joining caller in a second thread; the first run is let go when he is known to wait."""
    joined = threading.Event()
    twins = run.desk.guard._parts.twins
    get = twins.get

    def watched(key: str) -> Any:
        found = get(key)
        joined.set()
        return found

    twins.get = watched  # type: ignore[method-assign]

    def let_go() -> None:
        assert joined.wait(30)
        run.finish()

    second, _ = together(run.desk.run, let_go)  # type: ignore[list-item]
    assert isinstance(second, Outcome)
    return second


def test_join_wakes_when_the_first_ends() -> None:
    run = Running(effects="idempotent", in_flight="join")
    run.start()
    second = _second_joins(run)
    assert (second.value, second.replayed) == ("first", True)
    assert run.desk.effects == ["A1"]
    assert run.clock.naps == []  # woken, not polling


def test_join_by_sixteen_threads_runs_once() -> None:
    run = Running(effects="idempotent", in_flight="join")
    arrived = []
    lock = threading.Lock()
    twins = run.desk.guard._parts.twins
    get = twins.get

    def watched(key: str) -> Any:
        found = get(key)
        with lock:
            arrived.append(1)
            if len(arrived) == 15:
                run.go_on.set()
        return found

    twins.get = watched  # type: ignore[method-assign]
    outcomes = together(*[run.desk.run] * 16)
    assert [outcome.value for outcome in outcomes] == ["first"] * 16
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert run.desk.effects == ["A1"]
    assert twins._signals == {}


@pytest.mark.parametrize("how", ["wait", "join"])
def test_async_twins(how: str) -> None:
    desk = Desk(async_=True).command(effects="idempotent", in_flight=how)

    async def main() -> list[Outcome]:
        go_on = asyncio.Event()

        async def wait() -> str:
            await go_on.wait()
            return "first"

        desk.then = lambda order: wait()

        async def run() -> Outcome:
            return await desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx())

        first = asyncio.create_task(run())
        while not desk.effects:
            await asyncio.sleep(0)
        others = [asyncio.create_task(run()) for _ in range(10)]
        for _ in range(5):
            await asyncio.sleep(0)
        go_on.set()
        return [await first, *[await other for other in others]]

    outcomes = on_loop(desk.clock, main())
    assert [outcome.value for outcome in outcomes] == ["first"] * 11
    assert desk.effects == ["A1"]


@pytest.mark.parametrize("how", ["wait", "join"])
def test_async_twin_whose_wait_is_cancelled_changes_nothing(how: str) -> None:
    desk = Desk(async_=True).command(effects="idempotent", in_flight=how, limits=["5 concurrent per org"])

    async def main() -> Outcome:
        go_on = asyncio.Event()

        async def wait() -> str:
            await go_on.wait()
            return "first"

        desk.then = lambda order: wait()

        async def run() -> Outcome:
            return await desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx())

        first = asyncio.create_task(run())
        while not desk.effects:
            await asyncio.sleep(0)
        second = asyncio.create_task(run())
        for _ in range(3):
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        row = desk.storage.idempotency.peek(desk.events()[-1].key)
        assert row is not None
        assert row.state is RowState.CLAIMED
        go_on.set()
        return await first

    assert on_loop(desk.clock, main()).value == "first"
    assert desk.run().replayed


def test_waiting_costs_no_limit() -> None:
    run = Running(effects="idempotent", in_flight="wait", limits=["2/minute per user"])
    run.start()
    run.clock.hooks[3] = run.finish
    assert run.desk.run().replayed
    assert run.desk.run("B1").ok
    assert run.desk.run("C1").status is Status.THROTTLED


def test_explain_waits_for_nobody() -> None:
    run = Running(effects="idempotent", in_flight="wait")
    run.start()
    verdicts = run.desk.guard.explain(run.desk.name, {"order_id": "A1"}, context=ctx())
    assert {verdict.stage: verdict.status for verdict in verdicts}["peek"] == "in_flight"
    assert run.clock.naps == []
    run.finish()
