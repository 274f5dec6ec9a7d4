"""Who runs the stores' operations.

An operation is a plain function ``op(step, …)`` that sends statements and decides. It is written once. Which connection
it gets, and what is a transaction there, is the driver's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, InterfaceError

from botguard.adapters.django.failures import DOWN, is_down, is_retriable, unavailable
from botguard.adapters.django.places import Place, beside, own_place
from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["AsyncDriver", "Driver", "Step", "SyncDriver", "While"]

P = ParamSpec("P")
T = TypeVar("T")

#: What to do while the host has a transaction open: write in it; or beside it; or beside it where the database has room
#: for two writers, and else in it.
While = Literal["join", "beside", "beside-or-join"]
#: How often a transaction that the server undid (deadlock, serialization) is tried before the store is called busy.
_TRIES = 8


class Step:
    """What an operation may do: send statements, and end the transaction between two of them."""

    __slots__ = ("_cursor", "_grouped", "_inside", "_open", "host", "sent", "vendor")

    def __init__(self, cursor: Any, vendor: str, *, grouped: bool, inside: bool, host: bool = False) -> None:
        self._cursor, self.vendor, self.host = cursor, vendor, host
        self._grouped, self._inside, self._open = grouped and not inside, inside, False
        #: A statement that commits was sent, and not answered yet.
        self.sent = False

    @property
    def inside(self) -> bool:
        """True in a transaction that is not ours to end."""
        return self._inside

    def execute(self, statement: str, parameters: Mapping[str, Any]) -> Any:
        """Send one statement; the cursor, for its rows and counts."""
        if self._grouped and not self._open:
            # SQLite: the lock is asked for where the transaction begins, or a read could not be followed by a write.
            self._cursor.execute("BEGIN IMMEDIATE" if self.vendor == "sqlite" else "BEGIN")
            self._open = True
        self.sent = not (self._grouped or self._inside)
        self._cursor.execute(statement, parameters)
        self.sent = False
        return self._cursor

    def commit(self) -> None:
        """Make durable what is done so far, and let go of locks; the host's own is left alone."""
        if self._open:
            self.sent = True
            self._cursor.execute("COMMIT")
            self.sent = self._open = False

    def rollback(self) -> None:
        """Let go of locks, where nothing was written; the host's own is left alone."""
        if self._open:
            self._open = False
            self._cursor.execute("ROLLBACK")


Operation = Callable[Concatenate[Step, P], T]


class Driver(Protocol):
    """Runs operations; its colour is that of the stores above it."""

    colour: Colour

    def run(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> MaybeAwaitable[T]:
        """Run an operation of several statements as one transaction; durable when it is answered."""
        ...

    def each(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> MaybeAwaitable[T]:
        """Run an operation whose statements are each atomic on their own, and commit one by one."""
        ...

    def look(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> MaybeAwaitable[T]:
        """Run an operation that only reads."""
        ...


class SyncDriver:
    """On the caller's thread."""

    colour: Colour = "sync"

    def __init__(self, alias: Callable[[], str], way: While) -> None:
        self._alias, self._while = alias, way

    def run(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :class:`Driver`."""
        return self._guarded(True, _TRIES, op, *args, **kwargs)

    def each(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :class:`Driver`."""
        return self._guarded(False, _TRIES, op, *args, **kwargs)

    def look(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :class:`Driver`."""
        return self._guarded(False, 0, op, *args, **kwargs)

    def _place(self) -> Place:
        alias = self._alias()
        place = own_place(alias)
        if not place.host or self._while == "join":
            return place
        if self._while == "beside-or-join" and place.connection.vendor == "sqlite":
            return place
        return beside(alias, place.connection)

    def _guarded(self, grouped: bool, tries: int, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it; again where the server undid it, or where a read met a connection that had died."""
        reads = tries == 0
        left = tries or 2
        while True:
            left -= 1
            attempt = _Attempt(grouped)
            try:
                return attempt.run(self._place, op, *args, **kwargs)
            except DOWN as error:
                if attempt.is_worth_repeating(error, reads) and left:
                    continue
                if is_down(error):
                    raise attempt.unavailable(error) from error
                raise
            except SynchronousOnlyOperation as error:
                raise _in_a_loop() from error


class _Attempt:
    """One try of an operation, and what is known of it when it fails."""

    def __init__(self, grouped: bool) -> None:
        self._grouped = grouped
        self._place: Place | None = None
        self._was_open = self._sent = False

    def run(self, find: Callable[[], Place], op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Find the connection, and run the operation on it."""
        place = self._place = find()
        connection = place.connection
        if place.inside:
            return _in_savepoint(place, op, *args, **kwargs)
        self._was_open = connection.connection is not None
        with connection.cursor() as cursor:
            step = Step(cursor, connection.vendor, grouped=self._grouped, inside=False, host=place.host)
            try:
                answer = op(step, *args, **kwargs)
                step.commit()
            except BaseException:
                self._sent = step.sent
                try:
                    step.rollback()
                except (DatabaseError, InterfaceError):  # the connection is gone, and the transaction with it
                    connection.close()
                raise
        return answer

    def is_worth_repeating(self, error: BaseException, reads: bool) -> bool:
        """True if nothing was done, and another try may succeed. A connection that died is dropped."""
        if self._place is None or self._place.inside:
            return False
        connection = self._place.connection
        connection.close_if_unusable_or_obsolete()
        if reads:
            return self._was_open and connection.connection is None
        return is_retriable(error)

    def unavailable(self, error: BaseException) -> StoreUnavailable:
        """The port's error."""
        return unavailable(error, sent=self._sent, host=self._place is not None and self._place.host)


def _in_savepoint(place: Place, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Inside a transaction that is not ours: what fails is undone alone."""
    connection = place.connection
    with connection.cursor() as cursor:
        savepoint = connection.savepoint()
        try:
            step = Step(cursor, connection.vendor, grouped=False, inside=True, host=place.host)
            answer = op(step, *args, **kwargs)
        except BaseException:
            try:
                if savepoint is not None:
                    connection.savepoint_rollback(savepoint)
                    connection.savepoint_commit(savepoint)
            except (DatabaseError, InterfaceError):  # MySQL undid all of it: the host may only roll back
                connection.needs_rollback = True
            raise
        if savepoint is not None:
            connection.savepoint_commit(savepoint)
        return answer


def _in_a_loop() -> ConfigurationError:
    return ConfigurationError(
        "BG161",
        "DjangoStorage was asked in the thread of an event loop",
        why="Django refuses to block it",
        fix="await guard.run_async(…), or sync_to_async(guard.run)(…)",
    )


class AsyncDriver:
    """On an event loop: in the thread where Django's own async methods run, so that a TestCase's transaction, and the
    connection of a request, are the same for both. One thread, in order: what cleans up after a call that was cancelled
    comes after that call's own statement.
    """

    colour: Colour = "async"

    def __init__(self, driver: SyncDriver) -> None:
        self._driver = driver

    async def run(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :class:`Driver`."""
        return await sync_to_async(self._driver.run, thread_sensitive=True)(op, *args, **kwargs)

    async def each(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :class:`Driver`."""
        return await sync_to_async(self._driver.each, thread_sensitive=True)(op, *args, **kwargs)

    async def look(self, op: Operation[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See :class:`Driver`."""
        return await sync_to_async(self._driver.look, thread_sensitive=True)(op, *args, **kwargs)
