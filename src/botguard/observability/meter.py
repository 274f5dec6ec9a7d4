"""Counts of every command, kept as plain numbers and turned into Prometheus families only when they are scraped."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from operator import add
from typing import Any, NamedTuple

from botguard.outcome import Outcome, Reason, Status
from botguard.ports.telemetry import JobSource

__all__ = ["BUCKETS", "CommandMeter", "Numbers", "Series"]

#: Upper bounds in seconds. 2 and 10 are the bounds of the service level objectives.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
#: Outcomes that count as failures of the automation, not as a caller's refusal.
_FAILED = Status.FAILED  # an enum's member is slow to look up on 3.11
_FAILURES = (Status.FAILED, Status.UNKNOWN, Status.UNAVAILABLE)
#: Durations that wait to be sorted into buckets; many at once cost a tenth of one by one.
_BATCH = 1024


class Numbers(NamedTuple):
    """One command's counts, read at one moment. None of them ever falls."""

    statuses: dict[Status, int]
    #: Runs by duration: one count for each bound of ``BUCKETS``, and one for what took longer.
    buckets: tuple[int, ...]
    seconds: float
    #: Failed runs that were business refusals (``rejected``).
    rejected: int
    replayed: int
    retries: int
    degraded: int

    @property
    def runs(self) -> int:
        """Finished runs of every status, replays included."""
        return sum(self.statuses.values())

    @property
    def failures(self) -> int:
        """Runs that ended failed, unknown or unavailable; a business refusal is none."""
        return sum(self.statuses[status] for status in _FAILURES) - self.rejected

    def plus(self, other: Numbers) -> Numbers:
        """The numbers of both, as of one command."""
        return Numbers(
            {status: count + other.statuses[status] for status, count in self.statuses.items()},
            tuple(map(add, self.buckets, other.buckets)),
            *map(add, self[2:], other[2:]),
        )


class Series:
    """Where one command's runs are counted: every number exists at zero from registration."""

    __slots__ = (
        "_buckets",
        "_rejected",
        "_seconds",
        "_statuses",
        "declined",
        "degraded",
        "fresh",
        "lock",
        "module",
        "replayed",
        "retries",
    )

    def __init__(self, module: str) -> None:
        self.module = module
        self.lock = threading.Lock()
        self._statuses = dict.fromkeys(Status, 0)
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._rejected = self.replayed = self.retries = self.degraded = 0
        #: Durations by status that are not counted yet: appending is one atomic step, without a lock.
        self.fresh: dict[Status, deque[float]] = {status: deque() for status in Status}
        #: The same for failures that were business refusals: set apart in that one step, so that no reader ever sees
        #: one counted as a failure and taken back later.
        self.declined: deque[float] = deque()

    def read(self) -> Numbers:
        """All numbers of this moment."""
        with self.lock:
            self._fold()
            return Numbers(
                self._statuses.copy(), tuple(self._buckets), self._seconds,
                self._rejected, self.replayed, self.retries, self.degraded,
            )  # fmt: skip

    def fold(self) -> None:
        """Count what is fresh; called when there is much of it."""
        with self.lock:
            self._fold()

    def _fold(self) -> None:
        for status, fresh in self.fresh.items():
            self._count(status, fresh)
        self._rejected += self._count(_FAILED, self.declined)

    def _count(self, status: Status, fresh: deque[float]) -> int:
        durations = sorted([fresh.popleft() for _ in range(len(fresh))])
        before = 0
        for place, bound in enumerate(BUCKETS if durations else ()):
            upto = bisect_right(durations, bound)
            self._buckets[place] += upto - before
            before = upto
        self._buckets[-1] += len(durations) - before
        self._seconds += sum(durations)
        self._statuses[status] += len(durations)
        return len(durations)


class CommandMeter:
    """A :class:`botguard.ports.telemetry.Meter`. Labels come from the registry only, so their number is bounded."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        #: Where the numbers of the jobs are read at each scrape; None as long as there is no job part.
        self.jobs: JobSource | None = None

    def register(self, command: str, module: str) -> None:
        """See the port."""
        if command not in self.series:
            self.series[command] = Series(module)

    def observe(self, command: str, outcome: Outcome) -> None:
        """See the port."""
        series, status = self.series[command], outcome.status
        declined = status is _FAILED and Reason.REJECTED in outcome.reasons
        fresh = series.declined if declined else series.fresh[status]
        fresh.append(outcome.duration)
        if len(fresh) >= _BATCH:
            series.fold()
        if outcome.replayed or outcome.degraded or outcome.attempts > 1:
            with series.lock:
                series.degraded += outcome.degraded
                series.replayed += outcome.replayed
                if not outcome.replayed and outcome.attempts > 1:
                    series.retries += outcome.attempts - 1

    def totals(self) -> dict[str, Any]:
        """All numbers as plain data, for tests and the demo."""
        found = {}
        for name, series in self.series.copy().items():
            numbers = series.read()
            found[name] = {
                "statuses": {str(status): n for status, n in numbers.statuses.items() if n},
                "failures": numbers.failures,
                "replayed": numbers.replayed,
                "retries": numbers.retries,
                "degraded": numbers.degraded,
            }
        return found
