"""From the text of an option to a storage without rows: what the fixture ``guard`` stands on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botguard.errors import ConfigurationError
from botguard.ports.runtime import Clock
from botguard.ports.storage import Storage
from botguard.testing.targets import close, load, make

__all__ = ["check", "storage_at"]


def check(url: str) -> None:
    """Raise ConfigurationError unless the text names a storage."""
    _opener(url)


@contextmanager
def storage_at(url: str, clock: Clock) -> Iterator[Storage]:
    """A storage without rows, closed at the end of the block.

    Args:
        url: ``memory://``; ``sqlite://`` (a file in the system's folder for such); ``sqlite:///shop.db`` (a new file
            beside that one, whose name begins like it, for each block; three slashes for a relative path, four for an
            absolute one); or ``module:factory``, a function that takes the clock and returns a Storage.
        clock: judges leases and lifetimes.

    Raises:
        ConfigurationError: the text names no storage.
    """
    opener = _opener(url)
    with opener(clock) as storage:
        yield storage


def _opener(url: str) -> Callable[[Clock], Any]:
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest:
        return _memory
    if scheme == "sqlite" and separator and (not rest or rest.startswith("/")):
        return lambda clock: _sqlite(rest[1:], clock)
    if not separator and ":" in url:
        factory = load(url)
        return lambda clock: _made(factory, clock)
    raise ConfigurationError(
        "BG290",
        f"{url!r} names no storage that the fixture 'guard' could stand on",
        where="--botguard-storage",
        fix="memory://, sqlite://, sqlite:///file.db, or module:factory for one of your own",
    )


@contextmanager
def _memory(clock: Clock) -> Iterator[Storage]:
    from botguard.adapters.memory import MemoryStorage

    yield MemoryStorage(clock=clock)


@contextmanager
def _sqlite(name: str, clock: Clock) -> Iterator[Storage]:
    from botguard.adapters.sqlite import SqliteStorage

    # A file of its own for each test: rows of one would be replays in the next, and files that were there stay as they are.
    wanted = Path(name) if name else Path(tempfile.gettempdir()) / "botguard.db"
    handle, made = tempfile.mkstemp(prefix=f"{wanted.stem}-", suffix=wanted.suffix, dir=wanted.parent)
    os.close(handle)
    storage = SqliteStorage(made, clock=clock, synchronous="NORMAL")
    try:
        yield storage
    finally:
        storage.close()
        for end in ("", "-wal", "-shm"):
            Path(made + end).unlink(missing_ok=True)


@contextmanager
def _made(factory: Callable[..., Any], clock: Clock) -> Iterator[Storage]:
    storage = make(factory, clock)
    try:
        yield storage
    finally:
        close(storage)
