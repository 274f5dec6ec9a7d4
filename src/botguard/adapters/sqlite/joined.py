"""The same stores inside a transaction of the host's, on the host's own connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from botguard.adapters.sqlite.approvals import Approvals
from botguard.adapters.sqlite.claims import Claims, Time
from botguard.adapters.sqlite.connection import Execute, is_busy, is_down, unavailable
from botguard.adapters.sqlite.events import Events
from botguard.adapters.sqlite.limits import Limits
from botguard.adapters.sqlite.work import SAVEPOINT, finish_in_unit, refuse_own_commit
from botguard.errors import BotguardError, ConfigurationError, StoreUnavailable
from botguard.ports.colour import Colour
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, RowState
from botguard.ports.storage import COMPLETION_WITH_EVENT

__all__ = ["JoinedStorage"]

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")


def _refuse(what: str, why: str, fix: str) -> ConfigurationError:
    return ConfigurationError("BG141", what, where="session", why=why, fix=fix)


def _check(session: Any, path: str) -> sqlite3.Connection:
    """The session, if the guard's rows can be written through it."""
    if not isinstance(session, sqlite3.Connection):
        raise _refuse(
            f"{type(session).__name__} is not a sqlite3.Connection",
            why="the guard writes its rows with the host's own connection, in the host's transaction",
            fix="pass the sqlite3.Connection that your transaction is open on",
        )
    if session.text_factory is not str:
        raise _refuse(
            f"the connection's text_factory is {session.text_factory!r}",
            why="the guard's rows would come back as something else than text",
            fix="leave text_factory as it is, and decode where you read your own columns",
        )
    try:
        cursor = session.cursor()
        cursor.row_factory = None
        names = [row[2] for row in cursor.execute("PRAGMA database_list").fetchall() if row[1] == "main"]
        same = bool(names[0]) and Path(names[0]).samefile(path)
    except (sqlite3.Error, OSError) as error:
        raise _refuse(
            f"the connection cannot be used: {error}",
            why="the guard's rows are written through it",
            fix="pass an open connection, in the thread that made it",
        ) from error
    if not same:
        raise _refuse(
            f"the connection is open on {names[0] or 'a database in memory'}, and the guard's rows are in {path}",
            why="a transaction of another file cannot hold the claim and its completion",
            fix=f"connect to {path}, or give the guard a storage of your file",
        )
    return session


class _HostDriver:
    """Runs operations inside the host's transaction, each in a savepoint of its own, and never ends it.

    Where no transaction is open yet, it begins one that may write, and leaves it open for the host to commit.
    """

    colour: Colour = "sync"

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        cursor = connection.cursor()
        cursor.row_factory = None  # the host's own does not concern our rows
        self.connection, self.path, self.execute = connection, path, cursor.execute
        self.scan = self.look

    def enter(self, savepoint: str) -> None:
        """Begin a savepoint, and the transaction around it if there is none."""
        try:
            if not self.connection.in_transaction:
                self.execute("BEGIN IMMEDIATE")
            self.execute(f"SAVEPOINT {savepoint}")
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def leave(self, savepoint: str) -> None:
        """Undo what happened since ``enter``; never raises, since the host may have ended everything."""
        try:
            if self.connection.in_transaction:
                self.execute(f"ROLLBACK TO {savepoint}")
                self.execute(f"RELEASE {savepoint}")
        except sqlite3.Error:
            pass

    def run(self, op: Callable[[Execute, *_Ts], _T], /, *args: *_Ts) -> _T:
        """See :class:`Driver`."""
        self.enter("botguard_step")
        try:
            answer = op(self.execute, *args)
            self.execute("RELEASE botguard_step")
        except BaseException as error:
            self.leave("botguard_step")
            if isinstance(error, sqlite3.Error) and is_down(error):
                raise self._translate(error) from error
            raise
        return answer

    def look(self, op: Callable[[Execute, *_Ts], _T], /, *args: *_Ts) -> _T:
        """See :class:`Driver`: on the host's connection, so that its own uncommitted rows are seen."""
        try:
            return op(self.execute, *args)
        except sqlite3.Error as error:
            if is_down(error):
                raise self._translate(error) from error
            raise

    def sweep(self, find: Callable[[Execute], list[Any]], delete: Callable[[Execute, list[Any]], int]) -> int:
        """See :class:`Driver`."""
        rows = self.look(find)
        return self.run(delete, rows) if rows else 0

    def _translate(self, error: sqlite3.Error) -> StoreUnavailable:
        if not is_busy(error):
            return unavailable(error, self.path)
        return StoreUnavailable(
            f"the transaction on the session cannot write to {self.path}: {error}",
            host_transaction=True,
            fix="begin it with BEGIN IMMEDIATE, so that it waits for the write lock where it begins",
        )


class _HostUnit:
    """One attempt: a savepoint in the host's transaction. The host commits."""

    def __init__(self, driver: _HostDriver, time: Time) -> None:
        self._driver, self._time = driver, time
        self.handle = driver.connection
        driver.enter(SAVEPOINT)
        self._open = True

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
        driver = self._driver
        return finish_in_unit(
            driver.execute, self._time, driver.path, key, claim_id, state, result, keep, attempts, event
        )

    def commit(self) -> None:
        """Keep this attempt's work; durable when the host commits."""
        if not self._open:
            raise BotguardError("this unit of work is over")
        self._open = False
        if not self.handle.in_transaction:
            refuse_own_commit()
        try:
            self._driver.execute(f"RELEASE {SAVEPOINT}")
        except sqlite3.OperationalError as error:
            if "no such savepoint" in str(error):
                refuse_own_commit()
            raise unavailable(error, self._driver.path) from error

    def rollback(self) -> None:
        """See the port."""
        if self._open:
            self._open = False
            self._driver.leave(SAVEPOINT)


class _HostUnits:
    """Opens savepoints."""

    colour: Colour = "sync"

    def __init__(self, driver: _HostDriver, time: Time) -> None:
        self._driver, self._time = driver, time

    def begin(self) -> _HostUnit:
        """See the port."""
        return _HostUnit(self._driver, self._time)


class JoinedStorage:
    """A :class:`botguard.ports.storage.Storage` that lives as long as one call on the host's connection.

    Everything it writes becomes durable, or undone, together with the host's own work.
    """

    colour: Colour = "sync"
    atomic = frozenset({COMPLETION_WITH_EVENT})

    def __init__(self, session: Any, path: str, time: Time, fingerprint_key: bytes, *, limits: bool) -> None:
        driver = _HostDriver(_check(session, path), path)
        self._path, self._time, self._with_limits = path, time, limits
        self.fingerprint_key = fingerprint_key
        self.idempotency = Claims(driver, time)
        self.events = Events(driver)
        self.approvals = Approvals(driver, time)
        self.limits = Limits(driver, time) if limits else None
        self.work = _HostUnits(driver, time)

    def for_async(self) -> None:
        """A transaction of the host's does not leave its thread."""
        return

    def joined(self, session: Any) -> JoinedStorage:
        """The same for another connection."""
        return JoinedStorage(session, self._path, self._time, self.fingerprint_key, limits=self._with_limits)
