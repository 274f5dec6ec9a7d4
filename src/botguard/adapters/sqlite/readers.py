"""Looking without waiting: read connections of their own, which a write never holds up."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple
from weakref import WeakSet

from botguard.adapters.sqlite.connection import Execute, Link, connect, is_down, unavailable
from botguard.adapters.sqlite.gate import Gate
from botguard.errors import StoreUnavailable

__all__ = ["Readers"]

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")

#: More idle connections than this are closed; each costs file handles and a page cache.
_IDLE = 16
_FORK_PATIENCE = 1.0
#: Connections of a parent that was forked in the middle of a read: closing them here would drop its locks.
_inherited: list[Link] = []


class Readers:
    """Idle read connections; a look-up takes one, or opens one if all are in use.

    No connection belongs to a thread, so none outlives one; a server with a thread per request opens as many as ever
    look at the same time.
    """

    def __init__(self, path: str, gate: Gate, busy_timeout: float) -> None:
        self._path, self._gate, self._busy_timeout = path, gate, busy_timeout
        self._idle: list[Link] = []
        self._all: WeakSet[Link] = WeakSet()
        self._closed = False
        gate.join(self)

    def look(self, op: Callable[[Execute, *_Ts], _T], *args: *_Ts) -> _T:
        """``op(execute, *args)``: reads only, and fetches all rows of what it executes."""
        try:
            link = self._idle.pop()
        except IndexError:
            link = self._open()
        try:
            answer = op(link.execute, *args)
        except sqlite3.Error as error:
            if not is_down(error):
                raise
            link.close()
        else:
            self._give_back(link)
            return answer
        return self._again(op, *args)

    def _again(self, op: Callable[[Execute, *_Ts], _T], *args: *_Ts) -> _T:
        # A read that failed once may succeed on a fresh connection: faults of reading show as "malformed" as well.
        link = self._open()
        try:
            answer = op(link.execute, *args)
        except sqlite3.Error as error:
            link.close()
            if not is_down(error):
                raise
            raise unavailable(error, self._path) from error
        self._give_back(link)
        return answer

    def _give_back(self, link: Link) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(link)
        else:
            link.close()
        if self._closed:
            self._close_idle()

    def _open(self) -> Link:
        gate = self._gate
        with gate.opening:  # none is opened while a fork is under way
            if self._closed:
                raise StoreUnavailable(f"the SQLite store {self._path} was closed")
            if gate.spoiled:
                raise forked_in_use(self._path)
            try:
                link = Link(connect(self._path, synchronous="NORMAL", timeout=self._busy_timeout))
                link.execute("PRAGMA query_only=ON")
            except sqlite3.Error as error:
                raise unavailable(error, self._path) from error
            self._all.add(link)
            return link

    def _close_idle(self) -> None:
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return
            link.close()

    def close(self) -> None:
        """Close what is idle now, and what is in use as soon as it is given back."""
        self._closed = True
        self._close_idle()

    def before_fork(self) -> bool:
        """See :class:`Member`: waits a moment for those who are looking."""
        until = time.monotonic() + _FORK_PATIENCE
        self._close_idle()
        while any(link.connection is not None for link in list(self._all)):
            if time.monotonic() >= until:
                return False
            time.sleep(0.001)
            self._close_idle()
        return True

    def after_fork(self) -> None:
        """See :class:`Member`."""
        _inherited.extend(link for link in list(self._all) if link.connection is not None)
        self._idle = []
        self._all = WeakSet()


def forked_in_use(path: str) -> StoreUnavailable:
    """A child of a process that was writing or reading at the moment of the fork."""
    return StoreUnavailable(
        f"the SQLite store {path} was in use when this process was forked off, so its locks cannot be trusted here",
        fix="fork before transactions begin, start children with 'spawn', or open a new store in a new process",
    )
