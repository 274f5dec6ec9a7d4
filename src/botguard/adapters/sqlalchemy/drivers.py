"""Who runs the stores' operations.

An operation is a plain function ``op(step, …)`` that sends statements and decides. It is written once. The sync driver
calls it with a connection of the engine; the async driver hands it to SQLAlchemy's ``run_sync``, which lets it wait on
the loop; inside the host's transaction it runs on the host's own connection (``joined``).
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, Executable, exc
from sqlalchemy.ext.asyncio import AsyncEngine

from botguard.adapters.sqlalchemy.engines import BEGIN
from botguard.adapters.sqlalchemy.failures import DOWN, is_down, is_retriable, unavailable
from botguard.adapters.sqlalchemy.moment import PREFIX
from botguard.errors import StoreUnavailable
from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["AsyncDriver", "Driver", "Step", "SyncDriver", "forget_connections_after_fork"]

P = ParamSpec("P")
T = TypeVar("T")

#: How often a transaction that the server undid (deadlock, serialization) is tried before the store is called busy.
_TRIES = 8


class Step:
    """What an operation may do: send statements, and end the transaction between two of them."""

    __slots__ = ("connection", "immediate", "own")

    def __init__(self, connection: Connection, *, own: bool, immediate: bool = False) -> None:
        self.connection, self.own, self.immediate = connection, own, immediate

    def execute(self, statement: Executable, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        """Send one statement."""
        connection = self.connection
        if self.immediate and not connection.in_transaction():
            connection.begin()
            inside: Any = connection.connection.driver_connection
            if not inside.in_transaction:  # an engine that was not prepared
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        return connection.execute(statement, {PREFIX + name: value for name, value in parameters.items()})

    def commit(self) -> None:
        """Make durable what is done so far, and let go of locks and of the snapshot; the host's own is left alone."""
        if self.own:
            self.connection.commit()

    def rollback(self) -> None:
        """Let go of locks and of the snapshot, where nothing was written; the host's own is left alone."""
        if self.own:
            self.connection.rollback()


Operation = Callable[Concatenate[Step, P], T]


class Driver(Protocol):
    """Runs operations; its colour is that of the stores above it."""

    colour: Colour

    def run(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> MaybeAwaitable[T]:
        """Run an operation of several statements as one transaction; durable when it is answered."""
        ...

    def each(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> MaybeAwaitable[T]:
        """Run an operation whose statements are each atomic on their own, and may commit one by one."""
        ...

    def look(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> MaybeAwaitable[T]:
        """Run an operation that only reads."""
        ...


class Way(NamedTuple):
    """How an operation is run on a connection of ours.

    Args:
        options: execution options of the connection.
        alone: every statement commits by itself, so that an answer lost on the way may have been a commit.
        reads: there is nothing to commit.
        immediate: SQLite, and the operation writes: the lock is asked for where its transaction begins. One that began
            by reading would be refused at once where it wants to write, however long the busy timeout is.
    """

    options: Mapping[str, Any] = {}
    alone: bool = False
    immediate: bool = False
    reads: bool = False


#: On PostgreSQL, statements that need no transaction around them save BEGIN and COMMIT, two of three trips. MySQL's
#: drivers would send as many statements to switch autocommit on and off, and SQLite has no trips to save.
_AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
_IMMEDIATE = Way({BEGIN: "IMMEDIATE"}, immediate=True)


class _Ways(NamedTuple):
    run: Way
    each: Way
    look: Way

    @classmethod
    def on(cls, dialect: str) -> _Ways:
        if dialect == "postgresql":
            return cls(Way(), Way(_AUTOCOMMIT, alone=True), Way(_AUTOCOMMIT, reads=True))
        writes = _IMMEDIATE if dialect == "sqlite" else Way()
        return cls(writes, writes, Way(reads=True))


def transact(connection: Connection, way: Way, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run an operation on a connection of ours, and commit."""
    tries = _TRIES
    while True:
        committing = way.alone
        try:
            answer = op(Step(connection, own=True, immediate=way.immediate), *args, **kwargs)
            if not way.reads:
                committing = True
                connection.commit()
            return answer
        except exc.DBAPIError as error:
            tries -= 1
            if committing and not way.alone:
                # SQLAlchemy takes the transaction for ended, and would give its connection back with it still open.
                connection.invalidate()
            if not connection.invalidated or is_retriable(error):
                connection.rollback()
                if tries and is_retriable(error):
                    continue
            if not is_down(error):
                raise
            raise unavailable(error, committing=committing) from error


def _is_undone_by_a_break(error: StoreUnavailable) -> bool:
    """True if a connection broke before COMMIT was on its way: nothing is left, and another connection may be sound.

    That is how a pool finds out that the server has ended its connections. A completion must not get lost by that.
    """
    cause = error.__cause__
    return not error.maybe_applied and isinstance(cause, exc.DBAPIError) and cause.connection_invalidated


class SyncDriver:
    """On the caller's thread."""

    colour: Colour = "sync"

    def __init__(self, engine: Engine) -> None:
        ways = _Ways.on(engine.dialect.name)
        self.run, self.each, self.look = (_SyncWay(engine, way) for way in ways)


class _SyncWay:
    def __init__(self, engine: Engine, way: Way) -> None:
        self._engine, self._way = engine.execution_options(**way.options) if way.options else engine, way

    def __call__(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return self._once(op, *args, **kwargs)
        except StoreUnavailable as error:
            if not _is_undone_by_a_break(error):
                raise
            return self._once(op, *args, **kwargs)

    def _once(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with self._engine.connect() as connection:
                return transact(connection, self._way, op, *args, **kwargs)
        except DOWN as error:
            if is_down(error):
                raise unavailable(error) from error
            raise


class AsyncDriver:
    """On the caller's event loop."""

    colour: Colour = "async"

    def __init__(self, engine: AsyncEngine) -> None:
        ways = _Ways.on(engine.dialect.name)
        self.run, self.each, self.look = (_AsyncWay(engine, way) for way in ways)


class _AsyncWay:
    def __init__(self, engine: AsyncEngine, way: Way) -> None:
        self._engine, self._way = engine.execution_options(**way.options) if way.options else engine, way
        self._to_its_end = engine.dialect.name == "sqlite"

    async def __call__(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._to_its_end:
            # A statement of SQLite's is not stopped by a cancellation: it goes on in its thread, and would keep the
            # lock of the file for as long as anybody holds its cursor. It is short, so it is carried to its end.
            return await _to_its_end(asyncio.ensure_future(self._once(op, *args, **kwargs)))
        try:
            return await self._once(op, *args, **kwargs)
        except StoreUnavailable as error:
            if not _is_undone_by_a_break(error):
                raise
            return await self._once(op, *args, **kwargs)

    async def _once(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with self._engine.connect() as connection:
                return await connection.run_sync(transact, self._way, op, *args, **kwargs)
        except Exception as error:
            if (cancelled := _hidden_cancellation(error)) is not None:
                raise cancelled from error
            if isinstance(error, DOWN) and is_down(error):
                raise unavailable(error) from error
            raise


def _hidden_cancellation(error: BaseException) -> asyncio.CancelledError | None:
    """The cancellation that an error hides: giving back a connection that was just cancelled may fail in its turn."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, asyncio.CancelledError):
            return seen
        seen = seen.__context__
    return None


async def _to_its_end(task: asyncio.Task[T]) -> T:
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # retrieved, so that nothing is logged about it
    raise cancelled


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def forget_connections_after_fork(engine: Engine) -> None:
    """A forked child must not talk over its parent's sockets: its pool begins empty."""
    _engines.add(engine)


def _in_child() -> None:
    for engine in _engines:
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
