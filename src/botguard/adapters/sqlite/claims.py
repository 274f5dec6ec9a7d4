"""Claims: one row a key, and every change of it conditional on the claim that owns it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botguard.adapters.sqlite.connection import Execute
from botguard.adapters.sqlite.drivers import Driver
from botguard.adapters.sqlite.events import APPEND, append, event_params
from botguard.adapters.sqlite.writer import Writer
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState

__all__ = ["Claims", "ThreadClaims", "finish"]

Time = Callable[[], float]
#: A NamedTuple without the detour over its own ``__new__``, which costs more than the lock.
_make = tuple.__new__

#: An INSERT that decides by itself: the key is new, and the fence is above all that were ever deleted.
_INSERT = """INSERT INTO botguard_claims
    (key, org, command, claim_id, person, fingerprint, version, fence, lease_until, state)
    SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, 'claimed'
    WHERE ? > (SELECT value FROM botguard_meta WHERE name = 'fence_floor')
    ON CONFLICT (key) DO NOTHING"""
_FLOOR = "SELECT value FROM botguard_meta WHERE name = 'fence_floor'"
_READ = """SELECT state, claim_id, fence, lease_until, person, fingerprint, version, result, event_id, attempts,
    expires_at FROM botguard_claims WHERE key = ?"""
_TAKE_OVER = """UPDATE botguard_claims SET org = ?, command = ?, claim_id = ?, person = ?, fingerprint = ?, version = ?,
    fence = ?, lease_until = ?, state = 'claimed', expires_at = NULL, event_id = '', attempts = 0, result = NULL
    WHERE key = ? AND claim_id = ? AND fence = ?"""
_ABANDON = "UPDATE botguard_claims SET state = 'unknown' WHERE key = ? AND claim_id = ? AND state = 'claimed'"
_EXTEND = "UPDATE botguard_claims SET lease_until = ? WHERE key = ? AND claim_id = ? AND state = 'claimed'"
_RELEASE = "DELETE FROM botguard_claims WHERE key = ? AND claim_id = ? AND state = 'claimed'"
_OVER = """SELECT seq FROM botguard_claims WHERE seq > ? AND seq <= ? AND expires_at <= ?
    AND state IN ('done', 'failed') ORDER BY seq LIMIT ?"""
_LAST = 2**63 - 1
_PURGE = "DELETE FROM botguard_claims WHERE seq = ? AND expires_at <= ? AND state IN ('done', 'failed')"


def _finish_sql(state: str, before: str) -> str:
    return f"""UPDATE botguard_claims SET state = '{state}', result = ?, expires_at = ?, event_id = ?, attempts = ?
        WHERE key = ? AND claim_id = ? AND state IN ({before})"""  # noqa: S608 - constants


_FINISH = {
    RowState.DONE: _finish_sql("done", "'claimed', 'unknown'"),
    RowState.FAILED: _finish_sql("failed", "'claimed', 'unknown'"),
    RowState.UNKNOWN: _finish_sql("unknown", "'claimed'"),
}
_STATES = {state.value: state for state in RowState}
_SETTLED = ("done", "failed")


def _read(execute: Execute, key: str) -> tuple[Any, ...] | None:
    rows = execute(_READ, (key,)).fetchall()
    return rows[0] if rows else None


def _row(found: tuple[Any, ...], now: float) -> Row:
    state, claim_id, fence, lease_until, person, fingerprint, version, result, event_id, attempts, _ = found
    left = lease_until - now
    return Row(_STATES[state], claim_id, fence, left, person, fingerprint, version, result, event_id, attempts)


def _new(request: ClaimRequest, fence: int, now: float) -> tuple[Any, ...]:
    return (*request[:7], fence, now + request.lease, fence)  # the columns follow the request's own order


def _live(rows: list[tuple[Any, ...]], time: Time) -> Row | None:
    if not rows:
        return None
    found, now = rows[0], time()
    if found[-1] is not None and found[-1] <= now:
        return None
    return _row(found, now)


def peek(execute: Execute, time: Time, key: str) -> Row | None:
    """The live row of a key."""
    return _live(execute(_READ, (key,)).fetchall(), time)


def claim(execute: Execute, time: Time, request: ClaimRequest, event: Event | None) -> ClaimAnswer:
    """Try to become the owner of a key, in the transaction that is open."""
    now = time()
    fence = int(now * 1e6)
    again = False  # our own claim: its event was stored with it
    if execute(_INSERT, _new(request, fence, now)).rowcount == 1:
        answer = ClaimAnswer(True, fence, None)
    else:
        found = _read(execute, request.key)
        again = found is not None and found[1] == request.claim_id
        if found is None:  # the clock shows a time at which fences were given before
            fence = execute(_FLOOR).fetchall()[0][0] + 1
            won = execute(_INSERT, _new(request, fence, now)).rowcount == 1
            answer = ClaimAnswer(won, fence, None)
        else:
            answer = _contest(execute, request, found, now)
    if event is not None and answer.won and not again:
        append(execute, event)
    return answer


def _contest(execute: Execute, request: ClaimRequest, found: tuple[Any, ...], now: float) -> ClaimAnswer:
    """The key has a row: is it ours, over, abandoned, or in the way?"""
    state, claim_id, fence, lease_until = found[:4]
    if state in _SETTLED:
        free = found[-1] <= now
    elif state == "unknown":
        free = claim_id == request.supersede
    elif claim_id == request.claim_id:  # our answer was lost; the lease begins with the one that arrives
        execute(_EXTEND, (now + request.lease, request.key, claim_id))
        return ClaimAnswer(True, fence, None)
    else:
        abandoned = now >= lease_until and (found[5] == request.fingerprint or found[6] != request.version)
        free = abandoned and request.takeover
        if abandoned and not request.takeover:
            execute(_ABANDON, (request.key, claim_id))
            found = ("unknown", *found[1:])
    if not free:
        return ClaimAnswer(False, 0, _row(found, now))
    return _take_over(execute, request, found, now)


def _take_over(execute: Execute, request: ClaimRequest, found: tuple[Any, ...], now: float) -> ClaimAnswer:
    key, org, command, claim_id, person, fingerprint, version, lease, _, _ = request
    fence = max(int(now * 1e6), found[2] + 1)
    owner = (org, command, claim_id, person, fingerprint, version, fence, now + lease)
    if execute(_TAKE_OVER, (*owner, key, found[1], found[2])).rowcount != 1:
        return ClaimAnswer(False, 0, _row(found, now))
    return ClaimAnswer(True, fence, None)


def finish(
    execute: Execute,
    time: Time,
    key: str,
    claim_id: str,
    state: RowState,
    result: bytes | None,
    keep: float,
    attempts: int,
    event: Event | None,
) -> Ack:
    """Settle a claim in the transaction that is open; the event is stored if and only if that applied."""
    expires_at = None if state is RowState.UNKNOWN else time() + keep
    event_id = "" if event is None else event.id
    if execute(_FINISH[state], (result, expires_at, event_id, attempts, key, claim_id)).rowcount != 1:
        return _ack(execute, key, claim_id, state)
    if event is not None:
        append(execute, event)
    return Ack.APPLIED


def _ack(execute: Execute, key: str, claim_id: str, wanted: RowState) -> Ack:
    """Why a claim could not be settled: it is already, or it is no longer ours."""
    found = _read(execute, key)
    mine = found is not None and found[1] == claim_id
    return Ack.ALREADY if mine and found is not None and found[0] in (*_SETTLED, wanted) else Ack.LOST


def release(execute: Execute, key: str, claim_id: str) -> Ack:
    """Delete a claim that is still ours."""
    if execute(_RELEASE, (key, claim_id)).rowcount == 1:
        return Ack.APPLIED
    return Ack.ALREADY if _read(execute, key) is None else Ack.LOST


def extend(execute: Execute, time: Time, key: str, claim_id: str, lease: float) -> Ack:
    """Move the end of a lease that is still ours."""
    applied = execute(_EXTEND, (time() + lease, key, claim_id)).rowcount == 1
    return Ack.APPLIED if applied else Ack.LOST


class Claims:
    """An :class:`botguard.ports.idempotency.IdempotencyStore` on any driver. ``peek`` answers at once on each."""

    def __init__(self, driver: Driver, time: Time) -> None:
        self.colour: Colour = driver.colour
        self._run, self._look, self._sweep = driver.run, driver.look, driver.sweep
        self._time, self._swept = time, 0

    def peek(self, key: str) -> Row | None:
        """See the port."""
        return self._look(peek, self._time, key)

    def claim(self, request: ClaimRequest, event: Event | None = None) -> MaybeAwaitable[ClaimAnswer]:
        """See the port."""
        return self._run(claim, self._time, request, event)

    def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None = None,
    ) -> MaybeAwaitable[Ack]:
        """See the port."""
        return self._run(finish, self._time, key, claim_id, state, result, keep, attempts, event)

    def release(self, key: str, claim_id: str) -> MaybeAwaitable[Ack]:
        """See the port."""
        return self._run(release, key, claim_id)

    def extend(self, key: str, claim_id: str, lease: float) -> MaybeAwaitable[Ack]:
        """See the port."""
        return self._run(extend, self._time, key, claim_id, lease)

    def purge(self, limit: int = 1000) -> MaybeAwaitable[int]:
        """See the port."""
        now = self._time()

        def find(execute: Execute) -> list[Any]:
            # A batch looks on where the last one stopped: among rows that live longer, it would pass them every time.
            swept = self._swept
            rows = execute(_OVER, (swept, _LAST, now, limit)).fetchall()
            if swept and len(rows) < limit:
                rows += execute(_OVER, (0, swept, now, limit - len(rows))).fetchall()
            self._swept = rows[-1][0] if len(rows) == limit > 0 else 0
            return rows

        def delete(execute: Execute, rows: list[Any]) -> int:
            return sum(execute(_PURGE, (seq, now)).rowcount for (seq,) in rows)

        return self._sweep(find, delete)


class ThreadClaims(Claims):
    """The same on the caller's thread: what one or two statements can decide takes the writer's short ways.

    Their answers other than "yes" (somebody is in the way, the writer is not free) are left to the full operations.
    """

    def __init__(self, driver: Driver, time: Time, writer: Writer) -> None:
        super().__init__(driver, time)
        self._once, self._twice, self._glance = writer.once, writer.twice, writer.glance

    def peek(self, key: str) -> Row | None:
        """See the port."""
        rows = self._glance(_READ, (key,))
        return self._look(peek, self._time, key) if rows is None else _live(rows, self._time)

    def claim(self, request: ClaimRequest, event: Event | None = None) -> MaybeAwaitable[ClaimAnswer]:
        """See the port."""
        now = self._time()
        fence = int(now * 1e6)
        new = _new(request, fence, now)
        if (self._once(_INSERT, new) if event is None else self._twice(_INSERT, new, APPEND, event_params(event))) == 1:
            return _make(ClaimAnswer, (True, fence, None))
        return self._run(claim, self._time, request, event)

    def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None = None,
    ) -> MaybeAwaitable[Ack]:
        """See the port."""
        expires_at = None if state is RowState.UNKNOWN else self._time() + keep
        if event is None:
            done = self._once(_FINISH[state], (result, expires_at, "", attempts, key, claim_id))
        else:
            settled = (result, expires_at, event.id, attempts, key, claim_id)
            done = self._twice(_FINISH[state], settled, APPEND, event_params(event))
        if done == 1:
            return Ack.APPLIED
        return self._run(finish, self._time, key, claim_id, state, result, keep, attempts, event)

    def release(self, key: str, claim_id: str) -> MaybeAwaitable[Ack]:
        """See the port."""
        if self._once(_RELEASE, (key, claim_id)) == 1:
            return Ack.APPLIED
        return self._run(release, key, claim_id)

    def extend(self, key: str, claim_id: str, lease: float) -> MaybeAwaitable[Ack]:
        """See the port."""
        if self._once(_EXTEND, (self._time() + lease, key, claim_id)) == 1:
            return Ack.APPLIED
        return self._run(extend, self._time, key, claim_id, lease)
