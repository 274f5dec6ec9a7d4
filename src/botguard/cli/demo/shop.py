"""The shop bot: its handlers, who may use them, and the way from a Telegram update to a guarded command."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field
from tenacity import wait_fixed

from botguard.adapters.sqlite import SqliteStorage
from botguard.cli.demo.erp import Erp, go_on
from botguard.cli.demo.updates import Said
from botguard.errors import InvalidPayload
from botguard.guard import Guard
from botguard.invocation import Principal, current
from botguard.options import Breaker, Retry
from botguard.outcome import Outcome
from botguard.ports.runtime import Clock
from botguard.reconcile import Happened, NotHappened
from botguard.validation import Text, parse_command_line

__all__ = ["RESET_AFTER", "Shop"]

#: Seconds that a dead order system is left alone.
RESET_AFTER = 1.5
#: Only errors that come before the effect are tried again: a second order must never be made by a retry.
PATIENT = Retry(before_effect=(ConnectionRefusedError,), attempts=4, wait=wait_fixed(0.05))

ACCESS = {
    "sales": {"orders.*", "stock.*", "couriers.*"},
    "support": {"refunds.*", "stock.*"},
    "trainee": {"stock.*"},
}
PEOPLE = {
    "1001": Principal("sara", frozenset({"sales"})),
    "1002": Principal("imran", frozenset({"support"})),
    "1003": Principal("noor", frozenset({"trainee"})),
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
    """``/courier A-17`` and ``/refund A-17``."""

    order_id: Code


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
    "courier": ("couriers.book", Parcel),
    "refund": ("refunds.create", Parcel),
    "stock": ("stock.show", Shelf),
    "reserve": ("stock.reserve", Reservation),
}


def _sell(guard: Guard, erp: Erp) -> None:
    """Commands with effects outside, in the order system."""

    def look_up(key: str) -> Happened | NotHappened:
        return Happened("Your order is placed; I found it in the order system.") if erp.knows(key) else NotHappened()

    @guard.command(
        "orders.create", effects="external", key=lambda order: (order.order_id,), retry=PATIENT, breaker="erp",
        deadline=10, limits=["60/minute per user"], reconcile=look_up,
    )  # fmt: skip
    def create_order(order: Order) -> str:
        erp.do("order", order.order_id, current().key)
        return f"Order {order.order_id} is placed: {order.quantity} of {order.sku}."

    # Nobody can ask the courier company whether a van was booked. So no reconcile here.
    @guard.command("couriers.book", effects="external", deadline=10)
    def book_courier(parcel: Parcel) -> str:
        erp.do("courier", parcel.order_id, current().key)
        return f"A courier will fetch order {parcel.order_id}."

    @guard.command("refunds.create", effects="external", risk="high", retry=PATIENT, breaker="erp", deadline=10)
    def refund(parcel: Parcel) -> str:
        erp.do("refund", parcel.order_id, current().key)
        return f"Order {parcel.order_id} is refunded."


def _keep_stock(guard: Guard, crash: Callable[[], None]) -> None:
    """Commands on the shop's own table, in the same file as the guard's."""

    @guard.command("stock.show", effects="read")
    def show_stock(shelf: Shelf) -> str:
        return f"{shelf.sku} costs {PRICES[shelf.sku]} and is in stock."

    @guard.command("stock.reserve", effects="transactional", deadline=10)
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
        clock: by which the storage judges how long a run may take; the system's by default.
        crash: called after the effect of a reservation, before it is committed.
    """

    def __init__(
        self, database: Path, erp: Erp, *, clock: Clock | None = None, crash: Callable[[], None] = go_on
    ) -> None:
        self._database = database
        self.erp = erp
        with closing(sqlite3.connect(database)) as own, own:
            own.execute("CREATE TABLE IF NOT EXISTS shop_reservations (sku TEXT NOT NULL, quantity INTEGER NOT NULL)")
        self.storage = SqliteStorage(database, clock=clock)
        self.guard = Guard(
            storage=self.storage,
            access=ACCESS,
            directory=lambda _org, account: PEOPLE.get(account),
            breakers={"erp": Breaker(fail_max=3, reset_after=RESET_AFTER)},
        )
        _sell(self.guard, erp)
        _keep_stock(self.guard, crash)

    def handle(self, said: Said) -> Outcome:
        """Answer one update."""
        word, _, rest = said.words.removeprefix("/").partition(" ")
        if said.pressed and word == "yes":
            return self.guard.confirm(rest, context=said.context)
        command, model = ROUTES.get(word, (f"shop.{word}", BaseModel))
        try:
            payload: Mapping[str, Any] = parse_command_line(f"/{word} {rest}", model)
        except InvalidPayload as error:
            return error.outcome
        return self.guard.run(command, payload, context=said.context)

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
