"""Exact decimal numbers from text, by declared separators.

A comma or a point that is read the wrong way changes an order by a factor of ten or a thousand, so nothing is
read that could be meant in two ways.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from botguard.validation.digits import fold
from botguard.validation.rule import fail, misdeclared

__all__ = ["MAX_DIGITS", "NumberStyle", "exact", "plain"]

#: Digits of a number, before and after the separator together.
MAX_DIGITS = 30
#: Characters of a text with a number in it, unit or currency included.
LONGEST = 100

_MACHINE = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_UNDECLARED = re.compile(r"([+-]?)([0-9]+)(?:([.,])([0-9]+))?")
_ARABIC = re.compile(r"([+-]?[0-9]+)\u066b([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberStyle:
    """How numbers are written in one command.

    Args:
        decimal: ``"."`` or ``","``; None takes either, and refuses what could also be a thousand ("1.234").
        thousands: ``"."``, ``","``, ``" "`` or ``"'"``, in groups of three; None refuses all grouping.
    """

    decimal: str | None = None
    thousands: str | None = None

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise misdeclared("decimal", f"decimal={self.decimal!r} is no separator", 'use "." or ","')
        if self.thousands not in (None, ".", ",", " ", "'"):
            raise misdeclared("thousands", f"thousands={self.thousands!r} is no separator", 'use ".", ",", " " or "\'"')
        if self.thousands is not None and (self.decimal is None or self.thousands == self.decimal):
            raise misdeclared(
                "thousands",
                f"thousands={self.thousands!r} beside decimal={self.decimal!r}",
                "declare both separators, each its own",
                why="1.234 would be one or one thousand",
            )

    def read(self, text: str) -> Decimal:
        """The number in a text that has nothing else in it.

        Raises:
            ValueError: ``not_number``, ``number_unclear``, ``number_separators``, ``number_too_long``,
                ``mixed_digits``.
        """
        return self.read_folded(fold(text, LONGEST))

    def read_folded(self, text: str) -> Decimal:
        """:meth:`read`, for a text that :func:`fold` has seen."""
        arabic = _ARABIC.fullmatch(text)
        if arabic:
            return _bounded(f"{arabic[1]}.{arabic[2]}")
        if self.decimal is None:
            return _undeclared(text)
        if not _pattern(self.decimal, self.thousands).fullmatch(text):
            raise fail("number_separators" if _looks_numeric(text) else "not_number")
        if self.thousands is not None:
            text = text.replace(self.thousands, "")
        return _bounded(text.replace(self.decimal, "."))

    def write(self, value: Decimal) -> str:
        """The number in this style, without grouping; :meth:`read` gives an equal one back."""
        text = plain(value)
        if self.decimal is not None:
            return text.replace(".", self.decimal)
        # A zero more keeps three decimals from reading as a thousand.
        unclear = _UNDECLARED.fullmatch(text)
        return f"{text}0" if unclear is not None and _could_be_grouped(unclear) else text


@cache
def _pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    whole = "[0-9]+"
    if thousands is not None:
        whole = rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:{re.escape(thousands)}[0-9]{{3}})+)"
    return re.compile(rf"[+-]?{whole}(?:{re.escape(decimal)}[0-9]+)?")


def _undeclared(text: str) -> Decimal:
    found = _UNDECLARED.fullmatch(text)
    if found is None:
        raise fail("number_separators" if _looks_numeric(text) else "not_number")
    if _could_be_grouped(found):
        raise fail("number_unclear")
    return _bounded(text.replace(",", "."))


def _could_be_grouped(found: re.Match[str]) -> bool:
    _, whole, separator, decimals = found.groups()
    return bool(separator) and len(decimals) == 3 and len(whole) <= 3 and not whole.startswith("0")


def _looks_numeric(text: str) -> bool:
    return text[:1].isdigit() and text[-1:].isdigit() and not text.strip("0123456789.,' ")


def _bounded(text: str) -> Decimal:
    if len(text) > MAX_DIGITS + 2:  # sign and separator
        raise fail("number_too_long", n=MAX_DIGITS)
    return _unsigned_zero(Decimal(text))


def _unsigned_zero(number: Decimal) -> Decimal:
    return number or number.copy_abs()  # "-0" equals 0, and should look like it


def exact(value: Any) -> Decimal:
    """A number as programs send it: a Decimal, an int, a float as it is written, or text such as "-12.5".

    Raises:
        ValueError: ``not_number``, ``not_finite``, ``number_too_long``.
    """
    if isinstance(value, str):
        if len(value) > MAX_DIGITS + 2:
            raise fail("number_too_long", n=MAX_DIGITS)
        if not _MACHINE.fullmatch(value):
            raise fail("not_number")
        return _unsigned_zero(Decimal(value))
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise fail("not_number")
    return _exact_number(value)


def _exact_number(value: float | Decimal) -> Decimal:
    if isinstance(value, int):
        if value.bit_length() > 4 * MAX_DIGITS or abs(value) >= 10**MAX_DIGITS:
            raise fail("number_too_long", n=MAX_DIGITS)
        return Decimal(value)
    if not (math.isfinite(value) if isinstance(value, float) else value.is_finite()):
        raise fail("not_finite")
    number = Decimal(float.__repr__(value)) if isinstance(value, float) else value
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or len(digits) + max(exponent, 0) > MAX_DIGITS or exponent < -MAX_DIGITS:
        raise fail("number_too_long", n=MAX_DIGITS)
    return _unsigned_zero(number)


def plain(value: Decimal) -> str:
    """Digits without an exponent: 1E+3 is "1000"."""
    return format(value, "f")
