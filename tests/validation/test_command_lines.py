from __future__ import annotations

import time
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AliasChoices, BaseModel, Field, SecretStr
from validation_jargon import check_message

from botguard.errors import ConfigurationError, InvalidPayload
from botguard.outcome import Reason, Status
from botguard.validation import Phone, Quantity, parse_command_line, split_command, usage


class Create(BaseModel):
    order_id: str
    sku: str
    quantity: Quantity
    phone: Annotated[str, Phone(region="GB")] | None = None


class Size(Enum):
    SMALL = "Small"
    LARGE = "Large"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Ship(BaseModel):
    express: bool = False
    size: Size
    level: Level = Level.LOW
    colour: Literal["red", "green"] | None = None
    customer: str = Field(default="", title="Customer name", validation_alias=AliasChoices("customer", "client"))
    items: list[str] = []


class Login(BaseModel):
    user: str
    password: SecretStr


def refused(line: str, model: Any = Create, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidPayload) as caught:
        parse_command_line(line, model, **options)
    outcome = caught.value.outcome
    assert outcome.status is Status.INVALID
    assert outcome.reasons[0] in (Reason.INVALID_PAYLOAD, Reason.PAYLOAD_TOO_LARGE)
    for detail in outcome.details:
        check_message(detail)
    return [(detail.code, detail.field) for detail in outcome.details]


@pytest.mark.parametrize(
    "line",
    [
        '/create A-17 SKU-9 "12 kg" phone="020 7946 0958"',
        '/create@MyBot A-17 SKU-9 "12 kg" "020 7946 0958"',
        "/create A-17 SKU-9 '12 kg' phone='020 7946 0958'",
        "/create A-17 SKU-9 “12 kg” phone=“020 7946 0958”",
        "/create A-17 SKU-9 „12 kg“ phone=„020 7946 0958”",
        "/create A-17 SKU-9 «12 kg» phone=«020 7946 0958»",
        "/create A-17 SKU-9 ‘12 kg’ phone=‚020 7946 0958‘",
        "  /create   A-17\nSKU-9\t12\\ kg  phone＝020\\ 7946\\ 0958 ",
        '/create phone="020 7946 0958" quantity="12 kg" A-17 SKU-9',
        '/create Phone="020 7946 0958" QUANTITY="12 kg" sku=SKU-9 Order-ID=A-17',
    ],
)
def test_a_line_is_read_by_the_fields_of_the_model(line: str) -> None:
    payload = parse_command_line(line, Create)
    assert payload == {"order_id": "A-17", "sku": "SKU-9", "quantity": "12 kg", "phone": "020 7946 0958"}
    assert list(payload) == ["order_id", "sku", "quantity", "phone"]
    assert Create.model_validate(payload).quantity == Quantity(12, "kg")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("O'Brien", "O'Brien"),
        ("O’Brien", "O’Brien"),
        (r'"5\" pipe"', '5" pipe'),
        (r"C:\temp", r"C:\temp"),
        (r"a\\b", r"a\b"),
        (r"a\=b", "a=b"),
        ('"a=b"', "a=b"),
        ("https://x.example/?q=1", "https://x.example/?q=1"),
        ("1=2", "1=2"),
        ('""', ""),
        ('“5" pipe”', '5" pipe'),
        ("naïve", "naïve"),
    ],
)
def test_quotes_and_escapes(word: str, value: str) -> None:
    assert parse_command_line(f"/create {word} b '1 kg'", Create)["order_id"] == value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/create A-17", [("missing", "sku"), ("missing", "quantity"), ("usage", "")]),
        ("/create", [("missing", "order_id"), ("missing", "sku"), ("missing", "quantity"), ("usage", "")]),
        ("/create a b '1 kg' 020 7946", [("too_much", ""), ("usage", "")]),
        ("/create a b '1 kg' colour=red", [("unknown_field", ""), ("usage", "")]),
        ("/create a b '1 kg' sku=c", [("given_twice", "sku"), ("usage", "")]),
        ("/create order_id=a b '1 kg'", [("given_twice", "order_id"), ("missing", "quantity"), ("usage", "")]),
        ("/create a phone=1 phone=2 b '1 kg'", [("given_twice", "phone"), ("usage", "")]),
        ('/create a "b', [("quote_open", ""), ("usage", "")]),
        ('/create a "b"c', [("quote_inside", ""), ("usage", "")]),
        ("create a b c", [("not_a_command", "")]),
        ("", [("not_a_command", "")]),
        ("/", [("not_a_command", "")]),
        ("/créate a", [("not_a_command", "")]),
        ("/create " + "x" * 5000, [("too_large", "")]),
        ("/create " + "x " * 300, [("too_large", ""), ("usage", "")]),
        ("/create a\x00 b c", [("text_control", "order_id")]),
        ("/create a\ud800 b c", [("text_broken", "order_id")]),
    ],
)
def test_a_wrong_line_says_what_is_wrong_and_how_it_should_be(line: str, expected: list[tuple[str, str]]) -> None:
    assert refused(line) == expected


def test_the_words_of_an_answer() -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_command_line("/create A-17 phon=12", Create)
    assert caught.value.outcome.message().splitlines() == [
        "'phon' is not known here. Did you mean 'phone'?",
        "SKU is missing.",
        'Quantity is missing. Send it like "12 kg".',
        "Write it like this: /create <order id> <sku> <quantity> [phone]",
    ]
    with pytest.raises(InvalidPayload) as caught:
        parse_command_line("/create A-17", Create, locale="de")
    assert caught.value.outcome.message().startswith("Artikelnummer fehlt.\nMenge fehlt. Zum Beispiel so:")


def test_a_name_does_not_shift_the_places() -> None:
    payload = parse_command_line("/create quantity='1 kg' A-17 S", Create)
    assert payload == {"order_id": "A-17", "sku": "S", "quantity": "1 kg"}
    # The word that was meant as the quantity must not become the order's id.
    assert refused("/create order_id=A-17 S '1 kg'")[0] == ("given_twice", "order_id")
    assert parse_command_line("/create a b c\\", Create)["quantity"] == "c\\"


def test_choices_flags_and_lists_follow_the_model() -> None:
    assert usage(Ship, "ship") == (
        "/ship [express=<express: yes|no>] <size: Small|Large> [level: 1|2] [colour: red|green] "
        "[customer name] [items…]"
    )
    assert usage(Ship, "ship", "de").startswith("/ship [express=<express: ja|nein>]")
    payload = parse_command_line('/ship small 2 RED "Ada L" a b "c d" express=yes', Ship)
    assert payload["size"] == "Small"
    made = Ship.model_validate(payload)
    assert (made.size, made.level, made.colour, made.customer, made.express) == (
        Size.SMALL,
        Level.HIGH,
        "red",
        "Ada L",
        True,
    )
    assert made.items == ["a", "b", "c d"]
    assert parse_command_line("/ship small items=a items=b", Ship)["items"] == ["a", "b"]
    assert ("given_twice", "items") in refused("/ship small 2 red Ada a items=b", Ship)
    assert Ship.model_validate(parse_command_line("/ship large express=Ja", Ship, locale="de")).express is True
    assert parse_command_line("/ship huge client=x", Ship) == {"size": "huge", "customer": "x"}


def test_a_list_that_is_not_last_and_an_early_option_are_taken_by_name() -> None:
    class Tag(BaseModel):
        tags: list[str]
        urgent: str = ""
        name: str

    assert usage(Tag, "tag") == "/tag tags=<tags…> [urgent=<urgent>] <name>"
    assert parse_command_line("/tag n tags=a tags=b", Tag) == {"tags": ["a", "b"], "name": "n"}
    assert refused("/tag n m", Tag) == [("too_much", ""), ("missing", "tags"), ("usage", "")]


def test_a_model_that_no_line_can_fill_is_a_mistake_of_the_program() -> None:
    class Inner(BaseModel):
        a: int

    class Outer(BaseModel):
        inner: Inner
        rest: dict[str, int] = {}

    with pytest.raises(ConfigurationError, match=r"BG183.*'inner'"):
        parse_command_line("/x a", Outer)

    class Optional(BaseModel):
        name: str
        inner: Inner | None = None

    assert usage(Optional, "x") == "/x <name>"

    class ListBeforeParts(BaseModel):
        tags: list[str] = []
        inner: Inner | None = None

    assert parse_command_line("/x a b", ListBeforeParts) == {"tags": ["a", "b"]}


def test_nothing_of_a_secret_is_repeated() -> None:
    for line in (
        "/login ada hunter two horses",
        "/login ada hun=ter2",
        '/login ada "hunter2',
        '/login ada "hunter2"x',
        "/login ada hunter2 hunter2=x",
    ):
        with pytest.raises(InvalidPayload) as caught:
            parse_command_line(line, Login)
        for piece in ("hunter", "two", "horses", "hun", "ter2"):
            assert piece not in caught.value.outcome.message().replace("/login", ""), line
            assert piece not in str(caught.value)


def test_a_line_without_its_command() -> None:
    assert parse_command_line("A-17 S '1 kg'", Create, command="create") == {
        "order_id": "A-17",
        "sku": "S",
        "quantity": "1 kg",
    }
    assert split_command("/create@My_Bot A-17") == ("create", "My_Bot", " A-17")
    assert split_command(" /help") == ("help", "", "")
    assert split_command("/tmp/x y") is None
    assert split_command("hello /create") is None


@pytest.mark.parametrize(
    "line",
    [
        "/create " + '"' * 4000,
        "/create " + "\\" * 4000,
        "/create " + "a=" * 2000,
        "/create " + "“" * 4000,
        "/create" + " " * 4000,
        "/create " + "=" * 4000,
    ],
)
def test_hostile_lines_take_no_longer_than_their_length(line: str) -> None:
    start = time.process_time()
    refused(line)
    assert time.process_time() - start < 0.5
