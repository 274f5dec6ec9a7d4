"""Making a report: at once from this process's own counts, or from the trail of all processes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from botguard.adoption.observer import Observer
from botguard.adoption.report import ShadowReport, ShadowRow, Tally
from botguard.errors import ConfigurationError
from botguard.ports.events import Event

__all__ = ["report", "report_async"]

#: How many of the newest events are read for a report.
_READ = 100_000

Since = dt.datetime | dt.timedelta


def report(observer: Observer, since: Since | None) -> ShadowReport:
    """See :meth:`botguard.Guard.shadow_report`."""
    if since is None:
        return _report(observer, observer.tally.rows(), observer.since)
    start = _start(observer, since)
    store = observer.real.storage.events
    if store.colour == "async":
        raise ConfigurationError(
            "BG165",
            "this storage is asynchronous",
            where="guard.shadow_report()",
            why="there is no event loop to read its events on",
            fix="await guard.shadow_report_async(since=...)",
        )
    observer.flush()
    events: Any = store.tail(_READ)
    return _from_trail(observer, events, start)


async def report_async(observer: Observer, since: Since | None) -> ShadowReport:
    """``report`` for any storage."""
    if since is None:
        return report(observer, None)
    start = _start(observer, since)
    await observer.flush_async()
    storage = observer.real.storage.for_async() or observer.real.storage
    events: Any = storage.events.tail(_READ)
    return _from_trail(observer, await events if hasattr(events, "__await__") else events, start)


def _start(observer: Observer, since: Since) -> float:
    if isinstance(since, dt.timedelta):
        return observer.clock.time() - since.total_seconds()
    given: Any = since
    if isinstance(given, dt.datetime) and given.tzinfo is not None:
        return given.timestamp()
    raise ConfigurationError(
        "BG188",
        f"since={since!r:.60} is no aware datetime and no timedelta",
        where="guard.shadow_report()",
        why="nobody could tell which events are meant",
        fix="give datetime.timedelta(days=1), or a datetime with tzinfo=datetime.UTC",
    )


def _from_trail(observer: Observer, events: Iterable[Event], start: float) -> ShadowReport:
    newest = [event for event in events if event.at >= start]
    tally = Tally()
    for event in newest:
        tally.add(event)
    truncated = len(newest) >= _READ
    return _report(observer, tally.rows(), start, truncated)


def _report(observer: Observer, rows: tuple[ShadowRow, ...], start: float, truncated: bool = False) -> ShadowReport:
    return ShadowReport(
        rows=rows,
        since=dt.datetime.fromtimestamp(start, dt.UTC),
        until=dt.datetime.fromtimestamp(observer.clock.time(), dt.UTC),
        left_alone=tuple(sorted(observer.left_alone.items())),
        unwritten=observer.trail.unwritten,
        truncated=truncated,
    )
