"""Units of work: the transaction that holds a command's effects together with its completion."""

from __future__ import annotations

import sqlite3
from typing import NoReturn

from botguard.adapters.sqlite.claims import Time, finish
from botguard.adapters.sqlite.connection import Execute, is_down, unavailable
from botguard.adapters.sqlite.writer import Writer
from botguard.errors import BotguardError, ConfigurationError
from botguard.ports.colour import Colour
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, RowState

__all__ = ["SAVEPOINT", "ThreadUnits", "finish_in_unit", "refuse_own_commit"]

#: Marks the unit's transaction: it is gone if a handler committed or rolled back, even if it has begun anew since.
SAVEPOINT = "botguard_unit"


def refuse_own_commit() -> NoReturn:
    """The handler ended the transaction that was to hold its completion."""
    raise ConfigurationError(
        "BG142",
        "a handler that commits by itself is not transactional: its transaction was over when it returned",
        why="effect and completion must become durable together, or a crash between them runs the effect twice",
        fix="leave the transaction to the guard, or declare effects='idempotent' or effects='external'",
    )


def finish_in_unit(
    execute: Execute,
    time: Time,
    path: str,
    key: str,
    claim_id: str,
    state: RowState,
    result: bytes | None,
    keep: float,
    attempts: int,
    event: Event | None,
) -> Ack:
    """Settle the claim inside the handler's transaction, if it is still that."""
    try:
        try:
            execute(f"RELEASE {SAVEPOINT}")
            execute(f"SAVEPOINT {SAVEPOINT}")
        except sqlite3.OperationalError as error:
            if "no such savepoint" in str(error):
                refuse_own_commit()
            raise
        return finish(execute, time, key, claim_id, state, result, keep, attempts, event)
    except sqlite3.Error as error:
        if is_down(error):
            raise unavailable(error, path) from error
        raise


class _ThreadUnit:
    """One transaction on the writer connection, which nobody else may use meanwhile."""

    def __init__(self, writer: Writer, time: Time, path: str) -> None:
        self._writer, self._time, self._path = writer, time, path
        self._over = False
        try:
            self.handle, self._execute = writer.begin_unit(self)
        except BaseException:
            self.rollback()  # the interrupt may have come after the begin
            raise

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
        self._check()
        return finish_in_unit(
            self._execute, self._time, self._path, key, claim_id, state, result, keep, attempts, event
        )

    def commit(self) -> None:
        """See the port."""
        self._check()
        if not self.handle.in_transaction:
            self.rollback()
            refuse_own_commit()
        self._over = True
        self._writer.end_unit(self, "COMMIT")

    def rollback(self) -> None:
        """See the port."""
        self._over = True
        try:
            self._writer.end_unit(self, "ROLLBACK")
        except BotguardError:  # the connection was dropped, which rolls back too
            pass

    def _check(self) -> None:
        if self._over:
            raise BotguardError("this unit of work is over")


class ThreadUnits:
    """Opens units on the caller's thread."""

    colour: Colour = "sync"

    def __init__(self, writer: Writer, time: Time, path: str) -> None:
        self._writer, self._time, self._path = writer, time, path

    def begin(self) -> _ThreadUnit:
        """See the port."""
        return _ThreadUnit(self._writer, self._time, self._path)
