"""Observations on their way to the guard's event store: few, late if need be, and never in the host's way."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from botguard.pipeline.refusals import RefusalLog
from botguard.ports.events import Event, EventStore
from botguard.ports.runtime import Runtime

__all__ = ["ShadowTrail"]

#: Events that wait for the store; the oldest is lost first, and counted.
_CAPACITY = 1000
#: Seconds for which a store that failed is left alone: its time-outs would be the host's.
_QUIET = 30.0


class ShadowTrail:
    """Of equal observations (org, command, verdict) five a minute become events, the rest one counted summary.

    A store that answers at once is written to right after the call. One that must be awaited is written to before the
    next call's handler begins: after a handler nothing may stand between its caller and the value.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._clock, self._new_id = runtime.clock, runtime.new_id
        self._lock = threading.Lock()
        self._log = RefusalLog()
        self._waiting: deque[Event] = deque()
        self._quiet_until = float("-inf")
        self._lost = 0

    @property
    def unwritten(self) -> int:
        """Calls whose events wait for the store, or were lost."""
        with self._lock:
            return self._lost + sum(event.count for event in self._waiting)

    def add(self, event: Event) -> None:
        """Take an observation."""
        verdict = "\n".join((event.status, event.reasons, str(event.attempts), str(event.replayed), event.shadow))
        with self._lock:
            if self._log.admit((event.org, "", event.command, verdict), self._clock.monotonic()):
                self._wait(event)
            self._summarise(4)

    def _wait(self, event: Event) -> None:
        if len(self._waiting) >= _CAPACITY:
            self._lost += self._waiting.popleft().count
        self._waiting.append(event)

    def _summarise(self, limit: int) -> None:
        for (org, _, command, verdict), n in self._log.take_due(limit):
            status, reasons, attempts, replayed, shadow = verdict.split("\n")
            self._wait(
                Event(
                    id=self._new_id(), kind="shadow", at=self._clock.time(), org=org, actor="", person="", channel="",
                    command=command, status=status, reasons=reasons, attempts=int(attempts), duration_ms=0.0,
                    success=status == "succeeded", replayed=replayed == "True", degraded=False, key="", shadow=shadow,
                    policy_digest="", correlation_id="", count=n,
                )
            )  # fmt: skip

    def close_minute(self) -> None:
        """Make the present minute's summaries wait for the store too, and ask it even if it has just failed."""
        with self._lock:
            self._quiet_until = float("-inf")
            self._log.close_minute()
            self._summarise(len(self._log.due))

    def write(self, store: EventStore) -> None:
        """Write what waits to a store that answers at once."""
        while (event := self._next()) is not None:
            try:
                _at_once(store.append(event))
            except Exception:  # noqa: BLE001 - whatever a store raises, the event waits for better times
                self._put_back(event)

    async def write_async(self, store: EventStore, runtime: Runtime) -> None:
        """Write what waits to any store."""
        while (event := self._next()) is not None:
            try:
                done: Any = store.append(event)
                if hasattr(done, "__await__"):  # to its end, even if the caller is cancelled meanwhile
                    await runtime.shield(done)
            except Exception:  # noqa: BLE001 - as above
                self._put_back(event)

    def _next(self) -> Event | None:
        if not self._waiting or self._clock.monotonic() < self._quiet_until:
            return None
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _put_back(self, event: Event) -> None:
        with self._lock:
            self._quiet_until = self._clock.monotonic() + _QUIET
            if len(self._waiting) < _CAPACITY:
                self._waiting.appendleft(event)
            else:
                self._lost += event.count


def _at_once(done: Any) -> None:
    if hasattr(done, "__await__"):
        if hasattr(done, "close"):
            done.close()
        raise TypeError("this store must be awaited, though its colour does not say so")
