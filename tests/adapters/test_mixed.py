"""MixedStorage: claims and limits in Redis, the rest in SQLite; what commits together is declared and held."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.redis.servers import shared, wipe
from adapters.test_sqlite_kit import Child
from botguard import (
    Actor,
    ConfigurationError,
    Context,
    Guard,
    Happened,
    Outcome,
    Reason,
    Status,
)
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.mixed import MixedStorage
from botguard.adapters.redis import RedisClaims, RedisLimits, RedisServer
from botguard.adapters.sqlite import SqliteStorage

ANN = Context(org="acme", actor=Actor("ann", roles=("sales",)))
ROLES = {"sales": {"*"}}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    made = shared()
    yield made
    wipe(made)
    made.close()


@pytest.fixture
def storage(server: RedisServer, tmp_path: Path) -> Iterator[MixedStorage]:
    made = MixedStorage(
        SqliteStorage(str(tmp_path / "bot.db")), idempotency=RedisClaims(server), limits=RedisLimits(server)
    )
    yield made
    made.close()


def kinds(storage: Any) -> list[tuple[str, str]]:
    return [(event.kind, event.status) for event in storage.events.tail(100)]


def test_one_effect_one_event_for_each_call_and_limits_for_all_processes(storage: MixedStorage) -> None:
    effects: list[str] = []

    def one_process() -> Guard:
        guard = Guard(storage=storage, access=ROLES)

        @guard.command("orders.create", key="{order_id}", limits=["2/hour per user"])
        def create(order: dict[str, str]) -> str:
            effects.append(order["order_id"])
            return order["order_id"]

        return guard

    first, second = one_process(), one_process()
    said = [
        (first if n % 2 else second).run("orders.create", {"order_id": key}, context=ANN).status
        for n, key in enumerate(("A", "A", "B", "C"))
    ]
    assert effects == ["A", "B"]
    assert said == [Status.SUCCEEDED, Status.SUCCEEDED, Status.SUCCEEDED, Status.THROTTLED]
    assert kinds(storage) == [("run", "succeeded")] * 3 + [("run", "throttled")]


def test_async_handlers_are_served_by_the_same_rows(server: RedisServer, storage: MixedStorage) -> None:
    effects: list[str] = []
    guard = Guard(storage=storage, access=ROLES)

    @guard.command("orders.create", key="{order_id}")
    async def create(order: dict[str, str]) -> str:
        await asyncio.sleep(0)
        effects.append(order["order_id"])
        return order["order_id"]

    async def twins() -> list[Outcome]:
        calls = [guard.run_async("orders.create", {"order_id": "A"}, context=ANN) for _ in range(5)]
        outcomes = await asyncio.gather(*calls)
        last = await guard.run_async("orders.create", {"order_id": "A"}, context=ANN)
        await server.close_async()
        return [*outcomes, last]

    outcomes = asyncio.run(twins())
    assert effects == ["A"]
    assert outcomes[-1].replayed
    assert {outcome.status for outcome in outcomes} <= {Status.SUCCEEDED, Status.IN_FLIGHT}


def test_transactional_commands_are_refused_at_wiring(storage: MixedStorage) -> None:
    guard = Guard(storage=storage, access=ROLES)
    with pytest.raises(ConfigurationError, match="BG160"):

        @guard.command("orders.create", key="{order_id}", effects="transactional")
        def create(order: dict[str, str]) -> str:
            return order["order_id"]


def test_limits_elsewhere_leave_the_unit_of_work(server: RedisServer, tmp_path: Path) -> None:
    base = SqliteStorage(str(tmp_path / "bot.db"))
    storage = MixedStorage(base, limits=RedisLimits(server))
    assert storage.atomic == base.atomic
    guard = Guard(storage=storage, access=ROLES)

    @guard.command("orders.create", key="{order_id}", effects="transactional", limits=["1/hour per user"])
    def create(order: dict[str, str]) -> str:
        return order["order_id"]

    assert guard.run("orders.create", {"order_id": "A"}, context=ANN).ok
    assert guard.run("orders.create", {"order_id": "B"}, context=ANN).status is Status.THROTTLED
    storage.close()


def test_a_reconciled_effect_is_an_event_though_no_commit_holds_both(storage: MixedStorage) -> None:
    guard = Guard(storage=storage, access=ROLES)

    @guard.command("orders.create", key="{order_id}", reconcile=lambda key: Happened("booked"))
    def create(order: dict[str, str]) -> str:
        raise TimeoutError

    first = guard.run("orders.create", {"order_id": "A"}, context=ANN)
    assert Reason.EFFECT_UNKNOWN in first.reasons
    assert guard.run("orders.create", {"order_id": "A"}, context=ANN).value == "booked"
    assert [kind for kind, _ in kinds(storage)] == ["run", "reconciled", "run"]


def test_a_dead_redis_is_the_table_of_outages(tmp_path: Path) -> None:
    nowhere = RedisServer("redis://127.0.0.1:1/0", timeout=0.2)
    storage = MixedStorage(
        SqliteStorage(str(tmp_path / "bot.db")), idempotency=RedisClaims(nowhere), limits=RedisLimits(nowhere)
    )
    guard = Guard(storage=storage, access=ROLES)

    @guard.command("orders.create", key="{order_id}", effects="external", limits=["1/hour per user"])
    def create(order: dict[str, str]) -> str:
        return order["order_id"]

    @guard.command("orders.note", key="{order_id}", effects="idempotent")
    def note(order: dict[str, str]) -> str:
        return order["order_id"]

    refused = guard.run("orders.create", {"order_id": "A"}, context=ANN)
    assert refused.status is Status.UNAVAILABLE
    assert Reason.LOCAL_LIMITS in refused.reasons
    passed = guard.run("orders.note", {"order_id": "A"}, context=ANN)
    assert passed.ok
    assert passed.degraded
    assert Reason.CLAIM_SKIPPED in passed.reasons
    storage.close()


def test_many_processes_one_key_one_winner(server: RedisServer) -> None:
    rounds, processes = 50, 4
    url, prefix = server._url, server.prefix[1:-2]

    def race(number: int) -> list[bool]:
        from botguard.ports.idempotency import ClaimRequest

        claims: Any = RedisClaims(RedisServer(url, prefix=prefix))
        return [
            claims.claim(ClaimRequest(f"k{n}", "o", "c", f"c{number}", "p", b"f", "1", 60.0, True)).won
            for n in range(rounds)
        ]

    children = [Child(lambda number=number: race(number)) for number in range(processes)]
    wins = [child.value() for child in children]
    assert [sum(of_round) for of_round in zip(*wins, strict=True)] == [1] * rounds


def test_colours_do_not_mix(server: RedisServer, tmp_path: Path) -> None:
    base = SqliteStorage(str(tmp_path / "bot.db"))
    with pytest.raises(ConfigurationError, match="BG215"):
        MixedStorage(base, limits=RedisLimits(server, colour="async"))
    assert MixedStorage(MemoryStorage(), limits=RedisLimits(server)).colour == "sync"
    base.close()


def test_a_rollback_could_not_reach_claims_elsewhere(storage: MixedStorage) -> None:
    with pytest.raises(ConfigurationError, match="BG214"):
        storage.joined(object())
