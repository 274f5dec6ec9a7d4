"""What the stores ask of whoever runs their operations, and the plain driver.

An operation is a function ``op(execute, ...)`` that decides and writes; it never waits, begins or commits. Three
drivers run the same operations: the caller's thread (here), the host's own transaction (``joined``), and the writer
thread behind an event loop (``group``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, TypeVarTuple

from botguard.adapters.sqlite.connection import Execute
from botguard.adapters.sqlite.readers import Readers
from botguard.adapters.sqlite.writer import Writer
from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["Driver", "ThreadDriver"]

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")


class Driver(Protocol):
    """Runs operations; its colour is that of the stores above it."""

    colour: Colour

    def run(self, op: Callable[[Execute, *_Ts], _T], /, *args: *_Ts) -> MaybeAwaitable[_T]:
        """Run an operation that writes, atomically; durable when it is answered (joined: when the host commits)."""
        ...

    def look(self, op: Callable[[Execute, *_Ts], _T], /, *args: *_Ts) -> _T:
        """Run a short operation that only reads, at once: it never waits for a writer."""
        ...

    def scan(self, op: Callable[[Execute, *_Ts], _T], /, *args: *_Ts) -> MaybeAwaitable[_T]:
        """Run an operation that only reads and may take long."""
        ...

    def sweep(
        self, find: Callable[[Execute], list[Any]], delete: Callable[[Execute, list[Any]], int]
    ) -> MaybeAwaitable[int]:
        """Find rows to delete without holding the write lock, then delete those that still are as they were."""
        ...


class ThreadDriver:
    """On the caller's thread."""

    colour: Colour = "sync"

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self.run = writer.transact
        self.look = readers.look
        self.scan = readers.look

    def sweep(self, find: Callable[[Execute], list[Any]], delete: Callable[[Execute, list[Any]], int]) -> int:
        """See :class:`Driver`."""
        rows = self.look(find)
        return self.run(delete, rows) if rows else 0
