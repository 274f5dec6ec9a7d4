"""A clock that moves only when it is told to, or when somebody sleeps on it."""

from __future__ import annotations

import asyncio
import threading

__all__ = ["FakeClock"]


class FakeClock:
    """Give it to ``Guard(clock=…)`` and to the storage; then ``advance`` instead of waiting.

    Sleeping on it returns at once and moves it forward, so that retries and waits take no real time.

    Args:
        start: seconds since the epoch at which ``time()`` begins.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._wall, self._passed = start, 0.0
        self._lock = threading.Lock()
        #: Every sleep so far, in seconds.
        self.naps: list[float] = []

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        with self._lock:
            self._wall += seconds
            self._passed += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock: ``time()`` jumps, back with a negative number, and ``monotonic()`` goes on."""
        with self._lock:
            self._wall += seconds

    def sleep(self, seconds: float) -> None:
        """Pass the time at once."""
        self.naps.append(seconds)
        self.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Pass the time at once, and let other tasks run."""
        self.sleep(seconds)
        await asyncio.sleep(0)
