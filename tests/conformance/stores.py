"""The stores that the suites are run against, each with its clock."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.limiter import LocalLimiter
from botguard.testing import FakeClock


class OnMemory:
    """Picks one port of a MemoryStorage."""

    port = ""
    clock: FakeClock
    storage: Any

    def make_store(self) -> Any:
        self.clock = FakeClock()
        self.storage = MemoryStorage(clock=self.clock)
        return getattr(self.storage, self.port)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def events_of(self, store: Any) -> Any:
        return self.storage.events


class OnSqlite(OnMemory):
    """Picks one port of a SqliteStorage on a file of its own; ``reopen`` opens the file again."""

    def make_store(self) -> Any:
        self.clock = FakeClock()
        self.folder = tempfile.TemporaryDirectory()
        self.opened: list[SqliteStorage] = []
        self.storage = self._open()
        return getattr(self.storage, self.port)

    def _open(self) -> Any:
        path = Path(self.folder.name) / "conformance.db"
        made = SqliteStorage(path, clock=self.clock, synchronous="NORMAL", shared_limits=True)
        self.opened.append(made)
        return made

    def reopen(self, store: Any) -> Any:
        return getattr(self._open(), self.port)

    def close_store(self, store: Any) -> None:
        if store is getattr(self.storage, self.port):
            for made in self.opened:
                made.close()
            self.folder.cleanup()


class OnSqliteAsync(OnSqlite):
    """The same behind the event loop's own door."""

    def _open(self) -> Any:
        storage = super()._open()
        return storage.for_async()


class OnLocalLimiter:
    """The limiter of one process."""

    clock: FakeClock

    def make_store(self) -> Any:
        self.clock = FakeClock()
        return LocalLimiter(self.clock)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
