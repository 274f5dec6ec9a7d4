from __future__ import annotations

import builtins
from typing import Annotated, Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from botguard.errors import ConfigurationError
from botguard.validation import Currency, Email, Phone
from botguard.validation.countries import country_name, regions
from botguard.validation.currencies import currencies
from botguard.validation.email_address import _plain


def code_of(rule: Any, value: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        rule.read(value)
    return caught.value.type  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("region", "text", "expected"),
    [
        ("ET", "091 123 4567", "+251911234567"),
        ("ET", "+251 91 123 4567", "+251911234567"),
        ("ET", "00251911234567", "+251911234567"),
        ("GB", "020 7946 0958", "+442079460958"),
        ("GB", "+44 (0)20 7946 0958", "+442079460958"),
        ("US", "(201) 555-0123", "+12015550123"),
        ("DE", "030/23125000", "+493023125000"),
        ("GB", "+49 30 23125000", "+493023125000"),
        # decided on purpose: digits of other scripts, and the marks that phones put around a copied number
        ("ET", "٠٩١١٢٣٤٥٦٧", "+251911234567"),
        ("GB", "０２０ ７９４６ ０９５８", "+442079460958"),
        ("GB", "\u202d020 7946 0958\u202c", "+442079460958"),
        ("GB", "＋44\u00a020\u00a07946\u20110958", "+442079460958"),
    ],
)
def test_a_phone_number_is_read_as_e164(region: str, text: str, expected: str) -> None:
    rule = Phone(region=region)
    assert rule.read(text) == expected
    assert rule.read(expected) == expected, "reading the normal form again changes nothing"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("12", "phone_too_short"),
        ("020 7946 0958 0958", "phone_too_long"),
        ("0600 000 0000", "phone_not_in_use"),
        ("call me 020 7946 0958", "not_phone"),
        ("020 7946 0958 ext. 12", "not_phone"),
        ("0800 FLOWERS", "not_phone"),
        ("030 2312/5", "not_phone"),
        ("020 7946 0958, 020 7946 0959", "not_phone"),
        ("hello", "phone_no_digits"),
        ("", "phone_no_digits"),
        ("+999 123456789", "phone_unknown_country"),
        ("0٢٠ 7946 0958", "mixed_digits"),
        ("\u202e020 7946 0958", "not_phone"),
        ("1" * 100, "too_long_for_this"),
        (2079460958, "phone_not_text"),
        (None, "phone_not_text"),
        (True, "phone_not_text"),
    ],
)
def test_what_is_no_phone_number_is_refused(text: Any, code: str) -> None:
    assert code_of(Phone(region="GB"), text) == code


def test_numbers_of_other_countries_can_be_refused() -> None:
    assert code_of(Phone(region="GB", foreign=False), "+49 30 23125000") == "phone_foreign"
    assert code_of(Phone(region="GB"), "+49 30 2") == "phone_too_short"


@pytest.mark.parametrize("region", ["UK", "ZZ", "gb", "", "GBR", "é1"])
def test_a_wrong_region_fails_where_the_model_is_written(region: str) -> None:
    with pytest.raises(ConfigurationError, match="BG181"):

        class Model(BaseModel):
            phone: Annotated[str, Phone(region=region)]


def test_every_region_has_a_name_and_an_example_that_is_valid() -> None:
    assert regions() >= phonenumbers.SUPPORTED_REGIONS
    for region in phonenumbers.SUPPORTED_REGIONS:
        assert country_name(region) != region
        assert country_name(region, "de-AT") != region
        rule = Phone(region=region)
        assert rule.read(rule.sample()), region


def test_what_the_model_declares_beside_the_rule_holds() -> None:
    adapter = TypeAdapter(Annotated[str, Phone(region="GB"), Field(max_length=5)])
    with pytest.raises(ValueError, match="at most 5"):
        adapter.validate_python("020 7946 0958")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada@Example.COM", "Ada@example.com"),
        (" a.b+c@sub.example.org ", "a.b+c@sub.example.org"),
        ("jürgen@müller.de", "jürgen@müller.de"),
        ("a@xn--mller-kva.de", "a@müller.de"),
    ],
)
def test_an_email_address_is_normalised(text: str, expected: str) -> None:
    assert Email().read(text) == expected
    assert Email().read(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@b.com",
        "a@b",
        "a@@b.com",
        "a b@c.com",
        "Bob <a@b.com>",
        "a@b.com, c@d.com",
        ".a@b.com",
        "a..b@c.com",
        "a@-b.com",
        "a@b.test",
        "a@localhost",
        "a@b.com\0",
        "a@1.2.3.4",
        "a\u202e@b.com",
        "x" * 65 + "@b.com",
        7,
        None,
    ],
)
def test_what_is_no_email_address_is_refused(text: Any) -> None:
    assert code_of(Email(), text) == "not_email"
    assert code_of(Email(), "a" * 400 + "@b.com") == "too_long_for_this"


_ATOM = st.text("abcXYZ019!#$%&'*+/=?^_`{|}~-.", min_size=1, max_size=70)
_DOMAIN = st.text("abcXYZ019-.", min_size=1, max_size=80)


@settings(max_examples=500)
@given(_ATOM, _DOMAIN)
def test_the_short_check_takes_nothing_that_the_library_refuses_or_spells_otherwise(local: str, domain: str) -> None:
    import email_validator

    text = f"{local}@{domain}"
    mine = _plain(text)
    if mine is not None:
        assert email_validator.validate_email(text, check_deliverability=False).normalized == mine


def test_without_the_library_plain_addresses_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name == "email_validator":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert Email().read("Ada@Example.COM") == "Ada@example.com"
    assert code_of(Email(), "jürgen@müller.de") == "not_email"


def test_currencies() -> None:
    assert Currency().read(" eur ") == "EUR"
    assert Currency("EUR", "USD").read("USD") == "USD"
    assert code_of(Currency("EUR"), "USD") == "currency_not_accepted"
    for wrong in ("€", "Euro", "EURO", "XXX", "XAU", "", "e", "ﬁx", "ıqd", 5, None):
        assert code_of(Currency(), wrong) == "currency_unknown"
    with pytest.raises(ConfigurationError, match="BG181"):
        Currency("EURO")


def test_the_list_of_currencies_is_whole() -> None:
    known = currencies()
    assert len(known) == 155
    assert all(len(code) == 3 and code.isalpha() and code.isupper() and 0 <= n <= 3 for code, n in known.items())
    assert {"EUR": 2, "JPY": 0, "KWD": 3, "ETB": 2, "ISK": 0, "TND": 3}.items() <= known.items()


@pytest.mark.parametrize("rule", [Phone, Email, Currency])
def test_a_rule_written_as_a_type_is_explained(rule: Any) -> None:
    for annotation in (rule, Annotated[str, rule], Annotated[int, rule(region="GB") if rule is Phone else rule()]):
        with pytest.raises(ConfigurationError, match=r"BG182.*Annotated\[str"):
            TypeAdapter(annotation)
