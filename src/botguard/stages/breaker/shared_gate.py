"""SharedGate: a breaker that follows what other processes have found out, and decides alone when nobody can be asked."""

from __future__ import annotations

from typing import NamedTuple

from botguard.options import Breaker
from botguard.ports.breakers import BreakerView
from botguard.ports.runtime import Clock
from botguard.stages.breaker.gate import CLOSED, HALF_OPEN, OPEN, BreakerGate

__all__ = ["SharedGate", "Ticket"]


class Ticket(NamedTuple):
    """A probe that the store has granted: its era there, its name, and its permit here, should the store be down."""

    era: int
    probe: str
    local: tuple[int, int]


class SharedGate(BreakerGate):
    """A BreakerGate that mirrors a shared one. It asks nobody itself: the stage does, and reports the answers.

    While closed it counts failures for itself and trusts the last answer for ``refresh`` seconds, so that most calls ask
    nobody. While open it refuses by itself. Probes are the store's to grant. While the store is down (``alone``) it is a
    plain BreakerGate that goes on from the state it had.
    """

    def __init__(self, name: str, options: Breaker, clock: Clock) -> None:
        super().__init__(name, options, clock)
        #: The store did not answer when it was last asked.
        self.alone = False
        #: The store's era that is mirrored here.
        self.shared_era = 0
        #: From the first moment on one caller looks, and the others trust the last answer until the second.
        self._soft = self._hard = float("-inf")

    # -- whom to ask ----------------------------------------------------------------------------------------------

    def fresh(self, now: float) -> bool:
        """The last answer is good enough: nobody has to be asked, and nothing to be noted."""
        return now < self._soft and not self.alone

    def due(self, now: float) -> bool:
        """True if this caller is to look before it decides."""
        with self._lock:
            if now < self._soft:
                return False
            if self.alone:
                self._soft = now + self.options.refresh
            else:  # past the second moment it stays where it is, and everybody looks
                self._soft = min(now + self.options.refresh / 2, self._hard)
            return True

    def enter(self) -> tuple[int, int] | float | None:
        """A permit of the closed breaker, seconds to wait if refused, or None: the store has to be asked for a probe."""
        if self._state == CLOSED:
            return (self._era, 0)
        with self._lock:
            if self.alone:
                return self.admit()
            if self._state == CLOSED:
                return (self._era, 0)
            wait = self._until - self._clock.monotonic()
            return wait if wait > 0 else None

    def look(self) -> float | None:
        """As for a BreakerGate, by the last answer: it asks nobody."""
        if self._state == CLOSED:
            return None
        with self._lock:
            if self.alone:
                return super().look()
            wait = self._until - self._clock.monotonic()
            return wait if self._state != CLOSED and wait > 0 else None

    # -- what the store has said ----------------------------------------------------------------------------------

    def follow(self, view: BreakerView, asked: float) -> float | None:
        """Take over an answer to a question of the moment ``asked``.

        Returns:
            None; or seconds for which the store should open, since it knows less than this process: it was down, or has
            forgotten.
        """
        with self._lock:
            now = self._clock.monotonic()
            if self.alone:
                self._return()
            self._soft = max(self._soft, asked + self.options.refresh / 2)
            self._hard = max(self._hard, asked + self.options.refresh)
            if view.state == CLOSED and view.era in (0, self.shared_era):
                if self._state == CLOSED:
                    return None
                return max(0.0, self._until - now) if self._state == OPEN else 0.0
            if view.era < self.shared_era:
                return None  # overtaken by a later answer
            before, self.shared_era = self.shared_era, view.era
            if view.state != self._state:
                self._turn(view.state)
            elif view.era != before:
                self._begin_era()
            # How long to refuse without asking; a probe's place may become free before its wait is over.
            self._until = now + (view.wait if view.state == OPEN else min(view.wait, self.options.refresh))
            return None

    def _return(self) -> None:
        """The store is back; probes that this process let through by itself have no say any more."""
        self.alone = False
        self._soft = self._hard = float("-inf")
        if self._state == HALF_OPEN:
            self._begin_era()

    def leave(self) -> None:
        """The store does not answer."""
        with self._lock:
            self.alone = True
            self._soft = self._clock.monotonic() + self.options.refresh

    # -- probes and results ---------------------------------------------------------------------------------------

    def take(self, view: BreakerView, probe: str) -> Ticket:
        """Note a probe that the store has granted."""
        with self._lock:
            self._probe_number += 1
            self._probes[self._probe_number] = self._clock.monotonic() + self.options.probe_timeout
            return Ticket(view.era, probe, (self._era, self._probe_number))

    def fail(self, permit: tuple[int, int]) -> int | None:
        """As ``failed``; the shared era in which this has opened the closed breaker, to be told to the store."""
        with self._lock:
            before, era = self._state, self.shared_era
            self.failed(permit)
            return era if before == CLOSED and self._state == OPEN else None
