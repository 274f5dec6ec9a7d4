"""The same stores inside a transaction of the host's, on the host's own session or connection."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.ext.asyncio.scoping import async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from botguard.adapters.sqlalchemy.approvals import Approvals
from botguard.adapters.sqlalchemy.claims import Claims
from botguard.adapters.sqlalchemy.drivers import Operation, P, Step, T
from botguard.adapters.sqlalchemy.engines import require_transactions, same_database
from botguard.adapters.sqlalchemy.events import Events
from botguard.adapters.sqlalchemy.failures import DOWN, is_down, unavailable
from botguard.adapters.sqlalchemy.limits import Limits
from botguard.adapters.sqlalchemy.units import connection_of
from botguard.adapters.sqlalchemy.work import AsyncHostUnits, HostUnits
from botguard.errors import ConfigurationError
from botguard.ports.colour import Colour
from botguard.ports.storage import COMPLETION_WITH_EVENT

if TYPE_CHECKING:
    from botguard.adapters.sqlalchemy.storage import Operations

__all__ = ["AsyncJoinedStorage", "JoinedStorage"]


class HostDriver:
    """Runs operations inside the host's transaction, each in a savepoint of its own, and never ends it.

    Where no transaction is open yet, it begins one, and leaves it open for the host to commit.
    """

    colour: Colour = "sync"

    def __init__(self, handle: Session | Connection, table: Any) -> None:
        self._handle, self._table = handle, table

    def run(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :class:`botguard.adapters.sqlalchemy.drivers.Driver`."""
        savepoint = None
        try:
            connection = connection_of(self._handle, self._table)
            require_transactions(connection.engine, connection)
            savepoint = connection.begin_nested()
            answer = op(Step(connection, own=False), *args, **kwargs)
            savepoint.commit()
            return answer
        except BaseException as error:
            if savepoint is not None and savepoint.is_active:
                with suppress(Exception):  # the connection may be gone, and the transaction with it
                    savepoint.rollback()
            if isinstance(error, (*DOWN, exc.PendingRollbackError)) and is_down(error):
                raise unavailable(error, host=True) from error
            raise

    each = look = run


class AsyncHostDriver:
    """The same on an event loop."""

    colour: Colour = "async"

    def __init__(self, handle: AsyncSession | AsyncConnection, table: Any) -> None:
        self._handle, self._table = handle, table

    async def run(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :class:`botguard.adapters.sqlalchemy.drivers.Driver`."""
        table = self._table
        return await self._handle.run_sync(lambda inner: HostDriver(inner, table).run(op, *args, **kwargs))

    each = look = run


def _refuse(session: Any, wanted: str, why: str) -> ConfigurationError:
    return ConfigurationError("BG141", f"{session!r:.80} cannot be joined", where="session", why=why, fix=wanted)


def _host(session: Any, engine: Engine, table: Any, kinds: tuple[type[Any], ...], wanted: str) -> Any:
    """The session or connection itself, if the guard's rows can be written through it."""
    if isinstance(session, scoped_session | async_scoped_session):
        session = session()
    if not isinstance(session, kinds):
        raise _refuse(session, wanted, "the guard writes its rows with the host's own session, in its transaction")
    inner = getattr(session, "sync_session", None) or getattr(session, "sync_connection", None) or session
    bind = inner.get_bind(clause=table) if isinstance(inner, Session) else inner
    if not same_database(bind.engine, engine):
        raise _refuse(
            session,
            "give the guard a storage of your session's database",
            f"it is on {bind.engine.url!r}, and the guard's rows are in {engine.url!r}",
        )
    return session


class _Joined:
    """What both colours share; a :class:`botguard.ports.storage.Storage` that lives as long as one call.

    Claims and completions become durable, or undone, together with the host's own work. Counters, and what is audited
    without a completion (denials, failures), survive a rollback of the host's: they are written on a connection of
    their own. On SQLite, where there is one writer, they are in the host's transaction too.
    """

    atomic = frozenset({COMPLETION_WITH_EVENT})

    def __init__(self, driver: Any, outer: Any, operations: Operations, *, alone: bool) -> None:
        self.fingerprint_key: bytes = outer.fingerprint_key
        self.idempotency = Claims(driver, operations.claims)
        self.approvals = Approvals(driver, operations.approvals)
        self.events = outer.events if alone else Events(driver, operations.events)
        shared = outer.limits
        self.limits = shared if shared is None or alone else Limits(driver, operations.limits)
        self._outer = outer

    def joined(self, session: Any) -> Any:
        """The same for another session."""
        return self._outer.joined(session)

    def for_async(self) -> None:
        """A transaction of the host's does not change its colour."""
        return


class JoinedStorage(_Joined):
    """On the caller's thread."""

    colour: Colour = "sync"

    def __init__(self, session: Any, outer: Any, engine: Engine, operations: Operations) -> None:
        table = operations.claims.table
        wanted = "pass a Session, or a Connection, of the database that holds the guard's rows"
        handle = _host(session, engine, table, (Session, Connection), wanted)
        super().__init__(HostDriver(handle, table), outer, operations, alone=engine.dialect.name != "sqlite")
        self.work = HostUnits(handle, operations.claims)


class AsyncJoinedStorage(_Joined):
    """On the caller's event loop."""

    colour: Colour = "async"

    def __init__(self, session: Any, outer: Any, engine: Engine, operations: Operations) -> None:
        table = operations.claims.table
        wanted = "pass an AsyncSession, or an AsyncConnection, of the database that holds the guard's rows"
        handle = _host(session, engine, table, (AsyncSession, AsyncConnection), wanted)
        super().__init__(AsyncHostDriver(handle, table), outer, operations, alone=engine.dialect.name != "sqlite")
        self.work = AsyncHostUnits(handle, operations.claims)
