"""The observer's own memory in the place of a storage: bounded, private, and forgotten with the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.colour import Colour
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState

__all__ = ["CAPACITY", "RememberedKeys", "ShadowStorage"]

#: Keys that are remembered, and requests: the oldest is forgotten first. A key takes some 0.6 KB.
CAPACITY = 10_000
_SETTLED = (RowState.DONE, RowState.FAILED)
_NEVER = float("inf")


class RememberedKeys:
    """See :class:`botguard.ports.idempotency.IdempotencyStore`; the key that was claimed first is forgotten first."""

    colour: Colour = "any"

    def __init__(self, monotonic: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._time, self._capacity = monotonic, capacity
        self._next_fence = count(1).__next__
        self._lock = threading.Lock()
        #: (end of the lease or of the lifetime, row), in the order of the first claims.
        self._rows: dict[str, tuple[float, Row]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def _live(self, key: str) -> Row | None:
        until, row = self._rows.get(key, (0.0, None))
        if row is None:
            return None
        left = until - self._time()
        return None if left <= 0 and row.state in _SETTLED else row._replace(lease_left=left)

    def peek(self, key: str) -> Row | None:
        """See the port."""
        with self._lock:
            return self._live(key)

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        """See the port."""
        with self._lock:
            row = self._live(request.key)
            if row is not None:
                answer = self._contested(row, request)
                if answer is not None:
                    return answer
            return ClaimAnswer(True, self._put(request), None)

    def _contested(self, row: Row, request: ClaimRequest) -> ClaimAnswer | None:
        """None if the row may be replaced; otherwise what stands in the way, or that it is the asker's already."""
        if row.state is RowState.UNKNOWN and request.supersede is not None and row.claim_id == request.supersede:
            return None
        if row.state is RowState.CLAIMED:
            if row.claim_id == request.claim_id:  # the answer to the same claim was lost
                self._rows[request.key] = (self._time() + request.lease, row)
                return ClaimAnswer(True, row.fence, None)
            same = row.fingerprint == request.fingerprint or row.version != request.version
            if row.lease_left <= 0 and same:
                if request.takeover:
                    return None
                row = row._replace(state=RowState.UNKNOWN, lease_left=_NEVER)
                self._rows[request.key] = (_NEVER, row)
        return ClaimAnswer(False, 0, row)

    def _put(self, request: ClaimRequest) -> int:
        key, _, _, claim_id, person, fingerprint, version, lease, _, _ = request
        fence = self._next_fence()
        row = Row(RowState.CLAIMED, claim_id, fence, lease, person, fingerprint, version, None, "", 0)
        self._rows.pop(key, None)
        self._rows[key] = (self._time() + lease, row)
        if len(self._rows) > self._capacity:
            del self._rows[next(iter(self._rows))]
        return fence

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
        """See the port."""
        with self._lock:
            _, row = self._rows.get(key, (0.0, None))
            if row is None or row.claim_id != claim_id:
                return Ack.LOST
            if row.state in _SETTLED or (row.state is RowState.UNKNOWN and state is RowState.UNKNOWN):
                return Ack.ALREADY
            until = _NEVER if state is RowState.UNKNOWN else self._time() + keep
            event_id = event.id if event is not None else ""
            self._rows[key] = (until, row._replace(state=state, result=result, event_id=event_id, attempts=attempts))
        return Ack.APPLIED

    def release(self, key: str, claim_id: str) -> Ack:
        """See the port."""
        with self._lock:
            _, row = self._rows.get(key, (0.0, None))
            if row is None:
                return Ack.ALREADY
            if row.claim_id != claim_id or row.state is not RowState.CLAIMED:
                return Ack.LOST
            del self._rows[key]
        return Ack.APPLIED

    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        """See the port."""
        with self._lock:
            _, row = self._rows.get(key, (0.0, None))
            if row is None or row.claim_id != claim_id or row.state is not RowState.CLAIMED:
                return Ack.LOST
            self._rows[key] = (self._time() + lease, row)
        return Ack.APPLIED

    def purge(self, limit: int = 1000) -> int:
        """See the port."""
        with self._lock:
            over = [key for key, (_, row) in self._rows.items() if row.state in _SETTLED and self._live(key) is None]
            for key in over[:limit]:
                del self._rows[key]
        return len(over[:limit])

    def forget(self, key: str) -> None:
        """Drop a key that was made for one call alone: nobody can ask for it again."""
        with self._lock:
            self._rows.pop(key, None)


class _WithoutResults(RememberedKeys):
    """The text of an error is nobody's to keep."""

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
        """See the port; the result is dropped."""
        return super().finish(key, claim_id, state, None, keep, attempts, event)


class _Requests:
    """Requests that would have been shown. Nobody ever answers one; a redelivery finds that it was there before."""

    colour: Colour = "any"

    def __init__(self, monotonic: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._time, self._capacity = monotonic, capacity
        self._lock = threading.Lock()
        self._open: dict[str, tuple[float, str]] = {}

    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        """See the port."""
        with self._lock:
            until, token = self._open.get(request.subject, (0.0, ""))
            if until <= self._time():
                token = request.token
                self._open.pop(request.subject, None)
                self._open[request.subject] = (self._time() + lifetime, token)
                if len(self._open) > self._capacity:
                    del self._open[next(iter(self._open))]
        return request._replace(token=token, state=ApprovalState.OPEN)

    def by_token(self, token: str) -> ApprovalRequest | None:
        """See the port."""
        return None

    def by_subject(self, subject: str) -> ApprovalRequest | None:
        """See the port."""
        return None

    def decide(self, token: str, state: ApprovalState) -> ApprovalRequest | None:
        """See the port."""
        return None

    def spend(self, subject: str, key: str) -> bool:
        """See the port."""
        return False

    def purge(self, limit: int = 1000) -> int:
        """See the port."""
        return 0


class _Nowhere:
    """The pipeline's own events: an observation makes one of another kind, for the guard's store."""

    colour: Colour = "any"

    def append(self, event: Event) -> None:
        """See the port."""

    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        """See the port."""
        return []


class _NoWork:
    """Lets a transactional command be compiled; the observer leaves that stage out."""

    colour: Colour = "any"

    def begin(self) -> Any:
        """Never called."""
        raise NotImplementedError("an observed call has no unit of work")


class ShadowStorage:
    """See :class:`botguard.ports.storage.Storage`."""

    colour: Colour = "any"
    atomic: frozenset[str] = frozenset()
    limits = None

    def __init__(self, monotonic: Callable[[], float], fingerprint_key: bytes) -> None:
        self.fingerprint_key = fingerprint_key
        self.idempotency = _WithoutResults(monotonic)
        self.approvals = _Requests(monotonic)
        self.events = _Nowhere()
        self.work = _NoWork()

    def for_async(self) -> ShadowStorage:
        """Itself: nothing here ever blocks."""
        return self

    def joined(self, session: Any) -> ShadowStorage:
        """Itself: the host's transaction is not touched."""
        return self
