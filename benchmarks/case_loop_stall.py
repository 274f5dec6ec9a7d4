"""How late an event loop gets while 100,000 users come in, against control slices in the same run.

A ticker asks to be woken every millisecond and writes down how much too late it was. In a control slice
each call keeps the processor busy for as long as a guarded call took in the slice before, then awaits the
same handler. A limiter that sweeps all users, or a garbage collection that visits all rows, shows as a
difference in the upper end.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from resource import RUSAGE_THREAD, getrusage
from typing import Any

from benchmarks.guarded import memory_shop
from benchmarks.harness import Row, Settings, expect, progress, quantile, spread

USERS = 100_000
QUICK_USERS = 20_000
ROUNDS = 3
SLICES = 50
WORKERS = 8
TICK = 0.001
SHARE = 0.999
#: Seconds that a control call is busy when there is no guarded one to copy.
WITHOUT_GUARD = 50e-6

Call = Callable[[int], Awaitable[None]]


def waits() -> int:
    """How often this thread gave the processor away by itself: for a lock, a sleep, a file."""
    return getrusage(RUSAGE_THREAD).ru_nvcsw


async def tick(lateness: list[float]) -> None:
    """Milliseconds of delay of each wake-up, until cancelled.

    The loop is never idle here. So if the thread did not wait for anything, the time in which it did not run
    was taken by another process or by the machine's host, and is not counted; if it did wait, all of it is.
    """
    while True:
        before, started, ran = waits(), time.perf_counter(), time.thread_time()
        await asyncio.sleep(TICK)
        took, ran = time.perf_counter() - started, time.thread_time() - ran
        lateness.append((took if waits() > before else min(took, ran)) * 1000 - TICK * 1000)


async def drive(call: Call, numbers: range, lateness: list[float]) -> float:
    """Make the calls with a few workers beside the ticker; returns the seconds that one call took."""
    waiting = iter(numbers)

    async def work() -> None:
        for number in waiting:
            await call(number)

    ticker = asyncio.create_task(tick(lateness))
    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    took = time.perf_counter() - started
    ticker.cancel()
    return took / len(numbers)


async def bare_handler() -> None:
    await asyncio.sleep(0)


class Control:
    """Calls that are as busy as guarded ones, without a guard."""

    def __init__(self, busy: float) -> None:
        self.busy = busy
        self.calls = 0

    async def __call__(self, _number: int) -> None:
        until = time.perf_counter() + self.busy
        while time.perf_counter() < until:
            pass
        await bare_handler()
        self.calls += 1


async def slices(guarded: Call | None, users: int) -> tuple[list[float], list[float]]:
    """Lateness in guarded and in control slices, taken in turn."""
    ours: list[float] = []
    theirs: list[float] = []
    busy, size = WITHOUT_GUARD, users // SLICES
    for number in range(SLICES):
        numbers = range(number * size, (number + 1) * size)
        if guarded is not None:
            busy = await drive(guarded, numbers, ours)
        control = Control(busy)
        await drive(control, numbers, theirs)
        expect("control calls", control.calls, size)
    return ours, theirs


def one_round(users: int, with_guard: bool) -> tuple[list[float], list[float]]:
    """All users come in, to a guard that has seen nobody yet."""
    shop = memory_shop(asynchronous=True) if with_guard else None
    # What the imports left is of no interest: a full collection visits only what came with the users.
    gc.collect()
    gc.freeze()
    try:
        ours, theirs = asyncio.run(slices(shop.send_newcomer if shop else None, users))
    finally:
        gc.unfreeze()
    if shop is not None:
        expect("effects", shop.effects, users)
        shop.expect_books({"succeeded": users}, rows=users)
    return ours, theirs


def row(case: str, rounds: list[list[float]], **more: Any) -> Row:
    ticks = [late for lateness in rounds for late in lateness]
    cost = spread([quantile(lateness, SHARE) for lateness in rounds]).mid
    note = f"worst {max(ticks):.1f} ms of {len(ticks):,} ticks"
    return Row(group="event loop", case=case, cost=cost, unit="ms", note=note, **more)


def group(settings: Settings) -> list[Row]:
    users, count = (QUICK_USERS, 1) if settings.quick else (USERS, ROUNDS)
    ours, theirs = [], []
    for number in range(count):
        late, control = one_round(users, settings.with_guard)
        ours.append(late)
        theirs.append(control)
        figures = [f"{quantile(lateness, SHARE):.2f}" for lateness in (late, control) if lateness]
        progress(f"loop-stall {number + 1}/{count}  p99.9 in ms: {' against '.join(figures)}")
    rows = [row(f"p99.9 lateness, control, {users:,} calls", theirs)]
    if settings.with_guard:
        more = [quantile(a, SHARE) - quantile(b, SHARE) for a, b in zip(ours, theirs, strict=True)]
        case = f"p99.9 lateness while {users:,} users come in"
        rows.append(row(case, ours, of="the control", figure=spread(more), figure_unit="ms", bound=5.0))
    return rows
