"""Our fields on somebody's columns: on our own tables, or on tables that the host already has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    bindparam,
    literal,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from botguard.adapters.sqlalchemy.fields import KINDS, field_type
from botguard.adapters.sqlalchemy.migration import additive
from botguard.adapters.sqlalchemy.moment import parameter
from botguard.adapters.sqlalchemy.tables import own_table
from botguard.errors import ConfigurationError

__all__ = ["Layout", "MappedTable", "layouts"]


@dataclass(frozen=True)
class MappedTable:
    """A table of the host's that holds rows of ours.

    Args:
        table: the Table, or the ORM class.
        columns: our field → the host's column, where the names differ.
        states: our state → the host's name for it, where the names differ. States of the host's that no name stands for
            are left alone.
        values: columns that we know nothing of → a constant, or a function that makes the value of a new row. Constants
            are demanded of every row that is read, so that the host's own rows in the table are left alone too.
        rest: only for ``events``: a JSON column for all fields that have no column.
    """

    table: Any
    columns: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    states: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    values: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    rest: str | None = field(default=None, kw_only=True)


class _Shape(NamedTuple):
    """What a store needs of its table: the kind of each field, what must be unique, and its states."""

    kinds: dict[str, str]
    unique: tuple[str, ...]
    states: tuple[str, ...] = ()


def _kinds(**fields: str) -> dict[str, str]:
    return {name: kind for kind, names in fields.items() for name in names.split()}


_SHAPES = {
    "claims": _Shape(
        _kinds(
            text="key org command claim_id person version event_id",
            state="state",
            int="fence attempts",
            moment="lease_until expires_at",
            bytes="fingerprint result",
        ),
        ("key",),
        ("claimed", "done", "failed", "unknown"),
    ),
    "events": _Shape(
        _kinds(
            text="id kind org actor person channel command status reasons key shadow policy_digest correlation_id",
            real="at duration_ms",
            int="attempts count",
            flag="success replayed degraded",
        ),
        (),
    ),
    "approvals": _Shape(
        _kinds(
            text="subject token org command key person actor channel delivery text reasons spent_on",
            state="state",
            moment="expires_at",
            bytes="fingerprint payload",
        ),
        ("subject", "token"),
        ("open", "approved", "declined"),
    ),
    "limits": _Shape(
        _kinds(text="bucket", int="slot used before", moment="expires_at", bytes="entries"),
        ("bucket",),
    ),
}


class Layout:
    """One store's fields, each with its column and type.

    Attributes:
        number: the column that the database numbers rows by, or None.
        rest: the fields that go into a JSON column.
    """

    def __init__(self, store: str, mapped: MappedTable, ours: Table, dialect: str) -> None:
        self.store, self.mapped, self._sqlite = store, mapped, dialect == "sqlite"
        self.table: Table = getattr(mapped.table, "__table__", mapped.table)
        self._shape = _SHAPES[store]
        self._states = tuple((state, mapped.states.get(state, state)) for state in self._shape.states)
        self._names = {name: mapped.columns.get(name, self._same_name(name)) for name in self._shape.kinds}
        self._check_words()
        rest = {name for name, column in self._names.items() if column not in self.table.c} if mapped.rest else set()
        self.rest: tuple[str, ...] = tuple(name for name in self._shape.kinds if name in rest)
        self.fields: tuple[str, ...] = tuple(name for name in self._shape.kinds if name not in rest)
        self._check_columns(ours)
        self._types = {name: self._type(name) for name in self.fields}
        self.number = self._number()
        self._check_unmapped()

    def _same_name(self, name: str) -> str:
        """The column of a field that nobody has mapped. A number that the database gives is never ours to write."""
        given = self.table.autoincrement_column
        return f"botguard_{name}" if given is not None and given.name == name else name

    # -- for statements -------------------------------------------------------------------

    def column(self, name: str) -> Column[Any]:
        """The column of a field."""
        return self.table.c[self._names[name]]

    def type(self, name: str) -> TypeEngine[Any]:
        """The type of a field in statements."""
        return self._types[name]

    def value(self, name: str, called: str = "") -> ColumnElement[Any]:
        """A parameter for a field, named like it unless told."""
        return parameter(called or name, self._types[name])

    def constant(self, name: str, value: Any) -> ColumnElement[Any]:
        """A value of a field that never changes."""
        return literal(value, self._types[name])

    def read(self, name: str) -> ColumnElement[Any]:
        """A field, to be selected."""
        return type_coerce(self.column(name), self._types[name]).label(name)

    def constants(self) -> dict[Column[Any], Any]:
        """What is written into columns of the host's that we know nothing of."""
        made: dict[Column[Any], Any] = {}
        for name, value in self.mapped.values.items():
            column = self.table.c[name]
            made[column] = bindparam(f"host_{name}", callable_=value, type_=column.type) if callable(value) else value
        return made

    def ours(self) -> list[ColumnElement[bool]]:
        """What tells our rows from the host's own in the same table."""
        return [self.table.c[name] == value for name, value in self.mapped.values.items() if not callable(value)]

    @property
    def keeps_time(self) -> bool:
        """True if every time is held as whole microseconds, which SQL can add to."""
        moments = [name for name in self.fields if self._shape.kinds[name] == "moment"]
        return all(isinstance(self._types[name], Integer) for name in moments)

    # -- checks ---------------------------------------------------------------------------

    def _where(self) -> str:
        return f"tables={{{self.store!r}: MappedTable({self.table.name!r})}}"

    def _check_words(self) -> None:
        wrong = [f"columns={name!r}" for name in self.mapped.columns if name not in self._shape.kinds]
        wrong += [f"states={name!r}" for name in self.mapped.states if name not in self._shape.states]
        if self.mapped.rest is not None and self.store != "events":
            wrong.append("rest=")
        if wrong:
            known = ", ".join(self._shape.kinds)
            raise ConfigurationError(
                "BG146",
                f"{', '.join(wrong)} is nothing of {self.store}",
                where=self._where(),
                why="a misspelt name would silently map nothing",
                fix=f"the fields are {known}"
                + (f"; the states are {', '.join(self._shape.states)}" if self._shape.states else ""),
            )
        names = [theirs for _, theirs in self._states]
        if len(set(names)) != len(names):
            raise ConfigurationError(
                "BG146",
                f"two states share one name: {dict(self._states)}",
                where=self._where(),
                why="a row could not be read back as what it was",
                fix="give each state a name of its own",
            )

    def _check_columns(self, ours: Table) -> None:
        wanted = [*((name, self._names[name]) for name in self.fields), *((n, n) for n in self.mapped.values)]
        if self.mapped.rest is not None:
            wanted.append((self.mapped.rest, self.mapped.rest))
        missing = [(name, column) for name, column in wanted if column not in self.table.c]
        unique = [
            self._names[name]
            for name in self._shape.unique
            if self._names[name] not in self.table.c or not _is_unique(self.table, self._names[name])
        ]
        if not missing and not unique:
            return
        columns = [(column, ours.c.get(name)) for name, column in missing]
        lacks = [f"no column {column!r}" for column, _ in columns]
        lacks += [f"no unique constraint on {column!r}" for column in unique if column in self.table.c]
        raise ConfigurationError(
            "BG147",
            f"the table {self.table.name} has {', '.join(lacks)}",
            where=self._where(),
            why="the guard could not keep what it promises without them",
            fix="map the field on another column with columns=, or add it (nothing that exists is changed):\n"
            + additive(self.table, columns, unique),
        )

    def _type(self, name: str) -> TypeEngine[Any]:
        kind, column = self._shape.kinds[name], self.column(name)
        found = field_type(kind, column.type, self._states)
        if found is None:
            raise ConfigurationError(
                "BG146",
                f"{name} is {KINDS[kind]}, and {self.table.name}.{column.name} is {column.type!r}",
                where=self._where(),
                why="it could not be written there and come back as it was",
                fix=f"map {name} on another column",
            )
        return found

    def _number(self) -> Column[Any] | None:
        """The host's own number of a row, if no later row can be given it again (SQLite does, unless told)."""
        column = self.table.autoincrement_column
        if column is None or column in {self.column(name) for name in self.fields}:
            return None
        reused = self._sqlite and not self.table.dialect_options["sqlite"]["autoincrement"]
        return None if reused and self.store == "claims" else column

    def _check_unmapped(self) -> None:
        """Columns of the host's that every row needs, and that nobody would fill."""
        known = {self.column(name).name for name in self.fields} | set(self.mapped.values) | {self.mapped.rest}
        needed = [
            column.name
            for column in self.table.c
            if not column.nullable
            and column.name not in known
            and column.default is None
            and column.server_default is None
            and column.identity is None
            and column is not self.table.autoincrement_column
        ]
        if needed:
            raise ConfigurationError(
                "BG146",
                f"every row of {self.table.name} needs {', '.join(needed)}, and nothing says what to write there",
                where=self._where(),
                why="the first row would be refused by the database",
                fix=f"values={{{needed[0]!r}: …}}, a constant or a function; or give the column a default",
            )


def _is_unique(table: Table, column: str) -> bool:
    """True if this one column alone tells rows apart."""
    sets = [{c.name for c in table.primary_key.columns}]
    sets += [{c.name for c in item.columns} for item in table.constraints if isinstance(item, UniqueConstraint)]
    sets += [{c.name for c in index.columns} for index in table.indexes if index.unique]
    return {column} in sets or bool(table.c[column].unique)


def layouts(
    metadata: MetaData, tables: Mapping[str, Any] | None, prefix: str, schema: str | None, dialect: str
) -> dict[str, Layout]:
    """The layout of every store; our own tables are declared for those that are not mapped.

    Raises:
        ConfigurationError: for a mapping that names nothing, or a table that lacks something; with its migration.
    """
    given = dict(tables or {})
    unknown = [name for name in given if name not in _SHAPES]
    if unknown:
        raise ConfigurationError(
            "BG146",
            f"tables= knows no {unknown[0]!r}",
            why="nothing would ever be stored in that table",
            fix=f"the stores are {', '.join(_SHAPES)}",
        )
    scratch, found = MetaData(), {}
    for name in _SHAPES:
        mapped = given.get(name)
        if mapped is None:
            mapped = MappedTable(own_table(name, metadata, prefix=prefix, schema=schema))
        elif not isinstance(mapped, MappedTable):
            mapped = MappedTable(mapped)
        found[name] = Layout(name, mapped, own_table(name, scratch), dialect)
    return found
