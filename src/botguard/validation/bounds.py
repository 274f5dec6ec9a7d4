"""Bounds of raw input, checked before anything reads it: size, depth, lengths, and that it is plain data.

One pass without recursion over what will be validated. Ordinary flat requests take a short cut, since this
runs for every call of the guard.

Plain data are None, bool, int, float, str, bytes, list, tuple, set and dict with text keys; from within the
process also Decimal, dates and times, UUID, enum members, secrets, pydantic models and the value objects of
this package. NaN, infinities, NUL and lone surrogates are refused. The codes are ``too_large``, ``too_deep``,
``text_too_long``, ``text_control``, ``text_broken``, ``number_too_long``, ``not_finite``, ``key_not_text``
and ``not_data``.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from botguard.outcome import Detail

__all__ = ["check_bounds"]

_BITS_PER_DIGIT = math.log2(10)
#: Values of a host's own process, small and immutable.
_LEAVES = (dt.date, dt.time, dt.timedelta, UUID)


def check_bounds(
    raw: Any,
    *,
    max_bytes: int = 65536,
    max_depth: int = 16,
    max_items: int = 10000,
    max_str: int = 16384,
    max_digits: int = 100,
    locale: str = "en",
) -> Detail | None:
    """What is wrong with the size or the nature of raw input, or None.

    Args:
        max_bytes: about the length of the data as JSON in UTF-8.
        max_depth: lists and dicts inside each other.
        max_items: values and names in all, counted wherever they appear.
        max_str: characters of one text or name.
        max_digits: digits of one number.
    """
    if type(raw) is dict and len(raw) <= 16:
        # Written out, since calls cost more: 0.8 µs for four values, half of what passes of map() take.
        for value in raw.values():
            kind = type(value)
            if kind is str:
                if len(value) > 512 or not value.isprintable():  # which no NUL and no surrogate is
                    break
            elif kind is int:
                if not -9223372036854775808 <= value <= 9223372036854775807:
                    break
            elif not (kind is bool or value is None or (kind is float and value - value == 0.0)):
                break  # among others for NaN and the infinities
        else:
            # At most 16 texts of 512 characters of 4 bytes, and what is around them.
            if max_bytes >= 40000 and max_str >= 512 and max_digits >= 19 and max_items >= 32 and max_depth:
                try:
                    names = "".join(raw)
                    if names.isidentifier() and len(names) <= 1024:
                        return None
                except TypeError:
                    pass
    limits = _Limits(max_bytes, max_items, max_str, max_digits)
    return _walk(raw, limits, max_depth, locale)


class _Limits(NamedTuple):
    size: int
    items: int
    text: int
    digits: int


class _Beyond(Exception):
    """A bound is crossed; the walk knows where."""

    def __init__(self, code: str, n: int = -1) -> None:
        self.code, self.n = code, n


def _walk(raw: Any, limits: _Limits, max_depth: int, locale: str) -> Detail | None:
    path: list[Any] = []
    try:
        if _leaf(raw, limits) is not None:
            return None
        stack = [_inside(raw)]
        path.append("")
        total, items = 2, 0
        while stack:
            entries, named = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                path.pop()
                continue
            path[-1], value = entry
            total += _name(path[-1], limits) if named else 1
            size = _leaf(value, limits)
            total += 2 if size is None else size
            items += 2 if named else 1
            if total > limits.size or items > limits.items:
                return _detail("too_large", (), locale)
            if size is None:
                if len(stack) >= max_depth:
                    return _detail("too_deep", tuple(path), locale)
                stack.append(_inside(value))
                path.append("")
    except _Beyond as beyond:
        return _detail(beyond.code, tuple(path), locale, beyond.n)
    return None


def _inside(value: Any) -> tuple[Iterator[tuple[Any, Any]], bool]:
    """What a container holds, by name or by place; and whether by name."""
    return (iter(value.items()), True) if isinstance(value, dict) else (enumerate(value), False)


def _name(name: Any, limits: _Limits) -> int:
    if not isinstance(name, str):
        raise _Beyond("key_not_text")
    return _text(name, limits) + 4


def _leaf(value: Any, limits: _Limits) -> int | None:
    """About how many bytes the value is in JSON; None for what has values inside."""
    if isinstance(value, str):
        return _text(value, limits) + 2
    if value is None or isinstance(value, bool):
        return 5
    if isinstance(value, int):
        if value.bit_length() > limits.digits * _BITS_PER_DIGIT:  # its digits are never written out
            raise _Beyond("number_too_long")
        return value.bit_length() // 3 + 2
    if isinstance(value, float | Decimal):
        return _number(value, limits)
    if isinstance(value, dict | list | tuple | set | frozenset):
        return None
    return _other(value, limits)


def _text(value: str, limits: _Limits) -> int:
    if len(value) > limits.text:
        raise _Beyond("text_too_long", limits.text)
    if "\x00" in value:
        raise _Beyond("text_control")
    if value.isascii():
        return len(value)
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise _Beyond("text_broken") from None


def _number(value: float | Decimal, limits: _Limits) -> int:
    if not (math.isfinite(value) if isinstance(value, float) else value.is_finite()):
        raise _Beyond("not_finite")
    if isinstance(value, float):
        return 20
    digits, exponent = value.as_tuple()[1:]
    if not isinstance(exponent, int) or len(digits) + abs(exponent) > limits.digits:
        raise _Beyond("number_too_long")
    return len(digits) + abs(exponent)


def _other(value: Any, limits: _Limits) -> int:
    if isinstance(value, bytes):
        if len(value) > limits.text:
            raise _Beyond("text_too_long", limits.text)
        return len(value)
    if isinstance(value, Enum):
        return 20
    if isinstance(value, _LEAVES):
        return 30
    kind = type(value)
    if hasattr(kind, "get_secret_value"):
        return _leaf(value.get_secret_value(), limits) or 0
    # Made and checked by this process: a model, or a value object that pydantic knows how to take.
    if hasattr(kind, "__pydantic_validator__") or hasattr(kind, "__get_pydantic_core_schema__"):
        return 100
    raise _Beyond("not_data")


def _detail(code: str, path: tuple[Any, ...], locale: str, n: int = -1) -> Detail:
    from botguard.validation.catalogue import name_or_quote, problem
    from botguard.validation.echo import shown

    names = [part for part in path if isinstance(part, str)]
    where = {"label": name_or_quote(names[-1], locale)} if names and names[-1] else {}
    return problem(code, locale, field=".".join(shown(part) for part in path), n=n, **where)
