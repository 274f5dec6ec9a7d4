"""The host's guard and its commands, as the settings name them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from pydantic import BaseModel, Field

from adapters.django.inner.shop.models import Order
from botguard import Actor, Context, Guard, Rejected, Retry, current
from botguard.adapters.django import DjangoStorage

guard = Guard(storage=DjangoStorage(), access={"sales": {"orders.*"}})


class CreateOrder(BaseModel):
    """What an order says."""

    sku: str
    quantity: int = Field(default=1, gt=0)


@guard.command("orders.create", effects="transactional")
def create(order: CreateOrder) -> str:
    Order.objects.create(sku=order.sku)
    if order.sku == "nothing":
        raise Rejected("Nothing is not for sale.")
    return f"{order.quantity} x {order.sku} for {current().actor.id}"


@guard.command("orders.later", effects="idempotent")
async def later(order: CreateOrder) -> str:
    return f"{order.quantity} x {order.sku} for {current().actor.id}"


@guard.command("orders.send", effects="external", key="{sku}", keep=3600)
def send(order: CreateOrder) -> str:
    raise ConnectionResetError("the carrier's answer was lost")


@guard.command("orders.cancel", effects="transactional", key="{sku}", risk="high")
def cancel(order: CreateOrder) -> str:
    return f"cancelled {order.sku}"


@guard.command("orders.retried", effects="idempotent", retry=Retry(on=(OSError,)))
def retried(order: CreateOrder) -> str:
    return "done"


@guard.command("orders.seen", effects="read")
def seen(payload: dict[str, Any]) -> dict[str, Any]:
    context = current().context
    return {
        name: getattr(context, name) for name in ("org", "channel", "delivery", "address", "locale", "correlation_id")
    }


def identify(request: HttpRequest) -> Context | None:
    """A header says who asks, as a host's session would."""
    user = request.headers.get("X-User")
    if user == "nobody":
        raise PermissionDenied
    if user == "broken":
        raise ZeroDivisionError("secret internals")
    return Context(org="acme", actor=Actor(user, roles=("sales",))) if user else None


async def identify_later(request: HttpRequest) -> Context | None:
    """The same for hosts whose sign-in is asynchronous."""
    return identify(request)
