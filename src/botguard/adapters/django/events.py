"""The audit trail, as rows."""

from __future__ import annotations

from typing import Any

from botguard.adapters.django.drivers import Driver, Step
from botguard.adapters.django.spelling import Clock, Spelling
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event

__all__ = ["EventOperations", "Events"]

_FIELDS = Event._fields
_BOOLEANS = ("success", "replayed", "degraded")


class _Sql:
    def __init__(self, spell: Spelling) -> None:
        table = "[botguard_events]"
        columns = spell.names(_FIELDS)
        self.append = spell(f"INSERT INTO {table} ({columns}) VALUES ({spell.values(_FIELDS)})")
        newest = f"ORDER BY {table}.[seq] DESC LIMIT %(limit)s"
        self.tail = spell(f"SELECT {columns} FROM {table} {newest}")
        self.tail_of_org = spell(f"SELECT {columns} FROM {table} WHERE [org] = %(org)s {newest}")


class EventOperations:
    """The operations of the port, each a plain function of a :class:`Step`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_vendor: dict[str, _Sql] = {}

    def _sql(self, step: Step) -> _Sql:
        found = self._by_vendor.get(step.vendor)
        if found is None:
            found = self._by_vendor[step.vendor] = _Sql(Spelling(step.vendor, self._clock))
        return found

    def append(self, step: Step, event: Event) -> None:
        """Store one event in the transaction that is open, or by itself."""
        step.execute(self._sql(step).append, event._asdict())

    def tail(self, step: Step, limit: int, org: str | None) -> list[Event]:
        """The newest events, oldest of them first."""
        if limit <= 0:
            return []
        sql = self._sql(step)
        if org is None:
            rows = step.execute(sql.tail, {"limit": limit}).fetchall()
        else:
            rows = step.execute(sql.tail_of_org, {"limit": limit, "org": org}).fetchall()
        return [_event(row) for row in reversed(rows)]


def _event(row: Any) -> Event:
    values = dict(zip(_FIELDS, row, strict=True))
    values |= {name: bool(values[name]) for name in _BOOLEANS}
    org = values["org"]
    values["org"] = org.decode() if isinstance(org, bytes) else org  # VARBINARY on MySQL and MariaDB
    return Event(**values)


class Events:
    """An :class:`botguard.ports.events.EventStore` on any driver."""

    def __init__(self, driver: Driver, operations: EventOperations) -> None:
        self.colour: Colour = driver.colour
        self._driver, self._do = driver, operations

    def append(self, event: Event) -> MaybeAwaitable[None]:
        """See the port."""
        return self._driver.each(self._do.append, event)

    def tail(self, limit: int = 100, *, org: str | None = None) -> MaybeAwaitable[list[Event]]:
        """See the port."""
        return self._driver.look(self._do.tail, limit, org)
