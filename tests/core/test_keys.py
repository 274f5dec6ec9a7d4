"""What names one intent."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from botguard import ALLOW_ALL, ConfigurationError, Guard, Outcome, Status
from botguard.adapters.memory import MemoryStorage
from botguard.testing import FakeClock
from core.support import Desk, Order, ctx, reasons, statuses


class Line(BaseModel):
    org_unit: str = ""
    order_id: str | None = None
    number: int = 0
    price: Decimal = Decimal(0)
    day: dt.date = dt.date(2026, 1, 1)
    uid: UUID = UUID(int=0)
    flag: bool = False
    pin: SecretStr = SecretStr("")
    tags: list[str] = []
    extra: dict[str, Any] = {}


class Counted:
    """A command with a key, and how often its handler ran."""

    def __init__(self, key: Any, **options: Any) -> None:
        clock = FakeClock()
        self.storage = MemoryStorage(clock=clock)
        self.guard = Guard(storage=self.storage, access=ALLOW_ALL, clock=clock)
        self.runs = 0

        @self.guard.command("lines.add", key=key, **options)
        def add(line: Line) -> int:
            self.runs += 1
            return self.runs

    def run(self, context: Any = None, **fields: Any) -> Outcome:
        return self.guard.run("lines.add", fields, context=context or ctx())


def test_a_template_names_fields() -> None:
    lines = Counted("{org_unit}/{number}")
    first = lines.run(org_unit="a", number=1)
    assert lines.run(org_unit="a", number=1).replayed
    assert [lines.run(org_unit=unit, number=n).value for unit, n in (("b", 1), ("a", 2), ("", 1))] == [2, 3, 4]
    assert lines.run(org_unit="a", number=1).value == first.value


def test_a_template_is_escaped() -> None:
    lines = Counted("{org_unit}/{order_id}")
    pairs = [("a/b", "c"), ("a", "b/c"), ("a", "/b/c"), ("", "a/b/c"), ("a/", "b/c")]
    assert [lines.run(org_unit=unit, order_id=order).value for unit, order in pairs] == [1, 2, 3, 4, 5]


texts = st.text(st.sampled_from("ab/-:|1 {}\u00e9"), max_size=6)


@settings(max_examples=40)
@given(st.lists(st.tuples(texts, texts), min_size=2, max_size=6, unique=True))
def test_unequal_fields_never_make_one_key(pairs: list[tuple[str, str]]) -> None:
    lines = Counted("{org_unit}-{order_id}")
    for unit, order in pairs:
        lines.run(org_unit=unit, order_id=order)
    assert lines.runs == len(pairs)


def test_every_scalar_may_stand_in_a_template() -> None:
    lines = Counted("{number}{price}{day}{uid}{flag}{org_unit}")
    assert lines.run(price="1.0").value == 1
    assert lines.run(price="1.00").replayed  # an equal value is an equal key
    values = ({"number": 1}, {"price": "2"}, {"day": "2026-01-02"}, {"uid": str(UUID(int=1))}, {"flag": True})
    assert [lines.run(**value).value for value in values] == [2, 3, 4, 5, 6]


def test_types_are_told_apart() -> None:
    plain = Desk().command(key=lambda order: {"int": 1, "str": "1", "bool": True, "dec": Decimal(1)}[order.order_id])
    for kind in ("int", "str", "bool", "dec"):
        assert not plain.run(kind).replayed


@pytest.mark.parametrize(
    "key", ["{order_id}", lambda line: line.order_id, lambda line: (line.order_id, 1), lambda line: ((1, None), 2)]
)
def test_none_is_an_error(key: Any) -> None:
    lines = Counted(key)
    outcome = lines.run(order_id=None)
    assert (outcome.status, reasons(outcome)) == (Status.INVALID, ["key_missing"])
    assert lines.runs == 0


@pytest.mark.parametrize(
    "key", [lambda line: line.missing, lambda line: 1 / 0, lambda line: object(), lambda line: float("nan")]
)
def test_a_key_that_cannot_be_made_is_invalid(key: Any) -> None:
    lines = Counted(key)
    assert lines.run().status is Status.INVALID
    assert lines.runs == 0


def test_an_empty_text_is_a_key_like_any_other() -> None:
    lines = Counted(lambda line: line.order_id)
    assert lines.run(order_id="").ok
    assert lines.run(order_id="").replayed


def test_a_tuple_of_one_is_its_item() -> None:
    one, other = Counted(lambda line: (line.order_id,)), Counted(lambda line: line.order_id)
    for lines in (one, other):
        lines.run(order_id="A1")
    assert one.storage.events.tail()[0].key == other.storage.events.tail()[0].key


def test_keys_are_bounded_hashes() -> None:
    lines = Counted("{org_unit}")
    lines.run(org_unit="x" * 10_000)
    key = lines.storage.events.tail()[0].key
    assert len(key) <= 64
    assert key.isascii()
    assert "x" * 10 not in key


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("{nothing}", "no field 'nothing'"),
        ("{pin}", "secret"),
        ("{tags}", "tags"),
        ("{extra}", "extra"),
        ("constant", "names no field"),
        ("", "names no field"),
        ("{number!r}", "bare field name"),
        ("{number:04}", "bare field name"),
        ("{0}", "bare field name"),
        ("{a.b}", "bare field name"),
        ("{number", "number"),
    ],
)
def test_a_template_that_cannot_hold_is_refused_when_it_is_declared(key: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match="BG114") as caught:
        Counted(key)
    assert says in str(caught.value)


# ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_key_the_channels_delivery_is_the_intent() -> None:
    desk = Desk().command(key=None)
    outcomes = [desk.run(delivery=delivery) for delivery in ("update-1", "update-1", "update-2")]
    assert [outcome.replayed for outcome in outcomes] == [False, True, False]


def test_the_same_delivery_name_on_another_channel_is_another_intent() -> None:
    desk = Desk().command(key=None)
    assert not desk.run(channel="telegram", delivery="1").replayed
    assert not desk.run(channel="slack", delivery="1").replayed


def test_two_buttons_on_one_message_are_two_intents_and_a_press_again_is_one() -> None:
    desk = Desk().command(key=None)
    message = "chat 7, message 42"
    yes, no, yes_again = (desk.run(delivery=f"{message}, button {button}") for button in ("yes", "no", "yes"))
    assert [outcome.replayed for outcome in (yes, no, yes_again)] == [False, False, True]


def test_a_delivery_with_another_payload_is_a_conflict() -> None:
    desk = Desk().command(key=None)
    assert desk.run("A1", delivery="1").ok
    assert desk.run("B1", delivery="1").status is Status.CONFLICT


def test_a_declared_key_beats_the_delivery() -> None:
    desk = Desk().command()
    assert statuses(desk.run(delivery="1"), desk.run(delivery="2")) == ["succeeded", "succeeded"]
    assert desk.effects == ["A1"]


def test_an_empty_delivery_is_one() -> None:
    desk = Desk().command(key=None)
    desk.run(delivery="")
    assert desk.run(delivery="").replayed


def test_without_key_and_delivery_every_call_is_an_intent_of_its_own() -> None:
    desk = Desk().command(key=None)
    assert [desk.run().replayed for _ in range(3)] == [False] * 3
    assert len({event.key for event in desk.events()}) == 3


def test_a_key_and_a_delivery_of_the_same_words_are_apart() -> None:
    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    Desk(storage=storage, clock=clock).command(key=lambda order: ("delivery", "api", "1")).run()
    other = Desk(storage=storage, clock=clock).command(key=None)
    assert not other.run(delivery="1").replayed


def test_the_handler_sees_its_key() -> None:
    import botguard

    desk = Desk().command()
    seen: list[str | None] = []
    desk.then = lambda order: seen.append(botguard.current().key)
    desk.run()
    desk.run("B1")
    assert seen == [event.key for event in desk.events()]
    reading = Desk().command(effects="read", key=None)
    reading.then = lambda order: seen.append(botguard.current().key)
    reading.run()
    assert seen[-1] is None


def test_the_fence_rises_with_every_owner() -> None:
    import botguard

    desk = Desk().command(effects="idempotent")
    fences: list[int] = []

    def then(order: Order) -> None:
        fences.append(botguard.current().fence)
        raise ValueError

    desk.then = then
    for _ in range(3):
        desk.run()
    assert fences == sorted(set(fences))
    assert len(fences) == 3


def test_a_secret_in_the_payload_counts_for_the_fingerprint_and_is_stored_nowhere() -> None:
    lines = Counted("{number}")
    assert lines.run(number=1, pin="1234-secret").ok
    assert lines.run(number=1, pin="1234-secret").replayed
    assert lines.run(number=1, pin="another").status is Status.CONFLICT
    assert "1234" not in repr(vars(lines.storage.idempotency)) + repr(lines.storage.events.tail())


def test_fingerprints_are_keyed() -> None:
    prints = []
    for secret in (b"a" * 32, b"b" * 32, b"a" * 32):
        desk = Desk(secret=secret).command()
        desk.run()
        row = desk.row()
        assert row is not None
        prints.append(row.fingerprint)
    assert prints[0] == prints[2] != prints[1]
