from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter
from validation_models import Order

from botguard.errors import ConfigurationError
from botguard.validation import DecimalNumber, Money, NumberStyle, Quantity
from botguard.validation.currencies import currencies
from botguard.validation.numbers import MAX_DIGITS
from botguard.validation.units import UNITS, find_unit


def code_of(read: Callable[[Any], Any], value: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        read(value)
    return caught.value.type  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", "12"),
        ("12.5", "12.5"),
        ("12,5", "12.5"),
        ("0.125", "0.125"),
        ("0,125", "0.125"),
        ("1234.567", "1234.567"),
        ("12.50", "12.50"),
        ("٣", "3"),
        ("１２", "12"),
        ("٣٫٥", "3.5"),
        ("१२", "12"),
        ("12．5", "12.5"),
        ("-0", "0"),
        ("−5", "-5"),
        ("007", "7"),
        ("1.2345", "1.2345"),
    ],
)
def test_undeclared_separators_are_read_where_they_mean_one_thing(text: str, expected: str) -> None:
    assert str(NumberStyle().read(text)) == expected


@pytest.mark.parametrize("text", ["1.234", "1,234", "12.345", "123,456", "١٢.٣٤٥"])
def test_what_could_be_a_thousand_is_refused(text: str) -> None:
    assert code_of(NumberStyle().read, text) == "number_unclear"


@pytest.mark.parametrize(
    ("style", "text", "expected"),
    [
        (NumberStyle(decimal=","), "12,5", "12.5"),
        (NumberStyle(decimal=","), "1,234", "1.234"),
        (NumberStyle(decimal=",", thousands="."), "1.234,5", "1234.5"),
        (NumberStyle(decimal=",", thousands="."), "1.234", "1234"),
        (NumberStyle(decimal=".", thousands=","), "1,234,567.8", "1234567.8"),
        (NumberStyle(decimal=",", thousands=" "), "1\u202f234,5", "1234.5"),
        (NumberStyle(decimal=".", thousands="'"), "1’234.5", "1234.5"),
        (NumberStyle(decimal=".", thousands=","), "1234.5", "1234.5"),
    ],
)
def test_declared_separators(style: NumberStyle, text: str, expected: str) -> None:
    assert str(style.read(text)) == expected


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (NumberStyle(decimal="."), "12,5"),
        (NumberStyle(decimal=","), "12.5"),
        (NumberStyle(decimal=","), "1.234,5"),
        (NumberStyle(decimal=".", thousands=","), "12,5"),
        (NumberStyle(decimal=".", thousands=","), "1,23,456"),
        (NumberStyle(decimal=".", thousands=","), "1234,567"),
        (NumberStyle(decimal=".", thousands=","), "0,123"),
        (NumberStyle(), "1,234.5"),
        (NumberStyle(), "1 234"),
        (NumberStyle(), "1..5"),
    ],
)
def test_separators_that_are_not_declared_are_refused(style: NumberStyle, text: str) -> None:
    assert code_of(style.read, text) == "number_separators"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        ".5",
        "5.",
        "1e5",
        "0x10",
        "NaN",
        "inf",
        "½",
        "²",
        "①",
        "𝟏𝟐",
        "1_000",
        "--5",
        "5-",
        "+-5",
        "1 2 x",
        "\u202e12",
        "1\u200b2",
        "1\n2x",
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    assert code_of(NumberStyle().read, text) == "not_number"


def test_numbers_are_bounded() -> None:
    assert code_of(NumberStyle().read, "9" * 50) == "number_too_long"
    assert code_of(NumberStyle().read, "9" * 10**6) == "too_long_for_this"
    assert code_of(NumberStyle().read, "1٢") == "mixed_digits"


@pytest.mark.parametrize(
    "options",
    [{"thousands": ","}, {"decimal": ",", "thousands": ","}, {"decimal": ";"}, {"decimal": ".", "thousands": "_"}],
)
def test_a_style_that_could_mean_two_things_is_not_declared(options: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="BG181"):
        NumberStyle(**options)


_STYLES = st.sampled_from(
    [
        NumberStyle(),
        NumberStyle(decimal="."),
        NumberStyle(decimal=","),
        NumberStyle(decimal=",", thousands="."),
        NumberStyle(decimal=".", thousands=" "),
    ]
)
_NUMBERS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-(10**12), 10**12), st.integers(0, 9)
)


@given(_STYLES, _NUMBERS)
def test_a_number_reads_back_as_it_was_written(style: NumberStyle, number: Decimal) -> None:
    assert style.read(style.write(number)) == number


@given(_STYLES, st.text("0123456789.,' -+٣１", max_size=12))
def test_a_number_is_read_as_its_digits_say_or_not_at_all(style: NumberStyle, text: str) -> None:
    check_reading(style.read, text)


def check_reading(read: Callable[[str], Decimal], text: str) -> None:
    """Whoever reads a text must keep its digits, and with one separator the place of it."""
    try:
        number = read(text)
    except ValueError:
        return
    folded = text.strip().replace("٣", "3").replace("１", "1").lstrip("+-")
    digits = "".join(sign for sign in folded if sign.isdigit())
    written = format(abs(number), "f")
    assert written.replace(".", "").strip("0") == digits.strip("0")
    one_separator = [sign for sign in folded if sign in ".,"]
    if len(one_separator) == 1:
        behind = len(folded.rpartition(one_separator[0])[2])
        assert behind == 3 or len(written.partition(".")[2]) == behind, (text, number)


def test_the_check_of_readings_sees_a_reader_that_drops_commas() -> None:
    def lax(text: str) -> Decimal:
        return Decimal(text.replace(",", ""))

    with pytest.raises(AssertionError):
        check_reading(lax, "12,5")


def test_decimal_numbers() -> None:
    rule = DecimalNumber(decimal=",", thousands=".", places=2, minimum="0.5", maximum=1000)
    adapter = TypeAdapter(Annotated[Decimal, rule])
    assert adapter.validate_python("12,50") == Decimal("12.5")
    assert adapter.validate_python(12.5) == Decimal("12.5")
    assert adapter.validate_python(12) == 12
    assert adapter.validate_json(adapter.dump_json(Decimal("999.99"))) == Decimal("999.99")
    assert adapter.dump_python(Decimal("999.99")) == Decimal("999.99")
    assert rule.sample() == "12,5"
    for value, code in [
        ("0,4", "too_small"),
        ("1.000,01", "too_big"),
        ("1,001", "too_many_decimals"),
        (True, "not_number"),
        (float("nan"), "not_finite"),
        (Decimal("Infinity"), "not_finite"),
        (10**40, "number_too_long"),
        (Decimal("1E+1000000"), "number_too_long"),
        (None, "not_number"),
        ([], "not_number"),
    ]:
        assert code_of(rule.read, value) == code
    assert code_of(DecimalNumber().read, "-1") == "too_small"
    assert DecimalNumber(minimum=None).read("-1") == -1
    with pytest.raises(ConfigurationError, match="BG181"):
        DecimalNumber(minimum=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12 kg", "12 kg"),
        ("12kg", "12 kg"),
        ("12,5 kg", "12.5 kg"),
        ("12.5 KG", "12.5 kg"),
        ("3 Stück", "3 pcs"),
        ("1\u00a0kg", "1 kg"),
        ("٣ kg", "3 kg"),
        ("１２ kg", "12 kg"),
        ("2 kilos", "2 kg"),
        ("5 m³", "5 m3"),
        ("2 dozen", "2 doz"),
        ("1 kWh", "1 kWh"),
        ("0 kg", "0 kg"),
    ],
)
def test_a_quantity_is_a_number_and_a_unit(text: str, expected: str) -> None:
    assert str(Quantity.parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("12", "quantity_no_unit"),
        ("kg", "quantity_no_number"),
        ("", "quantity_no_number"),
        ("12 stone", "unit_unknown"),
        ("12 kg 500 g", "unit_unknown"),
        ("1.234 kg", "number_unclear"),
        ("1,234.5 kg", "number_separators"),
        ("-1 kg", "too_small"),
        ("1.5 pcs", "too_many_decimals"),
        ("1 Mg", "unit_unknown"),
        ("1 ML", "unit_unknown"),
        ("1 ton", "unit_unknown"),
        ("kg 12", "quantity_no_number"),
        ("12 kg\x00", "unit_unknown"),
        ("a dozen", "quantity_no_number"),
        ("1e3 kg", "unit_unknown"),
        (12, "quantity_no_unit"),
        (True, "not_number"),
        (None, "not_number"),
        ({"value": "1", "unit": "kg", "more": 1}, "not_two_parts"),
        ({"value": "1,5", "unit": "kg"}, "not_number"),
        ({"value": 1, "unit": None}, "not_two_parts"),
        ({"value": float("nan"), "unit": "kg"}, "not_finite"),
    ],
)
def test_what_is_no_quantity_is_refused(text: Any, code: str) -> None:
    assert code_of(Quantity.rule.read, text) == code


@given(st.text("12,.5 kg", max_size=10))
def test_twelve_and_a_half_is_never_a_hundred_and_twenty_five(text: str) -> None:
    try:
        quantity = Quantity.parse(text)
    except ValueError:
        return
    check_reading(lambda _: quantity.value, text.replace("k", "").replace("g", "").rstrip())


def test_declared_quantities() -> None:
    rule = Quantity.of("kg", "g", own=("box",), decimal=",", thousands=".", default="kg", places=2)
    assert rule.read("1.234,5") == Quantity("1234.5", "kg")
    assert rule.read("3 Box") == Quantity(3, "box")
    assert code_of(rule.read, "3 l") == "unit_unknown"
    assert code_of(rule.read, "0,001 kg") == "too_many_decimals"
    bounded = Quantity.of("kg", "g", minimum="0.5 kg", maximum="2 kg")
    assert bounded.read("500 g") == Quantity(500, "g")
    assert code_of(bounded.read, "499 g") == "too_small"
    assert code_of(bounded.read, "2001 g") == "too_big"
    assert bounded.sample() == "2 kg"
    for wrong in (
        lambda: Quantity.of("stone"),
        lambda: Quantity.of("kilo"),
        lambda: Quantity.of("kg", default="l"),
        lambda: Quantity.of("kg", maximum="2 l"),
        lambda: Quantity.of("kg", "pcs", maximum="2 kg"),
        lambda: Quantity.of(maximum="2 kg"),
        lambda: Quantity.of("kg", minimum="a lot"),
    ):
        with pytest.raises(ConfigurationError, match="BG181"):
            wrong()


def test_a_quantity_is_a_value() -> None:
    one = Quantity("12.50", "kg")
    assert one == Quantity(Decimal("12.5"), "kilo")
    assert hash(one) == hash(Quantity(Decimal("12.5"), "kg"))
    assert one != Quantity("12.5", "g")
    assert {one: 1}[Quantity("12.5", "kg")] == 1
    assert copy.deepcopy(one) == one == pickle.loads(pickle.dumps(one))
    assert str(one) == "12.50 kg"
    with pytest.raises(AttributeError):
        one.value = Decimal(1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="not exact"):
        Quantity(12.5, "kg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unit"):
        Quantity(1, "")


def test_units_convert_exactly_or_not_at_all() -> None:
    assert Quantity("1.5", "kg").to("g") == Quantity(1500, "g")
    assert Quantity(1, "lb").to("g") == Quantity("453.59237", "g")
    assert Quantity(2, "doz").to("pcs") == Quantity(24, "pcs")
    for wrong in (
        lambda: Quantity(1, "kg").to("l"),
        lambda: Quantity(1, "kg").to("lb"),
        lambda: Quantity(1, "box").to("kg"),
    ):
        with pytest.raises(ValueError, match=r"express|exact"):
            wrong()
    assert all(find_unit(symbol) == symbol and find_unit(symbol.upper()) in (symbol, None) for symbol in UNITS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12.50 EUR", "12.50 EUR"),
        ("12,5 eur", "12.50 EUR"),
        ("EUR 12", "12.00 EUR"),
        ("€12.50", "12.50 EUR"),
        ("12,50€", "12.50 EUR"),
        ("500 JPY", "500 JPY"),
        ("1.2345 CLP", ""),
        ("0.125 KWD", "0.125 KWD"),
        ("٣ EUR", "3.00 EUR"),
        ("12.500 EUR", ""),
    ],
)
def test_money_has_the_decimals_of_its_currency(text: str, expected: str) -> None:
    if expected:
        assert str(Money.parse(text)) == expected
    else:
        with pytest.raises(ValueError, match=r"."):
            Money.parse(text)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("12", "money_no_currency"),
        ("12.505 EUR", "number_unclear"),
        ("0.505 EUR", "money_decimals"),
        ("12.5 JPY", "money_decimals"),
        ("$12", "currency_unknown"),
        ("12 XXX", "currency_unknown"),
        ("EUR", "not_money"),
        ("", "not_money"),
        ("12 euros", "not_money"),
        ("EUR 12 EUR", "not_money"),
        ("-1 EUR", "too_small"),
        ("1,234.50 EUR", "number_separators"),
        (12, "money_no_currency"),
        ({"amount": "12.505", "currency": "EUR"}, "money_decimals"),
        ({"amount": "12"}, "not_two_parts"),
        ({"amount": "12", "currency": 5}, "not_two_parts"),
        (None, "not_number"),
    ],
)
def test_what_is_no_money_is_refused(value: Any, code: str) -> None:
    assert code_of(Money.rule.read, value) == code


def test_declared_money() -> None:
    rule = Money.of("USD", decimal=".", thousands=",", default="USD", symbols={"$": "USD"}, maximum=1000)
    assert rule.read("$1,000.00") == Money(1000, "USD")
    assert rule.read("12.5") == Money("12.50", "USD")
    assert rule.read({"amount": 12.5, "currency": "USD"}) == Money("12.50", "USD")
    assert code_of(rule.read, "1000.01") == "too_big"
    assert code_of(rule.read, "12 EUR") == "currency_not_accepted"
    assert Money.of("EUR", minimum=None).read("-5 EUR") == Money(-5, "EUR")
    for wrong in (
        lambda: Money.of(maximum=5),
        lambda: Money.of("EUR", "USD", minimum=1),
        lambda: Money.of("EURO"),
        lambda: Money.of("EUR", default="USD"),
        lambda: Money.of(symbols={"$": "DOLLAR"}),
    ):
        with pytest.raises(ConfigurationError, match="BG181"):
            wrong()


def test_money_is_a_value() -> None:
    assert Money("12.5", "EUR") == Money("12.50", "EUR")
    assert str(Money("12.5", "EUR")) == "12.50 EUR"
    assert (Money("12.5", "EUR").minor, Money(12, "JPY").minor, Money("1.5", "KWD").minor) == (1250, 12, 1500)
    assert hash(Money(1, "EUR")) == hash(Money("1.00", "EUR"))
    assert pickle.loads(pickle.dumps(Money(1, "EUR"))) == Money(1, "EUR")
    for wrong in (lambda: Money("1.001", "EUR"), lambda: Money(1, "eur"), lambda: Money("9" * MAX_DIGITS, "EUR")):
        with pytest.raises(ValueError, match=r"."):
            wrong()
    with pytest.raises(TypeError):
        Money(0.1, "EUR")  # type: ignore[arg-type]


class Both(BaseModel):
    quantity: Quantity
    weight: Annotated[Quantity, Quantity.of("kg", "g", decimal=",", thousands=".")]
    price: Money
    rate: Annotated[Decimal, DecimalNumber(decimal=",", thousands=".", minimum=None)]
    share: Annotated[Decimal, DecimalNumber(minimum=None)]


@settings(max_examples=300)
@given(
    _NUMBERS.map(abs),
    st.sampled_from(sorted(set(UNITS) - {"pcs", "doz"})),
    st.integers(0, 10**9),
    st.sampled_from(sorted(currencies())),
    _NUMBERS,
)
def test_values_come_back_from_json_as_they_were(
    number: Decimal, unit: str, cents: int, code: str, rate: Decimal
) -> None:
    price = Money(Decimal(cents).scaleb(-currencies()[code]), code)
    model = Both(quantity=Quantity(number, unit), weight=Quantity(number, "kg"), price=price, rate=rate, share=rate)
    assert Both.model_validate_json(model.model_dump_json()) == model
    assert Both.model_validate(model.model_dump(mode="json")) == model
    assert Both.model_validate(model.model_dump()) == model


def test_the_types_show_in_an_api_description() -> None:
    schema = Both.model_json_schema()["properties"]
    assert schema["weight"]["examples"] == ["12 kg"]
    assert schema["price"]["anyOf"][0] == {"type": "string"}
    assert schema["rate"] == {"type": "string", "examples": ["12,5"], "title": "Rate"}
    assert Both.model_json_schema(mode="serialization")["properties"]["quantity"]
    for mode in ("validation", "serialization"):
        described = Order.model_json_schema(mode=mode)["properties"]
        assert described["phone"] == {
            "type": "string",
            "format": "phone",
            "examples": ["020 7946 0958"],
            "title": "Phone",
        }
        assert described["day"]["examples"] == ["31.03.2026"]
        assert {"type": "string", "minLength": 1, "maxLength": 200} in described["note"]["anyOf"]
