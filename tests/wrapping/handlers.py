"""Handlers as a host writes them: postponed annotations, names that only type checkers see, models below their use."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel

from botguard import CommandRegistry, guarded
from wrapping.plain_decorators import counted, tagged

if TYPE_CHECKING:
    from somewhere.else_entirely import Session

REGISTRY = CommandRegistry()


class Order(BaseModel):
    order_id: str
    quantity: int = 1


@guarded("plain", registry=REGISTRY)
def plain(payload: Order) -> str:
    """Create an order."""
    return f"{payload.order_id} x {payload.quantity}"


@guarded("awaited", registry=REGISTRY)
async def awaited(payload: Order) -> str:
    """Create an order, later."""
    return f"{payload.order_id} x {payload.quantity}"


@guarded("many", registry=REGISTRY)
def many(
    payload: Order,
    at: dt.date,
    note: Annotated[str, "free text"] = "none",
    *tags: str,
    urgent: bool = False,
    **more: int,
) -> list[Any]:
    """Much beside the payload."""
    return [payload.order_id, at, note, list(tags), urgent, more]


@guarded("by_name", registry=REGISTRY)
def by_name(first: int, *, payload: Order, second: int = 2) -> list[Any]:
    """The payload by name only."""
    return [first, payload.order_id, second]


@guarded("after_star", registry=REGISTRY)
def after_star(*parts: str, order: Order) -> list[Any]:
    """The payload behind any number of others."""
    return [list(parts), order.order_id]


@guarded("by_place", registry=REGISTRY)
def by_place(note: str = "none", payload: Order = Order(order_id="default"), /) -> list[Any]:  # noqa: B008
    """The payload by place only, behind a default."""
    return [note, payload.order_id, type(payload).__name__]


@guarded("second", registry=REGISTRY)
def second(note: str = "none", payload: Order = Order(order_id="default")) -> list[Any]:  # noqa: B008
    """The payload behind another default."""
    return [note, payload.order_id, type(payload).__name__]


@guarded("for_checkers", registry=REGISTRY)
def for_checkers(payload: Order, session: Session | None = None, at: dt.date | None = None) -> Session | None:
    """One name is for type checkers only."""
    return session


@guarded("early", registry=REGISTRY)
def early(payload: Later) -> int:
    """Its model comes later in the module."""
    return payload.number


@guarded("early.awaited", registry=REGISTRY)
async def early_awaited(payload: Later) -> int:
    """The same, awaited."""
    return payload.number


@guarded("early.lines", registry=REGISTRY)
def early_lines(payload: Basket) -> int:
    """Its model comes later, and a field of that model later still."""
    return sum(line.amount for line in payload.lines)


class HalfKnown(BaseModel):
    lines: list[Line]


@guarded("half_known", registry=REGISTRY)
def half_known(payload: HalfKnown) -> int:
    """The type of a field of its model comes later."""
    return sum(line.amount for line in payload.lines)


@guarded("never", registry=REGISTRY)
def never(payload: Session) -> None:
    """Its payload's type exists for type checkers only."""


@guarded("no_payload", registry=REGISTRY)
def no_payload() -> str:
    """Takes nothing."""
    return "pong"


@guarded("below", registry=REGISTRY)
@counted
@tagged
def below(payload: Order) -> str:
    """Plain decorators of another module stand below ours."""
    return payload.order_id


@counted
@guarded("above", registry=REGISTRY)
def above(payload: Order) -> str:
    """A plain decorator of another module stands above ours."""
    return payload.order_id


class Desk:
    """Methods of every kind, ours above and below the builtin decorator."""

    def __init__(self, name: str) -> None:
        self.name = name

    @guarded("desk.method", registry=REGISTRY)
    def method(self, payload: Order, extra: int = 0) -> list[Any]:
        """A method."""
        return [self.name, payload.order_id, extra]

    @guarded("desk.awaited", registry=REGISTRY)
    async def awaited(self, payload: Order) -> list[Any]:
        """An awaited method."""
        return [self.name, payload.order_id]

    @guarded("desk.class_above", registry=REGISTRY)
    @classmethod
    def class_above(cls, payload: Order) -> list[Any]:
        """Ours above classmethod."""
        return [cls.__name__, payload.order_id]

    @classmethod
    @guarded("desk.class_below", registry=REGISTRY)
    def class_below(cls, payload: Order) -> list[Any]:
        """Ours below classmethod."""
        return [cls.__name__, payload.order_id]

    @guarded("desk.static_above", registry=REGISTRY)
    @staticmethod
    def static_above(payload: Order) -> str:
        """Ours above staticmethod."""
        return payload.order_id

    @staticmethod
    @guarded("desk.static_below", registry=REGISTRY)
    def static_below(payload: Order) -> str:
        """Ours below staticmethod."""
        return payload.order_id

    @staticmethod
    @guarded("desk.static_awaited", registry=REGISTRY)
    async def static_awaited(payload: Order) -> str:
        """An awaited staticmethod."""
        return payload.order_id

    def overridden(self, payload: Order) -> list[Any]:
        """Not guarded here."""
        return ["desk", payload.order_id]


class BackDesk(Desk):
    """Overrides."""

    @guarded("desk.overridden", registry=REGISTRY)
    def overridden(self, payload: Order) -> list[Any]:
        """Calls the class above by ``super()``."""
        return ["back", *super().overridden(payload)]


class Later(BaseModel):
    number: int


class Basket(BaseModel):
    lines: list[Line]


class Line(BaseModel):
    amount: int
