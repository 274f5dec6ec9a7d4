"""Declared formats of dates and times: read strictly, written for examples, and checked against each other.

The directives are those of ``strptime`` that can be read in one way only. Its laxness is not taken over:
"%d.%m.%Y" takes two digits, two digits and four, and no spaces but those that are written.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field

from botguard.validation.rule import misdeclared

__all__ = ["MomentFormat", "check_formats", "compiled", "date_of", "time_of"]

_DIRECTIVES: dict[str, str] = {
    "%Y": "(?P<year>[0-9]{4})",
    "%m": "(?P<month>[0-9]{2})",
    "%-m": "(?P<month>[0-9]{1,2})",
    "%d": "(?P<day>[0-9]{2})",
    "%-d": "(?P<day>[0-9]{1,2})",
    "%H": "(?P<hour>[0-9]{2})",
    "%-H": "(?P<hour>[0-9]{1,2})",
    "%I": "(?P<hour12>[0-9]{2})",
    "%-I": "(?P<hour12>[0-9]{1,2})",
    "%p": "(?P<half>[AaPp][Mm])",
    "%M": "(?P<minute>[0-9]{2})",
    "%S": "(?P<second>[0-9]{2})",
    "%z": "(?P<offset>Z|[+-][0-9]{2}:?[0-9]{2})",
}
_WHY_NOT = {
    "%y": "the century would be guessed",
    "%b": "names of months depend on the language",
    "%B": "names of months depend on the language",
}
_TOKEN = re.compile(r"%-?.|[^%]+|%", re.DOTALL)

DATE_PARTS = frozenset({"year", "month", "day"})
TIME_PARTS = frozenset({"hour", "minute"})


@dataclass(frozen=True, slots=True)
class MomentFormat:
    """One format, such as ``"%d.%m.%Y"``."""

    text: str
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = []
        for token in _TOKEN.findall(self.text):
            if not token.startswith("%"):
                parts.append(re.escape(token))
            elif token in _DIRECTIVES:
                parts.append(_DIRECTIVES[token])
            else:
                raise self._wrong(f"{token!r} is not a directive here", _WHY_NOT.get(token, ""))
        try:
            pattern = re.compile("".join(parts))
        except re.error:
            raise self._wrong("a part appears twice") from None
        object.__setattr__(self, "_pattern", pattern)
        if ("hour12" in self.parts) != ("half" in self.parts):
            raise self._wrong("%I and %p belong together", "seven o'clock is twice a day")

    def _wrong(self, what: str, why: str = "") -> Exception:
        known = " ".join(_DIRECTIVES)
        return misdeclared(f"format={self.text!r:.60}", what, f"use of these: {known}", why=why)

    @property
    def parts(self) -> frozenset[str]:
        """Names of what is read: year, month … offset."""
        return frozenset(self._pattern.groupindex)

    def match(self, text: str) -> dict[str, str] | None:
        """The parts of a text in this format, as digits; None for any other text."""
        found = self._pattern.fullmatch(text)
        return found.groupdict() if found else None

    def write(self, moment: dt.datetime) -> str:
        """An aware moment in this format, the same under every locale of the system."""
        hour12 = moment.hour % 12 or 12
        values = {
            "%Y": f"{moment.year:04}", "%m": f"{moment.month:02}", "%-m": f"{moment.month}",
            "%d": f"{moment.day:02}", "%-d": f"{moment.day}",
            "%H": f"{moment.hour:02}", "%-H": f"{moment.hour}",
            "%I": f"{hour12:02}", "%-I": f"{hour12}", "%p": "AM" if moment.hour < 12 else "PM",
            "%M": f"{moment.minute:02}", "%S": f"{moment.second:02}", "%z": moment.isoformat()[-6:],
        }  # fmt: skip
        return "".join(values.get(token, token) for token in _TOKEN.findall(self.text))


def date_of(parts: dict[str, str]) -> dt.date:
    """The date in the parts of a match.

    Raises:
        ValueError: if there is no such day.
    """
    return dt.date(int(parts["year"]), int(parts["month"]), int(parts["day"]))


def time_of(parts: dict[str, str]) -> dt.time:
    """The time of day in the parts of a match.

    Raises:
        ValueError: if there is no such time.
    """
    if "half" in parts:
        hour = int(parts["hour12"])
        if not 1 <= hour <= 12:
            raise ValueError("no such hour")
        hour = hour % 12 + (12 if parts["half"].lower() == "pm" else 0)
    else:
        hour = int(parts["hour"])
    return dt.time(hour, int(parts["minute"]), int(parts.get("second") or 0))


def compiled(rule: str, formats: str | tuple[str, ...], needed: frozenset[str]) -> tuple[MomentFormat, ...]:
    """The formats of a rule, each with all parts that are needed and none that is not.

    Raises:
        ConfigurationError: BG181.
    """
    texts = (formats,) if isinstance(formats, str) else tuple(formats)
    if not texts:
        raise misdeclared(rule, "no format is declared", 'write format="%Y-%m-%d"')
    made = tuple(MomentFormat(text) for text in texts)
    for one in made:
        parts = one.parts | ({"hour"} if "hour12" in one.parts else set())
        extra = parts - needed - ({"hour12", "half", "second", "offset"} if "hour" in needed else set())
        if needed - parts or extra:
            lacks = ", ".join(sorted(needed - parts)) or "nothing"
            raise misdeclared(
                rule,
                f"format={one.text!r:.60} lacks {lacks}"
                + (f" and has {', '.join(sorted(extra))} too much" if extra else ""),
                'write format="%Y-%m-%d" for a date, "%H:%M" for a time, both for both',
                why="what is missing would be guessed",
            )
    check_formats(rule, made)
    return made


def check_formats(rule: str, formats: tuple[MomentFormat, ...]) -> None:
    """Refuse formats that read one text in two ways, such as day first and month first.

    Raises:
        ConfigurationError: BG181, naming the text.
    """
    moment = dt.datetime(2003, 4, 5, 6, 7, 8, tzinfo=dt.UTC)
    for one in formats:
        text = one.write(moment)
        own = {name: int(value) for name, value in (one.match(text) or {}).items() if value.isdigit()}
        for other in formats:
            parts = {name: int(value) for name, value in (other.match(text) or {}).items() if value.isdigit()}
            if any(own.get(name, value) != value for name, value in parts.items()):
                raise misdeclared(
                    rule,
                    f"{text!r} is in format {one.text!r} and in {other.text!r}",
                    "declare one of them",
                    why="one text would be two days or times",
                )
