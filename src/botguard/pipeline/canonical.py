"""One spelling for equal values: the bytes under keys and fingerprints.

Equal values give equal text in every process and Python version (sets and dicts are sorted, Decimal 1.0 equals 1.00,
aware times are compared in UTC); unequal values give unequal text (every part carries its type and length).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from operator import itemgetter
from typing import Any
from uuid import UUID

__all__ = ["Uncanonical", "canonical", "digest", "model_encoder", "simple"]

#: Exact types whose ``ascii`` never changes and never collides, None excepted, which no key may hold.
NAMED = frozenset((str, int, bool))
_SIMPLE = NAMED | {type(None)}


class Uncanonical(ValueError):
    """A value that has no stable spelling: a NaN, a cycle, an object that is no data."""


def digest(*parts: str) -> str:
    """A 40-character name for parts, none of which can run into its neighbour. Not secret, not reversible."""
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def canonical(value: Any, depth: int = 0) -> str:
    """The canonical spelling of plain data, pydantic models, dataclasses, enums and secrets (revealed).

    Raises:
        Uncanonical: for anything else, for NaN, and deeper than 64 levels.
    """
    encode = _BY_TYPE.get(type(value))
    if encode is not None:
        return encode(value)
    if depth > 64:
        raise Uncanonical("nested deeper than 64 levels")
    return _composite(value, depth + 1)


def _float(value: float) -> str:
    if math.isnan(value):
        raise Uncanonical("NaN equals nothing, itself included")
    return f"f{value + 0.0!r};"  # -0.0 == 0.0


def _decimal(value: Decimal) -> str:
    if value.is_nan():
        raise Uncanonical("NaN equals nothing, itself included")
    if not value.is_finite():
        return f"d{value};"
    # Not Decimal.normalize(): it rounds to the context's precision, which would make unequal values equal.
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    bare = text.rstrip("0")
    return f"d{'-' if sign and bare else ''}{bare}e{int(exponent) + len(text) - len(bare) if bare else 0};"


def _datetime(value: dt.datetime) -> str:
    if value.tzinfo is None:
        return f"w{value.isoformat()};"
    try:
        return f"z{value.astimezone(dt.UTC).isoformat()};"
    except OverflowError:
        raise Uncanonical("a moment outside of the calendar in UTC") from None


def _time(value: dt.time) -> str:
    offset = value.utcoffset()
    if offset is None:
        return f"c{value.isoformat()};"
    since = dt.timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    return f"o{(since - offset) // dt.timedelta(microseconds=1)};"


_BY_TYPE: dict[type, Callable[[Any], str]] = {
    str: lambda v: f"s{len(v)}:{v}",
    int: lambda v: f"i{v};",
    bool: lambda v: "T" if v else "F",
    type(None): lambda _: "N",
    float: _float,
    Decimal: _decimal,
    bytes: lambda v: f"b{v.hex()};",
    dt.datetime: _datetime,
    dt.date: lambda v: f"a{v.isoformat()};",
    dt.time: _time,
    dt.timedelta: lambda v: f"p{v // dt.timedelta(microseconds=1)};",
    UUID: lambda v: f"u{v.hex};",
}


def _composite(value: Any, depth: int) -> str:
    if isinstance(value, Enum):
        return f"e{canonical(value.value, depth)}"
    if isinstance(value, list | tuple):
        return f"l{len(value)}[{''.join([canonical(item, depth) for item in value])}]"
    if isinstance(value, set | frozenset):
        return f"S{len(value)}[{''.join(sorted(canonical(item, depth) for item in value))}]"
    if isinstance(value, Mapping):
        return _pairs(sorted((canonical(k, depth), canonical(v, depth)) for k, v in value.items()))
    if hasattr(value, "get_secret_value"):
        return f"x{canonical(value.get_secret_value(), depth)}"
    if hasattr(type(value), "model_fields"):
        data = dict(value.__dict__)
        data.update(getattr(value, "__pydantic_extra__", None) or {})
        return _pairs(sorted((f"s{len(k)}:{k}", canonical(v, depth)) for k, v in data.items()))
    if is_dataclass(value) and not isinstance(value, type):
        return _pairs(sorted((f.name, canonical(getattr(value, f.name), depth)) for f in fields(value)))
    for kind, encode in _BY_TYPE.items():  # a subclass spells as its base: class Sku(str)
        if isinstance(value, kind):
            return encode(value)
    raise Uncanonical(f"{type(value).__name__} is no plain data")


def _pairs(pairs: list[tuple[str, str]]) -> str:
    return f"m{len(pairs)}{{{''.join([k + v for k, v in pairs])}}}"


def model_encoder(model: Any) -> Callable[[Any], str]:
    """A fast encoder for one model: values in the order of its fields, whose names are part of the schema version."""
    names = tuple(getattr(model, "model_fields", ()))
    if not names or model.model_config.get("extra") == "allow":
        return canonical
    # One field more than once changes nothing in what is unequal, and itemgetter gives a tuple only for two or more.
    pick = itemgetter(*names) if len(names) > 1 else itemgetter(names[0], names[0])

    def encode(payload: Any) -> str:
        if type(payload) is not model:
            return canonical(payload)
        values = pick(payload.__dict__)
        return ascii(values) if simple(values) else canonical(values)

    return encode


def simple(values: tuple[Any, ...]) -> bool:
    """True if ``ascii`` spells the tuple canonically: exact types whose repr is stable, injective and typed."""
    return _SIMPLE.issuperset(map(type, values))
