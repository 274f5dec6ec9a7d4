"""What several processes tell each other about a dependency that is down (semantics, section 4)."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["BreakerState", "BreakerStore", "BreakerView", "ProbeResult"]

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]
#: How a probe ended; ``ignored`` says nothing about the dependency.
ProbeResult: TypeAlias = Literal["ok", "failed", "ignored"]


class BreakerView(NamedTuple):
    """One breaker as the store knows it.

    Args:
        state: ``closed``; ``open`` until its time is over and somebody asks for a probe; ``half-open`` from then on.
        era: 0 while nothing is known of the breaker; every change of state begins a greater one.
        wait: seconds after which a probe may be let through; 0 for now. Only a hint where the answer is of ``look``.
        granted: the caller of ``admit`` has a probe, in this era.
    """

    state: BreakerState
    era: int = 0
    wait: float = 0.0
    granted: bool = False


class BreakerStore(Protocol):
    """Shared breakers by name. Thread-safe; each method is one atomic step, judged by the store's own clock.

    Failures are counted by each process for itself: only that a breaker is open, and the probes, are shared. Every method
    may be said again after a lost answer: it changes nothing more.
    """

    colour: Colour

    def look(self, name: str) -> MaybeAwaitable[BreakerView]:
        """The breaker as it is; changes nothing."""
        ...

    def open(self, name: str, era: int, seconds: float) -> MaybeAwaitable[BreakerView]:
        """A process has counted failures enough in the closed breaker of ``era``: open it for so many seconds.

        What comes from an older era than the store's is dropped, and so is what comes when it is not closed any more. An
        ``era`` above the store's says that the store has forgotten: it opens.

        Returns:
            the breaker as it is afterwards.
        """
        ...

    def admit(self, name: str, era: int, probe: str, probes: int, probe_timeout: float) -> MaybeAwaitable[BreakerView]:
        """Ask for a probe under a name that is new, for so many seconds; after those it counts as lost.

        An open breaker whose time is over becomes half-open. Half-open, it grants as long as the probes that are out and
        those that succeeded are fewer than ``probes``, over all processes. An ``era`` above the store's says that the
        store has forgotten an open breaker: it becomes half-open.

        Returns:
            ``granted``, or the breaker as it is, with the wait.
        """
        ...

    def settle(
        self, name: str, era: int, probe: str, result: ProbeResult, probes: int, reset_after: float
    ) -> MaybeAwaitable[BreakerView]:
        """A probe has ended. ``probes`` that are ok close the breaker; one that failed opens it for ``reset_after`` seconds.

        Dropped are results of another era than the store's, and an ``ok`` of a probe that is lost. ``ignored`` gives the
        probe's place back in any era.

        Returns:
            the breaker as it is afterwards.
        """
        ...
