"""A line of a chat, cut into words: quotes as phones write them, escapes, and names before an equals sign."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["BadLine", "Token", "split_command", "tokens"]

#: What closes each opening quote. Phones turn straight quotes into those of the keyboard's language.
_CLOSES = {
    '"': '"', "'": "'", "“": "”", "”": "”", "„": "“”", "‟": "”", "«": "»", "»": "«", "‘": "’", "‚": "‘’",
    "＂": "＂", "「": "」", "『": "』",
}  # fmt: skip
#: A backslash before one of these makes it an ordinary sign; before anything else it is one itself
#: ("C:\temp").
_ESCAPED = frozenset(_CLOSES) | frozenset("".join(_CLOSES.values())) | frozenset("\\ =＝")
_NAME = re.compile(r"([^\W\d][\w-]{0,63})[=＝]")
_COMMAND = re.compile(r"/([A-Za-z0-9_][A-Za-z0-9_.\-]{0,63})(?:@([A-Za-z0-9_]{1,64}))?(?=\s|\Z)")


class Token(NamedTuple):
    """One word: the name before an unquoted equals sign, or "", and the value."""

    name: str
    value: str


class BadLine(Exception):
    """The line cannot be cut into words; ``code`` and ``text`` say why and where."""

    def __init__(self, code: str, text: str) -> None:
        self.code, self.text = code, text


def split_command(line: str) -> tuple[str, str, str] | None:
    """Command, bot ("" if none is named) and the rest of "/create@MyBot A-17"; None without a command."""
    line = line.strip()
    found = _COMMAND.match(line)
    return (found[1], found[2] or "", line[found.end() :]) if found else None


def tokens(text: str) -> list[Token]:
    """The words of a line. One pass; what is in quotes is one word, and never a name.

    Raises:
        BadLine: ``quote_open`` or ``quote_inside``.
    """
    found: list[Token] = []
    at, end = 0, len(text)
    while True:
        while at < end and text[at].isspace():
            at += 1
        if at >= end:
            return found
        named = _NAME.match(text, at)
        name = named[1] if named else ""
        at = named.end() if named else at
        if at < end and text[at] in _CLOSES:
            value, at = _quoted(text, at)
        else:
            value, at = _bare(text, at)
        found.append(Token(name, value))


def _quoted(text: str, start: int) -> tuple[str, int]:
    closes, at, parts = _CLOSES[text[start]], start + 1, []
    while at < len(text):
        sign = text[at]
        if sign == "\\" and text[at + 1 : at + 2] in _ESCAPED and at + 1 < len(text):
            parts.append(text[at + 1])
            at += 2
        elif sign in closes:
            at += 1
            if at < len(text) and not text[at].isspace():
                raise BadLine("quote_inside", text[at : at + 20])
            return "".join(parts), at
        else:
            parts.append(sign)
            at += 1
    raise BadLine("quote_open", text[start])


def _bare(text: str, at: int) -> tuple[str, int]:
    parts = []
    while at < len(text) and not text[at].isspace():
        if text[at] == "\\" and at + 1 < len(text) and text[at + 1] in _ESCAPED:
            at += 1
        parts.append(text[at])
        at += 1
    return "".join(parts), at
