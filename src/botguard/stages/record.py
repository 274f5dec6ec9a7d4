"""record: one event and one count for every run, whatever became of it."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.errors import ConfigurationError
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call
from botguard.pipeline.refusals import RefusalBudget, RefusalLog, caller_of
from botguard.pipeline.stage import Proceed
from botguard.pipeline.trail import event_of, seal
from botguard.ports.events import Event
from botguard.ports.telemetry import Meter

__all__ = ["Record"]

#: Ends without a run. Floods of them are counted, not written one by one.
_REFUSED = frozenset(
    (Status.DENIED, Status.INVALID, Status.THROTTLED, Status.CONFLICT, Status.IN_FLIGHT, Status.UNAVAILABLE)
)
#: Refusals that count against the caller: those that a stranger who guesses would get.
_CHARGED = frozenset((Status.DENIED, Status.INVALID, Status.CONFLICT))


class Record:
    """The outermost stage. Its own trouble never changes an outcome; it is noted on it."""

    name = "record"

    def __init__(
        self, command: Command, meters: tuple[Meter, ...], refusals: RefusalLog, budget: RefusalBudget
    ) -> None:
        self._command, self._meters, self._refusals, self._budget = command.name, meters, refusals, budget

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Run, then write the event (unless it went out with the completion) and count."""
        try:
            outcome = await proceed(call)
        except ConfigurationError as error:
            await self._interrupted(call, error)
            raise
        except Exception as error:  # noqa: BLE001 - a part broke its port; whoever runs the guard still gets an outcome
            outcome = _broken(call, error)
        except BaseException as error:
            await self._interrupted(call, error)
            raise
        finally:
            call.view = None  # call and view refer to each other: without this, every run would wait for the collector
        # A plain success was sealed already, when its event went out with the completion.
        if not call.audited or call.notes or call.degraded:
            seal(call, outcome)
        try:
            if not call.audited and (outcome.status not in _REFUSED or self._refused(call, outcome)):
                # Written out, since every run comes by: most stores answer at once, and then it costs no coroutine.
                try:
                    done: Any = call.stores.events.append(event_of(call, outcome))
                except Exception:  # noqa: BLE001 - the run is over; losing its event must not turn it into another
                    _lose(outcome)
                else:
                    if done is not None and hasattr(done, "__await__"):
                        await self._written(call, outcome, done)
            if self._refusals.due:
                await self._summaries(call)
        finally:  # cancelled while its event was written: it counts all the same
            for meter in self._meters:
                meter.observe(self._command, outcome)
        return outcome

    def _refused(self, call: Call, outcome: Outcome) -> bool:
        """Charge a refusal to its caller; True if it is to be an event of its own."""
        reason = outcome.reasons[0] if outcome.reasons else ""
        if call.context is None:
            return self._refusals.admit(("", "", self._command, reason), call.started)
        caller = caller_of(call)
        if outcome.status in _CHARGED:
            self._budget.charge(caller, call.started)
        return self._refusals.admit((caller[0] or "", caller[3] or "", self._command, reason), call.started)

    async def _append(self, call: Call, outcome: Outcome, event: Event) -> None:
        try:
            done: Any = call.stores.events.append(event)
        except Exception:  # noqa: BLE001 - as above
            _lose(outcome)
        else:
            if done is not None and hasattr(done, "__await__"):
                await self._written(call, outcome, done)

    async def _written(self, call: Call, outcome: Outcome, done: Any) -> None:
        """Wait for the store, to its end, even if the caller is cancelled meanwhile."""
        try:
            await call.plan.runtime.shield(call.bridge(done))
        except Exception:  # noqa: BLE001 - as above
            _lose(outcome)

    async def _summaries(self, call: Call) -> None:
        for _ in range(4):  # one by one, so that a cancellation loses none
            for (org, actor, command, reason), count in self._refusals.take_due(1):
                outcome = Outcome(Status.DENIED)
                event = event_of(call, outcome, "refusals", count)
                event = event._replace(
                    org=org,
                    actor=actor,
                    person="",
                    command=command,
                    reasons=reason,
                    key="",
                    shadow="",
                    channel="",
                    correlation_id="",
                )
                await self._append(call, outcome, event)

    async def flush(self, call: Call) -> None:
        """Write all counted summaries, the present minute's too; ``call`` stands for nobody's in particular."""
        self._refusals.close_minute()
        while self._refusals.due:
            await self._summaries(call)

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


def _lose(outcome: Outcome) -> None:
    """Say on the outcome that nobody wrote its event down."""
    outcome.degraded = True
    outcome.event_id = ""
    outcome.reasons = (*outcome.reasons, Reason.AUDIT_LOST)


def _broken(call: Call, error: Exception) -> Outcome:
    """An outcome for an error that no port may raise: closed, and honest about an effect that may exist."""
    if call.began:
        return Outcome(Status.UNKNOWN, None, error, (Reason.EFFECT_UNKNOWN,))
    return Outcome(Status.UNAVAILABLE, None, error, (Reason.STORE_UNAVAILABLE,))
