"""Shared breakers in a dict: for the guards of one process, and as the model of the port."""

from __future__ import annotations

import threading
import time as system_time
from collections.abc import Callable

from botguard.ports.breakers import BreakerState, BreakerView, ProbeResult
from botguard.ports.colour import Colour
from botguard.ports.runtime import Clock

__all__ = ["MemoryBreakers"]


class _Row:
    """One breaker."""

    def __init__(self) -> None:
        self.state: BreakerState = "closed"
        self.era = 0
        self.until = 0.0
        self.succeeded = 0
        #: Probes that are out, and when each counts as lost.
        self.probes: dict[str, float] = {}


class MemoryBreakers:
    """See :class:`botguard.ports.breakers.BreakerStore`.

    Args:
        clock: default: the system's.
    """

    colour: Colour = "any"

    def __init__(self, clock: Clock | None = None) -> None:
        self._now: Callable[[], float] = system_time.monotonic if clock is None else clock.monotonic
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}

    def look(self, name: str) -> BreakerView:
        """See the port."""
        with self._lock:
            return self._view(self._rows.get(name) or _Row())

    def open(self, name: str, era: int, seconds: float) -> BreakerView:
        """See the port."""
        with self._lock:
            row = self._rows.setdefault(name, _Row())
            if row.state == "closed" and era >= row.era:
                self._open(row, era, seconds)
            return self._view(row)

    def admit(self, name: str, era: int, probe: str, probes: int, probe_timeout: float) -> BreakerView:
        """See the port."""
        now = self._now()
        with self._lock:
            row = self._rows.setdefault(name, _Row())
            if era > row.era or (row.state == "open" and row.until <= now):
                self._begin(row, "half-open", era)
            if row.state != "half-open":
                return self._view(row)
            self._drop_lost(row, now)
            if probe not in row.probes and len(row.probes) + row.succeeded >= probes:
                first = min(row.probes.values(), default=now)
                return BreakerView("half-open", row.era, max(0.05, min(1.0, first - now)))
            row.probes.setdefault(probe, now + probe_timeout)
            return BreakerView("half-open", row.era, granted=True)

    def settle(
        self, name: str, era: int, probe: str, result: ProbeResult, probes: int, reset_after: float
    ) -> BreakerView:
        """See the port."""
        with self._lock:
            row = self._rows.setdefault(name, _Row())
            self._drop_lost(row, self._now())
            known = row.probes.pop(probe, None) is not None
            if era == row.era and row.state == "half-open":
                if result == "failed":
                    self._open(row, era, reset_after)
                elif result == "ok" and known:
                    row.succeeded += 1
                    if row.succeeded >= probes:
                        self._begin(row, "closed", era)
            return self._view(row)

    def _open(self, row: _Row, era: int, seconds: float) -> None:
        self._begin(row, "open", era)
        row.until = self._now() + seconds

    @staticmethod
    def _begin(row: _Row, state: BreakerState, era: int) -> None:
        row.state, row.era, row.succeeded = state, max(row.era, era) + 1, 0
        row.probes.clear()

    @staticmethod
    def _drop_lost(row: _Row, now: float) -> None:
        row.probes = {probe: end for probe, end in row.probes.items() if end > now}

    def _view(self, row: _Row) -> BreakerView:
        wait = max(0.0, row.until - self._now()) if row.state == "open" else 0.0
        return BreakerView(row.state, row.era, wait)
