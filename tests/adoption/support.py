"""An ERP-style registry: handlers that take one dict, known by string intents, and a guard that watches them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from botguard import Actor, Context, Guard
from botguard.adapters.memory import MemoryStorage
from botguard.adoption import ShadowReport
from botguard.testing import FakeClock

ACCESS = {"sales": {"*"}}
NAME = "orders.approve"


class Approve(BaseModel):
    order_id: int
    amount: int = 1


def bind(ctx: dict[str, Any]) -> tuple[Any, Context | None]:
    who = Actor(ctx["user"], roles=tuple(ctx.get("roles", ("sales",))))
    payload = {"order_id": ctx["entity_id"], "amount": ctx.get("amount", 1)}
    return payload, Context(org=ctx.get("org", "acme"), actor=who, correlation_id=ctx.get("request"))


def ctx(entity_id: Any = 1, user: str = "u1", **other: Any) -> dict[str, Any]:
    return {"entity_id": entity_id, "user": user, **other}


def answer(ctx: dict[str, Any]) -> dict[str, Any]:
    """Answers, or does what the call asks for."""
    then = ctx.get("then")
    if isinstance(then, BaseException):
        raise then
    return then(ctx) if callable(then) else ctx  # type: ignore[no-any-return]


class Office:
    """One legacy handler under watch, on a clock that stands still. Options are the command's."""

    def __init__(self, *, storage: Any = None, handler: Any = answer, guard: Any = None, **options: Any) -> None:
        self.clock = FakeClock()
        self.storage = storage if storage is not None else MemoryStorage(clock=self.clock)
        given = {"access": ACCESS, **(guard or {})}
        self.guard = Guard(storage=self.storage, clock=self.clock, **given)
        self.legacy = {NAME: handler}
        options = {"request": Approve, "key": "{order_id}", "bind": bind, **options}
        self.registry = self.guard.shadow(self.legacy, options={NAME: options})
        self.handler: Callable[..., Any] = self.registry[NAME]

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call as the legacy host does; what it raises is of no interest here."""
        try:
            return self.handler(ctx(*args, **kwargs))
        except Exception:
            return None

    @property
    def report(self) -> ShadowReport:
        return self.guard.shadow_report()

    def seen(self) -> Counter[tuple[str, str]]:
        """(kind, reason) -> calls."""
        return Counter({(row.kind, row.reason): row.count for row in self.report.rows})

    def says(self, *args: Any, **kwargs: Any) -> set[tuple[str, str]]:
        """What one more call adds to the report."""
        before = self.seen()
        self.call(*args, **kwargs)
        return set(self.seen() - before)
