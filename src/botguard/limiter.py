"""The limiter of one process: exact, all or nothing, refundable, and without a thread that sweeps.

Counters lie in two generations per limit (this window and the one before) as plain ``str -> int`` dicts, which the
garbage collector does not even visit: with 100,000 users the loop is not held up. Old generations are emptied a few
entries at a time by later calls. Strategies are those of the ``limits`` package and decide alike (a test compares them).
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from botguard.ports.colour import Colour
from botguard.ports.limits import Limit, Reservation
from botguard.ports.runtime import Clock

__all__ = ["LocalLimiter"]

_GRANTED = Reservation(True)
_make = tuple.__new__
#: Fewer names than this are not worth looking for those that are over.
_MANY = 32


class _Counters:
    """Calls per bucket in fixed windows, for ``fixed-window`` and ``sliding-window-counter``."""

    __slots__ = ("amount", "before", "end", "index", "now", "sliding", "stale", "window")

    def __init__(self, limit: Limit) -> None:
        self.amount, self.window = limit.amount, limit.window
        self.sliding = limit.strategy == "sliding-window-counter"
        self.index, self.end = -1, float("-inf")
        self.now: dict[str, int] = {}
        self.before: dict[str, int] = {}
        self.stale: list[dict[str, int]] = []

    def turn(self, time: float) -> None:
        """A new window began."""
        index = int(time // self.window)
        self.end = (index + 1) * self.window
        if index == self.index:  # a float's rounding at the window's edge
            return
        self.stale.append(self.before)
        if index == self.index + 1:
            self.before = self.now
        else:
            self.stale.append(self.now)
            self.before = {}
        self.now, self.index = {}, index

    def wait(self, bucket: str, time: float) -> float:
        """0 if one more call fits, else seconds until it may."""
        if time >= self.end:
            self.turn(time)
        return self._weigh(self.now.get(bucket, 0), self.before.get(bucket, 0), time - self.index * self.window)

    def _weigh(self, count: int, before: int, gone: float) -> float:
        if not before and count < self.amount:
            return 0.0
        if not self.sliding:
            return 0.0 if count < self.amount else self.window - gone
        weighted = int(before * (self.window - gone) / self.window)
        if weighted + count < self.amount:
            return 0.0
        room = self.amount - count
        if room > 0:  # the previous window must weigh less than the room: at the very moment it still weighs as much
            return max(self.window - gone - room * self.window / before, 0.0) + 0.001
        return self._full(count, gone)

    def _full(self, count: int, gone: float) -> float:
        # This window's own calls fill the limit: they must fade in the next one, as "the window before".
        return self.window - gone + max(self.window - self.amount * self.window / count, 0.0) + 0.001

    def take(self, bucket: str, time: float, token: str) -> None:
        """Count one call; ``wait`` was asked just before, under the same lock."""
        self.now[bucket] = self.now.get(bucket, 0) + 1
        if self.stale:
            self.sweep()

    def give_back(self, bucket: str, time: float, taken: float) -> None:
        """Take one call back from the window that it was counted in."""
        index = int(taken // self.window)
        counts = self.now if index == self.index else self.before if index == self.index - 1 else None
        if counts is not None and counts.get(bucket, 0) > 0:
            counts[bucket] -= 1

    def sweep(self) -> None:
        """Drop a few old entries: freeing 100,000 at once would hold the loop up."""
        old = self.stale[-1]
        for _ in range(4):
            if not old:
                self.stale.pop()
                return
            old.popitem()


class _Log:
    """Times of calls per bucket, for ``moving-window``: exact, and O(limit) memory per bucket."""

    __slots__ = ("amount", "times", "window")
    #: Never to be judged at a glance (see LocalLimiter.reserve).
    end, before, now = float("-inf"), (), {}  # type: ignore[var-annotated]

    def __init__(self, limit: Limit) -> None:
        self.amount, self.window = limit.amount, limit.window
        self.times: OrderedDict[str, array[float]] = OrderedDict()

    def wait(self, bucket: str, time: float) -> float:
        """0 if one more call fits, else seconds until it may."""
        log = self.times.get(bucket)
        if log is None:
            return 0.0
        old = bisect_right(log, time - self.window)
        if old:
            del log[:old]
        if not log:
            del self.times[bucket]
        return 0.0 if len(log) < self.amount else log[len(log) - self.amount] + self.window - time

    def take(self, bucket: str, time: float, token: str) -> None:
        """Count one call."""
        log = self.times.get(bucket)
        if log is None:
            self._expire(time)
            log = self.times[bucket] = array("d")
        log.append(time)

    def _expire(self, time: float) -> None:
        # Two of the oldest names for each new one keeps the table bounded by the names of about one window. One that is
        # still in use goes to the end of the row: it must not hide those behind it.
        times = self.times
        for _ in range(min(2, len(times))):
            oldest = next(iter(times))
            if times[oldest][-1] > time - self.window:
                times.move_to_end(oldest)
            else:
                del times[oldest]

    def give_back(self, bucket: str, time: float, taken: float) -> None:
        """Take one call back."""
        log = self.times.get(bucket)
        if log is not None and taken in log:
            log.remove(taken)
            if not log:
                del self.times[bucket]


class _Slots:
    """Calls that run now per bucket, for ``concurrent``: leases, so that a lost call's slot comes back."""

    __slots__ = ("amount", "held", "window")
    #: Never to be judged at a glance (see LocalLimiter.reserve).
    end, before, now = float("-inf"), (), {}  # type: ignore[var-annotated]

    def __init__(self, limit: Limit) -> None:
        self.amount, self.window = limit.amount, limit.window
        self.held: dict[str, dict[str, float]] = {}

    def wait(self, bucket: str, time: float) -> float:
        """0 if one more call fits, else seconds until the first lease ends at the latest."""
        held = self.held.get(bucket)
        if held is None or len(held) < self.amount:
            return 0.0
        for token in [token for token, end in held.items() if end <= time]:
            del held[token]
        return 0.0 if len(held) < self.amount else min(1.0, min(held.values()) - time)

    def take(self, bucket: str, time: float, token: str) -> None:
        """Hold one slot."""
        held = self.held.get(bucket)
        if held is None:
            if len(self.held) > _MANY:
                self._expire(time)
            held = self.held[bucket] = {}
        held[token] = time + self.window

    def _expire(self, time: float) -> None:
        # Slots of lost calls, whose callers never come again: two of the oldest names for each new one.
        for _ in range(2):
            oldest = next(iter(self.held))
            held = self.held.pop(oldest)
            if any(end > time for end in held.values()):
                self.held[oldest] = held

    def free(self, bucket: str, token: str) -> None:
        """Free one slot."""
        held = self.held.get(bucket)
        if held is not None:
            held.pop(token, None)
            if not held:
                del self.held[bucket]


class LocalLimiter:
    """A :class:`botguard.ports.limits.LimitStore` in memory. Thread-safe; never blocks beyond its own lock."""

    colour: Colour = "any"

    def __init__(self, clock: Clock) -> None:
        self._monotonic: Callable[[], float] = clock.monotonic
        self._lock = threading.Lock()
        self._states: dict[str, Any] = {}
        #: The states of a stage's limits by the identity of its tuple, which it passes every time.
        self._by_id: dict[int, tuple[tuple[Limit, ...], tuple[Any, ...]]] = {}

    def _state(self, limit: Limit) -> Any:
        state = self._states.get(limit.tag)
        if state is None:
            kind = {"concurrent": _Slots, "moving-window": _Log}.get(limit.strategy, _Counters)
            state = self._states.setdefault(limit.tag, kind(limit))
        return state

    def _states_of(self, limits: tuple[Limit, ...]) -> tuple[Any, ...]:
        known = self._by_id.get(id(limits))
        if known is not None and known[0] is limits:
            return known[1]
        states = tuple([self._state(limit) for limit in limits])
        if len(self._by_id) > 1000:  # a caller that makes new tuples all the time must not grow this
            self._by_id.clear()
        self._by_id[id(limits)] = (limits, states)
        return states

    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        """See the port."""
        known = self._by_id.get(id(limits))
        states = known[1] if known is not None and known[0] is limits else self._states_of(limits)
        time = self._monotonic()
        taken = 0
        with self._lock:
            for state, bucket in zip(states, buckets):  # noqa: B905 - made in pairs
                # Most calls find room at a glance: the window is not over, none in the one before, few in this one.
                now = state.now
                count = now.get(bucket, 0)
                if time < state.end and count < state.amount and bucket not in state.before:
                    now[bucket] = count + 1
                    if state.stale:
                        state.sweep()
                elif state.wait(bucket, time):
                    self._undo(states[:taken], buckets, time, token)
                    return self._first_full(limits, states, buckets, time) or _GRANTED
                else:
                    state.take(bucket, time, token)
                taken += 1
        return _make(Reservation, (True, None, 0.0, (time, token)))

    @staticmethod
    def _undo(states: tuple[Any, ...], buckets: tuple[str, ...], time: float, token: str) -> None:
        """Take back what the limits before the full one have counted."""
        for state, bucket in zip(states, buckets, strict=False):
            if type(state) is _Slots:
                state.free(bucket, token)
            else:
                state.give_back(bucket, time, time)

    @staticmethod
    def _first_full(
        limits: tuple[Limit, ...], states: tuple[Any, ...], buckets: tuple[str, ...], time: float
    ) -> Reservation | None:
        worst: Reservation | None = None
        for n, state in enumerate(states):
            wait = state.wait(buckets[n], time)
            if wait and (worst is None or wait > worst.retry_after):
                worst = Reservation(False, limits[n], wait)
        return worst

    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        """See the port."""
        time = self._monotonic()
        states = self._states_of(limits)
        with self._lock:
            return self._first_full(limits, states, buckets, time) or _GRANTED

    def refund(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation) -> None:
        """See the port."""
        held: Any = reservation.token
        taken, token = held
        with self._lock:
            for limit, bucket in zip(limits, buckets, strict=True):
                state = self._state(limit)
                if type(state) is _Slots:
                    state.free(bucket, token)
                else:
                    state.give_back(bucket, self._monotonic(), taken)

    def release(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation) -> None:
        """See the port."""
        held: Any = reservation.token
        _, token = held
        with self._lock:
            for limit, bucket in zip(limits, buckets, strict=True):
                if limit.strategy == "concurrent":
                    self._state(limit).free(bucket, token)
