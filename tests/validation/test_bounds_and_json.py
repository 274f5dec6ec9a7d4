from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from validation_jargon import check_message
from validation_models import GOOD_PLAIN, Plain

from botguard.errors import InvalidPayload
from botguard.outcome import Detail, Reason, Status
from botguard.validation import Money, Quantity, check_bounds, parse_json


class Colour(Enum):
    RED = "red"


class Foreign:
    pass


def nested(depth: int) -> Any:
    value: Any = "end"
    for _ in range(depth):
        value = [value]
    return value


CYCLE: dict[str, Any] = {}
CYCLE["again"] = CYCLE
LAUGHS: Any = ["ha"] * 10
for _ in range(10):
    LAUGHS = [LAUGHS] * 10


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"a": 1},
        {"a": None, "b": True, "c": "x", "d": 1.5},
        {"a": {"b": [1, 2, {"c": "é"}]}},
        {"a": nested(15)},
        {"order-id": "x"},
        {"ключ": "значение"},
        {
            "a": Decimal("1.5"),
            "b": dt.date(2026, 1, 1),
            "c": dt.timedelta(1),
            "d": uuid4(),
            "e": Colour.RED,
            "f": b"x",
            "g": (1, 2),
            "h": {1, 2},
        },
        {"a": Quantity(1, "kg"), "b": Money(1, "EUR"), "c": SecretStr("x"), "d": Plain.model_validate(GOOD_PLAIN)},
        "text",
        5,
        None,
        [1, 2],
        {"a": "x\ny"},
        {"": 1},
    ],
)
def test_plain_data_within_bounds_pass(good: Any) -> None:
    assert check_bounds(good) is None


BAD: list[tuple[Any, str, str]] = [
    ({"a": "x" * 20000}, "text_too_long", "a"),
    ({"a": ["x" * 16000] * 5}, "too_large", ""),
    ({"a": "é" * 16000, "b": "é" * 16000, "c": "x" * 2000}, "too_large", ""),
    ({"a": [0] * 20000}, "too_large", ""),
    ({"a": LAUGHS}, "too_large", ""),
    ({"a": nested(16)}, "too_deep", "a" + ".0" * 15),
    (nested(100_000), "too_deep", "0" + ".0" * 15),
    (CYCLE, "too_deep", "again" + ".again" * 15),
    ({"a": 10**5000}, "number_too_long", "a"),
    ({"a": -(10**101)}, "number_too_long", "a"),
    ({"a": Decimal("1E+1000000")}, "number_too_long", "a"),
    ({"a": Decimal("1E-1000000")}, "number_too_long", "a"),
    ({"a": float("nan")}, "not_finite", "a"),
    ({"a": float("-inf"), "b": 1.5}, "not_finite", "a"),
    ({"a": [1, {"b": float("inf")}]}, "not_finite", "a.1.b"),
    ({"a": Decimal("sNaN")}, "not_finite", "a"),
    ({"a": "\ud800"}, "text_broken", "a"),
    ({"a": "x\udfff" + "é"}, "text_broken", "a"),
    ({"a\ud800": 1}, "text_broken", "a<U+D800>"),
    ({"a": "x\x00"}, "text_control", "a"),
    ({"a\x00": 1}, "text_control", "a<U+0000>"),
    ({1: 1}, "key_not_text", "1"),
    ({None: 1}, "key_not_text", "None"),
    ({("a",): 1}, "key_not_text", "('a',)"),
    ({"x" * 20000: 1}, "text_too_long", "x" * 40 + "…"),
    ({"a": Foreign()}, "not_data", "a"),
    ({"a": [print]}, "not_data", "a.0"),
    ({"a": Foreign}, "not_data", "a"),
    ({"a": iter([1])}, "not_data", "a"),
    ({"a": 1j}, "not_data", "a"),
    ({"a": SecretStr("x\x00")}, "text_control", "a"),
    ("x" * 20000, "text_too_long", ""),
    (float("nan"), "not_finite", ""),
    (Foreign(), "not_data", ""),
]


@pytest.mark.parametrize(("bad", "code", "field"), BAD, ids=[f"{code}-{n}" for n, (_, code, _) in enumerate(BAD)])
def test_what_is_beyond_bounds_is_named(bad: Any, code: str, field: str) -> None:
    start = time.process_time()
    for locale in ("en", "de", "ru"):
        found = check_bounds(bad, locale=locale)
        assert found is not None
        assert (found.code, found.field) == (code, field)
        check_message(found)
    assert time.process_time() - start < 1


def test_bounds_can_be_set() -> None:
    four = {"a": "xxxx", "b": 12, "c": True, "d": None}
    assert check_bounds(four) is None
    for options, code in [
        ({"max_str": 3}, "text_too_long"),
        ({"max_items": 7}, "too_large"),
        ({"max_bytes": 20}, "too_large"),
        ({"max_digits": 1}, "number_too_long"),
    ]:
        found = check_bounds(four, **options)
        assert found is not None, options
        assert found.code == code, options
    assert check_bounds({"a": [1]}, max_depth=2) is None
    assert check_bounds({"a": [1]}, max_depth=1) is not None


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20) | st.characters()
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def check_the_shortcut(check: Callable[[Any], Detail | None], raw: dict[Any, Any]) -> None:
    """A request that is let through holds nothing that is refused inside a list, where no shortcut looks."""
    slow = check({"in": [raw]})
    fast = check(raw)
    assert (fast is None) == (slow is None), (fast, slow)
    assert fast is None or slow is None or fast.code == slow.code


@settings(max_examples=1000)
@given(st.dictionaries(st.text(max_size=5), SCALARS, max_size=5) | DATA.map(lambda value: {"a": value}))
def test_the_shortcut_lets_nothing_through(raw: dict[Any, Any]) -> None:
    check_the_shortcut(check_bounds, raw)


def test_the_check_of_the_shortcut_sees_one_that_is_too_short() -> None:
    def careless(raw: Any) -> Detail | None:
        return None if all(isinstance(value, str) for value in raw.values()) else check_bounds(raw)

    with pytest.raises(AssertionError):
        check_the_shortcut(careless, {"a": "\ud800"})


def refused(body: bytes, **options: Any) -> Detail:
    with pytest.raises(InvalidPayload) as caught:
        parse_json(body, **options)
    outcome = caught.value.outcome
    (detail,) = outcome.details
    assert outcome.status is Status.INVALID
    assert outcome.reasons == ((Reason.PAYLOAD_TOO_LARGE if detail.code == "too_large" else Reason.INVALID_PAYLOAD),)
    check_message(detail)
    return detail


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**90), 10**90)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=5), inner, max_size=4),
        max_leaves=20,
    )
)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "unreadable"),
        (b"{", "unreadable"),
        (b"{'a': 1}", "unreadable"),
        (b'{"a": 1} x', "unreadable"),
        (b"\xff\xfe{}", "unreadable"),
        (b'{"a": 01}', "unreadable"),
        ("\ufeff{}".encode(), "unreadable"),
        (b'{"a": 1, "a": 1}', "name_twice"),
        (b'[{"b": {"a": 1, "a": 2}}]', "name_twice"),
        (b'{"a": NaN}', "not_finite"),
        (b'{"a": -Infinity}', "not_finite"),
        (b'{"a": 1e999}', "number_too_long"),
        (b'{"a": 1e-999}', "number_too_long"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number_too_long"),
        (b'{"a": 0.' + b"9" * 5000 + b"}", "number_too_long"),
        (b'{"a": "\\ud800"}', "text_broken"),
        (b'{"a": "\\u0000"}', "text_control"),
        (b'{"\\u0000": 1}', "text_control"),
        (b"[" * 60000, "too_deep"),
        (b'{"a":' * 10000, "too_deep"),
        (b"[" * 17 + b"]" * 17, "too_deep"),
        (b" " * 70000, "too_large"),
        (b"[" + b"1," * 11000 + b"1]", "too_large"),
        (b'"' + b"x" * 20000 + b'"', "text_too_long"),
    ],
)
def test_json_that_is_not_plain_is_refused(body: bytes, code: str) -> None:
    start = time.process_time()
    assert refused(body).code == code
    assert time.process_time() - start < 1


def test_brackets_in_texts_are_not_levels() -> None:
    assert parse_json(b'{"a": "' + b"[" * 100 + b'", "b": "\\"[[[\\\\"}') == {"a": "[" * 100, "b": '"[[[\\'}
    assert refused(b'"' + b'\\"' * 30000).code == "unreadable"
    assert refused(b'"' * 60001).code == "unreadable"


def test_numbers_lose_no_digits() -> None:
    assert parse_json(b"[0.1, 12.50, 1e5]") == [0.1, 12.5, 1e5]
    assert parse_json(b"0.12345678901234567890") == Decimal("0.12345678901234567890")
    assert parse_json(b"12345678901234567890123") == 12345678901234567890123


@settings(max_examples=500)
@given(
    st.binary(max_size=60)
    | st.text('{}[]":,\\ut0159-+.eENaI \ud800', max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        value = parse_json(body)
    except InvalidPayload as error:
        for detail in error.details:
            check_message(detail)
    else:
        assert check_bounds(value) is None
