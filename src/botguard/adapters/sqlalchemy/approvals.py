"""Requests for a person's answer; each step is one conditional write."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, and_, delete, exc, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from botguard.adapters.sqlalchemy.drivers import Driver, Step
from botguard.adapters.sqlalchemy.failures import is_duplicate
from botguard.adapters.sqlalchemy.mapping import Layout
from botguard.adapters.sqlalchemy.moment import MICRO, Clock, micros, parameter
from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["ApprovalOperations", "Approvals"]

#: Seconds for which a request that is over can still be shown.
_REMEMBERED = 86400.0
_STATES = {state.value: state for state in ApprovalState} | {"unknown": ApprovalState.DECLINED}
_LOOKS = 32


class ApprovalOperations:
    """The operations of the port, each a plain function of a :class:`Step`."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._clock, self._layout = clock, layout
        value, column, table, ours = layout.value, layout.column, layout.table, layout.ours()
        life = layout.type("expires_at")
        now = clock.after("now_1", life)
        row = {column(name): value(name) for name in layout.fields if name != "expires_at"}
        row[column("expires_at")] = clock.after("lifetime", life)
        self._row = {**row, **layout.constants()}
        by = select(*(layout.read(name) for name in layout.fields), clock.now()).where(*ours)
        self._by_subject = by.where(column("subject") == value("subject"))
        self._by_token = by.where(column("token") == value("token"))
        # Replaced is what nobody can use any more: out of time, and if it was spent, for a day.
        unused = column("spent_on") == layout.constant("spent_on", "")
        self._replace = (
            update(table)
            .values({key: item for key, item in row.items() if key is not column("subject")})
            .where(
                column("subject") == value("subject"),
                or_(and_(column("expires_at") <= now, unused), column("expires_at") <= clock.after("long_ago", life)),
                *ours,
            )
        )
        is_open = column("state") == layout.constant("state", "open")
        self._decide = (
            update(table)
            .values({column("state"): value("state")})
            .where(column("token") == value("token"), is_open, column("expires_at") > now, *ours)
        )
        unspent = and_(column("spent_on") == layout.constant("spent_on", ""), column("expires_at") > now)
        approved = column("state") == layout.constant("state", "approved")
        self._spend = (
            update(table)
            .values({column("spent_on"): value("spent_on")})
            .where(column("subject") == value("subject"), approved, unspent, *ours)
        )
        over = and_(column("expires_at") <= now, *ours)
        oldest = select(layout.read("subject")).where(over).order_by(column("expires_at"))
        self._over = oldest.limit(parameter("limit", BigInteger()))
        subjects = parameter("subjects", layout.type("subject"), expanding=True)
        self._purge = delete(table).where(column("subject").in_(subjects), over)
        self._inserts: dict[str, Any] = {}

    def _insert(self, dialect: str) -> Any:
        made = self._inserts.get(dialect)
        if made is None:
            table, row = self._layout.table, self._row
            subject = self._layout.column("subject")
            if dialect == "postgresql":
                made = postgresql.insert(table).values(row).on_conflict_do_nothing().returning(subject)
            elif dialect == "sqlite":
                made = sqlite.insert(table).values(row).on_conflict_do_nothing().returning(subject)
            else:
                made = insert(table).values(row)
            self._inserts[dialect] = made
        return made

    def open(self, step: Step, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        """Store a request, or find the live one of its subject."""
        for _ in range(_LOOKS):
            base = self._clock.base(step.connection)
            made = request._replace(state=ApprovalState.OPEN, spent_on="")
            values = {**made._asdict(), "state": "open", "lifetime": base + micros(lifetime)}
            del values["expires_at"]
            if not self._entered(step, values):
                step.rollback()
                step.execute(self._replace, {**values, "now_1": base, "long_ago": base - micros(_REMEMBERED)})
            step.commit()
            stored = self.by_subject(step, request.subject)
            if stored is not None:
                return stored
        raise AssertionError(f"the request for {request.subject} was deleted {_LOOKS} times while it was opened")

    def _entered(self, step: Step, values: dict[str, Any]) -> bool:
        dialect = step.connection.dialect.name
        try:
            result = step.execute(self._insert(dialect), values)
        except exc.IntegrityError as error:
            if is_duplicate(error):
                return False
            raise
        return bool(result.all()) if dialect in ("postgresql", "sqlite") else True

    def _shown(self, found: Any) -> ApprovalRequest | None:
        if found is None:
            return None
        values = found._asdict()
        now = values.pop("now")
        state = _STATES[values["state"]]
        # What was spent stays usable for its own key, so that a crashed run can go on after the time to answer; but not
        # until the next purge, or a result that has expired meanwhile would be made again without asking.
        if values["expires_at"] + (micros(_REMEMBERED) if values["spent_on"] else 0) <= now:
            state = ApprovalState.EXPIRED
        values |= {"expires_at": values["expires_at"] / MICRO, "state": state}
        return ApprovalRequest(**values)

    def by_token(self, step: Step, token: str) -> ApprovalRequest | None:
        """The request of a token."""
        base = self._clock.base(step.connection)
        return self._shown(step.execute(self._by_token, {"token": token, "base": base}).one_or_none())

    def by_subject(self, step: Step, subject: str) -> ApprovalRequest | None:
        """The request for a subject."""
        base = self._clock.base(step.connection)
        return self._shown(step.execute(self._by_subject, {"subject": subject, "base": base}).one_or_none())

    def decide(self, step: Step, token: str, state: ApprovalState) -> ApprovalRequest | None:
        """Move an open request to its answer."""
        base = self._clock.base(step.connection)
        step.execute(self._decide, {"token": token, "state": state.value, "now_1": base})
        step.commit()
        return self.by_token(step, token)

    def spend(self, step: Step, subject: str, key: str) -> bool:
        """Use an approved request for one key."""
        base = self._clock.base(step.connection)
        if step.execute(self._spend, {"subject": subject, "spent_on": key, "now_1": base}).rowcount == 1:
            return True
        step.rollback()
        found = self.by_subject(step, subject)
        return found is not None and found.state is ApprovalState.APPROVED and bool(key) and found.spent_on == key

    def purge(self, step: Step, limit: int) -> int:
        """Delete requests that have been over for a day."""
        base = self._clock.base(step.connection) - micros(_REMEMBERED)
        subjects = step.execute(self._over, {"now_1": base, "limit": limit}).scalars().all()
        if not subjects:
            return 0
        step.rollback()
        return step.execute(self._purge, {"now_1": base, "subjects": sorted(subjects)}).rowcount


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
        if state not in (ApprovalState.APPROVED, ApprovalState.DECLINED):
            raise ValueError(f"a request is approved or declined, not {state.value}")
        return self._driver.each(self._do.decide, token, state)

    def spend(self, subject: str, key: str) -> MaybeAwaitable[bool]:
        """See the port."""
        return self._driver.each(self._do.spend, subject, key)

    def purge(self, limit: int = 1000) -> MaybeAwaitable[int]:
        """See the port."""
        return self._driver.each(self._do.purge, limit)
