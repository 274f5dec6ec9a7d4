"""Are the books right after the day? Asked of the tables and of the carrier, whatever anybody was told."""

from __future__ import annotations

from collections import Counter

from botguard.adapters.django.models import Claim
from examples.shop_django.shop import carrier
from examples.shop_django.shop.models import Order, Stock

#: What those who may asked for, in day.py: A-1 (2 tea), A-3 (3 tea), A-4 (1 salt), and 5 tea that came.
STOCK = {"tea": 40, "salt": 39}
ORDERS = {"A-1": (2, "tea"), "A-3": (3, "tea"), "A-4": (1, "salt")}
PARCELS = ["A-1", "A-3"]


def faults() -> list[str]:
    """What is wrong, in sentences; nothing if the books are right."""
    stock = dict(Stock.objects.values_list("sku", "on_hand"))
    orders = {order.number: (order.quantity, order.sku) for order in Order.objects.all()}
    found = [f"{stock[sku]} of {sku}, and it should be {right}" for sku, right in STOCK.items() if stock[sku] != right]
    if orders != ORDERS:
        found.append(f"orders {orders}, and it should be {ORDERS}")
    if sorted(carrier.parcels) != PARCELS:
        found.append(f"parcels {carrier.parcels}, and it should be {PARCELS}")
    states = Counter(Claim.objects.values_list("state", flat=True))
    if set(states) - {"done", "released", "failed"}:
        found.append(f"claims {dict(states)}, and none should be open")
    return found
