"""What was seen in shadow, counted by command and reason: from this process's memory, or from the audit trail."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botguard.outcome import Status
from botguard.ports.events import Event

__all__ = ["KIND", "MISSED", "ShadowReport", "ShadowRow", "Tally", "spelt"]

#: The ``kind`` of an observation's event.
KIND = "shadow"
#: What an observation's event says in ``shadow`` when the guard could not look at the call.
MISSED = "not_observed"

_REFUSALS = tuple(
    str(status)
    for status in (
        Status.INVALID,
        Status.DENIED,
        Status.THROTTLED,
        Status.CONFLICT,
        Status.IN_FLIGHT,
        Status.UNAVAILABLE,
        Status.PENDING,
        Status.UNKNOWN,
    )
)
#: The kinds that say how a call would have ended: exactly one for each call.
_ENDS = ("passed", *_REFUSALS, "replayed", MISSED)
_ORDER = {kind: n for n, kind in enumerate((*_ENDS, "full", "charged", "retried", "parked", "stopped", "interrupted"))}


def spelt(kind: str, reason: str) -> str:
    """One finding as an event's ``shadow`` column holds it. Commas and equal signs are that column's own."""
    return f"{kind}={reason[:80].replace(',', ';').replace('=', ':')}"


def _findings(event: Event) -> Iterator[tuple[str, str]]:
    """How the call would have ended, and what else would have happened, as (kind, reason)."""
    said = event.shadow.split(",") if event.shadow else []
    if event.kind == KIND and not event.shadow.startswith(MISSED):
        if event.replayed:
            yield "replayed", ""
        elif event.attempts:
            yield "passed", ""
        else:
            yield event.status, event.reasons.partition(",")[0]
    for item in said:
        kind, _, reason = item.partition("=")
        yield kind, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRow:
    """One line of a report.

    Args:
        command: the command's name.
        kind: how calls would have ended (``passed``, a refusal such as ``denied``, ``replayed``, ``not_observed``), or what
            else would have happened (``charged``, ``full``, ``retried``, ``parked``, ``stopped``, ``interrupted``; for a
            stage in shadow mode its name).
        reason: the outcome's reason; the limit's text for ``charged`` and ``full``; else the type of the error.
        count: calls.
        first, last: when it was seen, UTC; to the minute where calls were counted together.
        example: names one such call: its correlation id, else the beginning of its key's digest, else "".
    """

    command: str
    kind: str
    reason: str
    count: int
    first: dt.datetime
    last: dt.datetime
    example: str = ""

    @property
    def refused(self) -> bool:
        """True if the guard would have said no."""
        return self.kind in _REFUSALS


class Tally:
    """Counts events by (command, kind, reason). Thread-safe and bounded: beyond ``capacity`` lines a new one is ``*``."""

    def __init__(self, capacity: int = 2000) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, str, str], list[Any]] = {}

    def add(self, event: Event) -> None:
        """Count one event; those that say nothing about shadow count nothing."""
        for kind, reason in _findings(event):
            with self._lock:
                line = self._line(event.command, kind, reason)
                if not line:
                    line[:] = [0, event.at, event.at, ""]
                line[0] += event.count
                line[1], line[2] = min(line[1], event.at), max(line[2], event.at)
                line[3] = line[3] or event.correlation_id or (f"key {event.key[:12]}" if event.key else "")

    def _line(self, command: str, kind: str, reason: str) -> list[Any]:
        name = (command, kind, reason)
        if name not in self._lines and len(self._lines) >= self._capacity:
            name = (command, kind, "*")
        return self._lines.setdefault(name, [])

    def rows(self) -> tuple[ShadowRow, ...]:
        """By command, then in the order of the kinds, the most frequent first."""
        with self._lock:
            lines = [(name, tuple(line)) for name, line in self._lines.items()]
        lines.sort(key=lambda it: (it[0][0], _ORDER.get(it[0][1], len(_ORDER)), it[0][1], -it[1][0], it[0][2]))
        return tuple(
            ShadowRow(
                command=command, kind=kind, reason=reason, count=n, first=_utc(first), last=_utc(last), example=example
            )
            for (command, kind, reason), (n, first, last, example) in lines
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """What the guard would have done (``guard.shadow_report()``); ``str()`` of it is for reading.

    Args:
        rows: see :class:`ShadowRow`.
        since, until: the time that the report is about, UTC.
        left_alone: handlers that ``guard.shadow`` of this process did not wrap, and why.
        unwritten: calls that this process has seen and the event store does not hold yet, or has lost.
        truncated: True if the trail holds more events since then than were read.
    """

    rows: tuple[ShadowRow, ...]
    since: dt.datetime
    until: dt.datetime
    left_alone: tuple[tuple[str, str], ...] = ()
    unwritten: int = 0
    truncated: bool = False

    @property
    def calls(self) -> int:
        """How many calls were seen."""
        return sum(row.count for row in self.rows if row.kind in _ENDS)

    @property
    def refused(self) -> int:
        """How many of them the guard would have refused."""
        return sum(row.count for row in self.rows if row.refused)

    def count(self, command: str | None = None, kind: str | None = None, reason: str | None = None) -> int:
        """The sum of the rows that fit."""
        wanted = ((command, "command"), (kind, "kind"), (reason, "reason"))
        return sum(r.count for r in self.rows if all(w is None or w == getattr(r, name) for w, name in wanted))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data that JSON can hold; times as ISO 8601."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "calls": self.calls,
            "refused": self.refused,
            "rows": [
                {
                    "command": row.command,
                    "kind": row.kind,
                    "reason": row.reason,
                    "count": row.count,
                    "first": row.first.isoformat(),
                    "last": row.last.isoformat(),
                    "example": row.example,
                }
                for row in self.rows
            ],
            "left_alone": dict(self.left_alone),
            "unwritten": self.unwritten,
            "truncated": self.truncated,
        }

    def __str__(self) -> str:
        lines = [
            f"Shadow report, {_shown(self.since)} to {_shown(self.until)} UTC",
            f"{_calls(self.calls)} seen, {self.refused} would have been refused; none was changed.",
        ]
        command = None
        for row in self.rows:
            if row.command != command:
                command = row.command
                lines += ["", command]
            seen = " to ".join(dict.fromkeys((_shown(row.first), _shown(row.last))))
            example = f"  e.g. {row.example}" if row.example else ""
            lines.append(
                f"  {row.kind.replace('_', ' '):<13} {row.reason:<28} {row.count:>7}  {seen}{example}".rstrip()
            )
        if self.left_alone:
            lines += ["", "Left alone"] + [f"  {name}: {why}" for name, why in self.left_alone]
        if self.unwritten:
            lines += ["", f"The event store does not hold {_calls(self.unwritten)} of these."]
        if self.truncated:
            lines += ["", "There are older events since then that were not read."]
        return "\n".join(lines)


def _calls(n: int) -> str:
    return f"{n} call" if n == 1 else f"{n} calls"


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _shown(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
