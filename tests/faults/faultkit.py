"""What the fault tests share: one command with everything on, stores of every kind, and the promises to check."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from botguard import (
    Actor,
    Breaker,
    Check,
    Context,
    Guard,
    Outcome,
    Principal,
    Rejected,
    Retry,
    Rule,
    Status,
    current,
)
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.limiter import LocalLimiter
from botguard.testing import FakeClock

COMMAND = "orders.create"
#: Calls an hour that each user may make; only one of them at a time.
ALLOWED = 3
#: Longer than any lease, cap or window of the scenes.
ALL_OVER = 3 * 3600.0


class Order(BaseModel):
    order_id: str
    quantity: int = 1


class Broken(AssertionError):
    """A promise was broken. The message is one line, and says how to see it again."""


class ListSpool:
    """A spool that a test can read."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def write(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def drain(self) -> Iterator[tuple[dict[str, Any], Any]]:
        return iter([(record, lambda: None) for record in self.records])


# ── stores ───────────────────────────────────────────────────────────────────────────────────────────────────────


class LooseMemory(MemoryStorage):
    """Does not store a completion and its event together."""

    atomic = frozenset()


def _shared(storage: Any, clock: FakeClock) -> Any:
    storage.limits = LocalLimiter(clock)  # counters that are a port of the storage, as in a shared store
    return storage


def _sqlite(clock: FakeClock, folder: Path) -> Any:
    with sqlite3.connect(folder / "bot.db") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS effects (order_id TEXT)")
    connection.close()
    storage: Any = SqliteStorage(folder / "bot.db", synchronous="NORMAL", clock=clock, shared_limits=True)
    storage.db = folder / "bot.db"
    return storage


STORES: dict[str, Callable[[FakeClock, Path], Any]] = {
    "memory": lambda clock, _: MemoryStorage(clock=clock),
    "shared": lambda clock, _: _shared(MemoryStorage(clock=clock), clock),
    "loose": lambda clock, _: _shared(LooseMemory(clock=clock), clock),
    "sqlite": _sqlite,
}


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────

#: What the handler does with orders whose id begins with "x"; all others succeed.
FLAVOURS = ("ok", "before_effect", "rejected", "error", "denied", "no_probe", "retried")


class Scene:
    """A guard, its command, and a diary of what really happened, kept outside of every store."""

    def __init__(
        self, storage: Any, clock: FakeClock, effects: str, flavour: str = "ok", *, colour: str = "sync", **options: Any
    ) -> None:
        self.storage, self.clock, self.effects, self.flavour = storage, clock, effects, flavour
        self.began: list[str] = []
        self.happened: list[str] = []
        self.spool = ListSpool()
        #: Where an async handler waits, if it is set, and where it says that it is there.
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.guard = Guard(
            storage=storage,
            access={"sales": {"*"}},
            directory=self._directory_async if colour == "async" else self._directory,
            policies=[Rule(commands="orders.*", when=lambda call: call.payload.quantity > 9, deny="too_many")],
            breakers={"erp": Breaker(fail_max=5 if flavour == "retried" else 1, reset_after=30)},
            clock=clock,
            spool=self.spool,
        )
        stages = ("context", "consistency", "predict")
        check = self._check_async if colour == "async" else self._check
        settings: dict[str, Any] = {
            "effects": effects,
            "key": lambda payload: (payload.order_id,),
            "deadline": None,
            "breaker": "erp",
            "limits": [f"{ALLOWED}/hour per user", "1 concurrent per user"],
            "checks": [Check(check, stage) for stage in stages],
            **({"timeout": 30.0} if colour == "async" else {}),
            **({"retry": Retry(before_effect=(ConnectionRefusedError,), attempts=2)} if flavour == "retried" else {}),
            **options,
        }
        declare = self.guard.command(COMMAND, **settings)
        self.handler = declare(self._handler_async()) if colour == "async" else declare(self._handler())

    # What the guard asks.

    def _directory(self, org: str, actor: str) -> Principal:
        return Principal(person=actor, roles=frozenset({"sales"}))

    async def _directory_async(self, org: str, actor: str) -> Principal:
        await asyncio.sleep(0)
        return self._directory(org, actor)

    def _check(self, call: Any) -> str | None:
        return "no_way" if self.flavour == "denied" and call.payload.order_id.startswith("x") else None

    async def _check_async(self, call: Any) -> str | None:
        await asyncio.sleep(0)
        return self._check(call)

    # What the command does.

    def _begin(self, order_id: str) -> None:
        self.began.append(order_id)
        if not order_id.startswith("x"):
            return
        if self.flavour == "before_effect" or (self.flavour == "retried" and current().attempt == 1):
            raise ConnectionRefusedError("nobody answers")
        if self.flavour == "rejected":
            raise Rejected("sold out")
        if self.flavour == "error":
            raise ValueError("broke in the middle")

    def _happen(self, order_id: str) -> None:
        if self.effects == "transactional":
            current().work.execute("INSERT INTO effects VALUES (?)", (order_id,))
        else:
            self.happened.append(order_id)

    def _handler(self) -> Callable[[Order], str]:
        def create(payload: Order) -> str:
            self._begin(payload.order_id)
            self._happen(payload.order_id)
            return f"made {payload.order_id}"

        return create

    def _handler_async(self) -> Callable[[Order], Any]:
        async def create(payload: Order) -> str:
            self._begin(payload.order_id)
            if self.gate is not None:
                self.entered.set()
                await self.gate.wait()
            await asyncio.sleep(0)
            self._happen(payload.order_id)
            await asyncio.sleep(0)
            return f"made {payload.order_id}"

        return create

    # What the test does.

    def run(self, order_id: str, user: str = "u1") -> Outcome:
        return self.guard.run(COMMAND, {"order_id": order_id}, context=context(user))

    async def run_async(self, order_id: str, user: str = "u1") -> Outcome:
        return await self.guard.run_async(COMMAND, {"order_id": order_id}, context=context(user))

    def half_open(self) -> None:
        """Leave the breaker with room for one probe."""
        if self.flavour != "retried":
            self.breaker.failed(self.breaker.admit())
            self.clock.advance(31)

    @property
    def breaker(self) -> Any:
        return self.guard._parts.breakers["erp"]

    def effects_of(self, order_id: str) -> int:
        if self.effects != "transactional":
            return self.happened.count(order_id)
        connection = sqlite3.connect(self.storage.db)
        try:
            found = connection.execute("SELECT COUNT(*) FROM effects WHERE order_id = ?", (order_id,)).fetchone()
        finally:
            connection.close()
        return int(found[0])


def context(user: str) -> Context:
    return Context(org="acme", actor=Actor(user), channel="telegram")


@cache
def _namer() -> Guard:
    guard = Guard(storage=MemoryStorage(), access={"sales": {"*"}})

    @guard.command(COMMAND, effects="idempotent", key=lambda payload: (payload.order_id,))
    def create(payload: Order) -> str | None:
        return current().key

    return guard


def key_of(order_id: str) -> str:
    """The row's key of an order, the same under every guard."""
    asker = Context(org="acme", actor=Actor("u1", roles=("sales",)))
    return str(_namer().run(COMMAND, {"order_id": order_id}, context=asker).value)


# ── one line that reproduces ─────────────────────────────────────────────────────────────────────────────────────


def chosen_point() -> tuple[int, ...] | None:
    """The one point that BOTGUARD_FAULT_AT names, or None: all of them."""
    text = os.environ.get("BOTGUARD_FAULT_AT")
    return tuple(int(n) for n in text.split(",")) if text else None


def reproduce(*point: int) -> str:
    """The command line that runs one point of the present test again."""
    node = os.environ.get("PYTEST_CURRENT_TEST", "tests/faults").rsplit(" ", 1)[0]
    return f"BOTGUARD_FAULT_AT={','.join(map(str, point))} python -m pytest '{node}'"


def hold(violations: list[str], *point: int, story: str = "") -> None:
    """Raise Broken if a promise was broken at this point."""
    if violations:
        what = "; ".join(violations)
        raise Broken(f"{what}{f' [{story}]' if story else ''} | reproduce: {reproduce(*point)}")


def refused(outcome: Outcome, status: Status, reason: str) -> bool:
    return outcome.status is status and reason in outcome.reasons
