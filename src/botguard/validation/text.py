"""Text: what people write, in one normal form and within bounds.

What a person cannot see they cannot correct, so invisible signs are removed; what nobody can type is refused.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar

from botguard.validation.rule import Rule, fail, misdeclared

__all__ = ["Text"]

#: Refused: controls (NUL among them), halves of pairs, and code points that are no characters.
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
#: Removed: soft hyphen, zero-width space, marks and overrides of direction, invisible operators, tags, and
#: variation selectors but for the two that choose how an emoji looks.
_REMOVED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0d\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
#: Joiners belong between letters of many scripts and between emoji; elsewhere they only make equal texts
#: differ.
_JOINERS = re.compile("(?<![^\x00-\x7f\\s])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f\\s])")
_BREAKS = re.compile("\r\n|[\r\u2028\u2029]")
#: Marks on one letter (UAX 15, stream-safe text): no language needs more, and sorting more of them takes
#: long.
_MARKS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Rule):
    """``note: Annotated[str, Text(max=200)]``: free text of a person.

    The result is NFC, without spaces at its ends, without marks of direction and other invisible signs. NUL
    and other control characters are refused; a tab is a space.

    Args:
        max: characters at most, counted afterwards.
        min: characters at least.
        multiline: whether line breaks are taken (they become ``\\n``); otherwise they are refused.
    """

    max: int
    min: int = 1
    multiline: bool = False

    target: ClassVar[type[Any]] = str
    written: ClassVar[str] = "Annotated[str, Text(max=200)]"

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max or self.max < 1:
            raise misdeclared("Text", f"min={self.min}, max={self.max} leaves nothing", "write Text(max=200)")

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise fail("not_text")
        if len(value) > 4 * self.max + 64:  # before any work is done; a letter may come in parts
            raise fail("text_too_long", n=self.max)
        text = value.strip() if value.isascii() and value.isprintable() else self._cleaned(value)
        if len(text) > self.max:
            raise fail("text_too_long", n=self.max)
        if len(text) < self.min:
            raise fail("text_too_short", n=self.min) if text else fail("text_empty")
        return text

    def _cleaned(self, text: str) -> str:
        text = _BREAKS.sub("\n", text).replace("\t", " ")
        if _REFUSED.search(text):
            raise fail("text_control")
        text = _REMOVED.sub("", text)
        if not text.isascii():
            # Twice: what is composed first decides about joiners, and what they kept apart may compose then.
            text = _JOINERS.sub("", _composed(text))
            text = _composed(text)
        text = text.strip()
        if "\n" in text and not self.multiline:
            raise fail("text_one_line")
        return text

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": self.min, "maxLength": self.max}


def _composed(text: str) -> str:
    # Too long a run of marks covers one of these places, so only letters around them are looked at.
    for place in range(_MARKS, len(text), _MARKS):
        if unicodedata.combining(text[place]) and _run(text, place) > _MARKS:
            raise fail("text_marks")
    return unicodedata.normalize("NFC", text)


def _run(text: str, place: int) -> int:
    """How many marks stand together around a place; more than are allowed are not counted to the end."""
    first = last = place
    while first > 0 and place - first <= _MARKS and unicodedata.combining(text[first - 1]):
        first -= 1
    while last + 1 < len(text) and last - place <= _MARKS and unicodedata.combining(text[last + 1]):
        last += 1
    return last - first + 1
