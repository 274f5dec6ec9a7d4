"""What a host may hand us as its database, and whether transactions on it keep their promises."""

from __future__ import annotations

import weakref
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from botguard.errors import ConfigurationError

__all__ = ["BEGIN", "async_engine_of", "engine_of", "prepare", "require_transactions", "same_database"]

#: Execution option by which a unit of work asks for the write lock where it begins (SQLite).
BEGIN = "botguard_begin"
_DIALECTS = ("postgresql", "mysql", "mariadb", "sqlite")
_prepared: weakref.WeakSet[Engine] = weakref.WeakSet()
_trusted: weakref.WeakSet[Engine] = weakref.WeakSet()


def engine_of(source: Any) -> Engine:
    """The engine of an Engine, or of a factory of sessions.

    Raises:
        ConfigurationError: if it is none, or of a database on which the stores cannot work.
    """
    engine = source if isinstance(source, Engine) else _of_factory(source, Session)
    if not isinstance(engine, Engine):
        raise _wrong(source, "an Engine, or a sessionmaker that is bound to one")
    return _fit(engine, engine)


def async_engine_of(source: Any) -> AsyncEngine:
    """The same for an AsyncEngine or a factory of async sessions."""
    engine = source if isinstance(source, AsyncEngine) else _of_factory(source, AsyncSession)
    if not isinstance(engine, AsyncEngine):
        raise _wrong(source, "an AsyncEngine, or an async_sessionmaker that is bound to one")
    _fit(engine.sync_engine, engine)
    return engine


def _of_factory(source: Any, kind: type[Any]) -> Any:
    if not callable(source):
        return None
    bound = getattr(source, "kw", {}).get("bind")
    if bound is not None:
        return bound
    session = source()
    if not isinstance(session, kind):
        return session
    # Only looked at: a scoped_session gives the host's own session, which is not ours to close.
    bind = getattr(session, "bind", None)
    return bind if bind is not None else session.get_bind()


def _wrong(source: Any, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        "BG148",
        f"{source!r:.80} is no database that can be used here",
        why="the stores open short transactions of their own on it",
        fix=f"give {wanted}",
    )


def _fit(engine: Engine, source: Any) -> Engine:
    if engine.dialect.name not in _DIALECTS:
        raise ConfigurationError(
            "BG148",
            f"{engine.dialect.name} is not supported",
            why="who wins a claim is decided by statements that are tested on each database by name",
            fix="use PostgreSQL, MariaDB, MySQL or SQLite",
        )
    if isinstance(engine.pool, StaticPool | SingletonThreadPool):
        raise ConfigurationError(
            "BG148",
            f"{source!r} has one connection for everybody ({type(engine.pool).__name__})",
            why="a claim would be committed, and undone, together with whatever else is on that connection",
            fix="use a file instead of a database in memory, or MemoryStorage()",
        )
    return engine


def prepare(engine: Engine | AsyncEngine) -> None:
    """Make transactions on a SQLite engine real: BEGIN where they begin, so that reads and savepoints are inside.

    Python's driver, as it comes, opens a transaction only before a write: what was read before is not in it, and
    releasing a savepoint may commit. Call this once for an engine, before it is used. The host's own transactions begin
    with a plain BEGIN; a unit of work begins with BEGIN IMMEDIATE, so that it waits for the write lock where it begins.
    """
    target = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    if target.dialect.name != "sqlite" or target in _prepared:
        return
    _prepared.add(target)

    @event.listens_for(target, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(target, "begin")
    def begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql(f"BEGIN {options.get(BEGIN, '')}")


def require_transactions(engine: Engine, connection: Connection) -> None:
    """Refuse an engine whose transactions are none; asked once for each engine, on a connection that has just begun.

    Raises:
        ConfigurationError: with the fix.
    """
    if engine in _trusted:
        return
    connection.exec_driver_sql("SELECT 1").scalar()
    if engine.dialect.name == "sqlite":
        inside: Any = connection.connection.driver_connection
        if not inside.in_transaction:
            raise ConfigurationError(
                "BG149",
                "this SQLite engine has no real transactions: a savepoint that is released may be committed",
                where=repr(engine),
                why="a rollback of yours would not undo what the guard has written, and reads are not protected",
                fix="call botguard.adapters.sqlalchemy.prepare(engine) once, where it is made; or, with Python 3.12 or "
                'newer, create_engine(…, connect_args={"autocommit": False})',
            )
    elif engine.dialect.detect_autocommit_setting(connection.connection.dbapi_connection):  # type: ignore[arg-type]
        raise ConfigurationError(
            "BG149",
            "this engine commits every statement by itself (isolation_level='AUTOCOMMIT')",
            where=repr(engine),
            why="effect and completion could not become durable together",
            fix='give the guard engine.execution_options(isolation_level="READ COMMITTED")',
        )
    _trusted.add(engine)


def same_database(one: Engine, other: Engine) -> bool:
    """True if both are the same database, by whatever driver."""
    if one is other or one.pool is other.pool:
        return True
    here, there = one.url, other.url
    family = {"mariadb": "mysql"}
    names = [family.get(engine.dialect.name, engine.dialect.name) for engine in (one, other)]
    parts = [(url.host or "", url.port, url.database or "") for url in (here, there)]
    return names[0] == names[1] and parts[0] == parts[1]
