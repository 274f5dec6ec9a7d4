"""Are the books right? Asked of the tables alone, whatever anybody was told."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from examples.erp_flask_sqlalchemy.host import post
from examples.erp_flask_sqlalchemy.host.models import IdempotencyKey, LedgerLine, Order, Product, StockMove

OPENING = 40  # stock of every article


def faults(engine: Engine) -> list[str]:
    """What is wrong, in sentences; nothing if the books are right."""
    with Session(engine) as session:
        return [*_ledger(session), *_stock(session), *_letters(session), *_keys(session)]


def unlike_asked(engine: Engine) -> list[str]:
    """What differs from what those who may asked for in that morning."""
    asked = {
        17: "approved",
        18: "open",
        19: "approved",
        20: "approved",
        21: "open",
        22: "cancelled",
        "salt": 40,
        "tea": 43,
    }
    with Session(engine) as session:
        found = {order.id: order.status for order in session.scalars(select(Order))}
        found |= {product.sku: product.on_hand for product in session.scalars(select(Product))}
    return [
        f"{name}: {found[name]}, and it should be {wanted}" for name, wanted in asked.items() if found[name] != wanted
    ]


def _ledger(session: Session) -> list[str]:
    found = []
    for order in session.scalars(select(Order).order_by(Order.id)):
        amounts = sorted(session.scalars(select(LedgerLine.amount).where(LedgerLine.order_id == order.id)))
        right = [-order.total, order.total] if order.status == "approved" else []
        if amounts != right:
            found.append(f"order {order.id} is {order.status}, and the ledger has {amounts or 'nothing'}")
    return found


def _stock(session: Session) -> list[str]:
    found, moved = [], Counter[str]()
    lines = Counter[tuple[str, str]]()
    for move in session.scalars(select(StockMove)):
        moved[move.sku] += move.quantity
        lines[move.reference, move.sku] += 1
    for (reference, sku), times in sorted(lines.items()):
        if times > 1:
            found.append(f"{reference} moved {sku} {times} times")
    for product in session.scalars(select(Product)):
        expected = OPENING + moved[product.sku]
        if product.on_hand != expected:
            found += [f"there are {product.on_hand} of {product.sku}, and the moves say {expected}"]
    return found


def _letters(session: Session) -> list[str]:
    cancelled = sorted(session.scalars(select(Order.id).where(Order.status == "cancelled")))
    return [] if sorted(post.letters) == cancelled else [f"letters {post.letters}, and {cancelled} are cancelled"]


def _keys(session: Session) -> list[str]:
    stuck = session.scalars(select(IdempotencyKey.request_key).where(IdempotencyKey.status == "processing")).all()
    foreign = session.scalars(select(IdempotencyKey.status).where(IdempotencyKey.bot_name == "billing")).all()
    found = [f"{len(stuck)} keys are still being processed"] if stuck else []
    return found if foreign == ["seen"] else [*found, "the key of another service was touched"]
