"""Claims, in as few words as they can be said."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from botguard.ports.colour import Colour
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState

__all__ = ["ClaimModel", "Entry"]

CLAIMED, DONE, FAILED, UNKNOWN = RowState
SETTLED = (DONE, FAILED)


@dataclass
class Entry:
    state: RowState
    request: ClaimRequest
    fence: int
    until: float
    result: bytes | None = None
    event_id: str = ""
    attempts: int = 0


class ClaimModel:
    """IdempotencyStore."""

    colour: Colour = "any"

    def __init__(self, clock: Any) -> None:
        self.time: Callable[[], float] = clock.time
        self.lock, self.fences = threading.RLock(), count(1)
        self.rows: dict[str, Entry] = {}
        self.events: list[Event] = []

    def over(self, until: float) -> bool:
        return bool(self.time() >= until)

    def live(self, key: str) -> Entry | None:
        row = self.rows.get(key)
        return None if row is None or (row.state in SETTLED and self.over(row.until)) else row

    def shown(self, row: Entry) -> Row:
        _, _, _, claim_id, person, fingerprint, version, *_ = row.request
        left = row.until - self.time()
        named = (person, fingerprint, version)
        return Row(row.state, claim_id, row.fence, left, *named, row.result, row.event_id, row.attempts)

    def peek(self, key: str) -> Row | None:
        with self.lock:
            row = self.live(key)
            return None if row is None else self.shown(row)

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        with self.lock:
            row = self.live(request.key)
            if row is not None and row.state is CLAIMED and row.request.claim_id == request.claim_id:
                row.until = self.time() + request.lease
                return ClaimAnswer(True, row.fence, None)
            if row is not None and not self.may_take(row, request):
                return ClaimAnswer(False, 0, self.shown(row))
            fence = next(self.fences)
            self.rows[request.key] = Entry(CLAIMED, request, fence, self.time() + request.lease)
            self.store(event)
            return ClaimAnswer(True, fence, None)

    def may_take(self, row: Entry, request: ClaimRequest) -> bool:
        if row.state is UNKNOWN:
            return request.supersede == row.request.claim_id
        if row.state is not CLAIMED or not self.over(row.until) or not self.same(row.request, request):
            return False
        if not request.takeover:
            row.state, row.until = UNKNOWN, math.inf
        return request.takeover

    def same(self, one: ClaimRequest, other: ClaimRequest) -> bool:
        return one.fingerprint == other.fingerprint or one.version != other.version  # versions are not compared

    def mine(self, key: str, claim_id: str) -> Entry | None:
        row = self.rows.get(key)
        return row if row is not None and row.request.claim_id == claim_id else None

    def store(self, event: Event | None) -> None:
        if event is not None:
            self.events.append(event)

    def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None = None,
    ) -> Ack:
        with self.lock:
            row = self.mine(key, claim_id)
            if row is None:
                return Ack.LOST
            if row.state in SETTLED or row.state is state:
                return Ack.ALREADY
            until = math.inf if state is UNKNOWN else self.time() + keep
            event_id = "" if event is None else event.id
            done = replace(row, state=state, until=until, result=result, event_id=event_id, attempts=attempts)
            self.rows[key] = done
            self.store(event)
            return Ack.APPLIED

    def release(self, key: str, claim_id: str) -> Ack:
        with self.lock:
            row = self.mine(key, claim_id)
            if key not in self.rows:
                return Ack.ALREADY
            if row is None or row.state is not CLAIMED:
                return Ack.LOST
            del self.rows[key]
            return Ack.APPLIED

    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        with self.lock:
            row = self.mine(key, claim_id)
            if row is None or row.state is not CLAIMED:
                return Ack.LOST
            row.until = self.time() + lease
            return Ack.APPLIED

    def purgeable(self, row: Entry) -> bool:
        return row.state in SETTLED and self.over(row.until)

    def purge(self, limit: int = 1000) -> int:
        with self.lock:
            gone = [key for key, row in self.rows.items() if self.purgeable(row)][:limit]
            for key in gone:
                del self.rows[key]
            return len(gone)

    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return [event for event in self.events if org is None or event.org == org][-limit:]
