"""The one connection of this process that writes, and the patience with which it waits for its turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any, TypeVar, TypeVarTuple
from weakref import ref

from botguard.adapters.sqlite.connection import (
    Execute,
    Link,
    NotReady,
    WorkConnection,
    connect,
    is_busy,
    is_down,
    is_harmless,
    not_ready,
    unavailable,
)
from botguard.adapters.sqlite.gate import Gate
from botguard.adapters.sqlite.patience import Wait
from botguard.adapters.sqlite.readers import forked_in_use
from botguard.errors import StoreUnavailable

__all__ = ["Writer"]

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")

#: See :mod:`botguard.adapters.sqlite.readers`.
_inherited: list[Link] = []


class Writer:
    """Runs statements and transactions on the writer connection, one at a time.

    The hot path is a lock, a prepared statement and nothing else: while the connection is not to be used (not open,
    or in a unit of work), ``_execute`` itself refuses, and the slow path finds out why.
    """

    def __init__(
        self, path: str, gate: Gate, connection: WorkConnection | None, synchronous: str, busy_timeout: float
    ) -> None:
        self._path, self._gate = path, gate
        self._synchronous, self._busy_timeout = synchronous, busy_timeout
        self._closed = False
        self._unit: ref[object] | None = None
        self._adopt(Link(connection))
        gate.join(self)

    def _adopt(self, link: Link) -> None:
        self._link = link
        self._execute = link.execute

    # ── the hot path ────────────────────────────────────────────────────────────────────────────────────────

    def once(self, sql: str, params: Sequence[Any]) -> int:
        """How many rows one self-committing statement changed; -1 if it cannot run now (then ``transact``)."""
        with self._gate.mutex:
            try:
                return self._execute(sql, params).rowcount
            except NotReady:
                return -1
            except sqlite3.Error as error:
                return self._failed(error, maybe_applied=True)

    def twice(self, sql: str, params: Sequence[Any], then: str, more: Sequence[Any]) -> int:
        """As ``once``, with a second statement in the same commit if the first changed one row.

        What ``transact`` would do, laid out flat: after each fsync the processor is cold, and then every line here
        costs four times what it seems to.
        """
        with self._gate.mutex:
            execute = self._execute
            committing = False
            try:
                execute("BEGIN IMMEDIATE")
                changed = execute(sql, params).rowcount
                if changed == 1:
                    execute(then, more)
                committing = True
                execute("COMMIT")
                return changed
            except NotReady:
                return -1
            except sqlite3.Error as error:
                return self._failed(error, maybe_applied=committing)
            except BaseException as error:
                self._clean_up(error)
                raise

    def _failed(self, error: sqlite3.Error, *, maybe_applied: bool) -> int:
        self._clean_up(error)
        if is_busy(error):
            return -1
        if not is_down(error):
            raise error
        raise unavailable(error, self._path, maybe_applied=maybe_applied) from error

    def glance(self, sql: str, params: Sequence[Any]) -> list[Any] | None:
        """The rows of a short look-up, or None if a write is under way.

        On the writer connection it costs a third of what it costs elsewhere, since its cache knows its own writes.
        """
        mutex = self._gate.mutex
        if not mutex.locked():
            with mutex:
                try:
                    return self._execute(sql, params).fetchall()
                except (NotReady, sqlite3.Error):  # whoever asks again elsewhere will learn why
                    return None
        return None

    def transact(self, op: Callable[[Execute, *_Ts], _T], *args: *_Ts) -> _T:
        """``op(execute, *args)`` in one transaction, committed when this returns.

        ``op`` may run again from its beginning; whatever it raises rolls everything back.
        """
        try:
            with self._gate.mutex:
                return self._transaction(op, *args)
        except (NotReady, sqlite3.Error) as error:
            first = error
        try:
            return self._patiently(first, self._transaction, op, *args)
        finally:
            del first  # or its traceback keeps this frame, and all that it refers to, until the next collection

    def _transaction(self, op: Callable[[Execute, *_Ts], _T], *args: *_Ts) -> _T:
        execute = self._execute
        committing = False
        try:
            execute("BEGIN IMMEDIATE")
            answer = op(execute, *args)
            committing = True
            execute("COMMIT")
        except NotReady:
            raise
        except BaseException as error:
            self._clean_up(error)
            if committing and isinstance(error, sqlite3.Error) and is_down(error) and not is_busy(error):
                raise unavailable(error, self._path, maybe_applied=True) from error
            raise
        return answer

    def _clean_up(self, error: BaseException) -> None:
        """No error leaves a transaction open, and a connection that may be broken is not used again."""
        try:
            connection = self._link.connection
            if connection is not None and connection.in_transaction:
                self._link.execute("ROLLBACK")
            if not is_harmless(error):
                self._drop()
        except sqlite3.Error:
            self._drop()
        except BaseException:  # a second Ctrl-C
            self._drop()
            raise

    def _drop(self) -> None:
        self._link.close()
        self._execute = self._link.execute

    # ── the slow path ───────────────────────────────────────────────────────────────────────────────────────

    def _patiently(self, error: NotReady | sqlite3.Error, attempt: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """Repeat an attempt until it is let in, for ``busy_timeout`` at most. The gate is free while we wait."""
        gate, wait = self._gate, Wait(self._path, self._busy_timeout)
        try:
            while True:
                if isinstance(error, sqlite3.Error) and not is_busy(error):
                    if not is_down(error):
                        raise error
                    raise unavailable(error, self._path) from error
                if gate.owner is not None:
                    self._wait_for_unit(wait)
                elif isinstance(error, sqlite3.Error):
                    wait.a_moment(error)
                with gate.mutex:
                    try:
                        self._make_ready()
                        return attempt(*args)
                    except (NotReady, sqlite3.Error) as again:
                        error = again
                        # In the gate and still busy: another process has the lock, or the host on its own connection.
                        if gate.owner is None:
                            wait.look_for_host()
        finally:
            del error

    def _make_ready(self) -> None:
        """Open the connection if it is not; the mutex is held."""
        if self._closed:
            raise StoreUnavailable(f"the SQLite store {self._path} was closed")
        if self._gate.spoiled:
            raise forked_in_use(self._path)
        if self._link.connection is None:
            self._adopt(Link(connect(self._path, synchronous=self._synchronous, timeout=0.0)))
        elif self._gate.owner is None:
            self._execute = self._link.execute

    def _wait_for_unit(self, wait: Wait) -> None:
        gate = self._gate
        with gate.mutex:
            if gate.end_forgotten():
                return
            if gate.owner == get_ident():
                raise StoreUnavailable(
                    f"this thread has a unit of work open on {self._path}, and a write beside it would wait for itself",
                    host_transaction=True,
                    fix="call the other command after the transactional one, or do its work on current().work",
                )
            left = wait.left()
            if left <= 0:
                raise StoreUnavailable(
                    f"another thread had a unit of work open on {self._path} for {self._busy_timeout:g} s",
                    fix="keep transactional handlers short, or raise busy_timeout",
                )
            if gate.owner is not None:
                gate.changed.wait(min(left, 0.02))

    # ── units of work ───────────────────────────────────────────────────────────────────────────────────────

    def begin_unit(self, unit: object) -> tuple[WorkConnection, Execute]:
        """Begin a transaction that keeps the connection until ``end_unit``; all others wait."""
        try:
            with self._gate.mutex:
                return self._begin_unit(unit)
        except (NotReady, sqlite3.Error) as error:
            first = error
        try:
            return self._patiently(first, self._begin_unit, unit)
        finally:
            del first

    def _begin_unit(self, unit: object) -> tuple[WorkConnection, Execute]:
        execute = self._execute
        try:
            execute("BEGIN IMMEDIATE")
            execute("SAVEPOINT botguard_unit")
            connection = self._link.connection
            assert connection is not None
            self._unit = ref(unit)
            connection.in_unit = True
            self._gate.enter(self._unit, self._end_unit)
            self._execute = not_ready
        except NotReady:
            raise
        except BaseException as error:
            self._end_unit(error)
            raise
        return connection, execute

    def end_unit(self, unit: object, statement: str) -> bool:
        """COMMIT or ROLLBACK, and let the others in whatever comes of it; False if the unit is not open.

        Raises:
            StoreUnavailable: the commit failed.
        """
        with self._gate.mutex:
            if self._unit is None or self._unit() is not unit:
                return False
            try:
                self._link.execute(statement)
            except sqlite3.Error as error:
                self._end_unit(error)
                raise unavailable(error, self._path, maybe_applied=not is_busy(error)) from error
            except BaseException as error:
                self._end_unit(error)
                raise
            self._end_unit(None)
            return True

    def _end_unit(self, error: BaseException | None) -> None:
        """Take the connection back, clean of whatever a handler has set on it. The mutex is held.

        An interrupt may come between any two steps: the unit is forgotten last, so that ending it again does the rest.
        """
        connection = self._link.connection
        if connection is not None:
            connection.in_unit = False
            connection.row_factory, connection.text_factory = None, str
        if error is not None:
            self._clean_up(error)
        self._execute = self._link.execute
        if self._closed:
            self._drop()
        if self._unit is not None:
            self._gate.leave()
            self._unit = None

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Close the connection; one that a unit of work has is closed at the end of the unit."""
        with self._gate.mutex:
            self._closed = True
            connection = self._link.connection
            if connection is None or not connection.in_unit:
                self._drop()

    def before_fork(self) -> bool:
        """See :class:`Member`."""
        connection = self._link.connection
        if connection is not None and connection.in_unit:
            return False
        self._drop()
        return True

    def after_fork(self) -> None:
        """See :class:`Member`."""
        link = self._link
        if link.connection is not None:
            _inherited.append(link)
        self._unit = None
        self._adopt(Link(None))
