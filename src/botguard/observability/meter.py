"""Counts of every command, kept as plain numbers and turned into Prometheus families only when they are scraped."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from typing import Any

from botguard.outcome import Outcome, Reason, Status

__all__ = ["BUCKETS", "CommandMeter", "Series"]

#: Upper bounds in seconds. 2 and 10 are the bounds of the service level objectives.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
#: Outcomes that count as failures of the automation, not as a caller's refusal.
_FAILED = Status.FAILED  # an enum's member is slow to look up on 3.11
_FAILURES = (Status.FAILED, Status.UNKNOWN, Status.UNAVAILABLE)
#: Durations that wait to be sorted into buckets; many at once cost a tenth of one by one.
_BATCH = 1024


class Series:
    """One command's numbers: every one exists at zero from registration. Read them after ``fold``."""

    __slots__ = (
        "buckets",
        "degraded",
        "fresh",
        "lock",
        "module",
        "rejected",
        "replayed",
        "retries",
        "seconds",
        "statuses",
    )

    def __init__(self, module: str) -> None:
        self.module = module
        self.lock = threading.Lock()
        self.statuses = dict.fromkeys(Status, 0)
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.replayed = self.retries = self.degraded = self.rejected = 0
        #: Durations by status that are not counted yet: appending is one atomic step, without a lock.
        self.fresh: dict[Status, deque[float]] = {status: deque() for status in Status}

    @property
    def failures(self) -> int:
        """Runs that ended failed, unknown or unavailable; a business refusal is none."""
        return sum(self.statuses[status] for status in _FAILURES) - self.rejected

    def fold(self) -> None:
        """Count what is fresh; called when there is much of it, and before anybody reads."""
        with self.lock:
            for status, fresh in self.fresh.items():
                durations = sorted([fresh.popleft() for _ in range(len(fresh))])
                if durations:
                    self.statuses[status] += len(durations)
                    self._sort_in(durations)

    def _sort_in(self, durations: list[float]) -> None:
        before = 0
        for place, bound in enumerate(BUCKETS):
            upto = bisect_right(durations, bound)
            self.buckets[place] += upto - before
            before = upto
        self.buckets[-1] += len(durations) - before
        self.seconds += sum(durations)


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
        fresh = series.fresh[outcome.status]
        fresh.append(outcome.duration)
        if len(fresh) >= _BATCH:
            series.fold()
        if outcome.replayed or outcome.degraded or outcome.attempts > 1 or outcome.status is _FAILED:
            with series.lock:
                series.rejected += Reason.REJECTED in outcome.reasons
                series.degraded += outcome.degraded
                series.replayed += outcome.replayed
                if not outcome.replayed and outcome.attempts > 1:
                    series.retries += outcome.attempts - 1

    def totals(self) -> dict[str, Any]:
        """All numbers as plain data, for tests and the demo."""
        found = {}
        for name, series in self.series.items():
            series.fold()
            found[name] = {
                "statuses": {str(status): n for status, n in series.statuses.items() if n},
                "failures": series.failures,
                "replayed": series.replayed,
                "retries": series.retries,
                "degraded": series.degraded,
            }
        return found
