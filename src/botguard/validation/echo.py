"""What a message may repeat: what was sent, made visible and bounded; what a host's code said, if it is
plain."""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from functools import cache
from typing import Any

__all__ = ["echo", "for_people", "quoted", "shown"]

#: Characters of a value that a message repeats.
LONGEST = 40
#: Controls, formats (direction, zero width), halves of pairs, private and unassigned; breaks of lines and
#: paragraphs.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS = 3


def shown(value: Any, longest: int = LONGEST) -> str:
    """A text with its control, direction and invisible signs written out (<U+202E>), cut at ``longest``."""
    text = _as_text(value, longest)
    if text.isascii() and text.isprintable() and len(text) <= longest:
        return text
    parts, marks = [], 0
    for sign in text[:longest]:
        marks = marks + 1 if unicodedata.combining(sign) else 0
        hidden = unicodedata.category(sign) in _HIDDEN or marks > _MARKS or (sign != " " and sign.isspace())
        parts.append(f"<U+{ord(sign):04X}>" if hidden else sign)
    return "".join(parts) + ("…" if len(text) > longest else "")


def echo(value: Any) -> str:
    """What was sent, in quotes; "" for what is no single value (or an empty one), which is not repeated."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return ""
    return quoted(value) if _as_text(value, LONGEST).strip() else ""


def quoted(value: Any) -> str:
    """:func:`shown` in quotes, which no quote in the value can end."""
    text = shown(value).replace("'", "’")
    return f"'{text}'"


def _as_text(value: Any, longest: int) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        # Writing out a huge number takes long, and Python refuses it beyond 4300 digits.
        return str(int(value)) if value.bit_length() < 4 * longest else "9" * (longest + 1)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else "?"
    return str(value)


_LONGEST_SENTENCE = 300


@cache
def _jargon() -> re.Pattern[str]:
    # Words that people say too ("type", "list", "object", "key") are not here.
    return re.compile(
        r"""\b(?: None | NoneType | NaN | [A-Z]\w+(?:Error|Exception) | (?i:
          pydantic | traceback | exception | stack\s?trace | assertion | null | str | int | dict | bool | tuple | bytes
        | enum | datetime | boolean | integer | json | utf-?8 | codec | args | kwargs | attribute | argument | iterable
        | callable | subscriptable | unhashable | hashable | unpack | isoformat | strptime | substring | regex
        | instance\s+of | not\s+in\s+list | index\s+out\s+of | out\s+of\s+range\s+for | math\s+domain | base\s10
        | does\s+not\s+match\s+format | invalid\s+literal | could\s+not\s+convert | badly\s+formed | hexadecimal
        | validat(?:or|ion)\s+error | value\s+error | field\s+required | input\s+should | [a-z]+error ) ) \b
        | \b__\w+__ | \b0x[0-9a-f]+ | type= | \w\(\) | \w+['"]?\s object\b | <\w+ | \d\.\.\d | [{}\\] """,
        re.VERBOSE,
    )


def for_people(text: str) -> bool:
    """True for one line of plain words; a doubt counts against it, and a general sentence is said instead."""
    return bool(text.strip()) and len(text) <= _LONGEST_SENTENCE and text.isprintable() and not _jargon().search(text)
