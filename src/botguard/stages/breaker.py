"""breaker: stop calling what fails, and find out carefully when it is back (semantics, section 4).

pybreaker keeps the state and tells its listeners; the gate around it is ours, because pybreaker's own ``call`` holds a
lock while the handler runs, counts nothing for ``async def``, and admits every caller while half-open.
"""

from __future__ import annotations

import threading
from typing import Any

from botguard.command import Command
from botguard.options import Breaker, ExceptionTypes
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.settle import Settlement
from botguard.pipeline.stage import Proceed
from botguard.ports.runtime import Clock

__all__ = ["BreakerGate", "BreakerStage"]

_SUCCEEDED = Status.SUCCEEDED  # an enum's member is slow to look up on 3.11
_CLOSED, _OPEN, _HALF_OPEN = "closed", "open", "half-open"


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
        self._state = _CLOSED
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
        if self._state == _CLOSED:
            return None
        now = self._clock.monotonic()
        with self._lock:
            if self._state == _OPEN:
                return self._until - now if now < self._until else None
            if self._state == _HALF_OPEN and not self._room(now):
                return self._probe_wait(now)
        return None

    def admit(self) -> tuple[int, int] | float:
        """A permit (era, probe number or 0), or the seconds to wait if refused."""
        if self._state == _CLOSED:
            return (self._era, 0)
        now = self._clock.monotonic()
        with self._lock:
            if self._state == _CLOSED:
                return (self._era, 0)
            if self._state == _OPEN:
                if now < self._until:
                    return self._until - now
                self._turn(_HALF_OPEN)
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
            if self._state == _HALF_OPEN and self._probes.pop(probe, None) is not None:
                self._successes += 1
                if self._successes >= self.options.probes:
                    self._turn(_CLOSED)

    def failed(self, permit: tuple[int, int]) -> None:
        """The call failed through the dependency's fault."""
        era, _ = permit
        with self._lock:
            if era != self._era:
                return
            if self._state == _HALF_OPEN:
                self._turn(_OPEN)
            elif self._state == _CLOSED:
                self._failures += 1
                if self._failures >= self.options.fail_max:
                    self._turn(_OPEN)

    def ignored(self, permit: tuple[int, int]) -> None:
        """The call says nothing about the dependency: neither counts nor resets, and returns its probe."""
        era, probe = permit
        if probe:
            with self._lock:
                if era == self._era:
                    self._probes.pop(probe, None)

    def _turn(self, state: str) -> None:
        """Change state, under the lock; the book (and its listeners) follow."""
        self._era += 1
        self._state, self._failures, self._successes = state, 0, 0
        self._probes.clear()
        if state == _OPEN:
            self._until = self._clock.monotonic() + self.options.reset_after
        book = self._book
        note = book.open if state == _OPEN else book.half_open if state == _HALF_OPEN else book.close
        try:
            note()
        except Exception:  # noqa: BLE001, S110 - a listener's trouble is not the call's; the state is changed already
            pass


class BreakerStage:
    """Stands around each attempt, so that its counts are honest; inside retry, so that an open breaker ends the loop."""

    name = "breaker"

    def __init__(self, command: Command, gate: BreakerGate, settlement: Settlement) -> None:
        self._gate, self._settlement = gate, settlement
        self._ignore: ExceptionTypes = gate.options.ignore
        self._slow = gate.options.slow_after

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Admit, run, settle as ok, failed or ignored."""
        gate = self._gate
        permit = gate.admit()
        if type(permit) is float:
            return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=permit)
        began = call.plan.monotonic() if self._slow is not None else 0.0
        try:
            outcome = await proceed(call)
        except BaseException:
            gate.ignored(permit)  # type: ignore[arg-type]
            raise
        if outcome.status is _SUCCEEDED:
            slow = self._slow is not None and call.plan.monotonic() - began > self._slow
            gate.failed(permit) if slow else gate.ok(permit)  # type: ignore[arg-type]
        elif outcome.status is not Status.FAILED or self._ignored(outcome):
            gate.ignored(permit)  # type: ignore[arg-type]
        else:
            gate.failed(permit)  # type: ignore[arg-type]
        return outcome

    def _ignored(self, outcome: Outcome) -> bool:
        error = outcome.error
        return (
            self._settlement.is_final(error)
            or isinstance(error, self._ignore)
            or Reason.STORE_UNAVAILABLE in outcome.reasons
            or Reason.RETRY_DOES_NOT_FIT in outcome.reasons
        )

    async def preview(self, call: Call) -> Outcome | None:
        """Unavailable if it would be refused now."""
        wait = self._gate.look()
        return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=wait) if wait is not None else None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        o = self._gate.options
        return {"name": self._gate.name, "fail_max": o.fail_max, "reset_after": o.reset_after, "probes": o.probes}
