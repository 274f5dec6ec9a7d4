"""The bot's handlers, ``handler(ctx: dict) -> dict``. Those that do not commit leave it to their caller."""

from __future__ import annotations

from sqlalchemy import select

from examples.erp_flask_sqlalchemy.host import database as db
from examples.erp_flask_sqlalchemy.host.models import LedgerLine, Order, Product, StockMove
from examples.erp_flask_sqlalchemy.host.post import send_letter


def stock(ctx: dict) -> dict:
    """How much there is of an article."""
    if not ctx["argument"]:
        return {"text": "Of which article?", "next_state": "awaiting_sku"}
    product = _product(ctx["org_id"], ctx["argument"])
    return {"text": f"{product.sku}: {product.on_hand}", "clear_state": True}


def approve(ctx: dict) -> dict:
    """Approve an order: two lines in the ledger, and the goods leave the stock."""
    order = _order(ctx)
    order.status = "approved"
    db.session.add(_line(order, "receivables", order.total, ctx))
    db.session.flush()
    product = _product(order.org_id, order.sku)
    if product.account is None:
        raise LookupError(f"no account for {order.sku}")  # half-way: one line is in the ledger already
    db.session.add(_line(order, product.account, -order.total, ctx))
    _move(product, f"order {order.id}", -order.quantity)
    return {"text": f"Order #{order.id} is approved.", "clear_state": True}


def cancel(ctx: dict) -> dict:
    """Cancel an order and write to the customer. It commits by itself: the letter must not go out for nothing."""
    order = _order(ctx)
    order.status = "cancelled"
    db.session.commit()
    send_letter(ctx["entity_id"])
    return {"text": f"Order #{ctx['entity_id']} is cancelled."}


def receive(ctx: dict) -> dict:
    """Put one line of a delivery into the stock."""
    product = _product(ctx["org_id"], ctx["sku"])
    _move(product, f"delivery {ctx['delivery_no']}", ctx["quantity"])
    return {"text": f"{ctx['quantity']} x {ctx['sku']} received."}


def _order(ctx: dict) -> Order:
    order = db.session.get(Order, ctx["entity_id"]) if ctx["entity_id"] else None
    if order is None or order.org_id != ctx["org_id"]:
        raise LookupError(f"no order #{ctx['entity_id']}")
    return order


def _product(org_id: int, sku: str) -> Product:
    product = db.session.scalar(select(Product).where(Product.org_id == org_id, Product.sku == sku))
    if product is None:
        raise LookupError(f"no article {sku}")
    return product


def _line(order: Order, account: str, amount: int, ctx: dict) -> LedgerLine:
    return LedgerLine(order_id=order.id, account=account, amount=amount, booked_by=ctx["user"].id)


def _move(product: Product, reference: str, quantity: int) -> None:
    db.session.add(StockMove(reference=reference, sku=product.sku, quantity=quantity))
    product.on_hand = Product.on_hand + quantity  # type: ignore[assignment]  # in SQL: two at once both count
    db.session.flush()
