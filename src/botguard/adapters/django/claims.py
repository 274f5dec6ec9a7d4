"""Claims: one row a key, and every change of it conditional on the claim that owns it.

A claim is one INSERT; the unique key decides. Who meets a row looks at it, and takes it over by one conditional UPDATE
that names all that he saw. No step relies on an isolation level, and none holds a lock while it looks.

A key that is given back keeps its row for a day, marked as released. Were the row deleted, the next owner's would have a
number that the database had chosen before its INSERT waited for us: it may be lower than ours, and so would the fence.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import IntegrityError

from botguard.adapters.django.drivers import Driver, Step
from botguard.adapters.django.events import EventOperations
from botguard.adapters.django.failures import is_duplicate
from botguard.adapters.django.spelling import MICRO, Clock, Spelling, micros
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState

__all__ = ["ClaimOperations", "Claims"]

#: A fence is the row's number, which no later row of the key has, and how often the row changed hands.
_HANDS = 1 << 20
_STATES = {state.value: state for state in RowState}
_SETTLED = ("done", "failed")
_RELEASED = "released"
#: Seconds for which a released row stays: longer than any statement waits.
_REMEMBERED = 86400.0
#: How often one claim looks again after a row changed between its look and its step.
_LOOKS = 32

_OWNER = ("org", "command", "claim_id", "person", "fingerprint", "version", "state", "event_id", "attempts")
_READ = ("seq", "state", "claim_id", "fence", "lease_until", "person", "fingerprint", "version", "result", "event_id",
         "attempts", "expires_at")  # fmt: skip


class _Found(NamedTuple):
    """A row as read, and the time then."""

    seq: int
    state: str
    claim_id: str
    fence: int
    lease_until: int
    person: str
    fingerprint: bytes
    version: str
    result: bytes | None
    event_id: str
    attempts: int
    expires_at: int | None
    now: int

    def is_absent(self) -> bool:
        """True for a row that the port does not know of."""
        if self.state == _RELEASED:
            return True
        return self.state in _SETTLED and self.expires_at is not None and self.expires_at <= self.now

    def number(self) -> int:
        """The fence, as the port shows it."""
        return self.seq * _HANDS + self.fence

    def row(self, state: RowState | None = None) -> Row:
        """As the port shows it."""
        return Row(
            state or _STATES[self.state], self.claim_id, self.number(),
            (self.lease_until - self.now) / MICRO, self.person, self.fingerprint, self.version, self.result, self.event_id,
            self.attempts,
        )  # fmt: skip


class _Sql:
    """The statements, built once for a database; each is one atomic step."""

    def __init__(self, spell: Spelling) -> None:
        table, here = "[botguard_claims]", "[key] = %(key)s"
        mine = f"{here} AND [claim_id] = %(claim_id)s"
        seen = f"{here} AND [claim_id] = %(seen_claim)s AND [state] = %(seen_state)s AND [fence] = %(seen_fence)s"
        owner = ", ".join(f"[{name}] = %({name})s" for name in _OWNER)
        settled = "[state] = %(state)s, [event_id] = %(event_id)s, [attempts] = %(attempts)s, [result] = %(result)s"
        over = "[expires_at] <= {at:now} AND [state] IN ('done', 'failed')"
        columns = f"[key], {spell.names(_OWNER)}, [fence], [lease_until], [expires_at], [result]"
        values = f"%(key)s, {spell.values(_OWNER)}, 0, {{at:lease}}, NULL, NULL"
        unless = "" if spell.vendor == "mysql" else " ON CONFLICT DO NOTHING RETURNING [seq]"
        take = (
            f"UPDATE {table} SET {owner}, [fence] = [fence] + 1, [lease_until] = {{at:lease}}, [expires_at] = NULL, "
            f"[result] = NULL WHERE {seen}"
        )
        self.insert = spell(f"INSERT INTO {table} ({columns}) VALUES ({values}){unless}")
        self.read = spell(f"SELECT {spell.names(_READ)}, {{at:now}} FROM {table} WHERE {here}")
        # Inside a transaction with a snapshot, a plain read may not show the row that stands in the way.
        self.read_current = self.read + (" LOCK IN SHARE MODE" if spell.vendor == "mysql" else "")
        self.take_expired = spell(f"{take} AND [expires_at] <= {{at:now}}")
        self.take_abandoned = spell(f"{take} AND [lease_until] <= {{at:now}}")
        self.supersede = spell(take)
        self.abandon = spell(f"UPDATE {table} SET [state] = 'unknown' WHERE {seen} AND [lease_until] <= {{at:now}}")
        self.extend = spell(f"UPDATE {table} SET [lease_until] = {{at:lease}} WHERE {mine} AND [state] = 'claimed'")
        self.release = spell(
            f"UPDATE {table} SET [state] = '{_RELEASED}', [expires_at] = {{at:remembered}} WHERE {mine} AND [state] = 'claimed'"
        )
        self.settle = spell(
            f"UPDATE {table} SET {settled}, [expires_at] = {{at:keep}} WHERE {mine} AND [state] IN ('claimed', 'unknown')"
        )
        self.park = spell(f"UPDATE {table} SET {settled}, [expires_at] = NULL WHERE {mine} AND [state] = 'claimed'")
        self.over = spell(f"SELECT [seq] FROM {table} WHERE {over} ORDER BY [expires_at] LIMIT %(limit)s")
        self.purge = spell(f"DELETE FROM {table} WHERE {over} AND [seq] IN ")
        released = f"[expires_at] <= {{at:now}} AND [state] = '{_RELEASED}'"
        self.forgotten = spell(f"SELECT [seq] FROM {table} WHERE {released} ORDER BY [expires_at] LIMIT %(limit)s")
        self.forget = spell(f"DELETE FROM {table} WHERE {released} AND [seq] IN ")


class ClaimOperations:
    """The operations of the port, each a plain function of a :class:`Step`."""

    def __init__(self, clock: Clock, events: EventOperations) -> None:
        self._clock, self._events = clock, events
        self._by_vendor: dict[str, _Sql] = {}

    def _sql(self, step: Step) -> _Sql:
        found = self._by_vendor.get(step.vendor)
        if found is None:
            found = self._by_vendor[step.vendor] = _Sql(Spelling(step.vendor, self._clock))
        return found

    # -- reading --------------------------------------------------------------------------

    def _find(self, step: Step, key: str) -> _Found | None:
        sql = self._sql(step)
        read = sql.read_current if step.inside else sql.read
        rows = step.execute(read, {"key": key, "now": self._clock.base()}).fetchall()
        if not rows:
            return None
        found = _Found(*rows[0])
        result = None if found.result is None else bytes(found.result)
        return found._replace(
            claim_id=_text(found.claim_id), fingerprint=bytes(found.fingerprint), result=result, now=int(found.now)
        )

    def peek(self, step: Step, key: str) -> Row | None:
        """The live row of a key."""
        found = self._find(step, key)
        return None if found is None or found.is_absent() else found.row()

    # -- claiming -------------------------------------------------------------------------

    def claim(self, step: Step, request: ClaimRequest, event: Event | None) -> ClaimAnswer:
        """Try to become the owner of a key."""
        for _ in range(_LOOKS):
            number = self._insert(step, request)
            if number is not None:
                return self._won(step, number * _HANDS, event)
            step.rollback()  # nothing was written; a lock kept while looking would meet another one's
            found = self._find(step, request.key)
            if found is None:
                continue  # it was released since
            answer = self._contest(step, request, found, event)
            if answer is not None:
                return answer
        raise AssertionError(f"the row of {request.key} changed {_LOOKS} times under one claim")

    def _won(self, step: Step, fence: int, event: Event | None) -> ClaimAnswer:
        if event is not None:
            self._events.append(step, event)
        return ClaimAnswer(True, fence, None)

    def _insert(self, step: Step, request: ClaimRequest) -> int | None:
        """The number of the new row, or None if the key has one."""
        parameters = {**self._owner(request), "key": request.key}
        if step.vendor != "mysql":
            rows = step.execute(self._sql(step).insert, parameters).fetchall()
            return int(rows[0][0]) if rows else None
        try:
            return int(step.execute(self._sql(step).insert, parameters).lastrowid)
        except IntegrityError as error:
            if is_duplicate(error):
                return None
            raise

    def _owner(self, request: ClaimRequest) -> dict[str, Any]:
        return {
            "org": request.org,
            "command": request.command,
            "claim_id": request.claim_id,
            "person": request.person,
            "fingerprint": request.fingerprint,
            "version": request.version,
            "state": "claimed",
            "lease": self._clock.base() + micros(request.lease),
            "event_id": "",
            "attempts": 0,
        }

    def _contest(self, step: Step, request: ClaimRequest, found: _Found, event: Event | None) -> ClaimAnswer | None:
        """The key has a row: is it ours, over, abandoned, or in the way? None: it changed meanwhile, look again."""
        sql, state = self._sql(step), found.state
        if state == "claimed" and found.claim_id == request.claim_id:  # our answer was lost: the lease begins anew
            mine = self.extend(step, request.key, request.claim_id, request.lease) is Ack.APPLIED
            return self._won(step, found.number(), None) if mine else None
        statement: str | None = None
        if state == _RELEASED:
            statement = sql.supersede  # of nobody: its claim id, state and fence are as we saw them
        elif state in _SETTLED:
            statement = sql.take_expired if found.expires_at is not None and found.expires_at <= found.now else None
        elif state == "unknown":
            statement = sql.supersede if found.claim_id == request.supersede else None
        elif found.lease_until <= found.now and _may_be_same(request, found):
            if not request.takeover:
                return self._abandoned(step, request, found)
            statement = sql.take_abandoned
        if statement is None:
            return ClaimAnswer(False, 0, found.row())
        step.rollback()
        parameters = {**self._owner(request), **_seen(request, found), "now": self._clock.base()}
        if step.execute(statement, parameters).rowcount != 1:
            step.rollback()
            return None
        return self._won(step, found.number() + 1, event)

    def _abandoned(self, step: Step, request: ClaimRequest, found: _Found) -> ClaimAnswer | None:
        """A claim that nobody may take over, and whose owner is gone: say that its effect is unknown."""
        step.rollback()
        parameters = {**_seen(request, found), "now": self._clock.base()}
        if step.execute(self._sql(step).abandon, parameters).rowcount != 1:
            step.rollback()
            return None
        step.commit()
        return ClaimAnswer(False, 0, found.row(RowState.UNKNOWN))

    # -- owning ---------------------------------------------------------------------------

    def finish(
        self,
        step: Step,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None,
    ) -> Ack:
        """Settle a claim; the event is stored if and only if that applied."""
        parameters: dict[str, Any] = {
            "key": key,
            "claim_id": claim_id,
            "state": state.value,
            "result": result,
            "event_id": "" if event is None else event.id,
            "attempts": attempts,
        }
        sql = self._sql(step)
        if state is not RowState.UNKNOWN:
            parameters["keep"] = self._clock.base() + micros(keep)
        if step.execute(sql.park if state is RowState.UNKNOWN else sql.settle, parameters).rowcount == 1:
            if event is not None:
                self._events.append(step, event)
            return Ack.APPLIED
        step.rollback()
        found = self._find(step, key)
        if found is None or found.claim_id != claim_id:
            return Ack.LOST
        return Ack.ALREADY if found.state in (*_SETTLED, state.value) else Ack.LOST

    def release(self, step: Step, key: str, claim_id: str) -> Ack:
        """Give back a claim that is still ours."""
        mine = {"key": key, "claim_id": claim_id, "remembered": self._clock.base() + micros(_REMEMBERED)}
        if step.execute(self._sql(step).release, mine).rowcount == 1:
            return Ack.APPLIED
        found = self._find(step, key)
        return Ack.ALREADY if found is None or found.state == _RELEASED else Ack.LOST

    def extend(self, step: Step, key: str, claim_id: str, lease: float) -> Ack:
        """Move the end of a lease that is still ours."""
        mine = {"key": key, "claim_id": claim_id, "lease": self._clock.base() + micros(lease)}
        if step.execute(self._sql(step).extend, mine).rowcount == 1:
            return Ack.APPLIED
        found = self._find(step, key)  # a server that counts changed rows says 0 for a lease that ends where it did
        mine_still = found is not None and found.claim_id == claim_id and found.state == "claimed"
        return Ack.APPLIED if mine_still else Ack.LOST

    def overdue(self, step: Step, limit: int) -> int:
        """How many rows :meth:`purge` would delete."""
        return len(step.execute(self._sql(step).over, {"now": self._clock.base(), "limit": limit}).fetchall())

    def purge(self, step: Step, limit: int) -> int:
        """Delete settled rows past their lifetime, those first that have been over for longest."""
        gone, sql = 0, self._sql(step)
        while gone < limit:
            over = {"now": self._clock.base(), "limit": limit - gone}
            rows = step.execute(sql.over, over).fetchall()
            if not rows:
                break
            numbers = ", ".join(str(int(row[0])) for row in rows)
            deleted = int(step.execute(f"{sql.purge}({numbers})", over).rowcount)
            gone += deleted
            if deleted == 0:  # another purge is at the same rows
                break
        self._forget(step, limit)
        return gone

    def _forget(self, step: Step, limit: int) -> None:
        """Delete released rows whose day is over; nobody counts them."""
        sql, over = self._sql(step), {"now": self._clock.base(), "limit": limit}
        rows = step.execute(sql.forgotten, over).fetchall()
        if rows:
            step.execute(f"{sql.forget}({', '.join(str(int(row[0])) for row in rows)})", over)


def _may_be_same(request: ClaimRequest, found: _Found) -> bool:
    """Fingerprints of two versions cannot be compared."""
    return found.fingerprint == request.fingerprint or found.version != request.version


def _seen(request: ClaimRequest, found: _Found) -> dict[str, Any]:
    return {
        "key": request.key,
        "seen_claim": found.claim_id,
        "seen_state": found.state,
        "seen_fence": found.fence,
    }


def _text(value: Any) -> str:
    """Of a column that is VARBINARY on MySQL and MariaDB."""
    return value.decode() if isinstance(value, bytes) else str(value)


class Claims:
    """An :class:`botguard.ports.idempotency.IdempotencyStore` on any driver."""

    def __init__(self, driver: Driver, operations: ClaimOperations) -> None:
        self.colour: Colour = driver.colour
        self._driver, self._do = driver, operations

    def peek(self, key: str) -> MaybeAwaitable[Row | None]:
        """See the port."""
        return self._driver.look(self._do.peek, key)

    def claim(self, request: ClaimRequest, event: Event | None = None) -> MaybeAwaitable[ClaimAnswer]:
        """See the port."""
        run = self._driver.each if event is None else self._driver.run
        return run(self._do.claim, request, event)

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
        run = self._driver.each if event is None else self._driver.run
        return run(self._do.finish, key, claim_id, state, result, keep, attempts, event)

    def release(self, key: str, claim_id: str) -> MaybeAwaitable[Ack]:
        """See the port."""
        return self._driver.each(self._do.release, key, claim_id)

    def extend(self, key: str, claim_id: str, lease: float) -> MaybeAwaitable[Ack]:
        """See the port."""
        return self._driver.each(self._do.extend, key, claim_id, lease)

    def purge(self, limit: int = 1000) -> MaybeAwaitable[int]:
        """See the port."""
        return self._driver.each(self._do.purge, limit)

    def overdue(self, limit: int) -> MaybeAwaitable[int]:
        """How many rows ``purge(limit)`` would delete."""
        return self._driver.look(self._do.overdue, limit)
