"""At the edge an Outcome is the answer to everything: whatever callers, directories and handlers come up with."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from botguard import ALLOW_ALL, Actor, ConfigurationError, Context, Guard, Outcome, Principal, Rejected, Retry, Status
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.ports.idempotency import RowState
from botguard.testing import FakeClock
from core.support import Desk, ctx, reasons

STORES = ("memory", "sqlite")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, FakeClock]]:
    clock = FakeClock()
    if request.param == "memory":
        yield MemoryStorage(clock=clock), clock
        return
    with SqliteStorage(tmp_path / "edge.db", clock=clock, synchronous="NORMAL") as opened:
        yield opened, clock


class Meeting(BaseModel):
    at: dt.datetime
    price: Decimal = Decimal(0)
    rate: float = 0.0


def meetings(store: Any, clock: FakeClock, **options: Any) -> Guard:
    guard = Guard(storage=store, access=ALLOW_ALL, clock=clock)

    @guard.command("meetings.plan", key=lambda p: (p.at,), **options)
    def plan(meeting: Meeting) -> str:
        return "planned"

    return guard


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"])
def test_a_moment_that_has_no_utc_is_just_invalid(store: tuple[Any, FakeClock], at: str) -> None:
    outcome = meetings(*store).run("meetings.plan", {"at": at}, context=ctx())
    assert (outcome.status, reasons(outcome)) == (Status.INVALID, ["invalid_payload"])


@pytest.mark.parametrize("field", [{"price": "NaN"}, {"rate": float("nan")}, {"price": "sNaN"}])
def test_numbers_that_are_none_are_just_invalid(store: tuple[Any, FakeClock], field: dict[str, Any]) -> None:
    outcome = meetings(*store).run("meetings.plan", {"at": "2026-01-01T00:00:00Z", **field}, context=ctx())
    assert outcome.status is Status.INVALID


BAD_NAMES = ["", "\ud800", "a\udfffb", "a\x00b", "x" * 256, 5, b"bytes"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
@pytest.mark.parametrize(
    "make",
    [
        lambda name: Actor(name),
        lambda name: Actor("u1", person=name),
        lambda name: Principal(name),
        lambda name: Context(org=name, actor=None),
        lambda name: Context(org="acme", actor=None, channel=name),
        lambda name: Context(org="acme", actor=None, address=name),
    ],
    ids=["actor", "person", "principal", "org", "channel", "address"],
)
def test_names_that_no_store_could_keep_are_refused_at_the_door(make: Any, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="BG120"):
        make(name)


@pytest.mark.parametrize("delivery", ["\ud800", "x" * 1025, 5])
def test_a_delivery_that_no_store_could_keep_is_refused_at_the_door(delivery: Any) -> None:
    with pytest.raises(ConfigurationError, match="BG120"):
        ctx(delivery=delivery)


@pytest.mark.parametrize("given_", ["\ud800", "x" * 100_000, "é" * 300, 5, "a\x00b", ""])
def test_a_callers_correlation_id_is_cleaned_and_breaks_nothing(store: tuple[Any, FakeClock], given_: Any) -> None:
    storage, clock = store
    desk = Desk(storage=storage, clock=clock).command()
    outcome = desk.run(correlation_id=given_)
    assert (outcome.status, outcome.degraded) == (Status.SUCCEEDED, False)
    assert len(desk.last().correlation_id) <= 255
    row = desk.row()
    assert row is not None
    assert row.state is RowState.DONE


def test_names_at_the_limit_are_kept(store: tuple[Any, FakeClock]) -> None:
    storage, clock = store
    for name in ("x" * 255, "é" * 255, "\U0001f600" * 255, "\u202e", " ", "\n"):
        desk = Desk(storage=storage, clock=clock).command(risk="high", limits=["9/hour per user"])
        asked = desk.run(actor=name, org=name, channel=name, address=name)
        assert asked.status is Status.PENDING
        assert desk.confirm(asked, ctx(name, name, channel=name)).ok
        assert desk.last().person == name


class Odd(Rejected):
    """Never calls our constructor."""

    def __init__(self, sku: str) -> None:
        Exception.__init__(self, sku)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [Odd("A-1"), Rejected(5), Rejected("", ""), Rejected("x" * 10_000)])  # type: ignore[arg-type]
def test_odd_refusals(store: tuple[Any, FakeClock], error: Exception) -> None:
    storage, clock = store
    desk = Desk(storage=storage, clock=clock).command().fails(error)
    first, again = desk.run(), desk.run()
    assert (first.status, first.error) == (Status.FAILED, error)
    assert (again.status, again.replayed) == (Status.FAILED, True)
    assert isinstance(again.error, Rejected)
    for outcome in (first, again):
        assert outcome.message()
        assert outcome.problem()["status"] == 409


def test_an_error_without_text(store: tuple[Any, FakeClock]) -> None:
    storage, clock = store
    desk = Desk(storage=storage, clock=clock).command(final=Unprintable).fails(Unprintable())
    assert desk.run().status is Status.FAILED
    assert desk.run().status is Status.FAILED


class Stubborn(str):
    """Cannot be copied, which attempts need."""

    __slots__ = ()

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("one of a kind")


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    name: str
    held: Any = None


def test_a_payload_that_cannot_be_copied_for_the_next_attempt(store: tuple[Any, FakeClock]) -> None:
    storage, clock = store
    guard = Guard(storage=storage, access=ALLOW_ALL, clock=clock)
    ran: list[str] = []

    @guard.command("holders.use", key="{name}", effects="idempotent", retry=Retry(on=OSError))
    def use(holder: Holder) -> None:
        ran.append(holder.name)

    outcome = guard.run("holders.use", Holder(name="a", held=Stubborn("x")), context=ctx())
    assert (outcome.status, ran) == (Status.FAILED, [])
    assert storage.idempotency.peek(storage.events.tail()[-1].key) is None


def test_a_limit_that_is_said_twice_counts_once() -> None:
    desk = Desk().command(limits=["2/hour per user", "2/hour per user"], risk="high")
    asked = desk.run()
    assert desk.run().status is Status.PENDING
    assert desk.confirm(asked).ok
    assert desk.run("B1").status is Status.PENDING
    assert desk.run("C1").status is Status.THROTTLED


# ── anything at all ─────────────────────────────────────────────────────────────────────────────────────────

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=8),
        st.binary(max_size=4),
        st.decimals(),
        st.datetimes(timezones=st.one_of(st.none(), st.timezones())),
        st.sampled_from([object(), object, Ellipsis, 10**400, "\ud800", dt.datetime.max, dt.time.min, Unprintable()]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers(), st.none()), inner, max_size=3),
        st.frozensets(st.integers(), max_size=2),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("which", STORES)
@pytest.mark.parametrize("risk", ["low", "high"])
def test_any_payload_ends_in_an_outcome(which: str, risk: str) -> None:
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as folder:
        storage: Any = MemoryStorage(clock=clock)
        if which == "sqlite":
            storage = SqliteStorage(Path(folder) / "any.db", clock=clock, synchronous="NORMAL")
        guard = Guard(storage=storage, access=ALLOW_ALL, clock=clock, refusals_per_minute=10**9)

        @guard.command("any.thing", key=lambda p: ("k", p), risk=risk, effects="idempotent")
        def thing(payload: dict) -> Any:  # type: ignore[type-arg]
            return payload

        @guard.command("any.meeting", key=lambda p: (p.at,), risk=risk, effects="idempotent")
        def meeting(payload: Meeting) -> Any:
            return payload

        @settings(max_examples=80, derandomize=True)
        @example("", "", "any.thing")
        @example(b"", "", "any.thing")
        @given(
            anything,
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
            st.sampled_from(["any.thing", "any.meeting", "\ud800"]),
        )
        def check(payload: Any, delivery: str, command: str) -> None:
            context = ctx(delivery=delivery)
            outcome = guard.run(command, payload, context=context)
            assert isinstance(outcome, Outcome)
            assert outcome.message()
            assert outcome.problem()["title"]
            assert repr(outcome)
            if outcome.confirmation is not None:
                assert isinstance(guard.confirm(outcome.confirmation.token, context=context), Outcome)
            again = guard.run(command, payload, context=context)
            assert again.status == outcome.status or outcome.confirmation is not None

        check()
        if which == "sqlite":
            storage.close()
