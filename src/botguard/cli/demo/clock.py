"""The demo's clock: the system's, set ahead where a scene needs a later hour and nobody wants to wait for it."""

from __future__ import annotations

from botguard.runtime import SystemClock

__all__ = ["ShopClock"]


class ShopClock(SystemClock):
    """The system's clock as it will be ``ahead`` seconds from now."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def time(self) -> float:
        """Seconds since the epoch."""
        return SystemClock.time() + self.ahead

    def monotonic(self) -> float:
        """Seconds since some moment; for lengths of time."""
        return SystemClock.monotonic() + self.ahead
