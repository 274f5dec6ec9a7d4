"""The loop itself: turns, time, crashes that leave no trace, time limits, shields; and schedules made shorter."""

from __future__ import annotations

from asyncio import CancelledError
from random import Random
from typing import Any

import pytest

from botguard.testing.simulation.decisions import Chance, Schedule, Script
from botguard.testing.simulation.faults import Fault, Faults
from botguard.testing.simulation.loop import TICK, Dropped, Enter, Latch, Loop, ProcessDied, Wait, ask
from botguard.testing.simulation.runtime import SimulatedRuntime, StoreClock
from botguard.testing.simulation.shrinking import shrink


class Process:
    """As much of one as the loop knows."""

    def __init__(self) -> None:
        self.deaths = 0

    def died(self) -> None:
        self.deaths += 1


class Desk:
    """A loop that follows a script, a runtime, and a diary."""

    def __init__(self, *marks: str) -> None:
        self.loop = Loop(Script(marks))
        self.runtime = SimulatedRuntime("p", StoreClock(self.loop))
        self.runtime.loop = self.loop
        self.process = Process()
        self.diary: list[Any] = []

    async def point(self, name: str) -> Fault | None:
        if self.loop.dropping:
            raise Dropped
        fault: Fault | None = await ask(name)
        return fault

    async def write(self, what: Any) -> None:
        """As a port does: a point, then an effect."""
        await self.point("write")
        self.diary.append(what)

    def run(self) -> list[Any]:
        while self.loop.turn():
            pass
        return self.diary


def test_the_calm_course_goes_on_with_who_went_on() -> None:
    desk = Desk()

    async def play(name: str) -> None:
        await desk.write(name + "1")
        await desk.write(name + "2")

    for name in "ab":
        desk.loop.start(name, play(name))
    assert desk.run() == ["a1", "a2", "b1", "b2"]
    assert desk.loop.turns == 6


def test_a_mark_says_who_goes_on() -> None:
    desk = Desk("a2>b", "b2>a")

    async def play(name: str) -> None:
        await desk.write(name + "1")
        await desk.write(name + "2")

    for name in "ab":
        desk.loop.start(name, play(name))
    assert desk.run() == ["a1", "b1", "a2", "b2"]


def test_time_jumps_only_where_nobody_can_go_on() -> None:
    desk = Desk()

    async def sleeper() -> None:
        await desk.runtime.sleep(100.0)
        desk.diary.append(("slept", round(desk.loop.now)))

    async def busy() -> None:
        await desk.write("busy")

    desk.loop.start("a", sleeper())
    desk.loop.start("b", busy())
    assert desk.run() == ["busy", ("slept", 100)]


def test_a_latch_rouses_who_waits_and_time_those_that_it_forgot() -> None:
    desk, latch = Desk(), Latch()

    async def waits(name: str, until: float) -> None:
        await ask(Wait(until, latch))
        desk.diary.append(name)

    async def opens() -> None:
        await desk.runtime.sleep(5.0)
        desk.loop.open(latch)

    desk.loop.start("a", waits("late", 9.0))
    desk.loop.start("b", waits("early", 2.0))
    desk.loop.start("c", opens())
    assert desk.run() == ["early", "late"]
    assert desk.loop.now < 9.0


def test_a_crash_leaves_no_trace_and_is_told_to_the_caller() -> None:
    desk = Desk()

    async def inner() -> None:
        try:
            await desk.write("before")
            await desk.write("after")
        except BaseException:
            await desk.write("clean-up")
            raise
        finally:
            await desk.runtime.shield(desk.write("release"))
            desk.diary.append("released")

    async def outer(name: str) -> None:
        try:
            await ask(Enter(desk.process, inner()))
        except ProcessDied:
            desk.diary.append(f"{name} was told")

    for name in "ab":
        desk.loop.start(name, outer(name))
    for _ in range(2):  # a has written "before" and is about to write "after"; b has not begun
        desk.loop.turn()
    desk.loop.kill(desk.process)
    assert desk.run() == ["before", "a was told", "before", "after", "release", "released"]
    assert desk.process.deaths == 1


def test_a_time_limit_stops_a_task_where_it_is() -> None:
    desk = Desk()

    async def play() -> None:
        try:
            async with desk.runtime.timeout(3.0) as scope:
                try:
                    await desk.runtime.sleep(10.0)
                except CancelledError:
                    desk.diary.append("stopped")
                    raise
        except TimeoutError:
            desk.diary.append(scope.expired())

    desk.loop.start("a", play())
    assert desk.run() == ["stopped", True]
    assert desk.loop.now == pytest.approx(3.0, abs=10 * TICK)


def test_a_shield_lets_work_end_and_then_cancels() -> None:
    desk = Desk()

    async def work() -> str:
        await desk.runtime.sleep(10.0)
        desk.diary.append("done")
        return "value"

    async def play() -> None:
        try:
            async with desk.runtime.timeout(3.0):
                desk.diary.append(await desk.runtime.shield(work()))
        except TimeoutError:
            desk.diary.append("then stopped")

    desk.loop.start("a", play())
    assert desk.run() == ["done", "then stopped"]


def test_a_cancellation_from_outside_is_no_time_out() -> None:
    desk = Desk()

    async def play() -> None:
        try:
            async with desk.runtime.timeout(3.0):
                await desk.point("here")
        except CancelledError:
            desk.diary.append("cancelled")

    task = desk.loop.start("a", play())
    desk.loop.turn()
    assert task.cancel()
    task.error = CancelledError()
    desk.loop.now = 5.0  # and its time is over as well
    assert desk.run() == ["cancelled"]


def test_tasks_see_no_context_variables_of_each_other() -> None:
    from contextvars import ContextVar

    seen: ContextVar[str] = ContextVar("seen", default="nobody")
    desk = Desk("a2>b", "b2>a")

    async def play(name: str) -> None:
        token = seen.set(name)
        await desk.write(name)
        desk.diary.append((name, seen.get()))
        seen.reset(token)

    for name in "ab":
        desk.loop.start(name, play(name))
    assert ("a", "a") in desk.run()
    assert ("b", "b") in desk.diary


def test_what_chance_decides_a_script_repeats() -> None:
    async def play(desk: Desk, name: str) -> None:
        for number in range(5):
            fault = await desk.point("idempotency.claim")
            desk.diary.append((name, number, str(fault)))

    def course(decider: Any) -> list[Any]:
        desk = Desk()
        desk.loop.decider = decider
        for name in "abc":
            desk.loop.start(name, play(desk, name))
        return desk.run()

    for seed in range(100):
        chance = Chance(Random(seed), Faults(most=4))
        drawn = course(chance)
        assert course(Script(Schedule.read(str(Schedule(chance.marks))))) == drawn


def test_a_schedule_is_read_as_it_is_written() -> None:
    text = "~d,a0>c,b7!stall:12,b8!jump:-600,ax3!crash"
    assert str(Schedule.read(text)) == text
    assert Schedule.read("-") == Schedule.read("") == ()
    assert str(Fault.read("stall:0.3")) == "stall:0.3"


def test_shrinking_keeps_only_what_is_needed() -> None:
    marks = [f"a{number}!crash" for number in range(40)]
    needed = {marks[3], marks[17], marks[38]}
    runs: list[int] = []

    def fails(some: Any) -> bool:
        runs.append(len(some))
        return needed <= set(some)

    assert set(shrink(marks, fails)) == needed
    assert len(runs) < 200
    assert shrink([], fails) == []


def test_shrinking_stops_when_its_runs_are_used_up() -> None:
    runs: list[Any] = []

    def fails(some: Any) -> bool:
        runs.append(some)
        return False

    assert shrink(list("abcdefgh"), fails, most=5) == list("abcdefgh")
    assert len(runs) == 5
