"""record: one event and one count for every run, whatever became of it."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call
from botguard.pipeline.stage import Proceed
from botguard.pipeline.trail import event_of, seal
from botguard.ports.events import Event
from botguard.ports.telemetry import Meter

__all__ = ["Record", "RefusalLog"]

#: Ends without a run. Floods of them are counted, not written one by one.
_REFUSED = frozenset(
    (Status.DENIED, Status.INVALID, Status.THROTTLED, Status.CONFLICT, Status.IN_FLIGHT, Status.UNAVAILABLE)
)


class RefusalLog:
    """Per (org, actor, command, reason) the first few refusals a minute are events, the rest one counted summary.

    Kept for the present minute only, and bounded: beyond ``capacity`` names, strangers share one line.
    """

    def __init__(self, first: int = 5, capacity: int = 10_000) -> None:
        self._first, self._capacity = first, capacity
        self._minute = -1
        self._counts: dict[tuple[str, str, str, str], int] = {}
        self._due: list[tuple[tuple[str, str, str, str], int]] = []

    def admit(self, org: str, actor: str, command: str, reason: str, now: float) -> bool:
        """True if this refusal is to be an event of its own."""
        minute = int(now // 60)
        if minute != self._minute:
            self._turn(minute)
        name = (org, actor, command, reason)
        count = self._counts.get(name)
        if count is None:
            if len(self._counts) >= self._capacity:
                name = (org, "*", command, reason)
                count = self._counts.get(name, 0)
            else:
                count = 0
        self._counts[name] = count + 1
        return count < self._first

    def _turn(self, minute: int) -> None:
        ended, self._counts, self._minute = self._counts, {}, minute
        self._due.extend((name, count - self._first) for name, count in ended.items() if count > self._first)

    def take_due(self, limit: int = 4) -> list[tuple[tuple[str, str, str, str], int]]:
        """A few summaries of past minutes that are still to be written."""
        taken, self._due = self._due[:limit], self._due[limit:]
        return taken

    def flush(self) -> list[tuple[tuple[str, str, str, str], int]]:
        """All summaries, the present minute's included."""
        self._turn(-1)
        return self.take_due(len(self._due))

    @property
    def has_due(self) -> bool:
        """True if ``take_due`` would give something."""
        return bool(self._due)


class Record:
    """The outermost stage. Its own trouble never changes an outcome; it is noted on it."""

    name = "record"

    def __init__(self, command: Command, meters: tuple[Meter, ...], refusals: RefusalLog) -> None:
        self._command, self._meters, self._refusals = command.name, meters, refusals

    async def around(self, call: Call, proceed: Proceed) -> Outcome:
        """Run, then write the event (unless it went out with the completion) and count."""
        try:
            outcome = await proceed(call)
        except BaseException as error:
            await self._interrupted(call, error)
            raise
        finally:
            call.view = None  # call and view refer to each other: without this, every run would wait for the collector
        if not call.audited or call.notes:  # otherwise it was sealed when its event went out with the completion
            seal(call, outcome)
        if not call.audited and (outcome.status not in _REFUSED or self._admit(call, outcome)):
            await self._append(call, outcome, event_of(call, outcome))
        if self._refusals.has_due:
            await self._summaries(call)
        for meter in self._meters:
            meter.observe(self._command, outcome)
        return outcome

    def _admit(self, call: Call, outcome: Outcome) -> bool:
        context = call.context
        actor = context.actor if context is not None else None
        return self._refusals.admit(
            context.org if context is not None else "",
            actor.id if actor is not None else "",
            self._command,
            outcome.reasons[0] if outcome.reasons else "",
            call.plan.runtime.clock.time(),
        )

    async def _append(self, call: Call, outcome: Outcome, event: Event) -> None:
        try:
            done = call.stores.events.append(event)
            if hasattr(done, "__await__"):  # to its end, even if the caller is cancelled meanwhile
                await call.plan.runtime.shield(call.bridge(done))
        except Exception:  # noqa: BLE001 - the run is over; losing its event must not turn it into another outcome
            outcome.degraded = True
            outcome.event_id = ""
            outcome.reasons = (*outcome.reasons, Reason.AUDIT_LOST)

    async def _summaries(self, call: Call) -> None:
        for (org, actor, command, reason), count in self._refusals.take_due():
            outcome = Outcome(Status.DENIED)
            event = event_of(call, outcome, "refusals", count)
            event = event._replace(org=org, actor=actor, person="", command=command, reasons=reason, key="", shadow="")
            await self._append(call, outcome, event)

    async def _interrupted(self, call: Call, error: BaseException) -> None:
        """Cancelled or interrupted: one terminal event all the same, then the interruption goes on."""
        status = Status.UNKNOWN if call.began else Status.CANCELLED
        outcome = seal(call, Outcome(status, None, error, (Reason.CANCELLED,)))
        for meter in self._meters:
            meter.observe(self._command, outcome)
        if not call.audited:
            await self._append(call, outcome, event_of(call, outcome))

    async def preview(self, call: Call) -> Outcome | None:
        """Nothing to say before the end."""
        return None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"meters": [type(meter).__name__ for meter in self._meters]}
