"""An ERP's handlers, `handler(ctx: dict) -> dict` behind a string intent, guarded without a change to any of them.

First in shadow: every call goes on as it always did, and a report says what the guard would have done. Then enforced.

    python examples/legacy_handler.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from botguard import Actor, Context, Guard
from botguard.adapters.memory import MemoryStorage
from botguard.errors import OutcomeError

# ── the host, as it is ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class User:
    """A row of the host's users; roles as its database has them."""

    id: int
    roles: tuple[str, ...]


class Erp:
    """What the handlers write to. An approval sends a letter: twice is once too often."""

    def __init__(self) -> None:
        self.letters: list[int] = []

    def approve(self, ctx: dict) -> dict:
        """Approve the record that the message is about."""
        self.letters.append(ctx["entity_id"])
        ctx["audit"] = f"approved by {ctx['user'].id}"
        return {"text": f"Order #{ctx['entity_id']} is approved.", "clear_state": True}

    def stock(self, ctx: dict) -> dict:
        """How much there is of it."""
        return {"text": f"{ctx['text'].removeprefix('/stock ')}: 40 kg"}


Handlers = dict[str, Callable[[dict], dict]]


def registry(erp: Erp) -> Handlers:
    """The table by which the host finds the handler of an intent."""
    return {"approve": erp.approve, "stock": erp.stock}


# ── the guard, beside it ─────────────────────────────────────────────────────────────────────────────────────────────


class Approve(BaseModel):
    order_id: int


class Stock(BaseModel):
    sku: str


OPTIONS: dict[str, dict[str, Any]] = {
    "approve": {"command": "orders.approve", "request": Approve, "key": "{order_id}", "limits": ["3/minute per user"]},
    "stock": {"command": "stock.show", "request": Stock, "effects": "read"},
}
ACCESS = {"manager": {"orders.*", "stock.*"}, "clerk": {"stock.*"}}


def bind(ctx: dict) -> tuple[dict, Context]:
    """From the host's context to (payload, Context). It only reads."""
    user, update = ctx["user"], str(ctx["update_id"])
    where = Context(
        org=str(ctx["org_id"]),
        actor=Actor(str(user.id), roles=user.roles),
        channel="telegram",
        delivery=update,
        correlation_id=f"update-{update}",
    )
    if ctx["intent"] == "stock":
        return {"sku": ctx["text"].removeprefix("/stock ")}, where
    return {"order_id": ctx["entity_id"]}, where


def enforced(guard: Guard, handlers: Handlers) -> Handlers:
    """The same handlers as guarded functions. A bound method is called through one: that is all there is to write."""

    def guard_one(intent: str, handler: Callable[[dict], dict]) -> Callable[[dict], dict]:
        options = dict(OPTIONS[intent])

        @guard.command(options.pop("command"), bind=bind, **options)
        def handle(ctx: dict) -> dict:
            return handler(ctx)

        return handle

    return {intent: guard_one(intent, handler) for intent, handler in handlers.items()}


# ── a morning ────────────────────────────────────────────────────────────────────────────────────────────────────────

MANAGER, CLERK = User(1, ("manager",)), User(2, ("clerk",))
MORNING: list[tuple[User, str, Any]] = [
    (CLERK, "/stock tea", None),
    (MANAGER, "/approve", 17),
    (MANAGER, "/approve", 17),  # the button pressed again
    (CLERK, "/approve", 18),  # not his to approve
    (MANAGER, "please do not approve", None),  # a keyword, and no order
    *[(MANAGER, "/approve", 20 + n) for n in range(4)],  # in a hurry
]


def dispatch(handlers: Handlers, update_id: int, user: User, text: str, entity_id: Any) -> str:
    """What the host does with a message: the intent by keyword, the handler by intent."""
    intent = "approve" if "approve" in text else "stock"
    ctx = {
        "org_id": 7,
        "update_id": update_id,
        "intent": intent,
        "user": user,
        "text": text,
        "entity_type": "order",
        "entity_id": entity_id,
    }
    try:
        return handlers[intent](ctx)["text"]
    except OutcomeError as refused:  # the host's one new line: in shadow it is never reached
        return refused.outcome.message()


def morning(handlers: Handlers) -> None:
    """Deliver every message, and print what its user reads."""
    for number, (user, text, entity_id) in enumerate(MORNING, 1):
        print(f"  user {user.id}  {text:<22} -> {dispatch(handlers, number, user, text, entity_id)}")


def main(clock: Any = None) -> None:
    """Once in shadow, once enforced. A test gives a clock that stands still."""
    erp = Erp()
    guard = Guard(storage=MemoryStorage(clock=clock), access=ACCESS, clock=clock)

    print("In shadow")
    handlers = guard.shadow(registry(erp), bind=bind, options=OPTIONS)
    morning(handlers)
    print(f"  letters sent: {erp.letters}")
    print()
    print(guard.shadow_report())

    print()
    print("Enforced")
    erp.letters.clear()
    morning(enforced(guard, registry(erp)))
    print(f"  letters sent: {erp.letters}")


if __name__ == "__main__":
    main()
