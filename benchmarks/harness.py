"""Interleaved rounds in one process, A B C A B C, so that a noisy moment of the machine hits all cases alike.

Ratios are formed within a round and the median over the rounds is reported. Each block checks what it did
after each round, so that a swallowed error cannot look fast.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

#: Seconds in which a sweep that a block left behind (limits starts one after 10 ms) ends before the next.
SETTLE = 0.03


class BenchmarkError(Exception):
    """A case did not do what it was timed for; its numbers mean nothing."""


def expect(what: str, found: object, wanted: object) -> None:
    """Refuse the round unless ``found == wanted`` (no ``assert``: that is gone under ``python -O``)."""
    if found != wanted:
        raise BenchmarkError(f"{what}: {found!r}, expected {wanted!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One case's work in one round. ``warm`` and ``run`` are both plain or both coroutine functions."""

    calls: int
    warm: Callable[[], Any]
    run: Callable[[], Any]
    check: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A name, and what makes a fresh block for a round (untimed)."""

    name: str
    prepare: Callable[[int], Block]
    needs_guard: bool = False


@dataclass(slots=True)
class Timing:
    """Microseconds per call, one figure a round: by the wall clock and by this process's CPU time."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


class Spread(NamedTuple):
    """A median over rounds and the extremes around it."""

    mid: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line chose."""

    quick: bool = False
    with_guard: bool = True

    def rounds(self, full: int) -> int:
        return max(3, full // 5) if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report. ``figure`` is what the bound holds for: a ratio, a share or a difference."""

    group: str
    case: str
    cost: float | None = None
    unit: str = "µs"
    of: str = ""
    figure: Spread | None = None
    figure_unit: str = "×"
    bound: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the bound; None without one."""
        if self.figure is None or self.bound is None:
            return None
        return self.figure.mid >= self.bound if self.at_least else self.figure.mid <= self.bound


Group = Callable[[Settings], list[Row]]


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def ratio(timings: dict[str, Timing], case: str, base: str, clock: str = "cpu") -> Spread:
    """``case`` over ``base``, round by round."""
    ours, theirs = getattr(timings[case], clock), getattr(timings[base], clock)
    return spread([ours[i] / theirs[i] for i in range(len(ours))])


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_rounds(group: str, cases: Sequence[Case], rounds: int, settings: Settings) -> dict[str, Timing]:
    """Time every case once a round, in the same order each time."""
    chosen = [case for case in cases if settings.with_guard or not case.needs_guard]
    timings = {case.name: Timing() for case in chosen}
    for number in range(rounds):
        for case in chosen:
            wall, cpu = _time(case.prepare(number))
            timings[case.name].wall.append(wall)
            timings[case.name].cpu.append(cpu)
        latest = "  ".join(f"{name} {timing.wall[-1]:.1f}" for name, timing in timings.items())
        progress(f"{group} {number + 1}/{rounds}  µs: {latest}")
    return timings


def _time(block: Block) -> tuple[float, float]:
    timed = asyncio.run(_step_async(block)) if inspect.iscoroutinefunction(block.run) else _step(block)
    block.check()
    return timed


def _ready() -> tuple[float, float]:
    # The same garbage-collector state for everybody: nothing pending, and switched on as in a real process.
    gc.collect()
    return time.perf_counter(), time.process_time()


def _elapsed(since: tuple[float, float], calls: int) -> tuple[float, float]:
    cpu, wall = time.process_time() - since[1], time.perf_counter() - since[0]
    return wall / calls * 1e6, cpu / calls * 1e6


def _step(block: Block) -> tuple[float, float]:
    time.sleep(SETTLE)
    block.warm()
    since = _ready()
    block.run()
    return _elapsed(since, block.calls)


async def _step_async(block: Block) -> tuple[float, float]:
    # A fresh loop for each block: what a case leaves running on it is cancelled before the next one is timed.
    await asyncio.sleep(SETTLE)
    await block.warm()
    since = _ready()
    await block.run()
    return _elapsed(since, block.calls)
