"""What a replay returns equals what the first run returned, or the first run already says that it will not."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections import OrderedDict, namedtuple
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from botguard import ALLOW_ALL, Guard, Outcome, Reason, Rejected, ReplayedFailure, Status
from botguard.adapters.memory import MemoryStorage
from botguard.pipeline.codec import ResultCodec, Unstorable, decode_error, encode_error
from botguard.testing import FakeClock
from core.support import Desk, ctx, reasons


class Receipt(BaseModel):
    number: int
    total: Decimal
    lines: tuple[str, ...] = ()
    when: dt.date = dt.date(2026, 1, 2)


@dataclasses.dataclass
class Parcel:
    weight: Decimal
    stops: list[str]


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


Point = namedtuple("Point", "x y")  # noqa: PYI024 - untyped on purpose


class Sku(str):
    __slots__ = ()


VIENNA = ZoneInfo("Europe/Vienna")
PLAIN: list[Any] = [
    None, True, False, 0, -1, 2**70, "", "text", "\x00\ud800", b"", b"\x00\xff", 1.5, -0.0, math.inf,
    Decimal("1.10"), Decimal("-0"), Decimal("1E+400"), Decimal("sNaN"),
    dt.date(2026, 2, 28), dt.datetime(2026, 2, 28, 1, 2, 3, 4), dt.datetime(2026, 2, 28, tzinfo=dt.UTC),
    dt.datetime(2026, 2, 28, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))), dt.time(23, 59, 59, 999999),
    dt.time(1, 2, tzinfo=dt.UTC), dt.timedelta(days=-1, microseconds=1), UUID(int=5), (), (1,), (1, (2, [3])), [], [1, "a"],
    set(), {1, 2}, frozenset({"a"}), {}, {"a": Decimal(1)}, {1: "a", None: "b", (1, 2): "c"}, {"$": "d", "v": "1"},
    {"a": {"$": "x"}}, [{"b": (Decimal("0.1"), dt.date(2026, 1, 1))}], {dt.date(2026, 1, 1): {Decimal("1.0")}},
]  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type all the way down."""
    if type(one) is not type(other):
        return False
    if (isinstance(one, float) and math.isnan(one)) or (isinstance(one, Decimal) and one.is_nan()):
        return str(one) == str(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return len(one) == len(other) and all(any(same(a, b) for b in other) for a in one)
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, c) and same(b, d) for (a, b), (c, d) in zip(one.items(), other.items(), strict=True)
        )
    return bool(one == other)


def twice(value: Any, returns: Any = Any, **options: Any) -> tuple[Outcome, Outcome]:
    """The outcome of a run whose handler returns a value, and its replay."""
    clock = FakeClock()
    guard = Guard(storage=MemoryStorage(clock=clock), access=ALLOW_ALL, clock=clock)
    runs = []

    def handler(payload: dict[str, Any]) -> Any:
        runs.append(1)
        return value

    handler.__annotations__["return"] = returns
    guard.command("shop.do", key=lambda p: "k", **options)(handler)
    first, again = (guard.run("shop.do", {}, context=ctx()) for _ in range(2))
    assert len(runs) == 1
    assert again.replayed
    return first, again


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_results_come_back_equal(value: Any) -> None:
    first, again = twice(value)
    assert same(first.value, value)
    assert same(again.value, value)
    assert (first.degraded, again.degraded, first.reasons, again.reasons) == (False, False, (), ())


@pytest.mark.parametrize(
    ("value", "returns"),
    [
        (Receipt(number=1, total=Decimal("1.10"), lines=("a", "b")), Receipt),
        ([Receipt(number=1, total=Decimal(2))], list[Receipt]),
        ({"a": Receipt(number=1, total=Decimal(2))}, dict[str, Receipt]),
        (Parcel(Decimal("2.50"), ["Graz", "Linz"]), Parcel),
        ((Parcel(Decimal(1), []), 1), tuple[Parcel, int]),
        (Colour.RED, Colour),
        (Level.LOW, Level),
        (None, Receipt | None),
    ],
    ids=repr,
)
def test_typed_results_come_back_by_the_annotation(value: Any, returns: Any) -> None:
    first, again = twice(value, returns)
    assert again.value == value
    assert type(again.value) is type(value)
    assert (first.degraded, again.degraded) == (False, False)


@pytest.mark.parametrize(
    ("value", "returns"),
    [
        (Receipt(number=1, total=Decimal(1)), Any),
        (Receipt(number=1, total=Decimal(1)), dict),
        (Parcel(Decimal(1), []), Any),
        (Colour.RED, Any),
        (Point(1, 2), Any),
        (OrderedDict(a=1), Any),
        (Sku("A-1"), Any),
        (object(), Any),
        (iter([1]), Any),
        (SecretStr("hidden"), SecretStr),
        ({"key": SecretStr("hidden")}, dict[str, SecretStr]),
        (dt.datetime(2026, 7, 1, tzinfo=VIENNA), Any),
        (dt.time(12, tzinfo=VIENNA), Any),
        ([dt.time(12, tzinfo=VIENNA)], Any),
        ("x" * 70_000, Any),
        (b"x" * 70_000, Any),
        (["x" * 1000] * 70, Any),
        (10**5000, Any),
    ],
    ids=lambda value: f"{type(value).__name__}" if not isinstance(value, type) else value.__name__,
)
def test_what_would_not_come_back_equal_is_not_stored_and_says_so(value: Any, returns: Any) -> None:
    first, again = twice(value, returns)
    assert first.value is value
    assert first.status is Status.SUCCEEDED
    assert (first.degraded, reasons(first)) == (True, ["result_not_stored"])
    # Done is done: the effect happened, so it never runs again for that.
    assert (again.status, again.value, reasons(again)) == (Status.SUCCEEDED, None, ["result_unavailable"])


def test_the_largest_result_that_fits_is_stored() -> None:
    first, again = twice("x" * (64 * 1024 - 1))
    assert (first.degraded, again.value) == (False, first.value)
    first, _ = twice("x" * (64 * 1024))
    assert first.degraded


def test_discarded_results() -> None:
    first, again = twice("value", result="discard")
    assert (first.value, first.degraded) == ("value", False)
    assert (again.value, reasons(again)) == (None, ["result_unavailable"])


class Reversed:
    def encode(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise ValueError("only text")
        return value[::-1].encode()

    def decode(self, data: bytes) -> Any:
        if data == b"unreadable"[::-1]:
            raise ValueError("no")
        return data.decode()[::-1]


def test_a_codec_of_ones_own() -> None:
    assert twice("abc", result=Reversed())[1].value == "abc"
    first, again = twice(1, result=Reversed())
    assert (reasons(first), reasons(again)) == (["result_not_stored"], ["result_unavailable"])
    first, again = twice("unreadable", result=Reversed())
    assert (reasons(first), reasons(again)) == ([], ["result_unavailable"])


# ── properties ──────────────────────────────────────────────────────────────────────────────────────────────

zones = st.one_of(st.none(), st.timezones(), st.just(dt.UTC), st.just(dt.timezone(dt.timedelta(minutes=-90))))
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.binary(max_size=8),
    st.decimals(),
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(timezones=zones),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([Colour.RED, Level.LOW, Point(1, 2), Sku("a"), "$", "v", "m"]),
)
hashables = st.one_of(st.integers(), st.text(max_size=4), st.dates(), st.tuples(st.integers()), st.none(), st.just("$"))
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(values)
def test_a_codec_gives_back_what_it_took_or_refuses(value: Any) -> None:
    codec = ResultCodec()
    try:
        data = codec.encode(value)
    except Unstorable:
        return
    assert same(codec.decode(data), value), data


@given(st.lists(st.sampled_from(PLAIN), max_size=5))
def test_plain_data_is_never_refused(value: Any) -> None:
    codec = ResultCodec()
    assert same(codec.decode(codec.encode(value)), value)


# ── stored failures ─────────────────────────────────────────────────────────────────────────────────────────


class Refused(Exception):
    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(code, why)
        self.code, self.why = code, why


class Stubborn(Exception):
    """Its constructor wants something that its arguments do not hold."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


class SoldOut(Rejected):
    pass


class MoreRefused(Refused):
    pass


def failed_twice(error: Exception, **options: Any) -> tuple[Outcome, Outcome]:
    desk = Desk().command(**options).fails(error)
    first, again = desk.run(), desk.run()
    assert desk.effects == ["A1"]
    assert first.error is error
    assert (first.status, again.status, again.replayed) == (Status.FAILED, Status.FAILED, True)
    return first, again


def test_rejected_is_replayed_as_rejected() -> None:
    first, again = failed_twice(Rejected("All gone.", "sold_out"))
    assert type(again.error) is Rejected
    assert (again.error.message, again.error.code) == ("All gone.", "sold_out")
    assert first.details == again.details
    assert first.message() == again.message() == "All gone."
    assert reasons(first) == reasons(again) == ["rejected"]


def test_a_declared_final_error_is_replayed_as_the_same_class() -> None:
    _, again = failed_twice(Refused(7, "closed"), final=Refused)
    assert type(again.error) is Refused
    assert (again.error.code, again.error.why) == (7, "closed")


@pytest.mark.parametrize("error", [Refused(1, "x" * 5000), Refused(1, Colour.RED), Stubborn(code=1), MoreRefused(1)])  # type: ignore[arg-type]
def test_an_error_that_cannot_be_rebuilt_is_replayed_as_its_text(error: Exception) -> None:
    _, again = failed_twice(error, final=(Refused, Stubborn))
    assert isinstance(again.error, ReplayedFailure)
    assert again.error.kind.endswith(type(error).__qualname__)
    assert again.error.message == str(error)[:2000]


def test_a_subclass_of_rejected_keeps_its_words_for_the_person() -> None:
    first, again = failed_twice(SoldOut("All gone.", "sold_out"))
    assert first.message() == "All gone."
    assert type(again.error) is Rejected  # its class is not declared, so it cannot be rebuilt
    assert again.message() == "All gone."


def test_a_direct_call_raises_the_stored_failure() -> None:
    desk = Desk().command(final=Refused).fails(Refused(7))
    desk.run()
    with pytest.raises(Refused) as caught:
        desk.call()
    assert caught.value.code == 7


@given(st.text(max_size=50), st.text(max_size=20))
def test_rejected_survives_any_text(message: str, code: str) -> None:
    back = decode_error(encode_error(Rejected(message, code)), ())
    assert type(back) is Rejected
    assert (back.message, back.code) == (message, code)


def test_reasons_of_a_stored_result_are_not_those_of_the_first_run() -> None:
    desk = Desk().command(deadline=10.0)
    desk.then = lambda order: desk.clock.advance(11.0) or "late"
    assert Reason.OVERRAN in desk.run().reasons
    assert desk.run().reasons == ()
