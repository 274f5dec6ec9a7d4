"""The audit trail in one append-only table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, insert, select

from botguard.adapters.sqlalchemy.drivers import Driver, Step
from botguard.adapters.sqlalchemy.mapping import Layout
from botguard.adapters.sqlalchemy.moment import parameter
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event

__all__ = ["EventStatements", "Events"]


class EventStatements:
    """Built once for a layout."""

    def __init__(self, layout: Layout) -> None:
        self._rest, self._fields = layout.rest, layout.fields
        row: dict[Any, Any] = {layout.column(name): layout.value(name) for name in layout.fields}
        row |= layout.constants()
        columns = [layout.read(name) for name in layout.fields]
        if layout.mapped.rest is not None:
            rest = layout.table.c[layout.mapped.rest]
            row[rest] = parameter("rest", rest.type)
            columns.append(rest.label("rest"))
        # inline: nobody asks for the number that the row was given
        self._append = insert(layout.table).values(row).inline()
        order = layout.number if layout.number is not None else layout.column("at")
        newest = select(*columns).where(*layout.ours()).order_by(order.desc()).limit(parameter("limit", Integer()))
        self._tail = newest
        self._tail_of_org = newest.where(layout.column("org") == layout.value("org"))

    def append(self, step: Step, event: Event) -> None:
        """Store one event in the transaction that is open."""
        values = event._asdict()
        if self._rest:
            values = {name: values[name] for name in self._fields} | {
                "rest": {name: values[name] for name in self._rest}
            }
        step.execute(self._append, values)

    def tail(self, step: Step, limit: int, org: str | None) -> list[Event]:
        """The newest events, oldest of them first."""
        if limit <= 0:
            return []
        if org is None:
            found = step.execute(self._tail, {"limit": limit})
        else:
            found = step.execute(self._tail_of_org, {"limit": limit, "org": org})
        return [self._event(row) for row in reversed(found.all())]

    def _event(self, row: Any) -> Event:
        values: dict[str, Any] = row._asdict()
        values |= values.pop("rest", None) or {}
        return Event(**values)


class Events:
    """An :class:`botguard.ports.events.EventStore` on any driver."""

    def __init__(self, driver: Driver, statements: EventStatements) -> None:
        self.colour: Colour = driver.colour
        self._driver, self._do = driver, statements

    def append(self, event: Event) -> MaybeAwaitable[None]:
        """See the port."""
        return self._driver.each(self._do.append, event)

    def tail(self, limit: int = 100, *, org: str | None = None) -> MaybeAwaitable[list[Event]]:
        """See the port."""
        return self._driver.look(self._do.tail, limit, org)
