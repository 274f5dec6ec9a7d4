"""One unit of work: a transaction of its own, or a savepoint in the host's, on a Session or a Connection."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, event, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from botguard.adapters.sqlalchemy.claims import ClaimOperations
from botguard.adapters.sqlalchemy.drivers import Step
from botguard.adapters.sqlalchemy.engines import BEGIN, require_transactions
from botguard.adapters.sqlalchemy.failures import DOWN, is_down, unavailable
from botguard.errors import BotguardError, ConfigurationError
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, RowState

__all__ = ["AsyncUnit", "Unit", "connection_of"]


def _own_commit() -> ConfigurationError:
    return ConfigurationError(
        "BG142",
        "a handler that commits or rolls back by itself is not transactional",
        why="effect and completion must become durable together, or a crash between them runs the effect twice",
        fix="leave the transaction to the guard (flush() is fine, and so is begin_nested()), or declare "
        "effects='idempotent' or effects='external'",
    )


def connection_of(handle: Session | Connection, table: Any, **options: Any) -> Connection:
    """The connection of a session's open transaction; one is begun where there is none."""
    if isinstance(handle, Session):
        return handle.connection(bind_arguments={"clause": table}, execution_options=options or None)
    return handle.execution_options(**options) if options else handle


class Unit:
    """See :class:`botguard.ports.work.Unit`."""

    def __init__(self, handle: Session | Connection, claims: ClaimOperations, *, joined: bool) -> None:
        self.handle: Any = handle
        self._claims, self._joined, self._over, self._ending = claims, joined, False, False
        try:
            if joined:
                self._transaction: Any = handle.begin_nested()
            else:
                self._connection = self._begin(handle)
                require_transactions(self._connection.engine, self._connection)
        except DOWN as error:
            self.rollback()
            if is_down(error):
                raise unavailable(error, host=joined) from error
            raise
        except BaseException:
            self.rollback()
            raise
        self._guarded = "before_commit" if isinstance(handle, Session) else "commit"
        event.listen(handle, self._guarded, self._refuse)

    def _begin(self, handle: Session | Connection) -> Connection:
        # SQLite: the write lock is taken where the unit begins, or a read before the first write could not be followed.
        immediate = {BEGIN: "IMMEDIATE"}
        if isinstance(handle, Session):
            self._transaction = handle.begin()
            return connection_of(handle, self._claims.table, **immediate)
        connection = connection_of(handle, None, **immediate)
        self._transaction = connection.begin()
        return connection

    def _refuse(self, handle: Session | Connection) -> None:
        """Stops a commit that is not the guard's, before it reaches the database."""
        if self._ending:
            return
        inner = handle.get_nested_transaction()
        if inner is None or inner is self._transaction:
            if isinstance(handle, Connection):
                # From here SQLAlchemy takes the transaction for ended, and would give its connection back with it open.
                handle.invalidate()
            raise _own_commit()

    def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None,
    ) -> Ack:
        """See the port; ConfigurationError BG142 if the handler has ended the transaction."""
        self._check()
        try:
            if isinstance(self.handle, Session):
                self.handle.flush()
            step = Step(connection_of(self.handle, self._claims.table), own=False)
            return self._claims.finish(step, key, claim_id, state, result, keep, attempts, event)
        except (*DOWN, exc.PendingRollbackError) as error:
            if is_down(error):
                raise unavailable(error, host=self._joined) from error
            raise

    def _check(self) -> None:
        if self._over:
            raise BotguardError("this unit of work is over")
        if not self._transaction.is_active:
            raise _own_commit()

    def commit(self) -> None:
        """See the port; in the host's transaction it keeps this attempt's work, durable when the host commits."""
        self._check()
        self._over = self._ending = True
        try:
            self._transaction.commit()
        except BaseException as error:
            if not self._joined:
                # SQLAlchemy takes the transaction for ended, and would give its connection back with it still open.
                self._connection.invalidate()
            if isinstance(error, (*DOWN, exc.PendingRollbackError)) and is_down(error):
                raise unavailable(error, committing=not self._joined, host=self._joined) from error
            raise
        finally:
            self._let_go()

    def rollback(self) -> None:
        """See the port."""
        self._over = self._ending = True
        try:
            transaction = getattr(self, "_transaction", None)
            with suppress(Exception):  # the connection may be gone, and the transaction with it
                if transaction is not None and transaction.is_active:
                    transaction.rollback()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        guarded = getattr(self, "_guarded", None)
        if guarded is not None and event.contains(self.handle, guarded, self._refuse):
            event.remove(self.handle, guarded, self._refuse)
        if not self._joined:
            with suppress(Exception):  # a connection that broke is dropped by its pool
                self.handle.close()


class AsyncUnit:
    """The same on an event loop: SQLAlchemy's ``run_sync`` lets the one logic wait."""

    def __init__(self, handle: AsyncSession | AsyncConnection, unit: Unit) -> None:
        self.handle, self._unit = handle, unit

    @classmethod
    async def begin(cls, handle: AsyncSession | AsyncConnection, claims: ClaimOperations, *, joined: bool) -> AsyncUnit:
        """Begin a transaction, or a savepoint in the host's."""
        return cls(handle, await handle.run_sync(lambda inner: Unit(inner, claims, joined=joined)))

    async def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None,
    ) -> Ack:
        """See the port."""
        unit = self._unit
        return await self.handle.run_sync(lambda _: unit.finish(key, claim_id, state, result, keep, attempts, event))

    async def commit(self) -> None:
        """See the port."""
        await self.handle.run_sync(lambda _: self._unit.commit())

    async def rollback(self) -> None:
        """See the port."""
        await self.handle.run_sync(lambda _: self._unit.rollback())


async def connected(engine: AsyncEngine) -> AsyncConnection:
    """A connection of the pool, or the port's error."""
    try:
        return await engine.connect()
    except DOWN as error:
        if is_down(error):
            raise unavailable(error) from error
        raise
