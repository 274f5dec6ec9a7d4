"""Connections: how they are opened, how they end, and what their errors mean."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from botguard.errors import ConfigurationError, StoreUnavailable

__all__ = [
    "Execute",
    "Link",
    "NotReady",
    "SystemClock",
    "WorkConnection",
    "connect",
    "is_busy",
    "is_down",
    "unavailable",
]

#: A cursor's ``execute``, bound once: looking it up and making cursors costs more than most statements.
Execute = Callable[..., sqlite3.Cursor]

#: A log that a long reader has made grow is cut back to so many bytes when it is written from its beginning again.
_LOG_LIMIT = 64 * 1024 * 1024

_FIXES = {
    sqlite3.SQLITE_FULL: "free space on its disk, or raise PRAGMA max_page_count",
    sqlite3.SQLITE_READONLY: "give this process write permission on the file and on its folder",
    sqlite3.SQLITE_CANTOPEN: "create its folder and give this process write permission there",
    sqlite3.SQLITE_CORRUPT: "stop the writers, run PRAGMA integrity_check and restore the file from a backup",
    sqlite3.SQLITE_NOTADB: "name another file: this one is no SQLite database",
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
#: After these the connection itself is as good as before.
_HARMLESS = (*_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_INTERRUPT)


class NotReady(Exception):
    """The connection cannot be used at this moment: it is closed, or a unit of work has it."""


class SystemClock:
    """The system's clock, for storages that are given none."""

    time = staticmethod(time.time)  # noqa: TID251 - the default of an injected clock
    monotonic = staticmethod(monotonic)


def not_ready(*_: Any) -> sqlite3.Cursor:
    """An ``execute`` that refuses."""
    raise NotReady


class Link:
    """One connection and the ``execute`` of its one cursor.

    It closes its connection when it is forgotten, so that nothing leaves an open file or a ResourceWarning behind.
    """

    __slots__ = ("__weakref__", "connection", "execute")

    def __init__(self, connection: WorkConnection | None) -> None:
        self.connection = connection
        self.execute: Execute = not_ready if connection is None else connection.cursor().execute

    def detach(self) -> WorkConnection | None:
        """Make the link unusable and hand its connection over."""
        connection, self.connection, self.execute = self.connection, None, not_ready
        return connection

    def close(self) -> None:
        """Close the connection; a transaction that is open in it is rolled back. Never raises."""
        connection = self.detach()
        if connection is not None:
            try:
                sqlite3.Connection.close(connection)
            except sqlite3.Error:  # its memory and files go with the object
                pass

    def __del__(self) -> None:
        self.close()


class WorkConnection(sqlite3.Connection):
    """The writer's connection. While a unit of work is open in it, only the unit ends the transaction."""

    in_unit = False

    def _refuse(self, what: str) -> None:
        if self.in_unit:
            raise ConfigurationError(
                "BG142",
                f"a handler that commits by itself is not transactional: it called {what}",
                why="effect and completion must become durable together, or a crash between them runs the effect twice",
                fix="leave the transaction to the guard, or declare effects='idempotent' or effects='external'",
            )

    def commit(self) -> None:
        """As ever; refused inside a unit of work."""
        self._refuse("commit()")
        super().commit()

    def rollback(self) -> None:
        """As ever; refused inside a unit of work."""
        self._refuse("rollback()")
        super().rollback()

    def close(self) -> None:
        """As ever; refused inside a unit of work."""
        self._refuse("close()")
        super().close()

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """As ever; refused inside a unit of work, since it commits first."""
        self._refuse("executescript()")
        return super().executescript(sql_script)

    def __exit__(self, *exc_info: Any) -> Any:  # noqa: PYI036 - typeshed's own base wants more than objects
        """As ever; refused inside a unit of work, since ``with connection:`` commits."""
        if exc_info[0] is None:
            self._refuse("`with connection:`")
        return False if self.in_unit else super().__exit__(*exc_info)


def connect(path: str, *, synchronous: str, timeout: float, create: bool = False) -> WorkConnection:
    """Open the database file. Only ``create`` makes one: a file deleted under us must not come back empty."""
    connection = sqlite3.connect(
        f"{Path(path).as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=WorkConnection,
    )
    try:
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_LIMIT}")
    except BaseException:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_busy(error: BaseException) -> bool:
    """True if somebody else holds the lock: nothing happened, and the same statement may succeed later."""
    return isinstance(error, sqlite3.OperationalError) and _code(error) in _BUSY


def is_down(error: BaseException) -> bool:
    """True if the store failed; False if it was asked something impossible (a wrong type, a broken constraint)."""
    return isinstance(error, sqlite3.OperationalError) or type(error) in (
        sqlite3.DatabaseError,
        sqlite3.InternalError,
    )


def is_harmless(error: BaseException) -> bool:
    """True if the connection can be used on after this error."""
    if not isinstance(error, sqlite3.Error) or not is_down(error):
        return True
    # Our transactions begin with their write. If one meets an old snapshot, somebody left a half-read cursor behind.
    return _code(error) in _HARMLESS and error.sqlite_errorcode != sqlite3.SQLITE_BUSY_SNAPSHOT


def unavailable(error: sqlite3.Error, path: str, *, maybe_applied: bool = False) -> StoreUnavailable:
    """The port's error for a store that failed, with what to do about it where that is known."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return StoreUnavailable(
        f"the SQLite store {path} failed: {error} ({name})",
        maybe_applied=maybe_applied,
        fix=_FIXES.get(_code(error), ""),
    )
