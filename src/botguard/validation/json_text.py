"""JSON that strangers send: bounded before it is decoded, strict where the standard library is lax."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from botguard.validation.bounds import check_bounds
from botguard.validation.catalogue import invalid, problem
from botguard.validation.echo import quoted, shown

__all__ = ["parse_json"]

#: A whole string, closed or not, or a bracket. Possessive, so that no input makes it look twice.
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
#: What a double can hold; more digits are kept exactly, as a Decimal.
_FLOAT_DIGITS = 17


class _Refused(Exception):
    def __init__(self, code: str, name: str = "") -> None:
        self.code, self.name = code, name


def parse_json(
    body: bytes | bytearray | memoryview,
    *,
    max_bytes: int = 65536,
    max_depth: int = 16,
    max_items: int = 10000,
    max_str: int = 16384,
    max_digits: int = 100,
    locale: str = "en",
) -> Any:
    """The data in a JSON text in UTF-8.

    Depth is counted before anything is decoded. Refused are a name that comes twice in one object, NaN and
    infinities (also 1e999), lone surrogates, NUL, and everything beyond
    :func:`~botguard.validation.check_bounds`. A number with a fraction is a float, or a Decimal where a float
    would lose digits.

    Raises:
        InvalidPayload: with one particular.
    """
    data = bytes(body) if len(body) <= max_bytes else b""
    if not data:
        raise invalid(problem("too_large" if len(body) else "unreadable", locale))
    if _depth_beyond(data, max_depth):
        raise invalid(problem("too_deep", locale))
    found = _decoded(data, max_digits, locale)
    beyond = check_bounds(
        found,
        max_bytes=2 * max_bytes,
        max_depth=max_depth,
        max_items=max_items,
        max_str=max_str,
        max_digits=max_digits,
        locale=locale,
    )
    if beyond is not None:
        raise invalid(beyond)
    return found


def _decoded(data: bytes, max_digits: int, locale: str) -> Any:
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_constant,
            parse_int=lambda text: _whole(text, max_digits),
            parse_float=lambda text: _fraction(text, max_digits),
        )
    except _Refused as refused:
        label = {"label": quoted(refused.name)} if refused.name else {}
        raise invalid(problem(refused.code, locale, field=shown(refused.name), **label)) from None
    except ValueError:  # UnicodeDecodeError and JSONDecodeError; their words are for programmers
        raise invalid(problem("unreadable", locale)) from None


def _depth_beyond(data: bytes, deepest: int) -> bool:
    depth = 0
    for found in _STRUCTURE.finditer(data):
        sign = found[0][:1]
        if sign in b"[{":
            depth += 1
            if depth > deepest:
                return True
        elif sign in b"]}":
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Refused("name_twice", name)
            seen.add(name)
    return found


def _constant(text: str) -> Any:
    raise _Refused("not_finite", text)


def _whole(text: str, max_digits: int) -> int:
    if len(text) > max_digits + 1:
        raise _Refused("number_too_long")
    return int(text)


def _fraction(text: str, max_digits: int) -> float | Decimal:
    if len(text) > max_digits + 8:
        raise _Refused("number_too_long")
    mantissa = re.split("[eE]", text)[0]
    digits = mantissa.replace("-", "").replace(".", "").lstrip("0")
    number = float(text)
    if number in (float("inf"), float("-inf")) or (not number and digits.strip("0")):
        raise _Refused("number_too_long")
    return number if len(digits) <= _FLOAT_DIGITS else Decimal(text)
