"""SqliteStorage: all stores in one file, for threads, processes and event loops."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self

from botguard.adapters.sqlite.approvals import Approvals
from botguard.adapters.sqlite.claims import Claims, ThreadClaims, Time
from botguard.adapters.sqlite.connection import SystemClock
from botguard.adapters.sqlite.drivers import ThreadDriver
from botguard.adapters.sqlite.events import Events, ThreadEvents
from botguard.adapters.sqlite.gate import gate_of
from botguard.adapters.sqlite.group import GroupDriver
from botguard.adapters.sqlite.joined import JoinedStorage
from botguard.adapters.sqlite.limits import Limits
from botguard.adapters.sqlite.readers import Readers
from botguard.adapters.sqlite.schema import prepare
from botguard.adapters.sqlite.work import ThreadUnits
from botguard.adapters.sqlite.writer import Writer
from botguard.errors import ConfigurationError
from botguard.ports.colour import Colour
from botguard.ports.runtime import Clock
from botguard.ports.storage import COMPLETION_WITH_EVENT

__all__ = ["AsyncSqliteStorage", "SqliteStorage"]


class AsyncSqliteStorage:
    """The same rows for event loops: writes are awaited and share commits; ``peek``, ``by_token``, ``by_subject`` and
    ``test`` answer at once, on connections that no write holds up.

    ``work`` is None: a transaction cannot stay open on the one writer thread while a task waits for something else.
    """

    colour: Colour = "async"
    atomic = frozenset({COMPLETION_WITH_EVENT})
    work = None

    def __init__(self, path: str, driver: GroupDriver, time: Time, fingerprint_key: bytes, *, limits: bool) -> None:
        self._path, self._driver = path, driver
        self.fingerprint_key = fingerprint_key
        self.idempotency = Claims(driver, time)
        self.events = Events(driver)
        self.approvals = Approvals(driver, time)
        self.limits = Limits(driver, time) if limits else None

    def for_async(self) -> AsyncSqliteStorage:
        """Itself."""
        return self

    def joined(self, session: Any) -> JoinedStorage:
        """Not from here: the host's transaction is on another thread's connection."""
        raise ConfigurationError(
            "BG141",
            f"an async command cannot join a transaction on {type(session).__name__}",
            why="its rows are written by a thread of their own, on another connection than the host's",
            fix="make the handler a plain function and call guard.run(..., session=...)",
        )


class SqliteStorage:
    """Claims, events, confirmations and, on request, shared limits in one SQLite file.

    Args:
        path: the file, on a local disk; it is made where there is none, and may hold the host's tables as well.
        synchronous: ``FULL``: what was answered survives a power cut. ``NORMAL``: it survives a crash of the process,
            and a power cut may undo the last commits (never damage the file); several times as fast.
        busy_timeout: seconds for which a write waits for others.
        clock: judges leases and lifetimes; the system's by default.
        shared_limits: count limits in the file, for all processes on it, instead of in each process.

    It is safe with threads and processes, and after a fork. Peeks have connections of their own and never wait for a
    write. Close it, or use it as a context manager.

    Raises:
        StoreUnavailable: the file cannot be opened, or stays locked.
        SchemaTooNew: a newer botguard wrote it.
    """

    colour: Colour = "sync"
    atomic = frozenset({COMPLETION_WITH_EVENT})

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        busy_timeout: float = 5.0,
        clock: Clock | None = None,
        shared_limits: bool = False,
    ) -> None:
        self._path = _checked(path, synchronous)
        self._synchronous, self._shared_limits = synchronous, shared_limits
        self._time: Time = (SystemClock if clock is None else clock).time
        connection, self.fingerprint_key = prepare(self._path, synchronous=synchronous, patience=busy_timeout)
        gate = gate_of(self._path)
        self._writer = writer = Writer(self._path, gate, connection, synchronous, busy_timeout)
        self._readers = readers = Readers(self._path, gate, busy_timeout)
        driver = ThreadDriver(writer, readers)
        self.idempotency = ThreadClaims(driver, self._time, writer)
        self.events = ThreadEvents(driver, writer)
        self.approvals = Approvals(driver, self._time)
        # Counters are not worth an fsync: what a power cut takes from them is forgiven.
        self._counter = Writer(self._path, gate, None, "NORMAL", busy_timeout)
        self.limits = Limits(ThreadDriver(self._counter, readers), self._time) if shared_limits else None
        self.work = ThreadUnits(writer, self._time, self._path)
        self._group = GroupDriver(self._path, writer, readers, gate)
        self._async = AsyncSqliteStorage(
            self._path, self._group, self._time, self.fingerprint_key, limits=shared_limits
        )

    def for_async(self) -> AsyncSqliteStorage:
        """The same rows for async handlers; always the same object."""
        return self._async

    def joined(self, session: Any) -> JoinedStorage:
        """The same stores inside the open transaction of ``session``, a ``sqlite3.Connection`` on the same file."""
        return JoinedStorage(session, self._path, self._time, self.fingerprint_key, limits=self._shared_limits)

    def close(self) -> None:
        """Carry out what tasks have handed over, then close all connections. Later calls raise StoreUnavailable."""
        self._group.close()
        self._writer.close()
        self._counter.close()
        self._readers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SqliteStorage({self._path!r}, synchronous={self._synchronous!r})"


def _checked(path: str | os.PathLike[str], synchronous: str) -> str:
    name = os.fspath(path)
    if name in ("", ":memory:") or name.startswith("file:"):  # a URI would become the name of a file
        raise ConfigurationError(
            "BG145",
            f"SqliteStorage({name!r}) names no file",
            why="a database in memory belongs to one connection: no other thread or process would see a claim",
            fix="give the path of a file, or use MemoryStorage()",
        )
    if synchronous not in ("FULL", "NORMAL"):
        raise ConfigurationError(
            "BG145",
            f"SqliteStorage(synchronous={synchronous!r}) is neither 'FULL' nor 'NORMAL'",
            why="with less, a crash could damage the file",
            fix="write synchronous='FULL'",
        )
    return str(Path(name).resolve())
