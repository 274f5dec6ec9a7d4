"""The statements of the claim store, built once for a layout; each is one atomic step."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, and_, case, delete, insert, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from botguard.adapters.sqlalchemy.mapping import Layout
from botguard.adapters.sqlalchemy.moment import Clock, parameter
from botguard.ports.idempotency import ClaimRequest, Row

__all__ = ["ClaimStatements"]


class ClaimStatements:
    """Built once for a layout; each is one atomic step."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self.layout, self.clock = layout, clock
        self.numbered = layout.number is not None
        value, column = layout.value, layout.column
        table, ours = layout.table, layout.ours()
        key = column("key") == value("key")
        mine = and_(key, column("claim_id") == value("claim_id"), *ours)
        claimed = column("state") == layout.constant("state", "claimed")
        lease, life = layout.type("lease_until"), layout.type("expires_at")
        self.read = select(
            *(layout.read(name) for name in (*Row._fields[:3], "lease_until", *Row._fields[4:], "expires_at")),
            clock.now(),
            *([layout.number.label("number")] if layout.number is not None else []),
        ).where(key, *ours)
        self.read_current = self.read.with_for_update(read=True)
        owner = {column(name): value(name) for name in ClaimRequest._fields[1:7]}
        fresh = {
            column("state"): value("state"),
            column("lease_until"): clock.after("lease", lease),
            column("event_id"): value("event_id"),
            column("attempts"): value("attempts"),
            column("expires_at"): None,
            column("result"): None,
        }
        first = parameter("fence", BigInteger()) if self.numbered else clock.after("fence", BigInteger())
        self.row = {column("key"): value("key"), **owner, **fresh, column("fence"): first, **layout.constants()}
        # A time as the fence where rows have no number; it never falls behind the one before.
        later = column("fence") + 1
        fence = later if self.numbered else case((later > first, later), else_=first)
        as_seen = and_(
            key,
            column("claim_id") == value("claim_id", "seen_claim"),
            column("state") == value("state", "seen_state"),
            column("fence") == parameter("seen_fence", BigInteger()),
            *ours,
        )
        taken = update(table).values({**owner, **fresh, column("fence"): fence})
        self.take_expired = taken.where(as_seen, column("expires_at") <= clock.after("now_1", life))
        self.take_abandoned = taken.where(as_seen, column("lease_until") <= clock.after("now_1", lease))
        self.supersede = taken.where(as_seen)
        self.abandon = (
            update(table)
            .values({column("state"): value("state")})
            .where(as_seen, column("lease_until") <= clock.after("now_1", lease))
        )
        self.extend = update(table).values({column("lease_until"): clock.after("lease", lease)}).where(mine, claimed)
        # The row stays, over at once, so that the fence of the next owner is above it: the number of a new row may be
        # lower, where its INSERT had to wait for this one to go.
        gone = {
            column("state"): layout.constant("state", "failed"),
            column("claim_id"): layout.constant("claim_id", ""),
        }
        ended = {column("expires_at"): clock.after("now_1", life)}
        self.release = update(table).values({**gone, **ended}).where(mine, claimed)
        settled = {
            column("state"): value("state"),
            column("event_id"): value("event_id"),
            column("attempts"): value("attempts"),
            column("result"): value("result"),
        }
        unsettled = column("state").in_([layout.constant("state", "claimed"), layout.constant("state", "unknown")])
        end = {column("expires_at"): clock.after("keep", life)}
        self.settle = update(table).values({**settled, **end}).where(mine, unsettled)
        self.park = update(table).values({**settled, column("expires_at"): None}).where(mine, claimed)
        # What was released stays a day longer, so that nobody who waited meanwhile gets a fence below its own.
        released = column("claim_id") == layout.constant("claim_id", "")
        past = or_(
            and_(column("expires_at") <= clock.after("now_1", life), not_(released)),
            column("expires_at") <= clock.after("day_before", life),
        )
        over = and_(
            past,
            column("state").in_([layout.constant("state", "done"), layout.constant("state", "failed")]),
            *ours,
        )
        oldest = select(layout.read("key")).where(over).order_by(column("expires_at"))
        self.over = oldest.limit(parameter("limit", BigInteger()))
        keys = parameter("keys", layout.type("key"), expanding=True)
        self.purge = delete(table).where(column("key").in_(keys), over)
        self._inserts: dict[str, Any] = {}

    def insert(self, dialect: str) -> Any:
        """INSERT that a standing row keeps out without an error where the dialect has that."""
        made = self._inserts.get(dialect)
        if made is None:
            number = self.layout.number if self.layout.number is not None else self.layout.column("key")
            if dialect == "postgresql":
                made = postgresql.insert(self.layout.table).values(self.row).on_conflict_do_nothing().returning(number)
            elif dialect == "sqlite":
                made = sqlite.insert(self.layout.table).values(self.row).on_conflict_do_nothing().returning(number)
            else:
                made = insert(self.layout.table).values(self.row)
            self._inserts[dialect] = made
        return made
