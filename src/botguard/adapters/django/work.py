"""Units of work for ``transactional`` commands: an ``atomic()`` block for each attempt."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, transaction

from botguard.adapters.django.claims import ClaimOperations
from botguard.adapters.django.drivers import Step
from botguard.adapters.django.failures import DOWN, is_down, unavailable
from botguard.adapters.django.places import own_place
from botguard.errors import BotguardError, ConfigurationError
from botguard.ports.colour import Colour
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, RowState

__all__ = ["Unit", "Units"]

#: Statements that end a transaction; going back to a savepoint does not.
_ENDS = re.compile(r"\s*(COMMIT|END|ABORT|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b))\b", re.IGNORECASE)
_log = logging.getLogger("botguard.django")


class Units:
    """Opens them on the caller's thread: a transaction, or a savepoint where the host has one open."""

    colour: Colour = "sync"

    def __init__(self, alias: Callable[[], str], claims: ClaimOperations) -> None:
        self._alias, self._claims = alias, claims

    def begin(self) -> Unit:
        """See the port."""
        return Unit(self._alias(), self._claims)


class Unit:
    """See :class:`botguard.ports.work.Unit`. ``handle`` is Django's connection; models of its database need no handle."""

    def __init__(self, alias: str, claims: ClaimOperations) -> None:
        self._alias, self._claims, self._over, self._committed = alias, claims, False, False
        self.handle: Any = connections[alias]
        self._entered = False
        self._joined = False
        try:
            self._joined = own_place(alias).host
            self._atomic = transaction.atomic(using=alias)
            self._atomic.__enter__()
            self._entered = True
            if not self._joined:
                self._begin()
            self.handle.execute_wrappers.append(_refuse_end)
        except DOWN as error:
            self.rollback()
            if is_down(error):
                raise unavailable(error, host=self._joined) from error
            raise
        except BaseException:
            self.rollback()
            raise

    def _begin(self) -> None:
        if self.handle.vendor == "sqlite":
            # A statement that writes takes the lock, rows or none: a transaction that begins by reading could be refused
            # it later, however long the time-out is.
            with self.handle.cursor() as cursor:
                cursor.execute('UPDATE "botguard_claims" SET "fence" = "fence" WHERE "seq" = -1')
        transaction.on_commit(self._note_commit, using=self._alias)

    def _note_commit(self) -> None:
        """The first thing after COMMIT: what fails from here on are hooks of the handler's."""
        self._committed = True

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
        """See the port; ConfigurationError BG142 if the handler has ended or broken the transaction."""
        self._check()
        try:
            with self.handle.cursor() as cursor:
                step = Step(cursor, self.handle.vendor, grouped=False, inside=True, host=self._joined)
                return self._claims.finish(step, key, claim_id, state, result, keep, attempts, event)
        except DOWN as error:
            if is_down(error):
                raise unavailable(error, host=self._joined) from error
            raise

    def _check(self) -> None:
        if self._over:
            raise BotguardError("this unit of work is over")
        if self.handle.needs_rollback:
            raise _own_end("a handler left its transaction broken, so that nothing of it can be committed")

    def commit(self) -> None:
        """See the port; in the host's transaction it keeps this attempt's work, durable when the host commits."""
        self._check()
        self._over = True
        try:
            self._leave()
        except Exception as error:
            if self._committed:  # durable: what follows cannot turn it into a failure
                _log.error(
                    "a function given to on_commit() raised, after its transaction was committed", exc_info=error
                )
            elif isinstance(error, DOWN) and is_down(error):
                raise unavailable(error, sent=not self._joined, host=self._joined) from error
            else:
                raise

    def rollback(self) -> None:
        """See the port."""
        self._over = True
        if not self._entered:
            return
        try:
            self.handle.needs_rollback = True
            self._leave()
        except (DatabaseError, InterfaceError):  # the connection is gone, and the transaction with it
            pass

    def _leave(self) -> None:
        """End the atomic block; it rolls back if it is marked so."""
        self._entered = False
        if _refuse_end in self.handle.execute_wrappers:
            self.handle.execute_wrappers.remove(_refuse_end)
        self._atomic.__exit__(None, None, None)


def _refuse_end(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """Stops a statement that would end the transaction; Django's own commits and savepoints pass."""
    if isinstance(sql, str) and _ENDS.match(sql):
        raise _own_end("a handler that commits or rolls back by itself is not transactional")
    return execute(sql, params, many, context)


def _own_end(what: str) -> ConfigurationError:
    return ConfigurationError(
        "BG142",
        what,
        why="effect and completion must become durable together, or a crash between them runs the effect twice",
        fix="leave the transaction to the guard, and put what may fail into an atomic() block of its own; or declare "
        "effects='idempotent' or effects='external'",
    )
