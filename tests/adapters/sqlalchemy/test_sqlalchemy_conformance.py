"""Every store, on every database and driver, sync and async, against the suite of its port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import MetaData

from adapters.sqlalchemy.databases import ASYNC, PREFIX, SYNC, Place, drop, place_for
from botguard.adapters.sqlalchemy import AsyncSqlAlchemyStorage, SqlAlchemyStorage
from botguard.testing import ApprovalStoreSuite, EventStoreSuite, FakeClock, IdempotencyStoreSuite, LimitStoreSuite

#: Where a database has two async drivers, the second shows the claims only, unless there is time (`make soak`).
SECOND = ("psycopg-async", "asyncmy")


class Kept:
    """Two engines and a storage on each, kept while all suites of one driver run: tests only empty the tables."""

    def __init__(self, place: Place) -> None:
        self.place, self.metadata, self.clock = place, MetaData(), FakeClock()
        self.around = place.engine()
        SqlAlchemyStorage(self.around, metadata=self.metadata, prefix=PREFIX).create_tables()
        self.engines: list[Any] = [place.async_engine() if place.is_async else place.engine() for _ in range(2)]
        kind: Any = AsyncSqlAlchemyStorage if place.is_async else SqlAlchemyStorage
        self.storages = [kind(engine, clock=self.clock, shared_limits=True, prefix=PREFIX) for engine in self.engines]

    def empty(self) -> None:
        with self.around.begin() as connection:
            for table in self.metadata.sorted_tables:
                connection.execute(table.delete())

    def close(self) -> None:
        self.around.dispose()
        for engine in self.engines:
            if not self.place.is_async:
                engine.dispose()
        drop(self.place, self.metadata)


class OnSqlAlchemy:
    """Picks one port of the storages; ``reopen`` gives that of the second one, which has connections of its own."""

    port = ""
    threads = 8
    examples = 10
    left_to_soak: tuple[str, ...] = SECOND
    kept: Kept

    @pytest.fixture(autouse=True)
    def database(self, kept: Kept) -> None:
        if kept.place.driver in self.left_to_soak:
            pytest.skip("the same statements by another driver of the database; the claims show what it does with them")
        self.kept = kept

    def make_store(self) -> Any:
        self.kept.empty()
        return getattr(self.kept.storages[0], self.port)

    def fresh_store(self, store: Any) -> Any:
        self.kept.empty()
        return store

    def reopen(self, store: Any) -> Any:
        return getattr(self.kept.storages[1], self.port)

    def advance(self, seconds: float) -> None:
        self.kept.clock.advance(seconds)

    def events_of(self, store: Any) -> Any:
        return self.kept.storages[0].events

    async def _let_go(self) -> None:
        for engine in self.kept.engines:
            await engine.dispose()

    def close_store(self, store: Any) -> Any:
        # Connections of an async driver belong to the loop of one test.
        first = store is getattr(self.kept.storages[0], self.port)
        return self._let_go() if first and self.kept.place.is_async else None


@pytest.fixture(scope="module", params=[*SYNC, *ASYNC])
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    with place_for(request.param) as place:
        made = Kept(place)
        yield made
        made.close()


class TestClaims(OnSqlAlchemy, IdempotencyStoreSuite):
    port = "idempotency"
    left_to_soak = ()
    capabilities = frozenset({"events", "reopen"})


class TestEvents(OnSqlAlchemy, EventStoreSuite):
    port = "events"
    capabilities = frozenset({"reopen"})


class TestApprovals(OnSqlAlchemy, ApprovalStoreSuite):
    port = "approvals"
    capabilities = frozenset({"reopen"})


class TestLimits(OnSqlAlchemy, LimitStoreSuite):
    port = "limits"
    capabilities = frozenset({"reopen"})
    left_to_soak = (*SECOND, "aiomysql")  # thousands of commits, each of which waits for MariaDB's disk
    #: Where the longest of its races is run; the others are run everywhere.
    races: tuple[str, ...] = ("psycopg", "pysqlite")

    def test_rate_05_many_at_once_are_admitted_as_declared(self) -> None:
        if self.kept.place.driver not in self.races:
            pytest.skip("thousands of commits: `make soak`")
        super().test_rate_05_many_at_once_are_admitted_as_declared()


@pytest.mark.soak
class TestEventsByEveryDriver(TestEvents):
    left_to_soak = ()
    examples = 100


@pytest.mark.soak
class TestApprovalsByEveryDriver(TestApprovals):
    left_to_soak = ()
    examples = 100


@pytest.mark.soak
class TestLimitsByEveryDriver(TestLimits):
    left_to_soak = ()
    races = (*SYNC, *ASYNC)
    examples = 100
