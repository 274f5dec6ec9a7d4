"""Units of work and the host's own transactions, sync and async: effect, claim, completion and event are one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, UniqueConstraint, create_engine, event, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import sessionmaker

from adapters.sqlalchemy.databases import PREFIX, Place, drop, place_for
from botguard import ALLOW_ALL, Actor, ConfigurationError, Context, Guard, Outcome, Status, current
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlalchemy import AsyncSqlAlchemyStorage, SqlAlchemyStorage, SqlAlchemyWork, prepare

ANN = Context(org="acme", actor=Actor("ann"), channel="web")
DRIVERS = ["psycopg", "pymysql", "pysqlite", "psycopg-async", "asyncpg", "aiomysql", "aiosqlite"]


class Shop:
    """A host with one table, a guard on its database, and one way to do things for both colours."""

    def __init__(self, place: Place) -> None:
        self.place, self.metadata = place, MetaData()
        self.is_async = place.is_async
        self.orders = Table(
            f"{PREFIX}orders",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("name", String(50), nullable=False),
            UniqueConstraint("name", name=f"uq_{PREFIX}orders"),
            mysql_engine="InnoDB",
        )
        self.around = place.engine()
        self.commits = 0
        sync: Any = SqlAlchemyStorage(self.around, metadata=self.metadata, prefix=PREFIX)
        self.rows: Any = sync
        self.metadata.create_all(self.around)
        self.engine: Any = place.async_engine() if self.is_async else place.engine()
        target = self.engine.sync_engine if self.is_async else self.engine
        event.listen(target, "commit", self._committed)
        kind: Any = AsyncSqlAlchemyStorage if self.is_async else SqlAlchemyStorage
        self.storage = kind(self.engine, metadata=self.metadata, prefix=PREFIX)
        self.maker: Any = (async_sessionmaker if self.is_async else sessionmaker)(self.engine, expire_on_commit=False)
        self.loop = asyncio.new_event_loop()
        self.guard = Guard(storage=self.storage, access=ALLOW_ALL, work=SqlAlchemyWork(self.maker))
        self.ran = 0

    def _committed(self, connection: Any) -> None:
        self.commits += 1

    def wait(self, answer: Any) -> Any:
        return self.loop.run_until_complete(answer) if hasattr(answer, "__await__") else answer

    def command(self, name: str, body: Callable[[Any, dict[str, Any]], Any] | None = None, **options: Any) -> None:
        """A transactional command that books an order, and then does what ``body`` says with the sync session."""
        shop = self

        def book(session: Any, payload: dict[str, Any]) -> str:
            shop.ran += 1
            session.execute(insert(shop.orders).values(name=payload["id"]))
            if body is not None:
                body(session, payload)
            return f"booked {payload['id']}"

        def sync(payload: dict) -> str:  # type: ignore[type-arg]
            return book(current().work, payload)

        async def asynchronous(payload: dict) -> str:  # type: ignore[type-arg]
            return await current().work.run_sync(book, payload)

        handler: Any = asynchronous if self.is_async else sync
        self.guard.command(name, effects="transactional", key="{id}", **options)(handler)

    def run(self, name: str, order: str, session: Any = None) -> Outcome:
        call = self.guard.run_async if self.is_async else self.guard.run
        return self.wait(call(name, {"id": order}, context=ANN, session=session))  # type: ignore[no-any-return]

    def names(self) -> list[str]:
        with self.around.connect() as connection:
            return list(connection.execute(select(self.orders.c.name).order_by(self.orders.c.id)).scalars())

    def events(self) -> list[tuple[str, str]]:
        return [(e.command, e.status) for e in self.rows.events.tail()]

    def close(self) -> None:
        self.wait(self.engine.dispose())
        self.loop.close()
        self.around.dispose()
        drop(self.place, self.metadata)


@pytest.fixture(params=DRIVERS)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with place_for(request.param) as place:
        made = Shop(place)
        yield made
        made.close()


def test_effect_completion_and_event_are_one_commit_after_the_claim(shop: Shop) -> None:
    shop.command("orders.create")
    assert shop.run("orders.create", "A-1").value == "booked A-1"
    # PostgreSQL's claim is one statement that commits by itself: the engine sees no commit for it.
    assert shop.commits <= 2
    again = shop.run("orders.create", "A-1")
    assert (again.value, again.replayed) == ("booked A-1", True)
    assert (shop.names(), shop.ran) == (["A-1"], 1)
    assert shop.events() == [("orders.create", "succeeded"), ("orders.create", "succeeded")]


def test_a_handler_that_raises_leaves_nothing_and_may_run_again(shop: Shop) -> None:
    trouble = [ValueError("no")]

    def body(session: Any, payload: Any) -> None:
        if trouble:
            raise trouble.pop()

    shop.command("orders.create", body)
    failed = shop.run("orders.create", "A-1")
    assert (failed.status, type(failed.error)) == (Status.FAILED, ValueError)
    assert shop.names() == []
    assert shop.run("orders.create", "A-1").ok
    assert shop.names() == ["A-1"]


def test_an_error_of_the_flush_is_the_handlers_error(shop: Shop) -> None:
    """What the session still had to write is written by the guard; a constraint that refuses it is no store that is down."""
    with shop.around.begin() as connection:
        connection.execute(insert(shop.orders).values(id=7, name="taken"))

    def body(session: Any, payload: Any) -> None:
        session.add(_order(shop, "taken"))

    shop.command("orders.create", body)
    outcome = shop.run("orders.create", "A-1")
    assert (outcome.status, type(outcome.error).__name__) == (Status.FAILED, "IntegrityError")
    assert shop.names() == ["taken"]
    assert shop.rows.idempotency.peek is not None
    with shop.around.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {PREFIX}claims WHERE claim_id <> ''").scalar() == 0, (
            "the key is free"
        )


def _order(shop: Shop, name: str) -> Any:
    from sqlalchemy.orm import registry

    class Order:
        def __init__(self, name: str) -> None:
            self.name = name

    registry().map_imperatively(Order, shop.orders)
    return Order(name)


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_a_handler_that_ends_the_transaction_is_refused(shop: Shop, end: str) -> None:
    shop.command("orders.create", lambda session, _: getattr(session, end)())
    try:
        outcome = shop.run("orders.create", "A-1")
    except ConfigurationError as error:
        refused: Any = error
    else:
        refused = outcome.error
    assert refused.code == "BG142"
    assert shop.names() == [], "a commit of the handler's own is stopped before it reaches the database"


def test_savepoints_of_the_handlers_own_are_fine(shop: Shop) -> None:
    def body(session: Any, payload: Any) -> None:
        with session.begin_nested():
            session.execute(insert(shop.orders).values(name="kept"))
        inner = session.begin_nested()
        session.execute(insert(shop.orders).values(name="undone"))
        inner.rollback()

    shop.command("orders.create", body)
    assert shop.run("orders.create", "A-1").ok
    assert shop.names() == ["A-1", "kept"]


def _session(shop: Shop) -> Any:
    return shop.maker()


def _begun(shop: Shop, session: Any, name: str) -> None:
    shop.wait(session.execute(insert(shop.orders).values(name=name)))


def test_joining_the_hosts_session_commits_with_it(shop: Shop) -> None:
    shop.command("orders.create")
    session = _session(shop)
    _begun(shop, session, "host")
    assert shop.run("orders.create", "A-1", session).ok
    assert shop.names() == [], "nothing is committed before the host does"
    shop.wait(session.commit())
    shop.wait(session.close())
    assert shop.names() == ["host", "A-1"]
    assert shop.run("orders.create", "A-1").replayed
    assert shop.ran == 1


def test_a_rollback_of_the_hosts_cancels_the_outcome(shop: Shop) -> None:
    shop.command("orders.create")
    session = _session(shop)
    _begun(shop, session, "host")
    assert shop.run("orders.create", "A-1", session).ok
    shop.wait(session.rollback())
    shop.wait(session.close())
    assert (shop.names(), shop.events()) == ([], [])
    second = shop.run("orders.create", "A-1")
    assert (second.ok, second.replayed, shop.ran) == (True, False, 2)


def test_a_failure_inside_the_hosts_transaction_undoes_only_the_attempt(shop: Shop) -> None:
    def body(session: Any, payload: Any) -> None:
        raise ValueError("no")

    shop.command("orders.create", body)
    session = _session(shop)
    _begun(shop, session, "host")
    assert shop.run("orders.create", "A-1", session).status is Status.FAILED
    shop.wait(session.commit())
    shop.wait(session.close())
    assert shop.names() == ["host"]
    assert ("orders.create", "failed") in shop.events()


def test_a_denial_inside_the_hosts_transaction_survives_its_rollback(shop: Shop) -> None:
    if shop.place.server == "sqlite":
        pytest.skip("SQLite has one writer: what is written inside is undone with the rest")
    shop.guard = Guard(storage=shop.storage, access={"sales": {"other"}}, work=SqlAlchemyWork(shop.maker))
    shop.command("orders.create")
    session = _session(shop)
    _begun(shop, session, "host")
    assert shop.run("orders.create", "A-1", session).status is Status.DENIED
    shop.wait(session.rollback())
    shop.wait(session.close())
    assert shop.events() == [("orders.create", "denied")]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_handler_must_not_end_the_hosts_transaction(shop: Shop, end: str) -> None:
    shop.command("orders.create", lambda session, _: getattr(session, end)())
    session = _session(shop)
    _begun(shop, session, "host")
    try:
        refused: Any = shop.run("orders.create", "A-1", session).error
    except ConfigurationError as error:
        refused = error
    assert refused.code == "BG142"
    shop.wait(session.rollback())
    shop.wait(session.close())
    assert shop.names() == []


def test_a_connection_can_be_joined_too(shop: Shop) -> None:
    shop.guard = Guard(storage=shop.storage, access=ALLOW_ALL)  # no work=: handlers get a Connection
    shop.command("orders.create")
    assert shop.run("orders.create", "A-0").ok

    async def asynchronous() -> None:
        async with shop.engine.connect() as connection:
            assert (await shop.guard.run_async("orders.create", {"id": "A-1"}, context=ANN, session=connection)).ok
            assert shop.names() == ["A-0"]
            await connection.commit()

    if shop.is_async:
        shop.wait(asynchronous())
    else:
        with shop.engine.connect() as connection:
            assert shop.run("orders.create", "A-1", connection).ok
            assert shop.names() == ["A-0"]
            connection.commit()
    assert shop.names() == ["A-0", "A-1"]


def test_a_handler_with_a_connection_must_not_commit_it(shop: Shop) -> None:
    shop.guard = Guard(storage=shop.storage, access=ALLOW_ALL)
    shop.command("orders.create", lambda connection, _: connection.commit())
    try:
        refused: Any = shop.run("orders.create", "A-0").error
    except ConfigurationError as error:
        refused = error
    assert refused.code == "BG142"
    assert shop.names() == []


def test_of_two_in_the_hosts_transactions_one_wins(shop: Shop) -> None:
    """A claim inside an open transaction is nobody else's to take before that ends."""
    if shop.place.server == "sqlite":
        pytest.skip("SQLite has one writer: the second transaction cannot begin")
    shop.command("orders.create")
    session = _session(shop)
    assert shop.run("orders.create", "A-1", session).ok

    import threading

    answers: list[Outcome] = []
    other = Guard(storage=shop.rows, access=ALLOW_ALL)

    @other.command("orders.create", effects="transactional", key="{id}")
    def book(payload: dict) -> str:  # type: ignore[type-arg]
        raise AssertionError("it ran twice")

    waiting = threading.Thread(
        target=lambda: answers.append(other.run("orders.create", {"id": "A-1"}, context=ANN)), daemon=True
    )
    waiting.start()
    waiting.join(0.2)
    assert answers == [], "it waits for the open transaction"
    shop.wait(session.commit())
    shop.wait(session.close())
    waiting.join(10.0)
    assert answers[0].replayed


# -- wiring ---------------------------------------------------------------------------------


def test_sessions_of_another_database_are_refused(tmp_path: Any) -> None:
    one, other = (create_engine(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "other"))
    storage = SqlAlchemyStorage(one)
    with pytest.raises(ConfigurationError, match="BG141"):
        Guard(storage=storage, access=ALLOW_ALL, work=SqlAlchemyWork(sessionmaker(other)))
    with pytest.raises(ConfigurationError, match="BG141"):
        Guard(storage=MemoryStorage(), access=ALLOW_ALL, work=SqlAlchemyWork(sessionmaker(one)))
    with pytest.raises(ConfigurationError, match="BG141"):
        storage.joined(sessionmaker(other)())
    with pytest.raises(ConfigurationError, match="BG141"):
        storage.joined(object())


def test_an_engine_of_sqlite_without_real_transactions_is_refused(tmp_path: Any) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/legacy.db")
    storage = SqlAlchemyStorage(engine)
    storage.create_tables()
    guard = Guard(storage=storage, access=ALLOW_ALL, work=SqlAlchemyWork(sessionmaker(engine)))

    @guard.command("orders.create", effects="transactional", key="{id}")
    def book(payload: dict) -> str:  # type: ignore[type-arg]
        return "booked"

    with pytest.raises(ConfigurationError, match=r"BG149.*prepare\(engine\)"):
        guard.run("orders.create", {"id": "A-1"}, context=ANN)
    with sessionmaker(engine)() as session, pytest.raises(ConfigurationError, match="BG149"):
        guard.run("orders.create", {"id": "A-2"}, context=ANN, session=session)
    prepare(engine)
    engine.dispose()
    assert guard.run("orders.create", {"id": "A-1"}, context=ANN).ok


def test_an_engine_that_commits_by_itself_is_refused() -> None:
    with place_for("psycopg") as place:
        engine = place.engine(isolation_level="AUTOCOMMIT")
        try:
            storage = SqlAlchemyStorage(engine)
            with pytest.raises(ConfigurationError, match="BG149"):
                storage.work.begin()
        finally:
            engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    from sqlalchemy.pool import StaticPool

    with pytest.raises(ConfigurationError, match="BG148"):
        SqlAlchemyStorage(create_engine(url, poolclass=StaticPool))


def test_what_is_no_database_is_refused() -> None:
    for wrong in (None, "postgresql://", object(), MetaData()):
        with pytest.raises(ConfigurationError, match="BG148"):
            SqlAlchemyStorage(wrong)
    with pytest.raises(ConfigurationError, match="BG148"):
        AsyncSqlAlchemyStorage(create_engine("sqlite:///x.db"))


def test_one_guard_serves_both_colours(tmp_path: Any) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_engine(f"sqlite:///{tmp_path}/both.db")
    twin: AsyncEngine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/both.db")
    prepare(engine)
    prepare(twin)
    storage = SqlAlchemyStorage(engine, async_database=twin)
    storage.create_tables()
    guard = Guard(
        storage=storage, access=ALLOW_ALL, work=SqlAlchemyWork(sessionmaker(engine), async_sessionmaker(twin))
    )

    @guard.command("orders.create", effects="transactional", key="{id}")
    def book(payload: dict) -> str:  # type: ignore[type-arg]
        return type(current().work).__name__

    @guard.command("orders.send", effects="transactional", key="{id}")
    async def send(payload: dict) -> str:  # type: ignore[type-arg]
        return type(current().work).__name__

    async def both() -> Outcome:
        try:
            return await guard.run_async("orders.send", {"id": "A-1"}, context=ANN)
        finally:
            await twin.dispose()

    assert guard.run("orders.create", {"id": "A-1"}, context=ANN).value == "Session"
    assert asyncio.run(both()).value == "AsyncSession"
    engine.dispose()
