"""Counts of every command, kept as plain numbers and turned into Prometheus families only when they are scraped."""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import Any

from botguard.outcome import Outcome, Status

__all__ = ["BUCKETS", "CommandMeter", "Series"]

#: Upper bounds in seconds. 2 and 10 are the bounds of the service level objectives.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
#: Outcomes that count as failures of the automation, not as a caller's refusal.
_FAILURES = frozenset((Status.FAILED, Status.UNKNOWN, Status.UNAVAILABLE))


class Series:
    """One command's numbers: every one exists at zero from registration."""

    __slots__ = ("buckets", "degraded", "failures", "lock", "module", "replayed", "retries", "seconds", "statuses")

    def __init__(self, module: str) -> None:
        self.module = module
        self.lock = threading.Lock()
        self.statuses = dict.fromkeys(Status, 0)
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.failures = self.replayed = self.retries = self.degraded = 0


class CommandMeter:
    """A :class:`botguard.ports.telemetry.Meter`. Labels come from the registry only, so their number is bounded."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}

    def register(self, command: str, module: str) -> None:
        """See the port."""
        if command not in self.series:
            self.series[command] = Series(module)

    def observe(self, command: str, outcome: Outcome) -> None:
        """See the port."""
        series = self.series[command]
        seconds = outcome.duration
        place = bisect_left(BUCKETS, seconds)
        with series.lock:
            series.statuses[outcome.status] += 1
            series.buckets[place] += 1
            series.seconds += seconds
            if outcome.attempts > 1 and not outcome.replayed:
                series.retries += outcome.attempts - 1
            if outcome.status in _FAILURES:
                series.failures += 1
            if outcome.replayed:
                series.replayed += 1
            if outcome.degraded:
                series.degraded += 1

    def totals(self) -> dict[str, Any]:
        """All numbers as plain data, for tests and the demo."""
        return {
            name: {
                "statuses": {str(status): n for status, n in s.statuses.items() if n},
                "failures": s.failures,
                "replayed": s.replayed,
                "retries": s.retries,
                "degraded": s.degraded,
            }
            for name, s in self.series.items()
        }
