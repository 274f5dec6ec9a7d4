"""Claims: one row a key, and every change of it conditional on the claim that owns it.

A claim is one INSERT; the unique key decides. Who meets a row looks at it, and takes it over by one conditional UPDATE
that names all that he saw. No step relies on an isolation level, and none holds a lock while it looks.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc

from botguard.adapters.sqlalchemy.claim_statements import ClaimStatements
from botguard.adapters.sqlalchemy.drivers import Driver, Step
from botguard.adapters.sqlalchemy.events import EventStatements
from botguard.adapters.sqlalchemy.failures import is_duplicate
from botguard.adapters.sqlalchemy.mapping import Layout
from botguard.adapters.sqlalchemy.moment import MICRO, Clock, micros
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState

__all__ = ["ClaimOperations", "Claims"]

#: A fence is the row's number, which no later row of the key has, and how often the row changed hands.
_HANDS = 1 << 20
_STATES = {state.value: state for state in RowState}
_SETTLED = ("done", "failed")
#: How often one claim looks again after a row changed between its look and its step.
_LOOKS = 32


class ClaimOperations:
    """The operations of the port, each a plain function of a :class:`Step`."""

    def __init__(self, layout: Layout, clock: Clock, events: EventStatements) -> None:
        self._sql, self._clock, self._events = ClaimStatements(layout, clock), clock, events
        self.table = layout.table

    # -- reading --------------------------------------------------------------------------

    def _find(self, step: Step, key: str) -> Any:
        base = self._clock.base(step.connection)
        read = self._sql.read
        if not step.own and step.connection.dialect.name in ("mysql", "mariadb"):
            # Inside the host's transaction a plain read shows its snapshot, in which the row may not be there yet.
            read = self._sql.read_current
        return step.execute(read, {"key": key, "base": base}).one_or_none()

    def _fence(self, found: Any) -> int:
        hands = int(found.fence or 0)
        return int(found.number) * _HANDS + hands if self._sql.numbered else hands

    def _row(self, found: Any, state: RowState | None = None) -> Row:
        return Row(
            state or _STATES[found.state],
            found.claim_id or "",  # a row of the host's own may hold less than one of ours
            self._fence(found),
            ((found.lease_until or 0) - found.now) / MICRO,
            found.person or "",
            found.fingerprint or b"",
            found.version or "",
            found.result,
            found.event_id or "",
            found.attempts or 0,
        )

    def peek(self, step: Step, key: str) -> Row | None:
        """The live row of a key."""
        found = self._find(step, key)
        return None if found is None or _is_over(found) else self._row(found)

    # -- claiming -------------------------------------------------------------------------

    def claim(self, step: Step, request: ClaimRequest, event: Event | None) -> ClaimAnswer:
        """Try to become the owner of a key."""
        for _ in range(_LOOKS):
            fence = self._insert(step, request)
            if fence is not None:
                return self._won(step, fence, event)
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
        """The fence of the new row, or None if the key has one."""
        connection, numbered = step.connection, self._sql.numbered
        base = self._clock.base(connection)
        parameters = {**self._owner(request, base), "key": request.key, "fence": 0 if numbered else base}
        dialect = connection.dialect.name
        if dialect in ("postgresql", "sqlite"):
            number = step.execute(self._sql.insert(dialect), parameters).scalar_one_or_none()
            if number is None:
                return None
            if numbered:
                return int(number) * _HANDS
        else:
            try:
                result = step.execute(self._sql.insert(dialect), parameters)
            except exc.IntegrityError as error:
                if is_duplicate(error):
                    return None
                raise
            if numbered:
                return int(result.lastrowid) * _HANDS
        return base or self._fence(self._find(step, request.key))

    @staticmethod
    def _owner(request: ClaimRequest, base: int) -> dict[str, Any]:
        return {
            "org": request.org,
            "command": request.command,
            "claim_id": request.claim_id,
            "person": request.person,
            "fingerprint": request.fingerprint,
            "version": request.version,
            "state": "claimed",
            "lease": base + micros(request.lease),
            "event_id": "",
            "attempts": 0,
        }

    def _contest(self, step: Step, request: ClaimRequest, found: Any, event: Event | None) -> ClaimAnswer | None:
        """The key has a row: is it ours, over, abandoned, or in the way? None: it changed meanwhile, look again."""
        state, sql = found.state, self._sql
        if state == "claimed" and found.claim_id == request.claim_id:  # our answer was lost: the lease begins anew
            return ClaimAnswer(True, self._fence(found), None) if self._extended(step, request) else None
        if state in _SETTLED:
            statement = sql.supersede if _is_released(found) else sql.take_expired if _is_over(found) else None
        elif state == "unknown":
            statement = sql.supersede if found.claim_id == request.supersede else None
        else:
            over = (found.lease_until or 0) <= found.now
            same = found.fingerprint == request.fingerprint or found.version != request.version
            if over and same and not request.takeover:
                return self._abandoned(step, request, found)
            statement = sql.take_abandoned if over and same else None
        if statement is None:
            return ClaimAnswer(False, 0, self._row(found))
        step.rollback()
        base = self._clock.base(step.connection)
        seen = {**self._owner(request, base), **self._seen(request, found), "now_1": base}
        if not sql.numbered:
            seen["fence"] = base
        if step.execute(statement, seen).rowcount != 1:
            step.rollback()
            return None
        fence = self._fence(found) + 1 if sql.numbered else self._fence(self._find(step, request.key))
        return self._won(step, fence, event)

    @staticmethod
    def _seen(request: ClaimRequest, found: Any) -> dict[str, Any]:
        return {
            "key": request.key,
            "seen_claim": found.claim_id,
            "seen_state": found.state,
            "seen_fence": found.fence,
        }

    def _extended(self, step: Step, request: ClaimRequest) -> bool:
        return self.extend(step, request.key, request.claim_id, request.lease) is Ack.APPLIED

    def _abandoned(self, step: Step, request: ClaimRequest, found: Any) -> ClaimAnswer | None:
        """A claim that nobody may take over, and whose owner is gone: say that its effect is unknown."""
        step.rollback()
        base = self._clock.base(step.connection)
        parameters = {**self._seen(request, found), "state": "unknown", "now_1": base}
        if step.execute(self._sql.abandon, parameters).rowcount != 1:
            step.rollback()
            return None
        step.commit()
        return ClaimAnswer(False, 0, self._row(found, RowState.UNKNOWN))

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
        parameters = {
            "key": key,
            "claim_id": claim_id,
            "state": state.value,
            "result": result,
            "event_id": "" if event is None else event.id,
            "attempts": attempts,
        }
        if state is RowState.UNKNOWN:
            done = step.execute(self._sql.park, parameters)
        else:
            parameters["keep"] = self._clock.base(step.connection) + micros(keep)
            done = step.execute(self._sql.settle, parameters)
        if done.rowcount == 1:
            if event is not None:
                self._events.append(step, event)
            return Ack.APPLIED
        step.rollback()
        found = self._find(step, key)
        if found is None or found.claim_id != claim_id:
            return Ack.LOST
        return Ack.ALREADY if found.state in (*_SETTLED, state.value) else Ack.LOST

    def release(self, step: Step, key: str, claim_id: str) -> Ack:
        """Give back a claim that is still ours; its row stays for a day, and counts as absent."""
        mine = {"key": key, "claim_id": claim_id, "now_1": self._clock.base(step.connection)}
        if step.execute(self._sql.release, mine).rowcount == 1:
            return Ack.APPLIED
        step.rollback()
        found = self._find(step, key)
        return Ack.ALREADY if found is None or _is_over(found) else Ack.LOST

    def extend(self, step: Step, key: str, claim_id: str, lease: float) -> Ack:
        """Move the end of a lease that is still ours."""
        base = self._clock.base(step.connection)
        mine = {"key": key, "claim_id": claim_id, "lease": base + micros(lease)}
        if step.execute(self._sql.extend, mine).rowcount == 1:
            return Ack.APPLIED
        found = self._find(step, key)  # a server that counts changed rows says 0 for a lease that ends where it did
        mine_still = found is not None and found.claim_id == claim_id and found.state == "claimed"
        return Ack.APPLIED if mine_still else Ack.LOST

    def purge(self, step: Step, limit: int) -> int:
        """Delete settled rows past their lifetime, those first that have been over for longest."""
        gone = 0
        while gone < limit:
            base = self._clock.base(step.connection)
            over = {"now_1": base, "day_before": base - micros(86400.0)}
            keys = step.execute(self._sql.over, {**over, "limit": limit - gone}).scalars().all()
            if not keys:
                break
            step.rollback()
            deleted = step.execute(self._sql.purge, {**over, "keys": sorted(keys)}).rowcount
            step.commit()
            gone += deleted
            if deleted == 0:  # another purge is at the same rows
                break
        return gone


def _is_over(found: Any) -> bool:
    """True for a settled row past its lifetime, and for a released one: both count as absent."""
    if _is_released(found):
        return True
    return found.state in _SETTLED and found.expires_at is not None and found.expires_at <= found.now


def _is_released(found: Any) -> bool:
    """True for a row whose owner gave it back. Its time is no sign: a host's column may round it into the future."""
    return bool(found.state == "failed" and found.claim_id == "")


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
