"""MemoryStorage: the reference implementation of every store, thread-safe and without waiting."""

from __future__ import annotations

import secrets
import time as system_time
from collections import deque
from itertools import count
from typing import Any

from botguard.adapters.memory.approvals import MemoryApprovals
from botguard.adapters.memory.claims import MemoryClaims
from botguard.errors import ConfigurationError
from botguard.ports.colour import Colour
from botguard.ports.events import Event
from botguard.ports.storage import COMPLETION_WITH_EVENT

__all__ = ["MemoryEvents", "MemoryStorage"]


class _SystemClock:
    time = staticmethod(system_time.time)
    monotonic = staticmethod(system_time.monotonic)


class MemoryEvents:
    """The newest events, up to ``keep``; older ones are forgotten."""

    colour: Colour = "any"

    def __init__(self, keep: int = 100_000) -> None:
        # Plain tuples of plain values: the garbage collector stops visiting them, so that a full trail costs no pauses.
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=keep)

    def append(self, event: Event) -> None:
        """See the port."""
        self._rows.append(event[:])

    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        """See the port."""
        rows = [Event._make(row) for row in tuple(self._rows)]
        return [event for event in rows if org is None or event.org == org][-limit:] if limit > 0 else []

    def __len__(self) -> int:
        return len(self._rows)


class MemoryStorage:
    """A bundle of memory stores.

    Args:
        clock: seconds since the epoch by ``time()``; leases and lifetimes are judged by it.
        keep_events: how many audit events are remembered.
    """

    colour: Colour = "any"
    atomic = frozenset({COMPLETION_WITH_EVENT})
    limits = None
    work = None

    def __init__(self, *, clock: Any = None, keep_events: int = 100_000) -> None:
        clock = clock or _SystemClock()
        self.fingerprint_key = secrets.token_bytes(32)
        self.events = MemoryEvents(keep_events)
        self.idempotency = MemoryClaims(clock, self.events.append, count(1).__next__)
        self.approvals = MemoryApprovals(clock)

    def for_async(self) -> MemoryStorage:
        """Itself: nothing here ever blocks."""
        return self

    def joined(self, session: Any) -> MemoryStorage:
        """Memory has no transactions to join."""
        raise ConfigurationError(
            "BG141",
            f"MemoryStorage cannot join {session!r:.60}",
            why="memory has no transactions",
            fix="use SqliteStorage for transactional commands",
        )
