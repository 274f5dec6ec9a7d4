"""The stores that the suites are run against, each with its clock."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.limiter import LocalLimiter


class OnMemory:
    """Picks one port of a MemoryStorage."""

    botguard_port = ""
    clock: Any
    storage: Any

    def make_store(self) -> Any:
        self.storage = MemoryStorage(clock=self.clock)
        return getattr(self.storage, self.botguard_port)

    def events_of(self, store: Any) -> Any:
        return self.storage.events


class OnSqlite(OnMemory):
    """Picks one port of a SqliteStorage on a file of its own; ``reopen`` opens the file again."""

    busy_timeout = 5.0

    def make_store(self) -> Any:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "conformance.db"
        self.opened: list[Any] = []
        self.storage = self._open()
        return getattr(self.storage, self.botguard_port)

    def _open(self) -> Any:
        made = SqliteStorage(
            self.path, clock=self.clock, synchronous="NORMAL", shared_limits=True, busy_timeout=self.busy_timeout
        )
        self.opened.append(made)
        return made

    def fresh_store(self, store: Any) -> Any:
        # Making a file costs more than a history.
        around = sqlite3.connect(self.path, isolation_level=None)
        for table in ("claims", "events", "approvals", "limits"):
            around.execute(f"DELETE FROM botguard_{table}")
        around.close()
        return store

    def reopen(self, store: Any) -> Any:
        return getattr(self._open(), self.botguard_port)

    def close_store(self, store: Any) -> None:
        if store is getattr(self.storage, self.botguard_port):
            for made in self.opened:
                made.close()
            self.folder.cleanup()

    @contextmanager
    def outage(self, store: Any) -> Iterator[None]:
        """Another process holds the write lock for longer than anybody waits."""
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()


class OnSqliteAsync(OnSqlite):
    """The same behind the event loop's own door."""

    def _open(self) -> Any:
        storage = super()._open()
        return storage.for_async()


class OnLocalLimiter:
    """The limiter of one process."""

    clock: Any

    def make_store(self) -> Any:
        return LocalLimiter(self.clock)
