"""Limits, in as few words as they can be said."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from botguard.ports.colour import Colour
from botguard.ports.limits import Limit, Reservation

__all__ = ["LimitModel"]


class LimitModel:
    """LimitStore: a list of calls for each bucket, weighed anew each time."""

    colour: Colour = "any"

    def __init__(self, clock: Any) -> None:
        self.time: Callable[[], float] = clock.time
        self.lock = threading.RLock()
        self.calls: dict[tuple[str, str], list[tuple[float, str]]] = {}

    def of(self, limit: Limit, bucket: str) -> list[tuple[float, str]]:
        return self.calls.setdefault((limit.tag, bucket), [])

    def wait(self, limit: Limit, bucket: str) -> float:
        """0 if one more call fits, else the seconds until it does."""
        now, window, amount = self.time(), limit.window, limit.amount
        times = sorted(at for at, _ in self.of(limit, bucket))
        if limit.strategy in ("moving-window", "concurrent"):
            recent = [at for at in times if at + window > now]
            return recent[-amount] + window - now if len(recent) >= amount else 0.0
        index = now // window
        gone = now - index * window
        here = sum(at // window == index for at in times)
        if limit.strategy == "fixed-window":
            return window - gone if here >= amount else 0.0
        before = sum(at // window == index - 1 for at in times)
        if math.floor(before * (window - gone) / window) + here < amount:
            return 0.0
        fading, room, passed = (before, amount - here, gone) if here < amount else (here, amount, gone - window)
        return max(window - passed - room * window / fading, 0.0) + 0.001  # at that very moment it still weighs

    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        waits = [(self.wait(limit, bucket), limit) for limit, bucket in zip(limits, buckets, strict=True)]
        full = [(wait, limit) for wait, limit in waits if wait > 0.0]
        if not full:
            return Reservation(True)
        wait, limit = max(full, key=lambda pair: pair[0])
        return Reservation(False, limit, wait)

    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        with self.lock:
            answer = self.test(limits, buckets)
            if not answer.granted:
                return answer
            now = self.time()
            for limit, bucket in zip(limits, buckets, strict=True):
                self.of(limit, bucket).append((now, token))
            return Reservation(True, None, 0.0, (now, token))

    def refund(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        with self.lock:
            for limit, bucket in zip(limits, buckets, strict=True):
                if reservation.token in (calls := self.of(limit, bucket)):
                    calls.remove(reservation.token)

    def release(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        caps = [(m, b) for m, b in zip(limits, buckets, strict=True) if m.strategy == "concurrent"]
        self.refund(tuple(m for m, _ in caps), tuple(b for _, b in caps), reservation)
