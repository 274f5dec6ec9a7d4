"""Date, Time and DateTime: read in the formats that the command declares, and in no other."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from botguard.validation.digits import fold
from botguard.validation.moment_format import (
    DATE_PARTS,
    TIME_PARTS,
    MomentFormat,
    check_formats,
    compiled,
    date_of,
    time_of,
)
from botguard.validation.rule import Rule, fail, misdeclared

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["Date", "DateTime", "Time"]

LONGEST = 60
_ISO_DATE = MomentFormat("%Y-%m-%d")
_ISO_TIMES = (MomentFormat("%H:%M:%S"), MomentFormat("%H:%M"))
_ISO_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)"
)
#: A day above 12 shows which part is the day.
_SAMPLE = dt.datetime(2026, 3, 31, 14, 30, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Date(Rule):
    """``day: Annotated[date, Date(format="%d.%m.%Y")]``: "31.03.2026" → date(2026, 3, 31).

    Beside the declared formats only ISO 8601 is read ("2026-03-31"), since that is how a date is written in
    JSON. A number, a part of a date and a name of a month are never a date.

    Args:
        format: directives of ``strptime``, or several formats of which no text fits two: %Y %m %d, and %-m
            %-d for one digit or two.
        earliest, latest: the first and the last day that is taken.
    """

    format: str | tuple[str, ...]
    earliest: dt.date | None = None
    latest: dt.date | None = None
    _formats: tuple[MomentFormat, ...] = field(init=False, repr=False, compare=False)

    target: ClassVar[type[Any]] = dt.date
    written: ClassVar[str] = 'Annotated[date, Date(format="%Y-%m-%d")]'

    def __post_init__(self) -> None:
        formats = compiled("Date", self.format, DATE_PARTS)
        object.__setattr__(self, "_formats", _with_iso("Date", formats, (_ISO_DATE,)))

    def read(self, value: Any) -> dt.date:
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            day = value
        elif isinstance(value, str):
            day = self._from_text(value)
        else:
            raise fail("not_date")
        if self.earliest is not None and day < self.earliest:
            raise fail("too_early", limit=self._show(self.earliest))
        if self.latest is not None and day > self.latest:
            raise fail("too_late", limit=self._show(self.latest))
        return day

    def _from_text(self, text: str) -> dt.date:
        parts = _match(self._formats, text)
        if parts is None:
            raise fail("not_date")
        try:
            return date_of(parts)
        except ValueError:
            raise fail("date_impossible") from None

    def _show(self, day: dt.date) -> str:
        return self._formats[0].write(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC))

    def sample(self) -> str:
        day = _SAMPLE.date()
        if self.earliest is not None:
            day = max(day, self.earliest)
        return self._show(min(day, self.latest) if self.latest is not None else day)

    def serialize(self, value: dt.date) -> str:
        return value.isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Time(Rule):
    """``at: Annotated[time, Time(format="%H:%M")]``: "14:30" → time(14, 30), a time of day without a zone.

    Beside the declared formats ISO 8601 is read ("14:30", "14:30:00"), as it is written in JSON.

    Args:
        format: directives of ``strptime``, or several: %H %M %S, %-H for one digit or two, %I %p for the
            twelve-hour clock.
    """

    format: str | tuple[str, ...] = "%H:%M"
    _formats: tuple[MomentFormat, ...] = field(init=False, repr=False, compare=False)

    target: ClassVar[type[Any]] = dt.time
    written: ClassVar[str] = 'Annotated[time, Time(format="%H:%M")]'

    def __post_init__(self) -> None:
        formats = compiled("Time", self.format, TIME_PARTS)
        if any("offset" in one.parts for one in formats):
            raise misdeclared("Time", "%z in a time of day", "use DateTime", why="an offset belongs to a date, too")
        object.__setattr__(self, "_formats", _with_iso("Time", formats, _ISO_TIMES))

    def read(self, value: Any) -> dt.time:
        if isinstance(value, dt.time):
            if value.tzinfo is not None or value.microsecond:
                raise fail("not_time")
            return value
        if not isinstance(value, str):
            raise fail("not_time")
        parts = _match(self._formats, value)
        if parts is None:
            raise fail("not_time")
        try:
            return time_of(parts)
        except ValueError:
            raise fail("time_impossible") from None

    def sample(self) -> str:
        return self._formats[0].write(_SAMPLE)

    def serialize(self, value: dt.time) -> str:
        return value.isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class DateTime(Rule):
    """``due: Annotated[datetime, DateTime(format="%d.%m.%Y %H:%M", timezone="Europe/Berlin")]``; always
    aware.

    A text without offset is a local time of the declared zone; one that the change to summer time skips, or
    that comes twice in autumn, is refused. Beside the declared formats ISO 8601 *with* an offset is read, as
    it is written in JSON.

    Args:
        format: directives of ``strptime``, those of Date and Time and %z.
        timezone: an IANA name. Results are in this zone.
    """

    format: str | tuple[str, ...]
    timezone: str
    _formats: tuple[MomentFormat, ...] = field(init=False, repr=False, compare=False)

    target: ClassVar[type[Any]] = dt.datetime
    written: ClassVar[str] = 'Annotated[datetime, DateTime(format="%Y-%m-%d %H:%M", timezone="UTC")]'

    def __post_init__(self) -> None:
        object.__setattr__(self, "_formats", compiled("DateTime", self.format, DATE_PARTS | TIME_PARTS))
        iso = (MomentFormat("%Y-%m-%d %H:%M:%S"), MomentFormat("%Y-%m-%d %H:%M"))
        _with_iso("DateTime", self._formats, iso)  # only to refuse what reads them otherwise

    def prepare(self) -> None:
        _zone(self.timezone)

    def read(self, value: Any) -> dt.datetime:
        if isinstance(value, dt.datetime):
            if value.utcoffset() is None:
                raise fail("datetime_no_zone")
            return _in_zone(value, self.timezone)
        if not isinstance(value, str):
            raise fail("not_datetime")
        parts = _match(self._formats, value)
        try:
            if parts is not None:
                return self._from_parts(parts)
            text = fold(value, LONGEST)
            if _ISO_MOMENT.fullmatch(text):
                return _in_zone(dt.datetime.fromisoformat(text), self.timezone)
        except (ValueError, OverflowError) as error:
            if hasattr(error, "type"):  # ours: datetime_skipped, datetime_twice
                raise
            raise fail("datetime_impossible") from None
        raise fail("not_datetime")

    def _from_parts(self, parts: dict[str, str]) -> dt.datetime:
        offset = parts.get("offset")
        zone = dt.datetime.fromisoformat(f"2000-01-01T00:00{offset}").tzinfo if offset else None
        moment = dt.datetime.combine(date_of(parts), time_of(parts), tzinfo=zone)
        if zone is not None:
            return _in_zone(moment, self.timezone)
        return _local(moment, _zone(self.timezone))

    def sample(self) -> str:
        return self._formats[0].write(_SAMPLE.replace(tzinfo=_zone(self.timezone)))

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "examples": [self.sample()]}

    def serialize(self, value: dt.datetime) -> str:
        return value.isoformat()


def _match(formats: tuple[MomentFormat, ...], text: str) -> dict[str, str] | None:
    text = fold(text, LONGEST)
    for one in formats:
        parts = one.match(text)
        if parts is not None:
            return parts
    return None


def _with_iso(rule: str, formats: tuple[MomentFormat, ...], iso: tuple[MomentFormat, ...]) -> tuple[MomentFormat, ...]:
    """The formats and those of JSON, which must read no text otherwise."""
    together = formats + tuple(one for one in iso if one not in formats)
    check_formats(rule, together)
    return together


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise misdeclared(
            "DateTime",
            f"timezone={name!r:.60} is not known here",
            'write an IANA name such as "Europe/Berlin"; where the system has none, install tzdata',
        ) from None


def _in_zone(moment: dt.datetime, name: str) -> dt.datetime:
    try:
        return moment.astimezone(_zone(name))
    except (OverflowError, ValueError):  # the first and the last hours that a datetime can hold
        raise fail("datetime_impossible") from None


def _local(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    early, late = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
    in_utc = early.astimezone(dt.UTC)  # which the first and the last hours of all cannot be
    if early.utcoffset() == late.utcoffset():
        return early
    there_and_back = in_utc.astimezone(zone).replace(tzinfo=None)
    raise fail("datetime_twice" if there_and_back == moment else "datetime_skipped")
