"""BreakerGate: one dependency's breaker in one process.

pybreaker keeps the state and tells its listeners; the gate around it is ours, because pybreaker's own ``call`` holds a
lock while the handler runs, counts nothing for ``async def``, and admits every caller while half-open.
"""

from __future__ import annotations

import threading

from botguard.options import Breaker
from botguard.ports.runtime import Clock

__all__ = ["CLOSED", "HALF_OPEN", "OPEN", "BreakerGate"]

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


class BreakerGate:
    """One dependency's breaker: admission and settlement are short; nothing is held while the handler runs.

    Every change of state begins a new *era*; results that come from an older era are dropped. While half-open, at most
    ``probes`` calls are out; a probe that is cancelled gives its place back, and one that never answers loses it after
    ``probe_timeout``.
    """

    def __init__(self, name: str, options: Breaker, clock: Clock) -> None:
        import pybreaker

        self.name, self.options, self._clock = name, options, clock
        self._lock = threading.RLock()  # a listener, told under the lock, may call the guard
        self._era = 0
        self._failures = 0
        self._until = 0.0
        self._probes: dict[int, float] = {}
        self._probe_number = 0
        self._successes = 0
        self._state = CLOSED
        self._book = pybreaker.CircuitBreaker(
            fail_max=options.fail_max,
            reset_timeout=options.reset_after,
            listeners=list(options.listeners),
            name=name,
        )

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``; an open one whose time is over still reads open until a call comes."""
        return self._state

    def look(self) -> float | None:
        """Seconds to wait if a call would be refused now, else None. Takes no probe."""
        if self._state == CLOSED:
            return None
        now = self._clock.monotonic()
        with self._lock:
            if self._state == OPEN:
                return self._until - now if now < self._until else None
            if self._state == HALF_OPEN and not self._room(now):
                return self._probe_wait(now)
        return None

    def admit(self) -> tuple[int, int] | float:
        """A permit (era, probe number or 0), or the seconds to wait if refused."""
        if self._state == CLOSED:
            return (self._era, 0)
        now = self._clock.monotonic()
        with self._lock:
            if self._state == CLOSED:
                return (self._era, 0)
            if self._state == OPEN:
                if now < self._until:
                    return self._until - now
                self._turn(HALF_OPEN)
            if not self._room(now):
                return self._probe_wait(now)
            self._probe_number += 1
            self._probes[self._probe_number] = now + self.options.probe_timeout
            return (self._era, self._probe_number)

    def _room(self, now: float) -> bool:
        for number in [number for number, end in self._probes.items() if end <= now]:
            del self._probes[number]  # a lost probe: its process or task never came back
        return len(self._probes) + self._successes < self.options.probes

    def _probe_wait(self, now: float) -> float:
        return max(0.05, min(1.0, min(self._probes.values(), default=now) - now))

    def ok(self, permit: tuple[int, int]) -> None:
        """The call succeeded."""
        era, probe = permit
        if not probe and not self._failures:
            return  # the usual case: nothing to count, no lock
        with self._lock:
            if era != self._era:
                return
            self._failures = 0
            if self._state == HALF_OPEN and self._probes.pop(probe, None) is not None:
                self._successes += 1
                if self._successes >= self.options.probes:
                    self._turn(CLOSED)

    def failed(self, permit: tuple[int, int]) -> None:
        """The call failed through the dependency's fault."""
        era, _ = permit
        with self._lock:
            if era != self._era:
                return
            if self._state == HALF_OPEN:
                self._turn(OPEN)
            elif self._state == CLOSED:
                self._failures += 1
                if self._failures >= self.options.fail_max:
                    self._turn(OPEN)

    def ignored(self, permit: tuple[int, int]) -> None:
        """The call says nothing about the dependency: neither counts nor resets, and returns its probe."""
        era, probe = permit
        if probe:
            with self._lock:
                if era == self._era:
                    self._probes.pop(probe, None)

    def _turn(self, state: str) -> None:
        """Change state, under the lock; the book (and its listeners) follow."""
        self._begin_era()
        self._state = state
        if state == OPEN:
            self._until = self._clock.monotonic() + self.options.reset_after
        book = self._book
        note = book.open if state == OPEN else book.half_open if state == HALF_OPEN else book.close
        try:
            note()
        except Exception:  # noqa: BLE001, S110 - a listener's trouble is not the call's; the state is changed already
            pass

    def _begin_era(self) -> None:
        """Drop whatever is still under way, under the lock."""
        self._era += 1
        self._failures = self._successes = 0
        self._probes.clear()
