"""The bot that is crashed: a guarded command for each kind of effects, whose handlers tell how far they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from botguard import Actor, Context, Guard, Happened, NotHappened, Outcome, current
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.spool import FileSpool
from botguard.guard import ALLOW_ALL
from crashes.places import KINDS, Tell, Where, World

_ASKER = Context(org="acme", actor=Actor("u1"), channel="telegram")
_EFFECTS = {"reconciled": "external"}


class Order(BaseModel):
    order_id: str


def kind_of(order: str) -> str:
    """Orders are called by their kind: ``external-17``."""
    return order.partition("-")[0]


def effects_of(kind: str) -> str:
    """The declared effects of a kind of command."""
    plain = kind.removesuffix("_async")
    return _EFFECTS.get(plain, plain)


class Shop:
    """One process's guard over the shared database.

    Args:
        where: the database.
        lease: seconds that a claim lasts.
        tell: called with what a handler has come to: ``held`` (it begins), ``did`` (its effect happened).
        name: of this process; no other one ever has it.
        clock: judges leases, instead of the store's own.
    """

    def __init__(
        self, where: Where, lease: float, tell: Tell = lambda *_: None, *, name: str = "", clock: Any = None
    ) -> None:
        self._where, self._tell, self._name = where, tell, name
        self._loop = asyncio.new_event_loop()
        self._runs = count(1)
        #: Seconds that a handler takes before its effect, and after it.
        self.pace = (0.0, 0.0)
        #: True: no handler may run any more.
        self.closed = False
        self.world = World(where.folder)
        self.storage = where.open(tell, clock)
        spool = FileSpool(Path(where.folder) / "spool")
        self.guard = Guard(storage=self.storage, access=ALLOW_ALL, spool=spool, clock=clock)
        for kind in where.kinds:
            options: dict[str, Any] = {"effects": effects_of(kind), "deadline": lease, "grace": 0.0}
            if kind == "reconciled":
                options["reconcile"] = self._reconcile
            declare = self.guard.command(f"orders.{kind}", key=lambda payload: (payload.order_id,), **options)
            declare(self._handler_async(kind) if kind.endswith("_async") else self._handler(kind))

    def deliver(self, order: str) -> Outcome:
        """The update arrives."""
        kind = kind_of(order)
        name, payload = f"orders.{kind}", {"order_id": order}
        if kind.endswith("_async"):
            return self._loop.run_until_complete(self.guard.run_async(name, payload, context=_ASKER))
        return self.guard.run(name, payload, context=_ASKER)

    def close(self) -> None:
        self.world.close()
        engine = getattr(self.storage, "engine", None)
        if engine is None:
            self.storage.close()
        else:
            engine.dispose()
            if self.storage.twin is not None:
                self._loop.run_until_complete(self.storage.twin.engine.dispose())
        self._loop.close()

    # ── handlers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, order: str) -> str:
        assert not self.closed, f"{order} ran again"
        self._tell("held", order, current().fence)
        return f"{self._name}.{next(self._runs)}"

    def _handler(self, kind: str) -> Callable[[Order], str]:
        def handle(payload: Order) -> str:
            order = payload.order_id
            run = self._begin(order)
            time.sleep(self.pace[0])
            if effects_of(kind) == "transactional":
                current().work.execute(self._where.insert, self._where.effect(order, run))
            else:
                self.world.happen(order, run, current().key or "")
            self._tell("did", order)
            time.sleep(self.pace[1])
            return run

        return handle

    def _handler_async(self, kind: str) -> Callable[[Order], Any]:
        async def handle(payload: Order) -> str:
            order = payload.order_id
            run = self._begin(order)
            await asyncio.sleep(self.pace[0])
            if effects_of(kind) == "transactional":
                await current().work.execute(self._where.insert, self._where.effect(order, run))
            else:
                self.world.happen(order, run, current().key or "")
            self._tell("did", order)
            await asyncio.sleep(self.pace[1])
            return run

        return handle

    def _reconcile(self, key: str) -> Any:
        run = self.world.run_of(key)
        return Happened(run) if run is not None else NotHappened()


@cache
def _namer() -> Guard:
    guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL)
    for kind in {kind for kinds in KINDS.values() for kind in kinds}:

        @guard.command(f"orders.{kind}", effects="idempotent", key=lambda payload: (payload.order_id,))
        def name(payload: Order) -> str | None:
            return current().key

    return guard


def key_of(order: str) -> str:
    """The row's key of an order."""
    return str(_namer().run(f"orders.{kind_of(order)}", {"order_id": order}, context=_ASKER).value)
