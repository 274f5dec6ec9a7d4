"""The trail, in as few words as it can be said."""

from __future__ import annotations

from typing import Any

from botguard.ports.colour import Colour
from botguard.ports.events import Event

__all__ = ["EventModel"]


class EventModel:
    """EventStore: a list."""

    colour: Colour = "any"

    def __init__(self, clock: Any = None) -> None:
        self.rows: list[Event] = []

    def append(self, event: Event) -> None:
        self.rows.append(event)

    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        found = [event for event in list(self.rows) if org is None or event.org == org]
        return found[-limit:] if limit else []
