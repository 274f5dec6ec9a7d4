"""What the shop demands beyond permissions: its rules, and checks of what is really there."""

from __future__ import annotations

from botguard.cli.demo.erp import Erp
from botguard.invocation import Invocation
from botguard.options import Check
from botguard.outcome import Detail
from botguard.policies.rules import Ask, Rule
from botguard.ports.policy import Obligation

__all__ = ["POLICIES", "for_cancelling", "for_orders", "for_refunds", "for_reservations"]

POLICIES = (
    Rule(
        commands="orders.create",
        when=lambda call: call.payload.quantity > 50,
        deny="needs_an_offer",
        message="More than 50 pieces need an offer. Please call the office.",
    ),
)
#: Pieces that tomorrow's regular customers will want.
FORECAST = {"SKU-4": 40}


def for_orders(erp: Erp) -> list[Check]:
    """An order is for something that the shop has, and for no more than is there."""

    def exists(call: Invocation) -> Detail | None:
        sku = call.payload.sku
        return None if erp.left(sku, call.org) is not None else Detail("sku", "no_such_thing", f"We have no {sku}.")

    def enough(call: Invocation) -> Detail | None:
        order = call.payload
        left = erp.left(order.sku, call.org) or 0
        if order.quantity <= left:
            return None
        return Detail(
            "quantity", "not_enough", f"Only {left} of {order.sku} are left." if left else f"{order.sku} is sold out."
        )

    return [Check(exists, "context"), Check(enough, "consistency")]


def for_cancelling(erp: Erp) -> list[Check]:
    """Who placed an order may cancel it, once. For all others it is not there."""

    def own(call: Invocation) -> Detail | None:
        number = call.payload.order_id
        if any(order["by"] == call.principal.person for order in erp.effects("order", number, call.org)):
            return None
        return Detail("order_id", "no_such_order", f"There is no order {number}.")

    def standing(call: Invocation) -> Detail | None:
        number = call.payload.order_id
        gone = erp.count("cancel", number, call.org)
        return Detail("order_id", "cancelled", f"Order {number} is cancelled already.") if gone else None

    return [Check(own, "visibility"), Check(standing, "context")]


def for_refunds() -> list[Check]:
    """The words of the question. That there is one at all is the command's ``risk="high"``."""

    def question(call: Invocation) -> Obligation:
        return Ask(f"Shall I refund order {call.payload.order_id}?")

    return [Check(question, "context")]


def for_reservations(erp: Erp) -> list[Check]:
    """What tomorrow's customers will want is not put aside today."""

    def spared(call: Invocation) -> Detail | None:
        wanted = call.payload
        kept = FORECAST.get(wanted.sku, 0)
        if (erp.left(wanted.sku, call.org) or 0) - wanted.quantity >= kept:
            return None
        text = f"I cannot put {wanted.quantity} of {wanted.sku} aside: tomorrow's customers will want {kept}."
        return Detail("quantity", "wanted_tomorrow", text)

    return [Check(spared, "predict")]
