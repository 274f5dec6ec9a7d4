from __future__ import annotations

import datetime as dt
import time
import unicodedata
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from botguard.errors import ConfigurationError
from botguard.validation import Date, DateTime, Text, Time

NAIVE = dt.datetime(2026, 3, 31)
GERMAN = Date(format="%d.%m.%Y")
BERLIN = DateTime(format=("%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M %z"), timezone="Europe/Berlin")


def code_of(rule: Any, value: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        rule.read(value)
    return caught.value.type  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("text", ["31.03.2026", "2026-03-31", " 31.03.2026 ", "٣١.٠٣.٢٠٢٦", "３１.０３.２０２６"])
def test_a_date_is_read_in_the_declared_format_and_in_that_of_json(text: str) -> None:
    assert GERMAN.read(text) == dt.date(2026, 3, 31)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("12", "not_date"),
        ("1.5", "not_date"),
        ("may", "not_date"),
        ("31.3.2026", "not_date"),
        ("31.03.26", "not_date"),
        ("31/03/2026", "not_date"),
        ("31. 03. 2026", "not_date"),
        ("20260331", "not_date"),
        ("2026-W14-2", "not_date"),
        ("tomorrow", "not_date"),
        ("", "not_date"),
        ("30.02.2026", "date_impossible"),
        ("31.03.2026 14:30", "not_date"),
        ("00.00.0000", "date_impossible"),
        (12, "not_date"),
        (1774915200, "not_date"),
        (1.5, "not_date"),
        (True, "not_date"),
        (NAIVE, "not_date"),
        (None, "not_date"),
        ("1" * 1000, "too_long_for_this"),
        ("3١.03.2026", "mixed_digits"),
    ],
)
def test_twelve_is_never_a_date(value: Any, code: str) -> None:
    assert code_of(GERMAN, value) == code


def test_a_format_with_one_digit_or_two() -> None:
    rule = Date(format="%-d/%-m/%Y", earliest=dt.date(2026, 1, 1), latest=dt.date(2026, 2, 28))
    assert rule.read("1/2/2026") == rule.read("01/02/2026") == dt.date(2026, 2, 1)
    assert code_of(rule, "31/12/2025") == "too_early"
    assert code_of(rule, "1/3/2026") == "too_late"
    assert rule.sample() == "28/2/2026"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Date(format="%d.%m.%y"),
        lambda: Date(format="%d %B %Y"),
        lambda: Date(format="%d.%m"),
        lambda: Date(format="%d.%m.%Y %H:%M"),
        lambda: Date(format="%d.%d.%Y"),
        lambda: Date(format=("%d/%m/%Y", "%m/%d/%Y")),
        lambda: Date(format="%Y-%d-%m"),
        lambda: Date(format=()),
        lambda: Time(format="%I:%M"),
        lambda: Time(format="%M:%H"),
        lambda: Time(format="%H:%M %z"),
        lambda: Time(format=("%H.%M", "%M.%H")),
        lambda: DateTime(format="%d.%m.%Y", timezone="UTC"),
        lambda: DateTime(format="%Y-%d-%m %H:%M", timezone="UTC"),
        lambda: TypeAdapter(Annotated[dt.datetime, DateTime(format="%Y-%m-%d %H:%M", timezone="Mars/Base")]),
        lambda: TypeAdapter(Annotated[dt.datetime, DateTime(format="%Y-%m-%d %H:%M", timezone="../etc")]),
    ],
)
def test_a_format_that_would_be_guessed_is_not_declared(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="BG181"):
        make()


def test_times_of_day() -> None:
    rule = Time(format=("%H.%M", "%-I:%M %p"))
    assert rule.read("14.30") == rule.read("2:30 pm") == rule.read("14:30") == rule.read("14:30:00") == dt.time(14, 30)
    assert rule.read("12:00 AM") == dt.time(0)
    assert rule.read("12:00 PM") == dt.time(12)
    assert rule.sample() == "14.30"
    for value, code in [
        ("25.00", "time_impossible"),
        ("13:00 PM", "time_impossible"),
        ("24.00", "time_impossible"),
        ("14", "not_time"),
        ("1430", "not_time"),
        (14, "not_time"),
        (dt.time(1, tzinfo=dt.UTC), "not_time"),
        (None, "not_time"),
    ]:
        assert code_of(rule, value) == code


def test_moments_are_aware_and_in_the_declared_zone() -> None:
    moment = BERLIN.read("31.03.2026 14:30")
    assert moment.isoformat() == "2026-03-31T14:30:00+02:00"
    assert moment.tzinfo == ZoneInfo("Europe/Berlin")
    assert BERLIN.read("2026-03-31T12:30:00Z") == moment
    assert BERLIN.read("2026-03-31 08:30 -0400") == moment
    assert BERLIN.read(dt.datetime(2026, 3, 31, 12, 30, tzinfo=dt.UTC)) == moment
    assert BERLIN.sample() == "31.03.2026 14:30"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("2026-03-31T14:30:00", "not_datetime"),
        ("31.03.2026", "not_datetime"),
        ("12", "not_datetime"),
        (1774915200, "not_datetime"),
        ("29.03.2026 02:30", "datetime_skipped"),
        ("25.10.2026 02:30", "datetime_twice"),
        ("31.02.2026 02:30", "datetime_impossible"),
        ("01.01.0001 00:00", "datetime_impossible"),
        ("9999-12-31T23:59:59-12:00", "datetime_impossible"),
        ("2026-03-31 08:30 +99:99", "datetime_impossible"),
        (NAIVE, "datetime_no_zone"),
        (None, "not_datetime"),
    ],
)
def test_a_moment_that_is_unclear_or_never_comes_is_refused(value: Any, code: str) -> None:
    assert code_of(BERLIN, value) == code


def test_the_hour_that_comes_twice_can_be_said_with_its_offset() -> None:
    early, late = BERLIN.read("2026-10-25T02:30+02:00"), BERLIN.read("2026-10-25T02:30+01:00")
    assert late.astimezone(dt.UTC) - early.astimezone(dt.UTC) == dt.timedelta(hours=1)
    assert BERLIN.read(BERLIN.serialize(late)).astimezone(dt.UTC) == late.astimezone(dt.UTC)


class Moments(BaseModel):
    day: Annotated[dt.date, GERMAN]
    at: Annotated[dt.time, Time(format="%-I:%M %p")]
    due: Annotated[dt.datetime, BERLIN]


@settings(max_examples=300)
@given(
    st.dates(),
    st.times().map(lambda t: t.replace(microsecond=0)),
    st.datetimes(NAIVE.replace(year=2), NAIVE.replace(year=9998), timezones=st.just(dt.UTC)),
)
def test_moments_come_back_from_json_as_they_were(day: dt.date, at: dt.time, due: dt.datetime) -> None:
    model = Moments(day=day, at=at, due=due)
    assert Moments.model_validate_json(model.model_dump_json()) == model
    assert Moments.model_validate(model.model_dump(mode="json")) == model
    assert Moments.model_validate(model.model_dump()) == model


@settings(max_examples=300)
@given(st.text("0123456789.:/- TZampAPM+٣１", max_size=20))
def test_a_text_is_a_moment_only_with_all_its_parts(text: str) -> None:
    for rule in (GERMAN, BERLIN):
        try:
            rule.read(text)
        except ValueError:
            continue
        assert sum(sign.isdigit() for sign in text) >= 8


LINE, NOTE = Text(max=200), Text(max=200, multiline=True)


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (LINE, "  hello  ", "hello"),
        (LINE, "Cafe\u0301", "Café"),
        (LINE, "a\tb", "a b"),
        (LINE, "A-17\u200b", "A-17"),
        (LINE, "A\u200d-17", "A-17"),
        (LINE, "\ufeffA-17", "A-17"),
        (LINE, "evil\u202etxt.exe", "eviltxt.exe"),
        (LINE, "so\u00adft", "soft"),
        (LINE, "hi\U000e0041\U000e0042", "hi"),
        (LINE, "می\u200cخواهم", "می\u200cخواهم"),
        (LINE, "👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        (LINE, "❤\ufe0f", "❤\ufe0f"),
        (NOTE, "a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        (LINE, "line\r\n", "line"),
    ],
)
def test_text_has_one_form(rule: Text, text: str, expected: str) -> None:
    assert rule.read(text) == expected
    assert rule.read(expected) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "text_empty"),
        ("   ", "text_empty"),
        ("\u200b", "text_empty"),
        ("x" * 201, "text_too_long"),
        ("x" * 10**6, "text_too_long"),
        ("a\nb", "text_one_line"),
        ("a\x00b", "text_control"),
        ("a\x1b[31m", "text_control"),
        ("a\x85b", "text_control"),
        ("\ud800", "text_control"),
        ("\uffff", "text_control"),
        ("a" + "\u0301" * 40, "text_marks"),
        ("a" + "\u0301" * 20 + "\u00ad" + "\u0301" * 20, "text_marks"),
        (12, "not_text"),
        (None, "not_text"),
        (b"x", "not_text"),
        (["x"], "not_text"),
    ],
)
def test_what_is_no_text_of_a_person_is_refused(text: Any, code: str) -> None:
    assert code_of(LINE, text) == code


def test_lengths_are_counted_afterwards() -> None:
    rule = Text(max=4, min=2)
    assert rule.read("Cafe\u0301") == "Café"
    assert code_of(rule, "a") == "text_too_short"
    assert code_of(rule, "abcde") == "text_too_long"
    with pytest.raises(ConfigurationError, match="BG181"):
        Text(max=0)


_NASTY = st.text(
    st.one_of(st.characters(), st.sampled_from("\u200b\u200c\u200d\u202e\u0301\u0344\u00ad\u212a \u00a0\n\t\ufeffé👩")),
    max_size=30,
)


@settings(max_examples=1000)
@given(_NASTY)
def test_reading_text_twice_changes_nothing(text: str) -> None:
    for rule in (LINE, NOTE):
        try:
            once = rule.read(text)
        except ValueError:
            continue
        assert rule.read(once) == once
        assert unicodedata.is_normalized("NFC", once)
        assert not any(unicodedata.category(sign) in ("Cc", "Cs") for sign in once if sign != "\n")
        assert not set(once) & set("\x00\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def test_hostile_text_takes_no_longer_than_its_length() -> None:
    hostile = ("a" + "\u0316\u0301" * 15) * 2000, "\u200d" * 60000, "\u0301" * 60000, "\u202e" * 60000, "\r\n" * 30000
    rule = Text(max=16000, multiline=True)
    for text in hostile:
        start = time.process_time()
        try:
            rule.read(text)
        except ValueError:
            pass
        assert time.process_time() - start < 2, text[:4]
