"""The ports in as few words as they can be said: what stores are compared with, and what bad stores deviate from."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.ports.limits import Limit, Reservation

CLAIMED, DONE, FAILED, UNKNOWN = RowState
SETTLED = (DONE, FAILED)
EXPIRED = ApprovalState.EXPIRED


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

    colour = "any"

    def __init__(self, clock: Any) -> None:
        self.time, self.lock, self.fences = clock.time, threading.RLock(), count(1)
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


class ApprovalModel:
    """ApprovalStore."""

    colour = "any"

    def __init__(self, clock: Any) -> None:
        self.time, self.lock = clock.time, threading.RLock()
        self.requests: dict[str, ApprovalRequest] = {}  # by subject

    def over(self, request: ApprovalRequest) -> bool:
        return bool(self.time() >= request.expires_at and not request.spent_on)

    def shown(self, request: ApprovalRequest | None) -> ApprovalRequest | None:
        if request is None or not self.over(request):
            return request
        return request._replace(state=EXPIRED)

    def by_subject(self, subject: str) -> ApprovalRequest | None:
        with self.lock:
            return self.shown(self.requests.get(subject))

    def by_token(self, token: str) -> ApprovalRequest | None:
        with self.lock:
            return self.shown(next((r for r in self.requests.values() if r.token == token), None))

    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        with self.lock:
            known = self.by_subject(request.subject)
            if known is not None and known.state is not EXPIRED:
                return known
            end = self.time() + lifetime
            made = request._replace(expires_at=end, state=ApprovalState.OPEN, spent_on="")
            self.requests[request.subject] = made
            return made

    def decide(self, token: str, state: ApprovalState) -> ApprovalRequest | None:
        with self.lock:
            found = self.by_token(token)
            if found is not None and found.state is ApprovalState.OPEN:
                found = self.requests[found.subject] = found._replace(state=state)
            return found

    def spend(self, subject: str, key: str) -> bool:
        with self.lock:
            found = self.by_subject(subject)
            if found is None or found.state is not ApprovalState.APPROVED or found.spent_on not in ("", key):
                return False
            self.requests[subject] = found._replace(spent_on=key)
            return True

    def purge(self, limit: int = 1000) -> int:
        with self.lock:
            gone = [s for s, r in self.requests.items() if self.time() >= r.expires_at + 86400.0][:limit]
            for subject in gone:
                del self.requests[subject]
            return len(gone)


class LimitModel:
    """LimitStore: a list of calls for each bucket, weighed anew each time."""

    colour = "any"

    def __init__(self, clock: Any) -> None:
        self.time, self.lock = clock.time, threading.RLock()
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
