"""Units of work for ``transactional`` commands, and the host's sessions as their handles."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from botguard.adapters.sqlalchemy.claims import ClaimOperations
from botguard.adapters.sqlalchemy.engines import async_engine_of, engine_of, same_database
from botguard.adapters.sqlalchemy.failures import DOWN, is_down, unavailable
from botguard.adapters.sqlalchemy.units import AsyncUnit, Unit, connected
from botguard.errors import ConfigurationError
from botguard.ports.colour import Colour

if TYPE_CHECKING:
    from botguard.adapters.sqlalchemy.storage import AsyncSqlAlchemyStorage, SqlAlchemyStorage

__all__ = ["AsyncHostUnits", "AsyncUnits", "HostUnits", "SqlAlchemyWork", "Units"]


class Units:
    """Opens transactions on the caller's thread: sessions of a factory, or connections of an engine."""

    colour: Colour = "sync"

    def __init__(self, source: Engine | Callable[[], Session], claims: ClaimOperations) -> None:
        self._open = source.connect if isinstance(source, Engine) else _factory(source)
        self._claims = claims

    def begin(self) -> Unit:
        """See the port."""
        try:
            handle = self._open()
        except DOWN as error:
            if is_down(error):
                raise unavailable(error) from error
            raise
        return Unit(handle, self._claims, joined=False)


class AsyncUnits:
    """The same on the caller's event loop."""

    colour: Colour = "async"

    def __init__(self, source: AsyncEngine | Callable[[], AsyncSession], claims: ClaimOperations) -> None:
        self._source = source if isinstance(source, AsyncEngine) else _factory(source)
        self._claims = claims

    async def begin(self) -> AsyncUnit:
        """See the port."""
        source = self._source
        handle = await connected(source) if isinstance(source, AsyncEngine) else source()
        try:
            return await AsyncUnit.begin(handle, self._claims, joined=False)
        except BaseException:
            await handle.close()
            raise


class HostUnits:
    """Opens savepoints in the host's transaction."""

    colour: Colour = "sync"

    def __init__(self, handle: Session | Connection, claims: ClaimOperations) -> None:
        self._handle, self._claims = handle, claims

    def begin(self) -> Unit:
        """See the port."""
        return Unit(self._handle, self._claims, joined=True)


class AsyncHostUnits:
    """The same on the caller's event loop."""

    colour: Colour = "async"

    def __init__(self, handle: AsyncSession | AsyncConnection, claims: ClaimOperations) -> None:
        self._handle, self._claims = handle, claims

    async def begin(self) -> AsyncUnit:
        """See the port."""
        return await AsyncUnit.begin(self._handle, self._claims, joined=True)


def _factory(source: Any) -> Any:
    """A factory of new sessions: a scoped_session would give the host's own, with whatever is open on it."""
    return getattr(source, "session_factory", source)


class SqlAlchemyWork:
    """Sessions of the host's as units of work: ``Guard(storage=…, work=SqlAlchemyWork(sessionmaker))``.

    A ``transactional`` command finds its session in ``botguard.current().work``. The guard begins its transaction,
    writes the completion into it, commits and closes it.

    Args:
        sessions: a sessionmaker, scoped_session or async_sessionmaker on the database that holds the claims.
        async_sessions: an async_sessionmaker beside a sync one, where a guard serves handlers of both colours.
    """

    def __init__(self, sessions: Any, async_sessions: Any = None) -> None:
        if isinstance(_factory(sessions), async_sessionmaker):
            sessions, async_sessions = None, sessions
        self._sync, self._async = sessions, async_sessions
        self._engine = None if sessions is None else engine_of(sessions)
        self._async_engine = None if async_sessions is None else async_engine_of(async_sessions)

    def over(self, storage: Any) -> Any:
        """The same storage, with these sessions as its units of work; called by the guard.

        Raises:
            ConfigurationError: if the storage is not of the same database.
        """
        from botguard.adapters.sqlalchemy.storage import AsyncSqlAlchemyStorage, SqlAlchemyStorage

        if isinstance(storage, SqlAlchemyStorage) and self._engine is not None:
            return self._over(storage)
        if isinstance(storage, AsyncSqlAlchemyStorage) and self._async_engine is not None:
            return self._over_async(storage)
        raise ConfigurationError(
            "BG141",
            f"work=SqlAlchemyWork(…) does not fit {type(storage).__name__}",
            why="effect and completion could not share one transaction",
            fix="give the guard SqlAlchemyStorage beside a sessionmaker, AsyncSqlAlchemyStorage beside an "
            "async_sessionmaker, both of one database",
        )

    def _over(self, storage: SqlAlchemyStorage) -> SqlAlchemyStorage:
        assert self._engine is not None
        _same(self._engine, storage.engine)
        made = copy.copy(storage)
        made.work = Units(self._sync, storage.operations.claims)
        if storage.twin is not None and self._async_engine is not None:
            made.twin = self._over_async(storage.twin)
        return made

    def _over_async(self, storage: AsyncSqlAlchemyStorage) -> AsyncSqlAlchemyStorage:
        assert self._async_engine is not None
        _same(self._async_engine.sync_engine, storage.engine.sync_engine)
        made = copy.copy(storage)
        made.work = AsyncUnits(self._async, storage.operations.claims)
        return made


def _same(one: Engine, other: Engine) -> None:
    if not same_database(one, other):
        raise ConfigurationError(
            "BG141",
            f"work= opens sessions on {one.url!r}, and the claims are in {other.url!r}",
            why="effect and completion could not share one transaction",
            fix="use one database for both",
        )
