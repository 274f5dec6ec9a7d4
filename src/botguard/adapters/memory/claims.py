"""Claims in a dict. The rules are those of the port; SQL stores must answer alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

from botguard.ports.colour import Colour
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState

__all__ = ["MemoryClaims"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState
_APPLIED, _ALREADY, _LOST = Ack
_NEVER = float("inf")
_make = tuple.__new__

# A stored row is a plain tuple of plain values: (state, claim id, fence, until, person, fingerprint, version, result,
# event id, attempts). ``until`` is the end of the lease, of the lifetime once settled, and infinity for unknown. Enum
# members are kept by their text, since an object with a dict would keep the garbage collector visiting every row.
_STATE, _CLAIM, _FENCE, _UNTIL, _PERSON, _PRINT, _VERSION, _RESULT, _EVENT, _ATTEMPTS = range(10)
_STATES = {str(state): state for state in RowState}


class MemoryClaims:
    """See :class:`botguard.ports.idempotency.IdempotencyStore`."""

    colour: Colour = "any"

    def __init__(self, clock: Any, append: Callable[[Event], None], next_fence: Callable[[], int]) -> None:
        self._time, self._append, self._next_fence = clock.time, append, next_fence
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._lock = threading.Lock()
        #: The highest fence of a row that was deleted.
        self._floor = 0

    def __len__(self) -> int:
        return len(self._rows)

    def peek(self, key: str) -> Row | None:
        """See the port."""
        row = self._rows.get(key)
        return None if row is None else self._live(row)

    def _live(self, row: tuple[Any, ...]) -> Row | None:
        left = row[_UNTIL] - self._time()
        if left <= 0 and row[_STATE] in ("done", "failed"):
            return None
        return _make(
            Row,
            (_STATES[row[_STATE]], row[_CLAIM], row[_FENCE], left, *row[_PERSON:]),
        )

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        """See the port."""
        key, _, _, claim_id, person, fingerprint, version, lease, takeover, supersede = request
        fence = self._next_fence()
        mine = ("claimed", claim_id, fence, self._time() + lease, person, fingerprint, version, None, "", 0)
        # setdefault is one atomic step: exactly one of all callers puts his row there.
        if self._rows.setdefault(key, mine) is not mine or fence <= self._floor:
            with self._lock:
                # Others may have owned this key and left it since our fence was drawn: it must be above all of theirs.
                fence = self._next_fence()
                raised = (*mine[:_FENCE], fence, *mine[_UNTIL:])
                if self._rows.get(key) is mine:
                    self._rows[key] = raised
                elif (row := self._rows.setdefault(key, raised)) is not raised:
                    answer = self._contested(key, row, raised, takeover, supersede)
                    if answer is not None:
                        return answer
        if event is not None:
            self._append(event)
        return _make(ClaimAnswer, (True, fence, None))

    def _contested(
        self, key: str, row: tuple[Any, ...], mine: tuple[Any, ...], takeover: bool, supersede: str | None
    ) -> ClaimAnswer | None:
        """None if ``mine`` took the row's place; otherwise what stands in the way."""
        state = row[_STATE]
        if row[_CLAIM] == mine[_CLAIM] and state == "claimed":
            # The answer to the same claim was lost; its lease begins with the one that arrives.
            self._rows[key] = (*row[:_UNTIL], mine[_UNTIL], *row[_PERSON:])
            return ClaimAnswer(True, row[_FENCE], None)
        over = row[_UNTIL] <= self._time()
        if state in ("done", "failed"):
            won = over
        elif state == "unknown":
            won = supersede is not None and row[_CLAIM] == supersede
        else:
            same = row[_PRINT] == mine[_PRINT] or row[_VERSION] != mine[_VERSION]
            won = over and takeover and same
            if over and not takeover and same:
                row = ("unknown", *row[1:_UNTIL], float("inf"), *row[_PERSON:])
                self._rows[key] = row
        if won:
            self._rows[key] = mine
            return None
        standing = self._live(row)
        return ClaimAnswer(False, 0, standing)

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
            row = self._rows.get(key)
            if row is None:
                return _LOST
            was, owner, fence, until, person, fingerprint, version, _, _, _ = row
            if owner != claim_id:
                return _LOST
            if was != "claimed" and (was != "unknown" or state is _UNKNOWN):
                return _ALREADY
            until = _NEVER if state is _UNKNOWN else self._time() + keep
            event_id = ""
            if event is not None:
                event_id = event[0]
                self._append(event)
            self._rows[key] = (
                state._value_, claim_id, fence, until, person, fingerprint, version, result, event_id, attempts
            )  # fmt: skip
        return _APPLIED

    def release(self, key: str, claim_id: str) -> Ack:
        """See the port."""
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                return Ack.ALREADY
            if row[_CLAIM] != claim_id or row[_STATE] != "claimed":
                return Ack.LOST
            self._delete(key, row)
        return Ack.APPLIED

    def _delete(self, key: str, row: tuple[Any, ...]) -> None:
        self._floor = max(self._floor, row[_FENCE])  # first: whoever sees the key absent must see this too
        del self._rows[key]

    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        """See the port."""
        with self._lock:
            row = self._rows.get(key)
            if row is None or row[_CLAIM] != claim_id or row[_STATE] != "claimed":
                return Ack.LOST
            self._rows[key] = (*row[:_UNTIL], self._time() + lease, *row[_PERSON:])
        return Ack.APPLIED

    def purge(self, limit: int = 1000) -> int:
        """See the port."""
        now = self._time()
        with self._lock:
            # A copy first: claims of absent keys come in without the lock, and would disturb an iteration.
            over = (
                (key, row)
                for key, row in self._rows.copy().items()
                if row[_UNTIL] <= now and row[_STATE] in ("done", "failed")
            )
            gone = list(islice(over, limit))
            for key, row in gone:
                self._delete(key, row)
        return len(gone)
