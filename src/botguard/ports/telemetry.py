"""Counting: told of every outcome, never allowed to break a call. And what a scrape asks of the stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from botguard.outcome import Outcome

__all__ = ["LATENCY_BOUNDS", "JobNumbers", "JobSource", "Meter"]

#: Upper bounds of a job's latency in seconds. 2 and 10 are the bounds of the service level objectives.
LATENCY_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Meter(Protocol):
    """Metrics. Labels come from the registry only, so their number is bounded."""

    def register(self, command: str, module: str) -> None:
        """Make a command's series exist at zero."""
        ...

    def observe(self, command: str, outcome: Outcome) -> None:
        """Count one finished call."""
        ...


class JobNumbers(NamedTuple):
    """The jobs of one store, as it counts them when it is asked.

    Args:
        queued, processing, failed: jobs in that state now.
        latencies: finished jobs by seconds from due to done: one count for each of ``LATENCY_BOUNDS``, and one for what
            took longer.
        latency_seconds: the sum of those seconds.
    """

    queued: int = 0
    processing: int = 0
    failed: int = 0
    latencies: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS) + 1)
    latency_seconds: float = 0.0


#: Asked at each scrape, at once and not too often; whatever it raises means that the store cannot be read now.
JobSource = Callable[[], JobNumbers]
