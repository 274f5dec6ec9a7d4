"""LocalLimiter decides like the strategies of the ``limits`` package, on random traces.

Two differences are meant, and each is shown below:

* ``fixed-window`` windows are aligned to the clock (as the package's documentation draws them); its storages let a window
  begin with the first call after the last one ended. Traces in which somebody calls at each window's begin agree.
* ``moving-window`` admits a call exactly one window after the one that it replaces, where ``limits`` still refuses it: at
  ``retry_after`` a call is admitted (RATE-04).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import limits
import limits.storage.memory
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botguard.limiter import LocalLimiter
from botguard.ports.limits import Limit
from botguard.testing import FakeClock

#: Times are multiples of 1/64 s and windows powers of two, so that floats are exact and the edge of a window is one.
WINDOW, UNIT = 64, 1 / 64


class Both:
    """One limit in both implementations, on one clock."""

    def __init__(self, strategy: str, amount: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock(start=1_800_000_000.0 - 1_800_000_000.0 % WINDOW)
        fake = SimpleNamespace(time=self.clock.time)
        monkeypatch.setattr(limits.storage.memory, "time", fake)
        monkeypatch.setattr(limits.storage.memory.threading, "Timer", NoTimer)
        self.storage = limits.storage.MemoryStorage()
        self.theirs = limits.strategies.STRATEGIES[strategy](self.storage)
        self.item = limits.RateLimitItemPerSecond(amount, WINDOW)
        self.ours = LocalLimiter(self.clock)
        self.limit = Limit("l", amount, float(WINDOW), strategy, "user", "l")

    def hit(self, who: str) -> tuple[bool, bool]:
        ours = self.ours.reserve((self.limit,), (who,), "").granted
        return ours, self.theirs.hit(self.item, who)

    def test(self, who: str) -> tuple[bool, bool]:
        return self.ours.test((self.limit,), (who,)).granted, self.theirs.test(self.item, who)


class NoTimer:
    """``limits`` sweeps in a thread of its own; what it sweeps is over anyway."""

    def __init__(self, *args: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return True


steps = st.one_of(
    st.integers(0, 3 * 64),
    st.sampled_from([0, 0, 0, 1, 64, 16 * 64, 32 * 64, 63 * 64, 64 * 64 - 1, 64 * 64, 64 * 64 + 1, 128 * 64]),
)
traces = st.lists(st.tuples(steps, st.sampled_from(["a", "a", "a", "b"])), min_size=5, max_size=60)
check = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@check
@given(traces, st.integers(1, 8))
def test_sliding_window_counter(trace: list[tuple[int, str]], amount: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        both = Both("sliding-window-counter", amount, patch)
        for step, who in trace:
            both.clock.advance(step * UNIT)
            ours, theirs = both.test(who)
            assert ours == theirs, f"test at {both.clock.monotonic()}"
            ours, theirs = both.hit(who)
            assert ours == theirs, f"hit at {both.clock.monotonic()}"


@check
@given(traces, st.integers(1, 8))
def test_moving_window(trace: list[tuple[int, str]], amount: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        both = Both("moving-window", amount, patch)
        admitted: dict[str, list[float]] = {"a": [], "b": []}
        for step, who in trace:
            both.clock.advance(step * UNIT)
            now = both.clock.monotonic()
            times = admitted[who]
            if len(times) >= amount and times[-amount] + WINDOW == now:
                both.clock.advance(UNIT)  # the one moment in which the two differ, on purpose (see above)
                now = both.clock.monotonic()
            ours, theirs = both.hit(who)
            assert ours == theirs, f"hit at {now}, after {times}"
            if ours:
                times.append(now)


@check
@given(traces, st.integers(1, 8))
def test_fixed_window(trace: list[tuple[int, str]], amount: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        both = Both("fixed-window", amount, patch)
        for step, who in trace:
            target = both.clock.monotonic() + step * UNIT
            while (begin := both.clock.monotonic() // WINDOW * WINDOW + WINDOW) <= target:
                both.clock.advance(begin - both.clock.monotonic())
                for each in "ab":  # somebody calls as each window begins, which aligns theirs
                    ours, theirs = both.hit(each)
                    assert ours == theirs
            both.clock.advance(target - both.clock.monotonic())
            if both.clock.monotonic() < WINDOW:
                continue
            ours, theirs = both.hit(who)
            assert ours == theirs, f"hit at {both.clock.monotonic()}"


def test_the_difference_at_the_end_of_a_moving_window(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both("moving-window", 1, monkeypatch)
    both.hit("a")
    assert both.ours.reserve((both.limit,), ("a",), "").retry_after == WINDOW
    both.clock.advance(WINDOW - UNIT)
    assert both.hit("a") == (False, False)
    both.clock.advance(UNIT)
    assert both.hit("a") == (True, False)


def test_the_difference_at_the_begin_of_a_fixed_window(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both("fixed-window", 1, monkeypatch)
    both.clock.advance(WINDOW / 2)
    assert both.hit("a") == (True, True)
    both.clock.advance(WINDOW / 2)
    assert both.hit("a") == (True, False)


@pytest.mark.parametrize("strategy", ["sliding-window-counter", "moving-window", "fixed-window"])
def test_a_limiter_that_counts_one_more_is_found(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Both(strategy, 3, monkeypatch)
    both.limit = both.limit._replace(amount=4)
    assert [both.hit("a") for _ in range(4)][-1] == (True, False)
