"""The migration that adds what a host's table lacks, as Alembic operations and as SQL; nothing that exists is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Dialect, Table, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

__all__ = ["additive"]


_DIALECTS: tuple[tuple[str, Dialect], ...] = (
    ("PostgreSQL", postgresql.dialect()),  # type: ignore[no-untyped-call]
    ("MySQL, MariaDB", mysql.dialect()),
)


def _alembic(kind: TypeEngine[Any]) -> str:
    """The type as Alembic spells it: its variants for other dialects come after it."""
    return f"sa.{kind!r}"


def additive(table: Table, columns: Sequence[tuple[str, Column[Any] | None]], unique: Sequence[str]) -> str:
    """The lines to paste. New columns are nullable, so that the host's own code goes on inserting rows."""
    place = f", schema={table.schema!r}" if table.schema else ""
    name = f"{table.schema}.{table.name}" if table.schema else table.name
    lines = ["  # Alembic"]
    for column, like in columns:
        kind = Text() if like is None else like.type
        lines.append(f"  op.add_column({table.name!r}, sa.Column({column!r}, {_alembic(kind)}, nullable=True){place})")
    for column in unique:
        constraint = f"uq_{table.name}_{column}"
        lines.append(f"  op.create_unique_constraint({constraint!r}, {table.name!r}, [{column!r}]{place})")
    for title, dialect in _DIALECTS:
        lines.append(f"  -- {title}")
        quote = dialect.identifier_preparer.quote
        for column, like in columns:
            kind = Text() if like is None else like.type
            lines.append(
                f"  ALTER TABLE {name} ADD COLUMN {quote(column)} {dialect.type_compiler_instance.process(kind)};"
            )
        for column in unique:
            constraint = f"uq_{table.name}_{column}"
            lines.append(f"  ALTER TABLE {name} ADD CONSTRAINT {constraint} UNIQUE ({quote(column)});")
    return "\n".join(lines)
