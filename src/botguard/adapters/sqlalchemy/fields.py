"""How a value of ours is written into a column, whatever its type: our own tables' or one that the host already has."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    DateTime,
    Dialect,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Uuid,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from botguard.adapters.sqlalchemy.moment import MICRO

__all__ = ["KINDS", "Field", "StateField", "field_type"]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive columns hold UTC
_EPOCH_AWARE = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Field(TypeDecorator[Any]):
    """A column's own type, with the way from our value to the column's and back."""

    impl = String
    cache_ok = True

    def __init__(self, base: TypeEngine[Any], kind: str) -> None:
        super().__init__()
        self.base, self.kind = base, kind
        self._dump, self._load = _WAYS[kind, _family(base)]

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """See TypeDecorator."""
        return self.base

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """See TypeDecorator."""
        return None if value is None else self._dump(value, self.base, dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """See TypeDecorator."""
        return None if value is None else self._load(value)


class StateField(TypeDecorator[Any]):
    """A state under the host's name for it. A name that we do not know is shown as ``unknown``: nobody takes it over."""

    impl = String
    cache_ok = True

    def __init__(self, base: TypeEngine[Any], names: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self.base, self.names = base, names
        self._out = dict(names)
        self._in = {theirs: ours for ours, theirs in names}

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """See TypeDecorator."""
        return self.base

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """See TypeDecorator."""
        return None if value is None else self._out.get(value, value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """See TypeDecorator."""
        if value is None:
            return "unknown"
        name = getattr(value, "name", value)  # a host's Enum column
        return self._in.get(str(getattr(value, "value", value)), self._in.get(str(name), "unknown"))


_Dump = Callable[[Any, TypeEngine[Any], Dialect], Any]
_Way = tuple[_Dump, Callable[[Any], Any]]


def _same(value: Any, *_: Any) -> Any:
    return value


def _plain(value: Any) -> Any:
    return value


def _text_out(value: str, base: TypeEngine[Any], dialect: Dialect) -> Any:
    # MySQL and MariaDB: what is compared byte by byte is VARBINARY there.
    kind = base.dialect_impl(dialect)
    return value.encode() if isinstance(kind, LargeBinary) or "BINARY" in type(kind).__name__ else value


def _text_in(value: Any) -> str:
    return bytes(value).decode() if isinstance(value, bytes | bytearray | memoryview) else str(value)


def _int_out(value: str, *_: Any) -> int:
    number = int(value) if value.removeprefix("-").isdecimal() else None
    if number is None or str(number) != value:  # "007" and 7 are two names: casting would make them one
        raise ValueError(f"{value!r:.60} is no whole number, and the column it is mapped on holds numbers")
    return number


def _uuid_out(value: str, base: TypeEngine[Any], _: Dialect) -> Any:
    import uuid

    made = uuid.UUID(value)
    return made if getattr(base, "as_uuid", False) else str(made)


def _base64_out(value: bytes, *_: Any) -> str:
    return base64.b64encode(value).decode("ascii")


def _json_out(value: bytes, *_: Any) -> dict[str, str]:
    """Readable where it can be: a result is JSON text most of the time."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text:  # jsonb refuses it
        return {"base64": base64.b64encode(value).decode("ascii")}
    return {"text": text}


def _json_in(value: Any) -> bytes:
    return base64.b64decode(value["base64"]) if "base64" in value else value["text"].encode()


def _moment_out(value: int, base: TypeEngine[Any], dialect: Dialect) -> datetime:
    if dialect.name in ("mysql", "mariadb") and not getattr(base.dialect_impl(dialect), "fsp", None):
        value = math.ceil(value / MICRO) * MICRO  # whole seconds: a lease may not end before its time
    aware = getattr(base, "timezone", False)
    return (_EPOCH_AWARE if aware else _EPOCH) + timedelta(microseconds=value)


def _moment_in(value: datetime) -> int:
    return (value - (_EPOCH if value.tzinfo is None else _EPOCH_AWARE)) // _MICROSECOND


def _seconds_out(value: int, *_: Any) -> float:
    return value / MICRO


def _seconds_in(value: Any) -> int:
    return round(float(value) * MICRO)


def _at_out(value: float, base: TypeEngine[Any], dialect: Dialect) -> datetime:
    return _moment_out(round(value * MICRO), base, dialect)


def _at_in(value: datetime) -> float:
    return _moment_in(value) / MICRO


def _flag_out(value: bool, *_: Any) -> int:
    return 1 if value else 0


#: (kind of our value, family of the column) → the two ways.
_WAYS: dict[tuple[str, str], _Way] = {
    ("text", "text"): (_text_out, _text_in),
    ("text", "int"): (_int_out, str),
    ("text", "uuid"): (_uuid_out, str),
    ("bytes", "bytes"): (_same, bytes),
    ("bytes", "text"): (_base64_out, base64.b64decode),
    ("bytes", "json"): (_json_out, _json_in),
    ("moment", "int"): (_same, int),
    ("moment", "time"): (_moment_out, _moment_in),
    ("moment", "real"): (_seconds_out, _seconds_in),
    ("int", "int"): (_same, int),
    ("int", "real"): (_same, int),
    ("real", "real"): (_same, float),
    ("real", "time"): (_at_out, _at_in),
    ("flag", "flag"): (_same, bool),
    ("flag", "int"): (_flag_out, bool),
}

#: Where the column's own type does it all.
_SAME = frozenset((("text", "text"), ("moment", "int"), ("int", "int"), ("real", "real"), ("flag", "flag")))

#: What our values are; the word that a message names them by.
KINDS = {
    "text": "text",
    "bytes": "bytes",
    "moment": "a time",
    "int": "a whole number",
    "real": "a number",
    "flag": "true or false",
    "state": "the name of a state",
}


def _family(base: TypeEngine[Any]) -> str:
    """What a column's type is to us; "" for one that we cannot write."""
    if isinstance(base, TypeDecorator):
        return _family(base.impl_instance)
    families: tuple[tuple[type[Any], str], ...] = (
        (Boolean, "flag"),
        (Integer, "int"),
        (Float, "real"),
        (Numeric, "real"),
        (DateTime, "time"),
        (LargeBinary, "bytes"),
        (JSON, "json"),
        (Uuid, "uuid"),
        (String, "text"),
    )
    for family, name in families:
        if isinstance(base, family):
            return name
    return "bytes" if "BINARY" in type(base).__name__.upper() else ""


def field_type(kind: str, base: TypeEngine[Any], states: tuple[tuple[str, str], ...] = ()) -> TypeEngine[Any] | None:
    """The type for statements, or None where such a value does not fit such a column."""
    if kind == "state":
        return StateField(base, states) if _family(base) == "text" else None
    family = _family(base)
    if (kind, family) not in _WAYS:
        return None
    # Nothing to do on the way, unless a variant for one dialect keeps text as bytes.
    plain = (kind, family) in _SAME and not isinstance(base, TypeDecorator)
    return base if plain and not (kind == "text" and base._variant_mapping) else Field(base, kind)  # noqa: SLF001
