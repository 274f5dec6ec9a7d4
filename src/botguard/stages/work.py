"""work: a new transaction for each attempt of a ``transactional`` command, which also holds its completion."""

from __future__ import annotations

from typing import Any

from botguard.errors import BotguardError, ConfigurationError, StoreUnavailable
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.meeting import Meeting
from botguard.pipeline.settle import Settlement
from botguard.pipeline.stage import Proceed
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, RowState
from botguard.ports.work import Unit

__all__ = ["Work"]


class Work:
    """Effect, completion and event commit together, or nothing of them is left."""

    name = "work"

    def __init__(self, settlement: Settlement, meeting: Meeting, keep: float) -> None:
        self._settlement, self._meeting, self._keep = settlement, meeting, keep

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Begin, run, finish and commit; roll back on anything else."""
        try:
            unit = await self._begin(call)
        except StoreUnavailable as error:
            return _down(error)
        call.unit = unit
        try:
            outcome = await proceed(call)
            if outcome.status is Status.SUCCEEDED:
                return await self._commit(call, unit, outcome)
        except BaseException:
            await call.plan.runtime.shield(self._rollback(call, unit))
            raise
        finally:
            call.unit = None
        # Shielded here too: the attempt's time may be over just now, and a transaction left open holds everybody up.
        await call.plan.runtime.shield(self._rollback(call, unit))
        return outcome

    async def _begin(self, call: Call) -> Unit:
        work = call.stores.work
        if work is None:  # pragma: no cover - refused at wiring
            raise ConfigurationError(
                "BG160",
                "this storage has no unit of work",
                where=call.plan.command.name,
                why="effect and completion could not be committed together",
                fix="use a storage that has one, or declare other effects",
            )
        unit: Any = work.begin()
        if hasattr(unit, "__await__"):
            unit = await call.bridge(unit)
        return unit  # type: ignore[no-any-return]

    async def _rollback(self, call: Call, unit: Unit) -> None:
        try:
            done: Any = unit.rollback()
        except BaseException:  # Ctrl-C in the middle: an open transaction would keep everybody else out
            unit.rollback()
            raise
        if hasattr(done, "__await__"):
            await call.bridge(done)

    async def _commit(self, call: Call, unit: Unit, outcome: Outcome) -> Outcome:
        body = self._settlement.body(call, outcome.value)
        event = self._settlement.event(call, outcome)
        try:
            ack: Any = unit.finish(
                call.row_key or "", call.claim_id, RowState.DONE, body, self._keep, call.attempt, event
            )
            if hasattr(ack, "__await__"):
                ack = await call.bridge(ack)
            if ack is not Ack.APPLIED:
                return await self._overtaken(call, unit, ack)
            done: Any = unit.commit()
            if hasattr(done, "__await__"):
                await call.bridge(done)
        except StoreUnavailable as error:
            found = self._find_out(call, unit, outcome, event, error.maybe_applied)
            return outcome if await call.plan.runtime.shield(found) else _down(error)
        except BotguardError:
            await call.plan.runtime.shield(self._find_out(call, unit, outcome, event, True))
            raise
        except Exception as error:  # noqa: BLE001 - what the handler left to be written was refused: it is his error
            found = self._find_out(call, unit, outcome, event, True)
            if await call.plan.runtime.shield(found):
                return outcome
            return Outcome(Status.FAILED, None, error, (Reason.HANDLER_ERROR,))
        except BaseException:
            await call.plan.runtime.shield(self._find_out(call, unit, outcome, event, True))
            raise
        self._settlement.acknowledge(call, Ack.APPLIED, event)
        return outcome

    async def _find_out(
        self, call: Call, unit: Unit, outcome: Outcome, event: Event | None, maybe_applied: bool
    ) -> bool:
        """The answer to COMMIT is missing: only the row tells whether the run is over, and its event stored."""
        await self._rollback(call, unit)
        committed = await self._committed(call) if maybe_applied else False
        if committed:
            self._settlement.acknowledge(call, Ack.APPLIED, event)
            call.committed = outcome
        elif committed is None:
            call.note(Reason.EFFECT_UNKNOWN)
        return bool(committed)

    async def _committed(self, call: Call) -> bool | None:
        """An answer lost around COMMIT is unknown until the row was looked up; None if that fails too."""
        try:
            row: Any = call.stores.idempotency.peek(call.row_key or "")
            if hasattr(row, "__await__"):
                row = await call.bridge(row)
        except StoreUnavailable:
            return None
        return row is not None and row.claim_id == call.claim_id and row.state is RowState.DONE

    async def _overtaken(self, call: Call, unit: Unit, ack: Ack) -> Outcome:
        """The key is somebody else's, or an earlier attempt's commit did arrive: undo everything, and answer with the
        result that stands."""
        await self._rollback(call, unit)
        call.settled = True
        if ack is Ack.LOST:
            call.note(Reason.LEASE_LOST)
        met = await self._meeting.look(call)
        return met or refusal(Status.IN_FLIGHT, Reason.LEASE_LOST, retry_after=1.0)

    async def preview(self, call: Call) -> Outcome | None:
        """Nothing to say before the run."""
        return None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {}


def _down(error: StoreUnavailable) -> Outcome:
    return Outcome(Status.FAILED, None, error, (Reason.STORE_UNAVAILABLE,))
