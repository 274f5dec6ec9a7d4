"""The real databases that these tests run on, each run in tables of its own."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import URL, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from botguard.adapters.sqlalchemy import prepare
from servers import address_of, require_server

#: Tables of this run: two runs at the same time do not meet.
PREFIX = f"bg{os.getpid()}_"

#: (server or None, its URL without address, the variable that overrides all of it)
_URLS = {
    "postgresql": ("postgresql+psycopg://postgres@{host}:{port}/test", "BOTGUARD_TEST_POSTGRESQL_URL"),
    "mariadb": ("mysql+pymysql://root@{host}:{port}/test", "BOTGUARD_TEST_MARIADB_URL"),
}
DRIVERS = {
    "psycopg": ("postgresql", "postgresql+psycopg"),
    "pymysql": ("mariadb", "mysql+pymysql"),
    "pysqlite": ("sqlite", "sqlite+pysqlite"),
    "psycopg-async": ("postgresql", "postgresql+psycopg"),
    "asyncpg": ("postgresql", "postgresql+asyncpg"),
    "aiomysql": ("mariadb", "mysql+aiomysql"),
    "asyncmy": ("mariadb", "mysql+asyncmy"),
    "aiosqlite": ("sqlite", "sqlite+aiosqlite"),
}
SYNC = ("psycopg", "pymysql", "pysqlite")
ASYNC = ("psycopg-async", "asyncpg", "aiomysql", "asyncmy", "aiosqlite")


class Place(NamedTuple):
    """One database by one driver."""

    driver: str
    server: str
    url: URL

    @property
    def is_async(self) -> bool:
        return self.driver in ASYNC

    def engine(self, **options: Any) -> Engine:
        """A sync engine on the database, whatever the driver of the place is."""
        name = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql", "sqlite": "sqlite+pysqlite"}
        options.setdefault("pool_size", 20)
        made = create_engine(self.url.set(drivername=name[self.server]), **options)
        prepare(made)
        _relax(made)
        return made

    def async_engine(self, **options: Any) -> AsyncEngine:
        """An async engine; with ASYNC drivers only."""
        options.setdefault("pool_size", 20)
        made = create_async_engine(self.url, **options)
        prepare(made)
        _relax(made.sync_engine)
        return made


def _relax(engine: Engine) -> None:
    """Commits of these tests need not survive a power cut, and the disk is shared by many."""
    relax = {
        "postgresql": "SET synchronous_commit = off",
        "sqlite": "PRAGMA synchronous = OFF",
    }.get(engine.dialect.name)
    if relax is not None:

        @event.listens_for(engine, "connect")
        def connected(connection: Any, record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute(relax)
            cursor.close()
            connection.commit()


@contextmanager
def place_for(driver: str) -> Iterator[Place]:
    """The database of a driver; skips the test where its server is not there, and fails it in CI."""
    server, drivername = DRIVERS[driver]
    if server == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield Place(driver, server, URL.create(drivername, database=str(Path(folder) / "test.db")))
        return
    pattern, variable = _URLS[server]
    given = os.environ.get(variable)
    if given:
        url = make_url(given)
    else:
        require_server(server)
        address = address_of(server, os.environ)
        url = make_url(pattern.format(host=address.host, port=address.port))
    yield Place(driver, server, url.set(drivername=drivername))


def drop(place: Place, metadata: MetaData) -> None:
    """Take the tables of a MetaData away."""
    engine = place.engine()
    try:
        metadata.drop_all(engine)
    finally:
        engine.dispose()


def count(place: Place, statement: str) -> int:
    """A number, by a look from outside."""
    engine = place.engine()
    try:
        with engine.connect() as connection:
            return int(connection.execute(text(statement)).scalar_one())
    finally:
        engine.dispose()


def run(awaitable: Any) -> Any:
    """Run on a loop of its own."""

    async def main() -> Any:
        return await awaitable

    return asyncio.run(main())
