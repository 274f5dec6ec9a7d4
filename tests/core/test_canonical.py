"""One spelling for equal values and only for them, whatever the process."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import subprocess
import sys
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, SecretStr

from botguard.pipeline.canonical import Uncanonical, canonical, digest, model_encoder

zones = st.one_of(st.none(), st.timezones(), st.sampled_from([dt.timezone(dt.timedelta(hours=h)) for h in (-5, 0, 3)]))
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=4),
    st.binary(max_size=3),
    st.decimals(allow_nan=False),
    st.sampled_from(
        [Decimal("1.0"), Decimal("1.00"), Decimal(10), Decimal("1E+1"), Decimal("-0"), 1, 1.0, True, "1", b"1"]
    ),
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(timezones=st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=2))])),
    st.timedeltas(),
    st.uuids(),
)
keys = st.one_of(st.text(max_size=3), st.integers(-2, 2), st.none())


def nest(inner: Any) -> Any:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.sets(keys, max_size=3),
    )


values = st.recursive(atoms, nest, max_leaves=8)


def alike(one: Any, other: Any) -> bool:
    """Equal as payloads: of one kind all the way down; a tuple is a list; True is no 1; 1.0 is no 1; Decimals by value."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            any(alike(k, m) and alike(v, w) for m, w in other.items()) for k, v in one.items()
        )
    if isinstance(one, set):
        return len(one) == len(other) and all(any(alike(a, b) for b in other) for a in one)
    if isinstance(one, dt.datetime) and (one.tzinfo is None) != (other.tzinfo is None):
        return False
    if isinstance(one, dt.time):
        return (one.tzinfo is None) == (other.tzinfo is None) and one == other
    if isinstance(one, dt.datetime) and one.tzinfo is not None:
        return one.astimezone(dt.UTC) == other.astimezone(dt.UTC)
    return bool(one == other)


def spelt(value: Any) -> str | None:
    try:
        return canonical(value)
    except Uncanonical:  # a time at the end of the calendar has no UTC
        return None


@settings(max_examples=400)
@given(values, values)
def test_spelt_alike_if_and_only_if_equal(one: Any, other: Any) -> None:
    first, second = spelt(one), spelt(other)
    if first is not None and second is not None:
        assert (first == second) == alike(one, other), (first, second)


@settings(max_examples=200)
@given(values, st.randoms())
def test_order_of_dicts_and_sets_does_not_matter(value: Any, random: Any) -> None:
    def shuffled(one: Any) -> Any:
        if isinstance(one, dict):
            pairs = [(k, shuffled(v)) for k, v in one.items()]
            random.shuffle(pairs)
            return dict(pairs)
        if isinstance(one, list | tuple):
            return type(one)(shuffled(item) for item in one)
        if isinstance(one, set):
            items = list(one)
            random.shuffle(items)
            return set(items)
        return one

    assert spelt(value) == spelt(shuffled(value))


@given(st.lists(st.text(max_size=4), max_size=5), st.lists(st.text(max_size=4), max_size=5))
def test_parts_of_a_digest_do_not_run_into_each_other(one: list[str], other: list[str]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)
    assert len(digest(*one)) == 40


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 5))
def test_decimals_are_spelt_by_value(value: Decimal, zeros: int) -> None:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    padded = Decimal((sign, (*digits, *[0] * zeros), exponent - zeros))
    assert canonical(padded) == canonical(value)
    assert canonical(value) != canonical(value + Decimal((0, (1,), exponent))) or value == value + Decimal(
        (0, (1,), exponent)
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.0"), Decimal("1.00")),
        (Decimal(100), Decimal("1E+2")),
        (Decimal(0), Decimal("-0.00")),
        (0.0, -0.0),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1, 2, 3}, {3, 2, 1}),
        (frozenset({1}), {1}),
        ([1, 2], (1, 2)),
        (
            dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC),
            dt.datetime(2026, 1, 1, 14, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        ),
        (dt.time(12, tzinfo=dt.UTC), dt.time(14, tzinfo=dt.timezone(dt.timedelta(hours=2)))),
    ],
    ids=repr,
)
def test_equal(one: Any, other: Any) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True), (1, 1.0), (1, "1"), (1, Decimal(1)), ("", None), ("", b""), (0, False), ([], {}), ([], ""), ([[]], []),
        (["a", "b"], ["ab"]), (["a", ""], ["", "a"]), ({"a": "b"}, {"ab": ""}), ({"a": None}, {}), ([1, [2]], [[1], 2]),
        (2**53, 2**53 + 1), (Decimal("1" + "0" * 27 + "1"), Decimal("1e28")), (dt.date(2026, 1, 1), "2026-01-01"),
        (dt.datetime(2026, 1, 1), dt.date(2026, 1, 1)), (dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        ("é", "e\u0301"), ("a", "A"), ("a", "a "), ("i1;", 1), (UUID(int=1), str(UUID(int=1))), ({1}, [1]),
        (float("inf"), float("-inf")), ("\ud800", "\ud801"), (dt.timedelta(days=1), dt.timedelta(days=-1)),
    ],
    ids=repr,
)  # fmt: skip
def test_unequal(one: Any, other: Any) -> None:
    assert canonical(one) != canonical(other)
    assert digest(canonical(one)) != digest(canonical(other))


@pytest.mark.parametrize(
    "value", [float("nan"), Decimal("NaN"), Decimal("sNaN"), object(), object, len, iter([]), [object()]]
)
def test_what_has_no_stable_spelling_is_refused(value: Any) -> None:
    with pytest.raises(Uncanonical):
        canonical(value)


def test_depth_is_bounded() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(Uncanonical):
        canonical(deep)
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(Uncanonical):
        canonical(cycle)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    tags: set[str] = set()
    price: Decimal = Decimal(0)


class Outer(BaseModel):
    name: str = ""
    inner: Inner = Inner()
    colour: Colour = Colour.RED
    pin: SecretStr = SecretStr("")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = ""


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Sku(str):
    __slots__ = ()


def test_models_dataclasses_enums_and_secrets() -> None:
    spellings = [
        canonical(Outer()),
        canonical(Outer(name="a")),
        canonical(Outer(inner=Inner(tags={"a", "b"}))),
        canonical(Outer(inner=Inner(price=Decimal("1.0")))),
        canonical(Outer(colour=Colour.BLUE)),
        canonical(Outer(pin=SecretStr("1"))),
        canonical(Open(name="a", extra=1)),  # type: ignore[call-arg]
        canonical(Open(name="a", extra=2)),  # type: ignore[call-arg]
        canonical(Point(1, 2)),
        canonical(Point(2, 1)),
    ]
    assert len(set(spellings)) == len(spellings)
    assert canonical(Outer(inner=Inner(price=Decimal("1.00")))) == spellings[3]
    assert canonical(Sku("a")) == canonical("a")


@settings(max_examples=100)
@given(
    st.builds(Outer, name=st.text(max_size=3), inner=st.builds(Inner, tags=st.sets(st.text(max_size=2), max_size=3))),
    st.builds(Outer, name=st.text(max_size=3), inner=st.builds(Inner, tags=st.sets(st.text(max_size=2), max_size=3))),
)
def test_the_fast_encoder_of_a_model_tells_the_same_apart(one: Outer, other: Outer) -> None:
    encode = model_encoder(Outer)
    assert (encode(one) == encode(other)) == (one == other)


def test_the_fast_encoder_and_subclasses() -> None:
    class More(Outer):
        more: int = 0

    encode = model_encoder(Outer)
    assert encode(More(more=1)) != encode(More(more=2))
    assert model_encoder(Open)(Open(name="a", x=1)) != model_encoder(Open)(Open(name="a", x=2))  # type: ignore[call-arg]


_PROGRAM = """
import datetime as dt
from decimal import Decimal
from uuid import UUID
from pydantic import BaseModel
from botguard.pipeline.canonical import canonical, digest
class M(BaseModel):
    tags: set[str]
    table: dict[str, Decimal]
value = [
    {str(n) for n in range(50)}, {str(n): n for n in range(50)}, frozenset("abcdefgh"), Decimal("1.10"),
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC), UUID(int=7), b"x", None, 1.5,
    M(tags={"x", "y", "z", "w"}, table={"b": Decimal("2.0"), "a": Decimal("1")}),
]
print(digest(canonical(value)))
"""


def test_every_process_spells_alike() -> None:
    said = set()
    for seed in ("0", "1", "424242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        said.add(run.stdout)
    assert len(said) == 1
