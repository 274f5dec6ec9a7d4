"""The audit trail in one append-only table."""

from __future__ import annotations

from typing import Any

from botguard.adapters.sqlite.connection import Execute
from botguard.adapters.sqlite.drivers import Driver
from botguard.adapters.sqlite.writer import Writer
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event

__all__ = ["APPEND", "Events", "ThreadEvents", "append", "event_params"]

_COLUMNS = ", ".join(Event._fields)
APPEND = f"INSERT INTO botguard_events ({_COLUMNS}) VALUES ({', '.join('?' * len(Event._fields))})"  # noqa: S608
_TAIL = f"SELECT {_COLUMNS} FROM botguard_events ORDER BY seq DESC LIMIT ?"  # noqa: S608 - constants
_TAIL_OF_ORG = f"SELECT {_COLUMNS} FROM botguard_events WHERE org = ? ORDER BY seq DESC LIMIT ?"  # noqa: S608
_SUCCESS, _REPLAYED, _DEGRADED = (Event._fields.index(name) for name in ("success", "replayed", "degraded"))


def event_params(event: Event) -> list[Any]:
    """An event as the statement takes it."""
    # A bool, and a tuple that is not exactly a tuple, go round by sqlite3's adapters: twice the time of the insert.
    values: list[Any] = [*event]
    values[_SUCCESS] = 1 if event.success else 0
    values[_REPLAYED] = 1 if event.replayed else 0
    values[_DEGRADED] = 1 if event.degraded else 0
    return values


def append(execute: Execute, event: Event) -> None:
    """Store one event in the transaction that is open."""
    execute(APPEND, event_params(event))


def _tail(execute: Execute, limit: int, org: str | None) -> list[Event]:
    found = execute(_TAIL, (limit,)) if org is None else execute(_TAIL_OF_ORG, (org, limit))
    return [_event(row) for row in reversed(found.fetchall())]


def _event(row: tuple[Any, ...]) -> Event:
    event = Event(*row)
    return event._replace(success=bool(event.success), replayed=bool(event.replayed), degraded=bool(event.degraded))


class Events:
    """An :class:`botguard.ports.events.EventStore` on any driver.

    ``tail`` of one org reads backwards until it has found enough: there is no index but the order of arrival, since
    each index would cost every run a page.
    """

    def __init__(self, driver: Driver) -> None:
        self.colour: Colour = driver.colour
        self._run, self._scan = driver.run, driver.scan

    def append(self, event: Event) -> MaybeAwaitable[None]:
        """See the port."""
        return self._run(append, event)

    def tail(self, limit: int = 100, *, org: str | None = None) -> MaybeAwaitable[list[Event]]:
        """See the port."""
        return self._scan(_tail, max(limit, 0), org)


class ThreadEvents(Events):
    """The same on the caller's thread: one event is one statement that commits by itself."""

    def __init__(self, driver: Driver, writer: Writer) -> None:
        super().__init__(driver)
        self._once = writer.once

    def append(self, event: Event) -> MaybeAwaitable[None]:
        """See the port."""
        if self._once(APPEND, event_params(event)) == 1:
            return None
        return self._run(append, event)
