"""A morning's data: three people, a few orders."""

from __future__ import annotations

from examples.erp_flask_sqlalchemy.host import database as db
from examples.erp_flask_sqlalchemy.host.models import Base, BotCommand, IdempotencyKey, Order, Product, User
from examples.erp_flask_sqlalchemy.host.post import letters

ORG = 7


def seed() -> None:
    """Begin anew."""
    letters.clear()
    for table in reversed(Base.metadata.sorted_tables):
        db.session.execute(table.delete())
    db.session.add_all(
        [
            User(id=1, org_id=ORG, name="ann", chat_id="501", api_token="t-ann", roles=["manager", "warehouse"]),
            User(id=2, org_id=ORG, name="bob", chat_id="502", api_token="t-bob", roles=["clerk"]),
            User(id=3, org_id=ORG, name="eve", chat_id="503", api_token="t-eve", roles=["manager"], is_active=False),
            Product(org_id=ORG, sku="tea", on_hand=40, account="sales-tea"),
            Product(org_id=ORG, sku="salt", on_hand=40, account=None),
            *(Order(id=number, org_id=ORG, sku="tea", quantity=1, total=100) for number in (17, 18, 20, 21, 22)),
            Order(id=19, org_id=ORG, sku="salt", quantity=1, total=300),
            BotCommand(org_id=ORG, command="stock", required_role=None),
            BotCommand(org_id=ORG, command="approve", required_role="manager"),
            BotCommand(org_id=ORG, command="cancel", required_role="manager"),
            BotCommand(org_id=ORG, command="receive", required_role="warehouse"),
            # another service's: not the guard's to read, to take over or to purge
            IdempotencyKey(org_id=ORG, bot_name="billing", request_key="inv-1", command="invoice", status="seen"),
        ]
    )
    db.session.commit()
