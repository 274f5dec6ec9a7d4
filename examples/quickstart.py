from pydantic import BaseModel, Field

from botguard import Actor, Context, Guard
from botguard.adapters.memory import MemoryStorage

guard = Guard(
    storage=MemoryStorage(),  # SqliteStorage("shop.db") to keep it
    access={"sales": {"orders.create"}},  # role -> permissions; everything else is denied
)


class CreateOrder(BaseModel):
    order_id: str
    sku: str
    quantity: int = Field(gt=0)


@guard.command("orders.create", key="{order_id}", limits=["5/minute per user"])
def create_order(order: CreateOrder) -> str:
    print(f"... the shop books {order.quantity} x {order.sku}")
    return f"Order {order.order_id} is booked."


ann = Context(org="acme", actor=Actor("ann", roles=("sales",)), channel="telegram")
bob = Context(org="acme", actor=Actor("bob", roles=("guest",)), channel="telegram")
order = {"order_id": "A-17", "sku": "tea", "quantity": 2}

outcomes = [
    guard.run("orders.create", order, context=ann),
    guard.run("orders.create", order, context=ann),  # the same intent again
    guard.run("orders.create", {**order, "quantity": "many"}, context=ann),  # a bad payload
    guard.run("orders.create", order, context=bob),  # no permission
]
for outcome in outcomes:
    print(f"{outcome.status:<10} replayed={outcome.replayed!s:<6} {outcome.message()}")

with guard.acting(ann):  # the handler is still a function: a value or an exception
    print(create_order(CreateOrder(order_id="A-18", sku="salt", quantity=1)))

print(guard.metrics.totals()["orders.create"])
