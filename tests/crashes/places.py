"""The databases on which processes die: how a process opens one, and what can be done to it from outside."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import URL, Engine, event, exc, make_url, text

from adapters.sqlalchemy.databases import Place as Database
from adapters.sqlalchemy.databases import place_for
from botguard.adapters.sqlalchemy import SqlAlchemyStorage
from botguard.adapters.sqlite import SqliteStorage

Tell = Callable[..., None]

#: What a bot's commands are, by the store: each is a kind of effects, sync or on an event loop.
SYNC_KINDS = ("transactional", "idempotent", "external", "reconciled")
KINDS = {
    "sqlite": (*SYNC_KINDS, "idempotent_async", "external_async"),
    "sqlalchemy": (*SYNC_KINDS, "transactional_async", "external_async"),
}
#: The driver of async commands, by server; in a SQLite file SQLAlchemy's commands are sync ones only.
_ASYNC = {"postgresql": "asyncpg", "mariadb": "aiomysql"}


class Where(NamedTuple):
    """A database of one test, as other processes are told of it.

    Args:
        store: ``sqlite`` (our own adapter) or ``sqlalchemy``.
        server: ``sqlite``, ``postgresql`` or ``mariadb``.
        url: a file, or SQLAlchemy's URL.
        prefix: of the names of all tables.
        folder: for files of the test: the world outside, the spool.
        port: of a proxy before the server; 0: none.
    """

    store: str
    server: str
    url: str
    prefix: str
    folder: str
    port: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        return SYNC_KINDS if self.store == "sqlalchemy" and self.server == "sqlite" else KINDS[self.store]

    def database(self, driver: str = "") -> Database:
        url = make_url(self.url)
        if self.port:
            url = url.set(host="127.0.0.1", port=self.port)
        if driver:
            url = url.set(drivername=url.get_backend_name() + "+" + driver)
        return Database(driver, self.server, url)

    def open(self, tell: Tell = lambda *_: None, clock: Any = None) -> Any:
        """The storage, as a host opens it; ``tell("backend", id)`` is called for each connection to a server."""
        if self.store == "sqlite":
            return SqliteStorage(self.url, synchronous="NORMAL", clock=clock)
        ours = {"application_name": self.prefix} if self.server == "postgresql" else {}
        engine = self.database().engine(pool_size=4, connect_args=ours)
        _announce(engine, tell)
        together = None
        if self.server in _ASYNC:
            ours = {"server_settings": ours} if ours else {}
            together = self.database(_ASYNC[self.server]).async_engine(pool_size=4, connect_args=ours)
            _announce(together.sync_engine, tell)
        return SqlAlchemyStorage(engine, prefix=self.prefix, async_database=together, clock=clock)

    @property
    def insert(self) -> Any:
        """The statement of an effect inside the unit of work."""
        into = f"INSERT INTO {self.prefix}effects VALUES "
        return into + "(?, ?)" if self.store == "sqlite" else text(into + "(:name, :run)")

    def effect(self, order: str, run: str) -> Any:
        """Its parameters."""
        return (order, run) if self.store == "sqlite" else {"name": order, "run": run}


def _announce(engine: Engine, tell: Tell) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        driver = getattr(connection, "driver_connection", connection)
        for ask in ("get_server_pid", "thread_id"):
            if hasattr(driver, ask):
                tell("backend", getattr(driver, ask)())
                return
        if hasattr(driver, "info"):
            tell("backend", driver.info.backend_pid)


# ── from outside ─────────────────────────────────────────────────────────────────────────────────────────────────


class Outside:
    """Makes the tables, looks into them, and ends connections on the server, by connections of its own."""

    def __init__(self, where: Where) -> None:
        self.where = where
        if where.store == "sqlite":
            SqliteStorage(where.url, synchronous="NORMAL").close()
            self._engine = None
        else:
            self._engine = where.database().engine(pool_size=4)
            storage = SqlAlchemyStorage(self._engine, prefix=where.prefix)
            storage.create_tables()
            self._tables = list(storage.metadata.tables)
        self._do(f"CREATE TABLE {where.prefix}effects (name VARCHAR(80), run VARCHAR(80))")

    def _do(self, statement: str, **parameters: Any) -> list[Any]:
        if self._engine is None:
            with contextlib.closing(sqlite3.connect(self.where.url, timeout=30)) as connection, connection:
                return connection.execute(statement, parameters).fetchall()
        with self._engine.begin() as connection:
            found = connection.execute(text(statement), parameters)
            return list(found.all()) if found.returns_rows else []

    def effects(self) -> dict[str, list[str]]:
        """The runs that each order's transaction has left."""
        runs: dict[str, list[str]] = {}
        for order, run in self._do(f"SELECT name, run FROM {self.where.prefix}effects"):
            runs.setdefault(order, []).append(run)
        return runs

    def terminate(self, backend: int) -> None:
        """End a connection on the server's side, whatever it does at the moment."""
        if self.where.server == "postgresql":
            ours = "pid = :backend AND application_name = :ours"
            self._do(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}",
                backend=backend,
                ours=self.where.prefix,
            )
            return
        with contextlib.suppress(exc.DBAPIError):  # it has ended by itself
            self._do(f"KILL CONNECTION {int(backend)}")

    def close(self) -> None:
        if self._engine is not None:
            for table in (*self._tables, f"{self.where.prefix}effects"):
                self._do(f"DROP TABLE IF EXISTS {table}")
            self._engine.dispose()


class World:
    """What lies outside of every transaction: a file of lines, each written by one system call.

    A process that is killed has written a line or not; nothing between.
    """

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / "world"
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def happen(self, order: str, run: str, key: str) -> None:
        os.write(self._file, f"{order} {run} {key}\n".encode())

    def read(self) -> list[list[str]]:
        return [line.split() for line in self._path.read_text().splitlines()]

    def effects(self) -> dict[str, list[str]]:
        """The runs of each order that had their effect."""
        runs: dict[str, list[str]] = {}
        for order, run, _ in self.read():
            runs.setdefault(order, []).append(run)
        return runs

    def run_of(self, key: str) -> str | None:
        """The run that had its effect under a key, as an outside system answers that was given it."""
        return next((run for _, run, known in self.read() if known == key), None)

    def close(self) -> None:
        os.close(self._file)


_numbers = iter(range(1_000_000))


@contextlib.contextmanager
def a_place(name: str, folder: Path) -> Iterator[Where]:
    """A fresh database for one run: ``sqlite``, ``sqlite-sqlalchemy``, ``postgresql`` or ``mariadb``."""
    if name == "sqlite":
        yield Where("sqlite", "sqlite", str(folder / "bot.db"), "", str(folder))
        return
    if name == "sqlite-sqlalchemy":
        url = URL.create("sqlite+pysqlite", database=str(folder / "bot.db"))
        yield Where("sqlalchemy", "sqlite", url.render_as_string(), "crash_", str(folder))
        return
    prefix = f"crash{os.getpid()}_{next(_numbers)}_"
    with place_for({"postgresql": "psycopg", "mariadb": "pymysql"}[name]) as database:
        url = database.url.render_as_string(hide_password=False)
        yield Where("sqlalchemy", name, url, prefix, str(folder))
