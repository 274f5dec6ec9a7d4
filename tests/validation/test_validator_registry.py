from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel, field_validator
from validation_models import GOOD_PLAIN, Line, Plain

import botguard.validation
from botguard.errors import ConfigurationError, InvalidPayload
from botguard.outcome import Detail, Reason, Status
from botguard.validation import Quantity, ValidatorRegistry, validate_payload


class Order(BaseModel):
    sku: str
    quantity: Quantity
    gift: str | None = None


GOOD = {"sku": "A", "quantity": "12 pcs"}


def refused(
    payload: Any, registry: ValidatorRegistry, command: str = "orders.create", **options: Any
) -> tuple[Detail, ...]:
    with pytest.raises(InvalidPayload) as caught:
        validate_payload(command, payload, registry=registry, **options)
    outcome = caught.value.outcome
    assert (outcome.status, outcome.command) == (Status.INVALID, command)
    assert outcome.details == caught.value.details
    assert str(caught.value).startswith(command)
    return outcome.details


def test_a_payload_becomes_the_model() -> None:
    registry = ValidatorRegistry()
    assert registry.register("orders.create", Order) is Order
    made = validate_payload("orders.create", GOOD, registry=registry)
    assert made == Order(sku="A", quantity=Quantity(12, "pcs"))
    assert validate_payload("orders.create", made, registry=registry) is made
    assert validate_payload("orders.create", b'{"sku": "A", "quantity": "12 pcs"}', registry=registry) == made
    assert validate_payload("orders.create", MappingProxyType(GOOD), registry=registry) == made
    assert registry.commands() == ("orders.create",)
    assert registry.model("orders.create") is Order


def test_a_wrong_payload_is_refused_with_particulars() -> None:
    registry = ValidatorRegistry()
    registry.register("orders.create", Order)
    assert [detail.field for detail in refused({"sku": 5}, registry)] == ["sku", "quantity"]
    assert (
        refused({"sku": 5, "quantity": "1 kg"}, registry, locale="de")[0].message
        == "Artikelnummer: Bitte senden Sie Text."
    )
    assert refused("A 12", registry)[0].code == "not_parts"
    assert refused(None, registry)[0].code == "not_parts"
    assert refused(b"{", registry)[0].code == "unreadable"
    assert refused({"sku": "x" * 20000}, registry)[0].code == "text_too_long"
    with pytest.raises(InvalidPayload) as caught:
        validate_payload("orders.create", {"sku": ["x" * 10000] * 8}, registry=registry)
    assert caught.value.outcome.reasons == (Reason.PAYLOAD_TOO_LARGE,)


def test_checks_of_fields_and_of_the_whole() -> None:
    registry = ValidatorRegistry()

    @registry.check("orders.create", field="quantity")
    def whole_boxes(quantity: Quantity) -> str | None:
        return "We sell boxes of six." if quantity.value % 6 else None

    @registry.check("orders.create", field="gift")
    def short(gift: str) -> Detail | None:
        return Detail("gift", "shop.too_kind", "That is too kind.") if len(gift) > 3 else None

    def known(order: Order) -> list[str]:
        return ["not_usable", "No such thing."] if order.sku == "Z" else []

    registry.register("orders.create", Order, known)
    assert validate_payload("orders.create", GOOD, registry=registry)
    assert refused({**GOOD, "quantity": "5 pcs", "gift": "much"}, registry) == (
        Detail("quantity", "refused", "Quantity: We sell boxes of six."),
        Detail("gift", "shop.too_kind", "That is too kind."),
    )
    assert [detail.message for detail in refused({**GOOD, "sku": "Z"}, registry)] == [
        "Your request: this cannot be used.",
        "No such thing.",
    ]
    assert refused({"sku": 5}, registry)[0].field == "sku", "checks see valid payloads only"


def test_what_a_check_raises() -> None:
    registry = ValidatorRegistry()
    registry.register("orders.create", Order)
    raised: list[Exception] = [ValueError("Not today.")]

    @registry.check("orders.create")
    def moody(_: Order) -> None:
        raise raised[0]

    assert refused(GOOD, registry) == (Detail("", "refused", "Not today."),)
    for error in (ValueError("invalid literal for int()"), UnicodeError("Not today."), ValueError("")):
        raised[0] = error
        assert refused(GOOD, registry)[0].code == "not_usable"
    raised[0] = KeyError("A")
    with pytest.raises(InvalidPayload) as caught:
        validate_payload("orders.create", GOOD, registry=registry)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.details[0].message == "Your request: this cannot be used."


def test_a_validator_that_stumbles_over_input_refuses_it() -> None:
    class Careless(BaseModel):
        name: str

        @field_validator("name", mode="before")
        @classmethod
        def strip(cls, value: Any) -> Any:
            return value.strip()

    registry = ValidatorRegistry()
    registry.register("a", Careless)
    with pytest.raises(InvalidPayload) as caught:
        validate_payload("a", {"name": 5}, registry=registry)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_mistakes_of_the_program_are_no_mistakes_of_people() -> None:
    registry = ValidatorRegistry()
    with pytest.raises(ConfigurationError, match=r"BG180.*empty"):
        validate_payload("orders.create", GOOD, registry=registry)
    registry.register("orders.create", Order)
    registry.register("orders.create", Order)
    with pytest.raises(ConfigurationError, match=r"BG180.*Order already"):
        registry.register("orders.create", Plain)
    with pytest.raises(ConfigurationError, match=r"BG180.*no pydantic model"):
        registry.register("x", dict)  # type: ignore[type-var]
    with pytest.raises(ConfigurationError, match=r"BG180.*Known are: orders.create"):
        registry.model("orders.cancel")


def test_registries_do_not_share() -> None:
    one, two = ValidatorRegistry(), ValidatorRegistry()
    one.register("a", Plain)
    two.register("a", Line)
    assert (one.model("a"), two.model("a")) == (Plain, Line)
    assert botguard.validation.default_validators.commands() == ()


def test_the_default_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.validation import registry as module

    monkeypatch.setattr(module, "default_validators", ValidatorRegistry())
    module.default_validators.register("a", Plain)
    assert isinstance(validate_payload("a", GOOD_PLAIN), Plain)
