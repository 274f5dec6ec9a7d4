"""A guard and its commands for the tests of this folder; every integration puts the same ones behind its framework."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from botguard import Actor, Breaker, Context, Guard, Rejected, current
from botguard.adapters.memory import MemoryStorage
from botguard.testing import FakeClock

ROLES = {"ann": ("sales",), "ben": ("sales",), "gus": ("guest",)}


class Order(BaseModel):
    """What an order says."""

    sku: str
    quantity: int = Field(gt=0)


class Desk:
    """A shop's commands, and what they did."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.done: list[tuple[str, str, int]] = []
        self.guard = Guard(
            storage=MemoryStorage(clock=self.clock),
            access={"sales": {"orders.*"}},
            breakers={"erp": Breaker(fail_max=1, reset_after=30)},
            clock=self.clock,
        )
        self._declare()

    def _declare(self) -> None:
        @self.guard.command("orders.create")
        def create(order: Order) -> str:
            self.done.append((current().actor.id, order.sku, order.quantity))
            return f"{order.quantity} x {order.sku} for {current().actor.id}"

        @self.guard.command("orders.create_async")
        async def create_async(order: Order) -> str:
            self.done.append((current().actor.id, order.sku, order.quantity))
            return f"{order.quantity} x {order.sku} for {current().actor.id}"

        @self.guard.command("orders.refuse")
        def refuse(payload: dict[str, Any]) -> str:
            raise Rejected("Tea is sold out.", code="sold_out")

        @self.guard.command("orders.break")
        def broken(payload: dict[str, Any]) -> str:
            raise ZeroDivisionError("secret internals")

        @self.guard.command("orders.call_erp", breaker="erp", effects="idempotent")
        def call_erp(payload: dict[str, Any]) -> str:
            raise ConnectionResetError("erp is down")

        @self.guard.command("orders.cancel", risk="high", key="{order_id}")
        def cancel(payload: dict[str, Any]) -> str:
            return f"cancelled for {current().actor.id}"

        @self.guard.command("orders.show", effects="read", limits=["1/minute per user"])
        def show(payload: dict[str, Any]) -> str:
            return "shown"

        @self.guard.command("stock.close")
        def close(payload: dict[str, Any]) -> str:
            raise AssertionError("nobody may")

        self.create, self.create_async, self.cancel = create, create_async, cancel


def context_for(user: str | None, **given: Any) -> Context | None:
    """Who a user is in this shop; nobody is a stranger."""
    return None if user is None else Context(org="acme", actor=Actor(user, roles=ROLES.get(user, ())), **given)


def seen() -> dict[str, Any]:
    """The running call's Context, as plain data."""
    context = current().context
    return {
        "org": context.org,
        "actor": context.actor.id if context.actor is not None else None,
        "channel": context.channel,
        "delivery": context.delivery,
        "address": context.address,
        "locale": context.locale,
        "correlation_id": context.correlation_id,
    }
