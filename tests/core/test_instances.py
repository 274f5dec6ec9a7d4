"""A payload that is an instance of the model already is validated again: it may have been changed, or never checked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field, PrivateAttr, field_validator, model_validator

from botguard import ALLOW_ALL, Actor, Context, Guard, Status
from botguard.adapters.memory import MemoryStorage

ANN = Context(org="acme", actor=Actor("ann"))


class Plain(BaseModel):
    quantity: int = Field(gt=0)
    note: str = ""


class Aliased(BaseModel):
    quantity: int = Field(gt=0, alias="Qty")


class Judged(BaseModel):
    quantity: int

    @field_validator("quantity")
    @classmethod
    def positive(cls, value: int) -> int:
        if value <= 0:
            raise ValueError("not positive")
        return value


class Whole(BaseModel):
    quantity: int

    @model_validator(mode="after")
    def positive(self) -> Whole:
        if self.quantity <= 0:
            raise ValueError("not positive")
        return self


class Nested(BaseModel):
    quantity: int = Field(gt=0)
    parts: list[Nested] = []


def guarded(model: Any) -> tuple[Guard, list[Any]]:
    guard, effects = Guard(storage=MemoryStorage(), access=ALLOW_ALL), []

    def handler(order: Any) -> int:
        effects.append(order)
        return int(order.quantity)

    handler.__annotations__["order"] = model
    guard.command("orders.create", effects="read")(handler)
    return guard, effects


@pytest.mark.parametrize("model", [Plain, Aliased, Judged, Whole, Nested])
def test_an_instance_that_breaks_its_own_model_is_invalid(model: Any) -> None:
    guard, effects = guarded(model)
    good = model(Qty=3) if model is Aliased else model(quantity=3)
    assert guard.run("orders.create", good, context=ANN).value == 3
    unchecked = model.model_construct(quantity=-5)
    assert guard.run("orders.create", unchecked, context=ANN).status is Status.INVALID
    good.quantity = -5
    assert guard.run("orders.create", good, context=ANN).status is Status.INVALID
    assert [order.quantity for order in effects][1:] == []


class Carried(Nested):
    _bot: str = PrivateAttr("nobody")


@pytest.mark.parametrize("model", [Plain, Carried])
def test_what_validation_does_not_see_is_kept(model: Any) -> None:
    guard, effects = guarded(model)
    order = model(quantity=3)
    if model is Carried:
        order._bot = "the shop's"
    assert guard.run("orders.create", order, context=ANN).ok
    assert effects[0].model_fields_set == {"quantity"}
    assert getattr(effects[0], "_bot", "the shop's") == "the shop's"
