"""The shop bot: its handlers, who may use them, and the way from a Telegram update to a guarded command."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field
from tenacity import wait_fixed

from botguard.adapters.sqlite import SqliteStorage
from botguard.cli.demo import rules
from botguard.cli.demo.clock import ShopClock
from botguard.cli.demo.erp import Erp, go_on
from botguard.cli.demo.updates import Said
from botguard.errors import InvalidPayload
from botguard.guard import Guard
from botguard.invocation import Principal, current
from botguard.options import Breaker, Retry
from botguard.outcome import Outcome
from botguard.reconcile import Happened, NotHappened
from botguard.runtime import run_alone
from botguard.validation import Phone, Text, parse_command_line

__all__ = ["REFUSALS", "RESET_AFTER", "Shop"]

#: Seconds that a dead order system is left alone.
RESET_AFTER = 30.0
#: Refusals a minute after which somebody is not listened to any more.
REFUSALS = 20
#: Only errors that come before the effect are tried again: a second order must never be made by a retry.
PATIENT = Retry(before_effect=(ConnectionRefusedError,), attempts=4, wait=wait_fixed(0.05))

ACCESS = {
    "sales": {"orders.*", "stock.*", "couriers.*", "labels.*"},
    "support": {"refunds.*", "stock.*"},
    "trainee": {"stock.*"},
}
PEOPLE = {
    "1001": Principal("sara", frozenset({"sales"}), org="acme"),
    "1002": Principal("imran", frozenset({"support"}), org="acme"),
    "1003": Principal("noor", frozenset({"trainee"}), org="acme"),
    "1004": Principal("omar", frozenset({"sales", "support"}), org="acme"),
    "2001": Principal("lena", frozenset({"sales"}), org="bolt"),
}
PRICES = {"SKU-4": "12.50", "SKU-9": "3.20"}

Code = Annotated[str, Text(max=20)]
Count = Annotated[int, Field(ge=1, le=100)]


class Order(BaseModel):
    """``/order A-17 SKU-9 3``."""

    order_id: Code
    sku: Code
    quantity: Count


class Parcel(BaseModel):
    """``/refund A-17``, ``/cancel A-17`` and ``/label A-17``."""

    order_id: Code


class Pickup(Parcel):
    """``/courier A-17 0911234567``: the driver may call."""

    phone: Annotated[str, Phone(region="ET")] | None = None


class Shelf(BaseModel):
    """``/stock SKU-9``."""

    sku: Code


class Reservation(BaseModel):
    """The button "reserve SKU-9 2"."""

    sku: Code
    quantity: Count


#: What people type or press, the command behind it, and its fields.
ROUTES: dict[str, tuple[str, type[BaseModel]]] = {
    "order": ("orders.create", Order),
    "cancel": ("orders.cancel", Parcel),
    "courier": ("couriers.book", Pickup),
    "label": ("labels.print", Parcel),
    "refund": ("refunds.create", Parcel),
    "stock": ("stock.show", Shelf),
    "reserve": ("stock.reserve", Reservation),
}


def _asked() -> dict[str, str | None]:
    """What an outside system is told beside the request: for which intent, for whom, by whom."""
    call = current()
    return {"key": call.key, "org": call.org, "by": call.principal.person}


def _sell(guard: Guard, erp: Erp) -> None:
    """Commands with effects outside, in the order system."""

    def look_up(key: str) -> Happened | NotHappened:
        return Happened("Your order is placed; I found it in the order system.") if erp.knows(key) else NotHappened()

    @guard.command(
        "orders.create", effects="external", key="{order_id}", retry=PATIENT, breaker="erp", deadline=10,
        limits=["60/minute per user"], reconcile=look_up, checks=rules.for_orders(erp),
    )  # fmt: skip
    def create_order(order: Order) -> str:
        erp.do("order", order.order_id, sku=order.sku, quantity=order.quantity, **_asked())
        return f"Order {order.order_id} is placed: {order.quantity} of {order.sku}."

    @guard.command("orders.cancel", effects="external", deadline=10, checks=rules.for_cancelling(erp))
    def cancel(parcel: Parcel) -> str:
        erp.do("cancel", parcel.order_id, **_asked())
        return f"Order {parcel.order_id} is cancelled."

    @guard.command(
        "refunds.create", effects="external", risk="high", retry=PATIENT, breaker="erp", deadline=10,
        checks=rules.for_refunds(),
    )  # fmt: skip
    def refund(parcel: Parcel) -> str:
        erp.do("refund", parcel.order_id, **_asked())
        return f"Order {parcel.order_id} is refunded."


def _send(guard: Guard, erp: Erp) -> None:
    """Commands with effects outside, at companies that nobody can ask what they did. So no reconcile here."""

    @guard.command("couriers.book", effects="external", deadline=10)
    def book_courier(pickup: Pickup) -> str:
        erp.do("courier", pickup.order_id, phone=pickup.phone, **_asked())
        return f"A courier will fetch order {pickup.order_id}" + (f" and call {pickup.phone}." if pickup.phone else ".")

    @guard.command("labels.print", effects="external", deadline=10, timeout=0.5)
    async def print_label(parcel: Parcel) -> str:
        await erp.do_async("label", parcel.order_id, **_asked())
        return f"The label for order {parcel.order_id} is printed."


def _keep_stock(guard: Guard, erp: Erp, crash: Callable[[], None]) -> None:
    """Commands on the shop's own table, in the same file as the guard's."""

    @guard.command("stock.show", effects="read", limits=["5/minute per user moving-window", "12/minute per org"])
    def show_stock(shelf: Shelf) -> str:
        return f"{shelf.sku} costs {PRICES[shelf.sku]} and is in stock."

    @guard.command("stock.reserve", effects="transactional", deadline=10, checks=rules.for_reservations(erp))
    def reserve(wanted: Reservation) -> str:
        work: sqlite3.Connection = current().work
        work.execute("INSERT INTO shop_reservations (sku, quantity) VALUES (?, ?)", (wanted.sku, wanted.quantity))
        crash()
        return f"{wanted.quantity} of {wanted.sku} reserved for you."


class Shop:
    """The bot on one database file.

    Args:
        database: the file, for the guard's tables and the shop's.
        erp: the order system.
        ahead: seconds by which the bot's clock is ahead.
        crash: called after the effect of a reservation, before it is committed.
    """

    def __init__(self, database: Path, erp: Erp, *, ahead: float = 0.0, crash: Callable[[], None] = go_on) -> None:
        self._database = database
        #: Messages that were no line of any command: the bot answered them itself.
        self.unread = 0
        self.erp, self.clock, self._people = erp, ShopClock(ahead), dict(PEOPLE)
        with closing(sqlite3.connect(database)) as own, own:
            own.execute("CREATE TABLE IF NOT EXISTS shop_reservations (sku TEXT NOT NULL, quantity INTEGER NOT NULL)")
        self.storage = SqliteStorage(database, clock=self.clock)
        self.guard = Guard(
            storage=self.storage,
            access=ACCESS,
            directory=lambda _org, account: self._people.get(account),
            policies=rules.POLICIES,
            breakers={"erp": Breaker(fail_max=3, reset_after=RESET_AFTER)},
            clock=self.clock,
            refusals_per_minute=REFUSALS,
        )
        _sell(self.guard, erp)
        _send(self.guard, erp)
        _keep_stock(self.guard, erp, crash)

    def handle(self, said: Said) -> Outcome:
        """Answer one update."""
        word, _, rest = said.words.removeprefix("/").partition(" ")
        if said.pressed and word == "yes":
            return self.guard.confirm(rest, context=said.context)
        command, model = ROUTES.get(word, (f"shop.{word}", BaseModel))
        try:
            payload: Mapping[str, Any] = parse_command_line(f"/{word} {rest}", model)
        except InvalidPayload as error:
            self.unread += 1
            return error.outcome
        declared = self.guard.registry.get(command)
        if declared is not None and inspect.iscoroutinefunction(declared.function):
            return run_alone(self.guard.run_async(command, payload, context=said.context))
        return self.guard.run(command, payload, context=said.context)

    def block(self, account: str) -> None:
        """What an administrator does when somebody leaves."""
        self._people[account] = replace(self._people[account], active=False)

    def reservations(self, sku: str | None = None, quantity: int | None = None) -> int:
        """How often that was reserved; all reservations by default."""
        with closing(sqlite3.connect(self._database)) as own:
            rows = own.execute(
                "SELECT count(*) FROM shop_reservations "
                "WHERE sku = coalesce(?, sku) AND quantity = coalesce(?, quantity)",
                (sku, quantity),
            ).fetchall()
        return int(rows[0][0])

    def close(self) -> None:
        """Close the file."""
        self.storage.close()
