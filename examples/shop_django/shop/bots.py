"""The guard, who asks, and the commands; BOTGUARD in the settings names the first two."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models import F
from django.http import HttpRequest
from pydantic import BaseModel, Field

from botguard import Actor, Context, Guard, Principal, Rejected
from botguard.adapters.django import DjangoStorage
from examples.shop_django.shop import carrier
from examples.shop_django.shop.models import Order, Stock

ORG = "shop"
#: Whose chat it is. In a shop of any size this is a table.
CHATS = {501: "ann", 502: "bob"}


# ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def person(org: str, actor_id: str) -> Principal | None:
    """The directory: Django's own users; their groups are roles. Asked at each call, so that a change counts at once."""
    user = User.objects.filter(pk=actor_id).first()
    if user is None or org != ORG:
        return None
    return Principal(actor_id, frozenset(user.groups.values_list("name", flat=True)), active=user.is_active, org=ORG)


def identify(request: HttpRequest) -> Context | None:
    """Who sent a request: whoever is signed in. The middleware takes the delivery key from ``Idempotency-Key``."""
    return Context(org=ORG, actor=Actor(str(request.user.pk))) if request.user.is_authenticated else None


def sender(update: dict[str, Any]) -> Context:
    """Who sent an update to the bot. Its number names the delivery, however often it is delivered."""
    chat = update["message"]["chat"]["id"]
    user = User.objects.filter(username=CHATS.get(chat)).first()
    return Context(
        org=ORG,
        actor=None if user is None else Actor(str(user.pk)),
        channel="telegram",
        address=str(chat),
        delivery=f"update-{update['update_id']}",
    )


# ── what they may ask for ────────────────────────────────────────────────────────────────────────────────────────────

guard = Guard(
    storage=DjangoStorage(),
    access={"sales": {"orders.place"}, "warehouse": {"stock.receive", "orders.ship"}},
    directory=person,
)


class Line(BaseModel):
    number: str = Field(title="Order number", max_length=40)
    sku: str
    quantity: int = Field(gt=0, le=100)


class Delivery(BaseModel):
    sku: str
    quantity: int = Field(gt=0, le=1000)


class Parcel(BaseModel):
    number: str = Field(title="Order number")


# Order, stock, claim and event are one transaction: the request's under ATOMIC_REQUESTS, else one of the guard's own.
# The order's number is the key, so the same order is booked once, by whatever update or request.
@guard.command("orders.place", effects="transactional", key="{number}")
def place(line: Line) -> str:
    enough = Stock.objects.filter(sku=line.sku, on_hand__gte=line.quantity)
    if not enough.update(on_hand=F("on_hand") - line.quantity):
        raise Rejected(f"There are not {line.quantity} of {line.sku}.", code="out_of_stock")
    Order.objects.create(number=line.number, sku=line.sku, quantity=line.quantity)
    return f"{line.number} is booked: {line.quantity} x {line.sku}."


# Nothing in a delivery tells it from the next one, so there is no key= here: the header Idempotency-Key is the key.
@guard.command("stock.receive", effects="transactional")
def receive(delivery: Delivery) -> str:
    if not Stock.objects.filter(sku=delivery.sku).update(on_hand=F("on_hand") + delivery.quantity):
        raise Rejected(f"There is no article {delivery.sku}.", code="no_such_article")
    return f"{delivery.quantity} x {delivery.sku} received."


# A carrier cannot be rolled back. So the claim has to be durable before he is told anything: were it part of the
# request's transaction, a rollback would forget it, and the next call would send a second parcel. It is committed by
# itself, which on SQLite is impossible while the request's transaction holds the only write lock; there the command is
# refused (host_transaction_open) before anything happens. Views that run it are marked non_atomic_requests.
@guard.command("orders.ship", effects="external", key="{number}")
def ship(parcel: Parcel) -> str:
    if not Order.objects.filter(number=parcel.number).exists():
        raise Rejected(f"There is no order {parcel.number}.", code="no_such_order")
    carrier.collect(parcel.number)
    return f"{parcel.number} is on its way."
