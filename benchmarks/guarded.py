"""The guard under test, built through the public API. The only file here that knows its spelling.

botguard is imported inside the functions, so that the peers can be measured without it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from benchmarks.harness import expect
from benchmarks.orders import LIMITS, USERS, Sent, org_of
from benchmarks.peer_stack import COMMAND, ROLES, TIMEOUT, Order

Synchronous = Literal["FULL", "NORMAL"]
#: Guard option that puts the edge limiter's bound out of reach.
NO_EDGE_BOUND: dict[str, Any] = {"refusals_per_minute": 10**9}


class Shop:
    """A guard with one command, the effects of its handler, and the users who call it."""

    def __init__(self, guard: Any, role: str = "sales") -> None:
        from botguard import Actor, Context

        self.guard = guard
        self.effects = 0
        self.lock = Lock()
        self.odd = 0
        self.contexts = [
            Context(org=org_of(n), actor=Actor(f"user-{n}", roles=(role,)), channel="web") for n in range(USERS)
        ]

    def send(self, sent: list[Sent], wanted: str = "succeeded") -> None:
        """Run the calls; outcomes of another status are counted, so that none has to be kept."""
        run, contexts = self.guard.run, self.contexts
        for user, raw in sent:
            if run(COMMAND, raw, context=contexts[user]).status != wanted:
                self.odd += 1

    async def send_async(self, sent: list[Sent], wanted: str = "succeeded") -> None:
        run, contexts = self.guard.run_async, self.contexts
        for user, raw in sent:
            if (await run(COMMAND, raw, context=contexts[user])).status != wanted:
                self.odd += 1

    async def send_newcomer(self, number: int) -> None:
        """One call by a user never seen before, with a context of his own as a framework would make it."""
        from botguard import Actor, Context

        context = Context(org=org_of(number), actor=Actor(f"newcomer-{number}", roles=("sales",)), channel="web")
        raw = {"order_id": f"new-{number}", "sku": "SKU-7", "quantity": 3, "phone": "+251911234567"}
        if (await self.guard.run_async(COMMAND, raw, context=context)).status != "succeeded":
            self.odd += 1

    async def send_from(self, sent: list[Sent], workers: int) -> None:
        """The same from several callers at once."""
        await asyncio.gather(*(self.send_async(sent[n::workers]) for n in range(workers)))

    def expect_books(self, counts: dict[str, int], rows: int) -> None:
        """What the guard itself wrote down (on memory): calls by status, claims, an event for each call."""
        storage = self.guard.storage
        expect("calls with another status", self.odd, 0)
        expect("counted calls", self.guard.metrics.totals()[COMMAND]["statuses"], counts)
        expect("claims", len(storage.idempotency), rows)
        expect("events", len(storage.events), sum(counts.values()))

    def expect_all_stored(self, sent: list[Sent]) -> None:
        """Every call must be replayed now: so each has its row and its value, seen from outside."""
        before = self.effects
        outcomes = [self.guard.run(COMMAND, raw, context=self.contexts[user]) for user, raw in sent]
        self._expect_replays(outcomes, sent, before)

    async def expect_all_stored_async(self, sent: list[Sent]) -> None:
        before = self.effects
        outcomes = [await self.guard.run_async(COMMAND, raw, context=self.contexts[user]) for user, raw in sent]
        self._expect_replays(outcomes, sent, before)

    def _expect_replays(self, outcomes: list[Any], sent: list[Sent], before: int) -> None:
        expect("calls with another status", self.odd, 0)
        expect("replayed rows", sum(outcome.replayed for outcome in outcomes), len(sent))
        expect("replayed values", [o.value for o in outcomes], [order.raw["order_id"] for order in sent])
        expect("effects after the replays", self.effects, before)


def every_stage() -> dict[str, Any]:
    """Options that put every stage to work."""
    from botguard import Check, Retry

    return {
        "effects": "external",
        "key": lambda p: (p.order_id,),
        "limits": LIMITS,
        "retry": Retry(before_effect=(ConnectionRefusedError,), attempts=3),
        "breaker": "erp",
        "deadline": TIMEOUT,
        "checks": [
            Check(lambda call: None if call.payload.sku else "sku_unknown", "context"),
            Check(lambda call: None if call.payload.quantity > 0 else "quantity_wrong", "consistency"),
            Check(lambda call: None if call.payload.quantity < 1000 else "stock_would_run_out", "predict"),
        ],
    }


def new_guard(storage: Any, **options: Any) -> Any:
    from botguard import Breaker, Guard

    breakers = {"erp": Breaker(fail_max=5, reset_after=30)}
    return Guard(storage=storage, access=ROLES, breakers=breakers, **options)


def policy_rules() -> list[Any]:
    """One rule that concerns the command and lets these orders pass."""
    from botguard import Rule

    return [Rule(commands="orders.*", when=lambda call: call.payload.quantity > 500, deny="too_large")]


def add_handler(shop: Shop, *, asynchronous: bool = False, nap: float = 0.0, **options: Any) -> Shop:
    """The one command of the shop; its handler counts its effects, after a nap where it is asked for."""
    if asynchronous:

        @shop.guard.command(COMMAND, **options)  # type: ignore[untyped-decorator]
        async def create_order_async(payload: Order) -> str:
            await asyncio.sleep(0)
            shop.effects += 1
            return payload.order_id

    else:

        @shop.guard.command(COMMAND, **options)  # type: ignore[untyped-decorator]
        def create_order(payload: Order) -> str:
            if nap:
                time.sleep(nap)
                with shop.lock:  # only the napping handler runs in many threads
                    shop.effects += 1
            else:
                shop.effects += 1
            return payload.order_id

    return shop


def memory_shop(role: str = "sales", *, asynchronous: bool = False, nap: float = 0.0, **guard_options: Any) -> Shop:
    """The full guard on memory: every stage on; a time-out only where the peer has one."""
    from botguard.adapters.memory import MemoryStorage

    shop = Shop(new_guard(MemoryStorage(), policies=policy_rules(), **guard_options), role)
    more = {"timeout": TIMEOUT} if asynchronous else {}
    return add_handler(shop, asynchronous=asynchronous, nap=nap, **every_stage(), **more)


def sqlite_shop(path: Path, synchronous: Synchronous, *, asynchronous: bool = False) -> Shop:
    """A durable command and nothing else: what is measured is the claim and the completion."""
    from botguard.adapters.sqlite import SqliteStorage

    shop = Shop(new_guard(SqliteStorage(path, synchronous=synchronous)))
    return add_handler(shop, asynchronous=asynchronous, effects="external", key=lambda p: (p.order_id,))


def sqlite_rows(path: Path) -> tuple[int, int]:
    """How many finished claims and how many events the guard's file holds."""
    with closing(sqlite3.connect(path)) as connection:
        claims = connection.execute("SELECT count(*) FROM botguard_claims WHERE state = 'done'").fetchone()[0]
        events = connection.execute("SELECT count(*) FROM botguard_events").fetchone()[0]
    return claims, events


def sqlite_columns(path: Path) -> list[list[str]]:
    """The names of the columns of claims and events, in order."""
    with closing(sqlite3.connect(path)) as connection:
        tables = ("botguard_claims", "botguard_events")
        return [[row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in tables]


def postgres_shop(engine: Any, prefix: str, *, transactional: bool) -> Shop:
    """A durable command on PostgreSQL: with its one effect row in a unit of work, or with an effect outside."""
    from sqlalchemy import Column, Integer, MetaData, String, Table
    from sqlalchemy.orm import sessionmaker

    from botguard import current
    from botguard.adapters.sqlalchemy import SqlAlchemyStorage, SqlAlchemyWork

    metadata = MetaData()
    effects = Table(f"{prefix}orders", metadata, Column("id", String(64), primary_key=True), Column("amount", Integer))
    storage = SqlAlchemyStorage(engine, metadata=metadata, prefix=prefix)
    storage.metadata.create_all(engine)
    if not transactional:
        shop = Shop(new_guard(storage))
        return add_handler(shop, effects="external", key=lambda p: (p.order_id,))
    shop = Shop(new_guard(storage, work=SqlAlchemyWork(sessionmaker(engine))))
    add = effects.insert()

    @shop.guard.command(COMMAND, effects="transactional", key=lambda p: (p.order_id,))  # type: ignore[untyped-decorator]
    def create_order(payload: Order) -> str:
        current().work.execute(add, {"id": payload.order_id, "amount": payload.quantity})
        shop.effects += 1
        return payload.order_id

    return shop
