"""Processes that race, connections that die, answers that are lost, the server's own clock."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData, event, exc
from sqlalchemy.orm import sessionmaker

from adapters.sqlalchemy.databases import PREFIX, Place, drop, place_for
from botguard import ALLOW_ALL, Actor, Context, Guard, Reason, Status, StoreUnavailable, current
from botguard.adapters.sqlalchemy import AsyncSqlAlchemyStorage, SqlAlchemyStorage, SqlAlchemyWork
from botguard.ports.idempotency import Ack, ClaimRequest, RowState
from botguard.testing import IdempotencyStoreSuite

ANN = Context(org="acme", actor=Actor("ann"), channel="web")
SYNC = ["psycopg", "pymysql", "pysqlite"]


class Ground:
    """A database with our tables, and a storage by the server's own clock."""

    def __init__(self, place: Place) -> None:
        self.place, self.metadata = place, MetaData()
        self.engine = place.engine()
        self.storage = SqlAlchemyStorage(self.engine, metadata=self.metadata, prefix=PREFIX, shared_limits=True)
        self.storage.create_tables()
        self.empty()

    def empty(self) -> None:
        with self.engine.begin() as connection:
            for table in self.metadata.sorted_tables:
                connection.execute(table.delete())

    def older(self, seconds: float) -> None:
        """Make the rows older: nobody can move a server's clock."""
        claims = self.metadata.tables[f"{PREFIX}claims"]
        by = round(seconds * 1e6)
        with self.engine.begin() as connection:
            connection.execute(
                claims.update().values(lease_until=claims.c.lease_until - by, expires_at=claims.c.expires_at - by)
            )

    def close(self) -> None:
        self.engine.dispose()
        drop(self.place, self.metadata)


@pytest.fixture(scope="module", params=SYNC)
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    with place_for(request.param) as place:
        made = Ground(place)
        yield made
        made.close()


def request(claim_id: str = "c1", key: str = "k", **changes: Any) -> ClaimRequest:
    made = ClaimRequest(key, "o", "c", claim_id, "p", b"f", "1", 30.0, takeover=True)
    return made._replace(**changes)


# -- the server's clock ---------------------------------------------------------------------


class TestClaimsByTheServersClock(IdempotencyStoreSuite):
    """The same suite without a clock of ours: leases and lifetimes are judged by the database alone."""

    capabilities = frozenset({"events"})
    drift = 2.0
    threads = 4
    examples = 10

    @pytest.fixture(autouse=True)
    def database(self, ground: Ground) -> None:
        self.ground = ground

    def make_store(self) -> Any:
        self.ground.empty()
        return self.ground.storage.idempotency

    def fresh_store(self, store: Any) -> Any:
        return self.make_store()

    def age(self, seconds: float) -> None:
        self.ground.older(seconds)

    def events_of(self, store: Any) -> Any:
        return self.ground.storage.events

    def close_store(self, store: Any) -> None:
        pass


def test_a_session_in_another_time_zone_changes_nothing() -> None:
    """A session's zone, daylight saving included, must not move a lease."""
    zones = {"psycopg": "SET TIME ZONE 'America/New_York'", "pymysql": "SET time_zone = '-05:00'"}
    for driver, statement in zones.items():
        with place_for(driver) as place:
            ground = Ground(place)
            moved = place.engine()

            @event.listens_for(moved, "connect")
            def connected(connection: Any, record: Any, statement: str = statement) -> None:
                cursor = connection.cursor()
                cursor.execute(statement)
                cursor.close()
                connection.commit()

            try:
                assert SqlAlchemyStorage(moved, prefix=PREFIX).idempotency.claim(request()).won
                row = ground.storage.idempotency.peek("k")
                assert row is not None
                assert 28.0 < row.lease_left <= 30.5
            finally:
                moved.dispose()
                ground.close()


# -- processes ------------------------------------------------------------------------------


def race(ground: Ground, processes: int, rounds: int) -> None:
    ground.empty()
    url = ground.engine.url.render_as_string(hide_password=False)
    child = str(Path(__file__).with_name("race_child.py"))
    done = subprocess.run(
        [sys.executable, child, url, PREFIX, str(processes), str(rounds)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, int]] = json.loads(done.stdout)
    winners = [sum(str(number) in won for won in answers) for number in range(rounds)]
    assert winners == [1] * rounds
    assert sum(bool(won) for won in answers) > 1, "vacuous: one process won everything"
    fences = [fence for won in answers for fence in won.values()]
    assert len(set(fences)) == rounds


def test_of_eight_processes_one_wins_each_key(ground: Ground) -> None:
    race(ground, 8, 100)


@pytest.mark.soak
def test_of_eight_processes_one_wins_each_key_two_thousand_times(ground: Ground) -> None:
    race(ground, 8, 2000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_talk_over_its_parents_connections(ground: Ground) -> None:
    ground.empty()
    store = ground.storage.idempotency
    assert store.claim(request("parent")).won
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if store.claim(request("child", key="other")).won else 1)
        except BaseException:
            os._exit(2)
    for turn in range(20):  # at the same time, on what would be the same socket
        assert store.claim(request(f"again-{turn}", key=f"p{turn}")).won
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# -- connections that die ---------------------------------------------------------------------


def kill_connections(ground: Ground, engine: sa.Engine) -> None:
    """End the server's side of every pooled connection of an engine that is idle."""
    with engine.connect() as connection:
        if ground.place.server == "postgresql":
            mine = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        else:
            mine = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
    with ground.engine.connect() as connection:
        if ground.place.server == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({mine})")
        else:
            connection.exec_driver_sql(f"KILL {mine}")
    time.sleep(0.05)


def test_a_pooled_connection_that_died_costs_one_call_at_most(ground: Ground) -> None:
    if ground.place.server == "sqlite":
        pytest.skip("no server to lose")
    ground.empty()
    engine = ground.place.engine(pool_size=1, max_overflow=0)
    try:
        store = SqlAlchemyStorage(engine, prefix=PREFIX).idempotency
        assert store.peek("k") is None
        kill_connections(ground, engine)
        try:
            answer = store.claim(request("c1"))
        except StoreUnavailable:
            answer = store.claim(request("c1"))
        assert answer.won
        assert store.finish("k", "c1", RowState.DONE, b"x", 60.0, 1) is Ack.APPLIED
    finally:
        engine.dispose()


def test_a_backend_that_dies_in_the_handler_leaves_nothing(ground: Ground) -> None:
    if ground.place.server == "sqlite":
        pytest.skip("no server to lose")
    ground.empty()
    engine = ground.place.engine()
    guard = Guard(
        storage=SqlAlchemyStorage(engine, prefix=PREFIX), access=ALLOW_ALL, work=SqlAlchemyWork(sessionmaker(engine))
    )
    deaths = [1]

    @guard.command("orders.create", effects="transactional", key="{id}")
    def create(payload: dict) -> str:  # type: ignore[type-arg]
        session = current().work
        session.execute(sa.text(f"UPDATE {PREFIX}claims SET org = 'touched'"))
        if deaths and deaths.pop():
            pid = "pg_backend_pid()" if ground.place.server == "postgresql" else "CONNECTION_ID()"
            mine = session.execute(sa.text(f"SELECT {pid}")).scalar()
            end = f"SELECT pg_terminate_backend({mine})" if ground.place.server == "postgresql" else f"KILL {mine}"
            with ground.engine.connect() as connection:
                connection.exec_driver_sql(end)
            time.sleep(0.05)
        return "done"

    try:
        outcome = guard.run("orders.create", {"id": "A-1"}, context=ANN)
        assert outcome.status is Status.FAILED
        assert isinstance(outcome.error, StoreUnavailable), outcome.error
        assert Reason.EFFECT_UNKNOWN not in outcome.reasons
        with ground.engine.connect() as connection:
            left = connection.exec_driver_sql(f"SELECT count(*) FROM {PREFIX}claims WHERE claim_id <> ''").scalar()
        assert left == 0, "the key is free again"
        assert guard.run("orders.create", {"id": "A-1"}, context=ANN).ok
    finally:
        engine.dispose()


class LosesAnswers:
    """Cuts a commit off: before the server hears of it, or after it has done it."""

    def __init__(self, engine: sa.Engine, *, after: bool, cut: bool = True) -> None:
        self.engine, self.after, self.cut, self.armed = engine, after, cut, False
        self._commit = engine.dialect.do_commit
        engine.dialect.do_commit = self  # type: ignore[method-assign]

    def __call__(self, connection: Any) -> None:
        if not self.armed:
            return self._commit(connection)
        self.armed = False
        if self.after:
            self._commit(connection)
        if self.cut:
            connection.dbapi_connection.close()
        raise self.engine.dialect.dbapi.OperationalError(2013, "cut off")  # type: ignore[union-attr]


@pytest.mark.parametrize(("after", "cut"), [(False, True), (True, True), (False, False)])
def test_an_answer_lost_around_commit_is_found_out_by_the_claim_id(ground: Ground, after: bool, cut: bool) -> None:
    """Also where COMMIT fails and the connection lives: its transaction must not go back to the pool still open."""
    ground.empty()
    engine = ground.place.engine()
    guard = Guard(
        storage=SqlAlchemyStorage(engine, prefix=PREFIX), access=ALLOW_ALL, work=SqlAlchemyWork(sessionmaker(engine))
    )
    loses = LosesAnswers(engine, after=after, cut=cut)

    @guard.command("orders.create", effects="transactional", key="{id}")
    def create(payload: dict) -> str:  # type: ignore[type-arg]
        current().work.execute(sa.text("SELECT 1"))
        loses.armed = True
        return "done"

    try:
        outcome = guard.run("orders.create", {"id": "A-1"}, context=ANN)
        assert outcome.ok is after, "what was committed is reported so, and what was not is not"
        again = guard.run("orders.create", {"id": "A-1"}, context=ANN)
        assert (again.ok or not after, again.replayed) == (True, after)
    finally:
        engine.dispose()


def test_a_lost_commit_says_maybe_and_a_lost_statement_says_no(ground: Ground) -> None:
    from botguard.ports.events import Event

    ground.empty()
    engine = ground.place.engine()
    store = SqlAlchemyStorage(engine, prefix=PREFIX).idempotency
    started = Event(
        id="e", kind="started", at=1.0, org="o", actor="a", person="p", channel="c", command="x", status="", reasons="",
        attempts=1, duration_ms=1.0, success=True, replayed=False, degraded=False, key="", shadow="", policy_digest="",
        correlation_id="",
    )  # fmt: skip
    loses = LosesAnswers(engine, after=True)
    try:
        loses.armed = True
        with pytest.raises(StoreUnavailable) as lost:
            store.claim(request("c1"), started)
        assert lost.value.maybe_applied
        assert store.claim(request("c1"), started).won, "the same claim id finds its own claim"

        @event.listens_for(engine, "before_cursor_execute")
        def broken(*arguments: Any) -> None:
            raise exc.OperationalError("x", None, ConnectionResetError("cut off"), connection_invalidated=True)

        with pytest.raises(StoreUnavailable) as refused:
            store.claim(request("c2", key="k2"), started)
        assert not refused.value.maybe_applied, "a transaction that never heard COMMIT is undone"
    finally:
        engine.dispose()


def test_a_server_that_is_not_there_is_unavailable() -> None:
    for driver in ("psycopg", "pymysql", "psycopg-async", "asyncpg", "aiomysql", "asyncmy"):
        with place_for(driver) as place:
            nowhere = place.url.set(host="127.0.0.1", port=1)
            gone = Place(driver, place.server, nowhere)
            if not place.is_async:
                store: Any = SqlAlchemyStorage(gone.engine()).idempotency
                with pytest.raises(StoreUnavailable) as refused:
                    store.claim(request())
            else:
                engine = gone.async_engine()
                store = AsyncSqlAlchemyStorage(engine).idempotency

                async def ask(store: Any = store, engine: Any = engine) -> None:
                    try:
                        await store.claim(request())
                    finally:
                        await engine.dispose()

                with pytest.raises(StoreUnavailable) as refused:
                    asyncio.run(ask())
            assert not refused.value.maybe_applied, driver


def test_a_pool_that_is_used_up_is_unavailable_and_says_what_helps(ground: Ground) -> None:
    engine = ground.place.engine(pool_size=1, max_overflow=0, pool_timeout=0.05)
    try:
        store = SqlAlchemyStorage(engine, prefix=PREFIX).idempotency
        with engine.connect(), pytest.raises(StoreUnavailable, match="larger pool") as refused:
            store.peek("absent")
        assert not refused.value.maybe_applied
        assert store.peek("absent") is None
    finally:
        engine.dispose()


def test_tables_that_are_not_there_are_told_with_the_fix(ground: Ground) -> None:
    storage = SqlAlchemyStorage(ground.engine, prefix=f"{PREFIX}nowhere_")
    with pytest.raises(StoreUnavailable, match="run the migration"):
        storage.idempotency.peek("k")
    guard = Guard(storage=storage, access=ALLOW_ALL)

    @guard.command("orders.create", key="{id}")
    def create(payload: dict) -> str:  # type: ignore[type-arg]
        raise AssertionError("it ran without a claim")

    assert guard.run("orders.create", {"id": "A"}, context=ANN).status is Status.UNAVAILABLE


def test_a_missing_greenlet_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch, ground: Ground) -> None:
    from botguard.adapters.sqlalchemy import extra

    monkeypatch.setitem(sys.modules, "greenlet", None)
    with pytest.raises(ImportError, match=r"needs greenlet.*botguard\[sqlalchemy\]"):
        extra.require_greenlet()
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ImportError, match=r"needs SQLAlchemy 2.0.43 or newer, which is not installed.*botguard\[sql"):
        extra.require_sqlalchemy()


# -- speed that does not fade -------------------------------------------------------------------


def test_claims_are_found_and_purged_by_index(ground: Ground) -> None:
    """What grows with the table must not be read: the plans of look-up and purge name an index."""
    ground.empty()
    claims = ground.metadata.tables[f"{PREFIX}claims"]
    # What a claim of ours wrote, many times over: the planner prefers to read small tables from end to end.
    ground.storage.idempotency.claim(request())
    ground.storage.idempotency.finish("k", "c1", RowState.DONE, b"x", 1e6, 1)
    with ground.engine.begin() as connection:
        one = connection.execute(sa.select(claims)).mappings().one()
        rows = [
            {**one, "seq": one["seq"] + n, "key": f"k{n}".encode() if _is_bytes(one) else f"k{n}"}
            for n in range(1, 3000)
        ]
        connection.execute(claims.insert(), rows)
        if ground.place.server == "postgresql":
            connection.exec_driver_sql(f"ANALYZE {claims.name}")
    found = "EXPLAIN QUERY PLAN" if ground.place.server == "sqlite" else "EXPLAIN"
    looks = (
        f"SELECT * FROM {claims.name} WHERE {_quoted(ground)} = 'k7'",
        f"SELECT seq FROM {claims.name} WHERE expires_at <= 5",
    )
    with ground.engine.connect() as connection:
        for look in looks:
            plan = str([tuple(row) for row in connection.exec_driver_sql(f"{found} {look}")])
            assert f"uq_{PREFIX}claims_key" in plan or "expires_at" in plan or "autoindex" in plan, plan


def _is_bytes(row: Any) -> bool:
    return isinstance(row["key"], bytes)


def _quoted(ground: Ground) -> str:
    return "`key`" if ground.place.server == "mariadb" else '"key"'
