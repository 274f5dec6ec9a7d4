"""Our tables, on the host's MetaData: plain columns of standard types, so that the host's Alembic makes them.

Times are microseconds since the epoch in integers: no driver, server or session can shift them by a time zone. What is
compared byte by byte is VARBINARY on MySQL and MariaDB, whose text ignores trailing blanks even in binary collations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql

__all__ = ["Tables", "botguard_tables", "own_table"]

_MYSQL = ("mysql", "mariadb")


class Tables(NamedTuple):
    """One table for each store."""

    claims: Table
    events: Table
    approvals: Table
    limits: Table


def _number() -> Column[int]:
    """A number that the database gives every new row, and never gives twice."""
    return Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _exact(name: str, length: int = 255, **options: Any) -> Column[str]:
    kind = String(length).with_variant(mysql.VARBINARY(length if length <= 64 else 4 * length), *_MYSQL)
    return Column(name, kind, nullable=False, **options)


def _name(name: str, length: int = 255) -> Column[str]:
    return Column(name, String(length), nullable=False)


def _bytes(name: str, *, nullable: bool = True) -> Column[bytes]:
    return Column(name, LargeBinary().with_variant(mysql.LONGBLOB(), *_MYSQL), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


class _Own:
    """Where our tables stand, and how they are named."""

    def __init__(self, metadata: MetaData, prefix: str, schema: str | None) -> None:
        self._metadata, self._prefix, self._schema = metadata, prefix, schema

    def table(self, name: str, *parts: Any) -> Table:
        # InnoDB by name: an engine without transactions would keep half of a group. AUTOINCREMENT, so that SQLite too
        # never gives a number twice: fences are made of them.
        options: dict[str, Any] = {"sqlite_autoincrement": True} if name != "limits" else {}
        for dialect in _MYSQL:
            options |= {f"{dialect}_engine": "InnoDB", f"{dialect}_charset": "utf8mb4"}
            options |= {f"{dialect}_collate": "utf8mb4_bin"}
        return Table(f"{self._prefix}{name}", self._metadata, *parts, schema=self._schema, **options)

    def unique(self, table: str, column: str) -> UniqueConstraint:
        follows = {"uq", UniqueConstraint} & set(self._metadata.naming_convention)
        return UniqueConstraint(column, name=None if follows else f"uq_{self._prefix}{table}_{column}")


def _claims(own: _Own) -> Table:
    claims = own.table(
        "claims",
        _number(),
        _exact("key", 64),
        _name("org"),
        _name("command"),
        _name("state", 16),
        _exact("claim_id"),
        _time("fence"),
        _time("lease_until"),
        _time("expires_at", nullable=True),
        _name("person"),
        _bytes("fingerprint", nullable=False),
        _name("version"),
        _name("event_id"),
        Column("attempts", Integer, nullable=False),
        _bytes("result"),
        own.unique("claims", "key"),
    )
    # Only settled rows have an end of life: where an index can leave the others out, claiming does not touch it.
    settled = claims.c.expires_at.is_not(None)
    Index(None, claims.c.expires_at, postgresql_where=settled, sqlite_where=settled)
    return claims


def _events(own: _Own) -> Table:
    events = own.table(
        "events",
        _number(),
        _name("id"),
        _name("kind", 32),
        Column("at", Double, nullable=False),
        _exact("org"),
        *(_name(name) for name in ("actor", "person", "channel", "command")),
        _name("status", 32),
        Column("reasons", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("duration_ms", Double, nullable=False),
        *(Column(name, Boolean, nullable=False) for name in ("success", "replayed", "degraded")),
        _name("key"),
        *(Column(name, Text, nullable=False) for name in ("shadow", "policy_digest", "correlation_id")),
        Column("count", Integer, nullable=False),
    )
    Index(None, events.c.org, events.c.seq)
    return events


def _approvals(own: _Own) -> Table:
    approvals = own.table(
        "approvals",
        _number(),
        _exact("subject"),
        _exact("token"),
        *(_name(name) for name in ("org", "command", "key")),
        _bytes("fingerprint", nullable=False),
        *(_name(name) for name in ("person", "actor", "channel")),
        Column("delivery", Text),
        Column("text", Text, nullable=False),
        Column("reasons", Text, nullable=False),
        _bytes("payload"),
        _time("expires_at"),
        _name("state", 16),
        _exact("spent_on"),
        own.unique("approvals", "subject"),
        own.unique("approvals", "token"),
    )
    Index(None, approvals.c.expires_at)
    return approvals


def _limits(own: _Own) -> Table:
    limits = own.table(
        "limits",
        _exact("bucket", 64, primary_key=True),
        _time("slot"),
        Column("used", Integer, nullable=False),
        Column("before", Integer, nullable=False),
        _bytes("entries"),
        _time("expires_at"),
    )
    Index(None, limits.c.expires_at)
    return limits


_MAKE = {"claims": _claims, "events": _events, "approvals": _approvals, "limits": _limits}


def own_table(name: str, metadata: MetaData, *, prefix: str = "botguard_", schema: str | None = None) -> Table:
    """One of our tables on a MetaData, declared when it is first asked for."""
    known = metadata.tables.get(f"{schema}.{prefix}{name}" if schema else f"{prefix}{name}")
    return _MAKE[name](_Own(metadata, prefix, schema)) if known is None else known


def botguard_tables(metadata: MetaData, *, prefix: str = "botguard_", schema: str | None = None) -> Tables:
    """Declare our tables on a MetaData, as ``env.py`` of Alembic needs it; again for the same one, it gives the same.

    Names of constraints follow the MetaData's naming convention where it has one.
    """
    return Tables(*(own_table(name, metadata, prefix=prefix, schema=schema) for name in Tables._fields))
