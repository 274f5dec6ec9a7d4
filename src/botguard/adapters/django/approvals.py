"""Requests for a person's answer; each step is one conditional write."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError

from botguard.adapters.django.drivers import Driver, Step
from botguard.adapters.django.failures import is_duplicate
from botguard.adapters.django.spelling import MICRO, Clock, Spelling, micros
from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["ApprovalOperations", "Approvals"]

#: Seconds for which a request that is over can still be shown.
_REMEMBERED = 86400.0
_STATES = {state.value: state for state in ApprovalState}
_LOOKS = 32
_FIELDS = ApprovalRequest._fields
_EXACT = ("subject", "token", "spent_on")


class _Sql:
    def __init__(self, spell: Spelling) -> None:
        table = "[botguard_approvals]"
        columns = spell.names(_FIELDS)
        values = ", ".join("{at:lifetime}" if name == "expires_at" else f"%({name})s" for name in _FIELDS)
        anew = ", ".join(
            f"[{name}] = " + ("{at:lifetime}" if name == "expires_at" else f"%({name})s")
            for name in _FIELDS
            if name != "subject"
        )
        unless = "" if spell.vendor == "mysql" else " ON CONFLICT DO NOTHING RETURNING [seq]"
        read = f"SELECT {columns}, {{at:now}} FROM {table} WHERE "
        live = "[expires_at] > {at:now}"
        self.insert = spell(f"INSERT INTO {table} ({columns}) VALUES ({values}){unless}")
        # Replaced is what nobody can use any more: out of time, and if it was spent, for a day.
        self.replace = spell(
            f"UPDATE {table} SET {anew} WHERE [subject] = %(subject)s AND [expires_at] <= {{at:now}} "
            f"AND ([spent_on] = %(none)s OR [expires_at] <= {{at:now}} - {micros(_REMEMBERED)})"
        )
        self.by_subject = spell(read + "[subject] = %(subject)s")
        self.by_token = spell(read + "[token] = %(token)s")
        self.decide = spell(
            f"UPDATE {table} SET [state] = %(state)s WHERE [token] = %(token)s AND [state] = 'open' AND {live}"
        )
        self.spend = spell(
            f"UPDATE {table} SET [spent_on] = %(spent_on)s WHERE [subject] = %(subject)s AND [state] = 'approved' "
            f"AND [spent_on] = %(none)s AND {live}"
        )
        over = "[expires_at] <= {at:now}"
        self.over = spell(f"SELECT [seq] FROM {table} WHERE {over} ORDER BY [expires_at] LIMIT %(limit)s")
        self.purge = spell(f"DELETE FROM {table} WHERE {over} AND [seq] IN ")


class ApprovalOperations:
    """The operations of the port, each a plain function of a :class:`Step`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_vendor: dict[str, _Sql] = {}

    def _sql(self, step: Step) -> _Sql:
        found = self._by_vendor.get(step.vendor)
        if found is None:
            found = self._by_vendor[step.vendor] = _Sql(Spelling(step.vendor, self._clock))
        return found

    def open(self, step: Step, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        """Store a request, or find the live one of its subject."""
        for _ in range(_LOOKS):
            base = self._clock.base()
            values = request._replace(state=ApprovalState.OPEN, spent_on="")._asdict()
            values |= {"state": "open", "lifetime": base + micros(lifetime), "now": base, "none": ""}
            if not self._entered(step, values):
                step.execute(self._sql(step).replace, values)
            stored = self.by_subject(step, request.subject)
            if stored is not None:
                return stored
        raise AssertionError(f"the request for {request.subject} was deleted {_LOOKS} times while it was opened")

    def _entered(self, step: Step, values: dict[str, Any]) -> bool:
        try:
            cursor = step.execute(self._sql(step).insert, values)
        except IntegrityError as error:
            if is_duplicate(error):
                return False
            raise
        return step.vendor == "mysql" or bool(cursor.fetchall())

    @staticmethod
    def _shown(rows: list[Any]) -> ApprovalRequest | None:
        if not rows:
            return None
        *fields, now = rows[0]
        values = dict(zip(_FIELDS, fields, strict=True))
        for name in _EXACT:
            values[name] = values[name].decode() if isinstance(values[name], bytes) else values[name]
        state = _STATES[values["state"]]
        # What was spent stays usable for its own key, so that a crashed run can go on after the time to answer; but not
        # until the next purge, or a result that has expired meanwhile would be made again without asking.
        if values["expires_at"] + (micros(_REMEMBERED) if values["spent_on"] else 0) <= int(now):
            state = ApprovalState.EXPIRED
        payload = None if values["payload"] is None else bytes(values["payload"])
        values |= {"expires_at": values["expires_at"] / MICRO, "state": state, "payload": payload}
        return ApprovalRequest(**{**values, "fingerprint": bytes(values["fingerprint"])})

    def by_token(self, step: Step, token: str) -> ApprovalRequest | None:
        """The request of a token."""
        wanted = {"token": token, "now": self._clock.base()}
        return self._shown(step.execute(self._sql(step).by_token, wanted).fetchall())

    def by_subject(self, step: Step, subject: str) -> ApprovalRequest | None:
        """The request for a subject."""
        wanted = {"subject": subject, "now": self._clock.base()}
        return self._shown(step.execute(self._sql(step).by_subject, wanted).fetchall())

    def answer(self, step: Step, token: str, state: ApprovalState) -> bool:
        """Move an open request to its answer; True if this very statement did."""
        values = {"token": token, "state": state.value, "now": self._clock.base()}
        return bool(step.execute(self._sql(step).decide, values).rowcount == 1)

    def decide(self, step: Step, token: str, state: ApprovalState) -> ApprovalRequest | None:
        """Move an open request to its answer; as it is afterwards."""
        self.answer(step, token, state)
        return self.by_token(step, token)

    def spend(self, step: Step, subject: str, key: str) -> bool:
        """Use an approved request for one key."""
        values = {"subject": subject, "spent_on": key, "none": "", "now": self._clock.base()}
        if step.execute(self._sql(step).spend, values).rowcount == 1:
            return True
        found = self.by_subject(step, subject)
        return found is not None and found.state is ApprovalState.APPROVED and bool(key) and found.spent_on == key

    def overdue(self, step: Step, limit: int) -> int:
        """How many requests :meth:`purge` would delete."""
        return len(step.execute(self._sql(step).over, {"now": self._past(), "limit": limit}).fetchall())

    def purge(self, step: Step, limit: int) -> int:
        """Delete requests that have been over for a day."""
        sql, over = self._sql(step), {"now": self._past(), "limit": limit}
        rows = step.execute(sql.over, over).fetchall()
        if not rows:
            return 0
        numbers = ", ".join(str(int(row[0])) for row in rows)
        return int(step.execute(f"{sql.purge}({numbers})", over).rowcount)

    def _past(self) -> int:
        return self._clock.base() - micros(_REMEMBERED)


class Approvals:
    """An :class:`botguard.ports.approvals.ApprovalStore` on any driver."""

    def __init__(self, driver: Driver, operations: ApprovalOperations) -> None:
        self.colour: Colour = driver.colour
        self._driver, self._do = driver, operations

    def open(self, request: ApprovalRequest, lifetime: float) -> MaybeAwaitable[ApprovalRequest]:
        """See the port."""
        return self._driver.each(self._do.open, request, lifetime)

    def by_token(self, token: str) -> MaybeAwaitable[ApprovalRequest | None]:
        """See the port."""
        return self._driver.look(self._do.by_token, token)

    def by_subject(self, subject: str) -> MaybeAwaitable[ApprovalRequest | None]:
        """See the port."""
        return self._driver.look(self._do.by_subject, subject)

    def decide(self, token: str, state: ApprovalState) -> MaybeAwaitable[ApprovalRequest | None]:
        """See the port."""
        return self._driver.each(self._do.decide, token, _answer(state))

    def answer(self, token: str, state: ApprovalState) -> MaybeAwaitable[bool]:
        """``decide`` for operators, who must know whether it was they: True if this call closed the request."""
        return self._driver.each(self._do.answer, token, _answer(state))

    def spend(self, subject: str, key: str) -> MaybeAwaitable[bool]:
        """See the port."""
        return self._driver.each(self._do.spend, subject, key)

    def purge(self, limit: int = 1000) -> MaybeAwaitable[int]:
        """See the port."""
        return self._driver.each(self._do.purge, limit)

    def overdue(self, limit: int) -> MaybeAwaitable[int]:
        """How many requests ``purge(limit)`` would delete."""
        return self._driver.look(self._do.overdue, limit)


def _answer(state: ApprovalState) -> ApprovalState:
    if state not in (ApprovalState.APPROVED, ApprovalState.DECLINED):
        raise ValueError(f"a request is approved or declined, not {state.value}")
    return state
