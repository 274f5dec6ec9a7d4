"""One bucket of a shared limit, as of now: what fits, and when the next call does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from botguard.adapters.django.spelling import MICRO, micros
from botguard.ports.limits import Limit

__all__ = ["Counter", "CounterRow"]

#: A call ends when it ends: nobody can say when a slot is free, but it is worth asking again soon.
_SLOT_RETRY = 1.0
_LOGGING = ("moving-window", "concurrent")


class CounterRow(NamedTuple):
    """A bucket as it is stored, and the time when it was read."""

    slot: int
    used: int
    before: int
    entries: bytes | None
    now: int


@dataclass(slots=True)
class Counter:
    """One bucket, as of now."""

    limit: Limit
    now: int
    slot: int
    used: int
    before: int
    entries: list[list[Any]]

    @classmethod
    def of(cls, limit: Limit, now: int, row: CounterRow | None) -> Counter:
        slot, window = 0, micros(limit.window)
        used, before = 0, 0
        entries: list[list[Any]] = []
        if limit.strategy in _LOGGING:
            if row is not None and row.entries is not None:
                entries = [entry for entry in json.loads(bytes(row.entries)) if entry[0] > now]
        else:
            slot = now // window
            if row is not None:
                used = row.used if row.slot == slot else 0
                before = row.before if row.slot == slot else row.used if row.slot == slot - 1 else 0
        return cls(limit, now, slot, used, before, entries)

    def wait(self) -> float:
        """0 if one more call fits, else seconds until it may."""
        limit = self.limit
        if limit.strategy in _LOGGING:
            if len(self.entries) < limit.amount:
                return 0.0
            end = sorted(entry[0] for entry in self.entries)[len(self.entries) - limit.amount]
            left = float(end - self.now) / MICRO
            return left if limit.strategy == "moving-window" else min(_SLOT_RETRY, left)
        window = limit.window
        gone = (self.now - self.slot * micros(window)) / MICRO
        if limit.strategy == "fixed-window":
            return 0.0 if self.used < limit.amount else window - gone
        if int(self.before * (window - gone) / window) + self.used < limit.amount:
            return 0.0
        room = limit.amount - self.used
        if room > 0:  # until the previous window weighs less than the room, for which equal is not enough
            return max(window - gone - room * window / self.before, 0.0) + 0.001
        # This window's own calls fill the limit: they must fade in the next one, as "the window before".
        return window - gone + max(window - limit.amount * window / self.used, 0.0) + 0.001

    def enter(self, token: str) -> None:
        """Count one call."""
        if self.limit.strategy in _LOGGING:
            self.entries = [entry for entry in self.entries if entry[1] != token]
            self.entries.append([self.now + micros(self.limit.window), token])
        else:
            self.used += 1

    def leave(self, token: str, taken: int) -> None:
        """Take one call back."""
        if self.limit.strategy in _LOGGING:
            self.entries = [entry for entry in self.entries if entry[1] != token]
            return
        slot = taken // micros(self.limit.window)
        if slot == self.slot:
            self.used = max(self.used - 1, 0)
        elif slot == self.slot - 1:
            self.before = max(self.before - 1, 0)

    def values(self, base: int) -> dict[str, Any]:
        """The row as it is stored; times are written as distances where the server's clock is in the statement."""
        if self.limit.strategy in _LOGGING:
            end = max((entry[0] for entry in self.entries), default=self.now)
            entries = json.dumps(self.entries).encode()
        else:
            end, entries = (self.slot + 2) * micros(self.limit.window), None
        return {
            "slot": self.slot,
            "used": self.used,
            "before": self.before,
            "entries": entries,
            "life": base + end - self.now,
        }
