"""Memory with units of work, so that transactional commands can be simulated at full speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botguard.adapters.memory import MemoryStorage
from botguard.ports.colour import Colour
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, IdempotencyStore, RowState
from botguard.runtime import SystemClock

__all__ = ["TransactionalMemory"]


class _Handle:
    """Understands the ledger's three sentences."""

    def __init__(self, table: list[int]) -> None:
        self._table = table
        self.written: list[int] = []

    def execute(self, sql: str, parameters: tuple[int, ...] = ()) -> _Handle:
        """Write a row, or do nothing."""
        self.written.extend(parameters)
        return self

    def fetchall(self) -> list[tuple[int]]:
        """All rows, the unit's own included."""
        return [(number,) for number in (*self._table, *self.written)]


class _Unit:
    """What was written waits for the commit. There is one writer at a time, so what holds at ``finish`` still does."""

    def __init__(self, claims: IdempotencyStore, table: list[int], time: Callable[[], float]) -> None:
        self._claims, self._table, self._time = claims, table, time
        self.handle = _Handle(table)
        self._finish: tuple[Any, ...] | None = None

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
        """See the port."""
        row: Any = self._claims.peek(key)
        if row is None or row.claim_id != claim_id:
            return Ack.LOST
        if row.state is not RowState.CLAIMED and row.state is not RowState.UNKNOWN:
            return Ack.ALREADY
        # What it is kept for counts from here, as in a database, and not from the commit.
        self._finish = (key, claim_id, state, result, self._time() + keep, attempts, event)
        return Ack.APPLIED

    def commit(self) -> None:
        """See the port."""
        if self._finish is not None:
            key, claim_id, state, result, until, attempts, event = self._finish
            self._claims.finish(key, claim_id, state, result, until - self._time(), attempts, event)
        self._table.extend(self.handle.written)

    def rollback(self) -> None:
        """See the port."""
        self.handle.written.clear()
        self._finish = None


class _Units:
    colour: Colour = "any"

    def __init__(self, claims: IdempotencyStore, time: Callable[[], float]) -> None:
        self._claims, self._time = claims, time
        self._table: list[int] = []

    def begin(self) -> _Unit:
        """See the port."""
        return _Unit(self._claims, self._table, self._time)


class TransactionalMemory(MemoryStorage):
    """A :class:`MemoryStorage` that offers units of work to the simulation, which lets one write at a time."""

    def __init__(self, *, clock: Any = None) -> None:
        super().__init__(clock=clock)
        self.work = _Units(self.idempotency, clock.time if clock is not None else SystemClock.time)  # type: ignore[assignment]
