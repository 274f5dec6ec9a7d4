"""work: a new transaction for each attempt of a ``transactional`` command, which also holds its completion."""

from __future__ import annotations

from typing import Any

from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.meeting import Meeting
from botguard.pipeline.settle import Settlement
from botguard.pipeline.stage import Proceed
from botguard.ports.idempotency import Ack, RowState
from botguard.ports.work import Unit

__all__ = ["Work"]


class Work:
    """Effect, completion and event commit together, or nothing of them is left."""

    name = "work"

    def __init__(self, settlement: Settlement, meeting: Meeting, keep: float) -> None:
        self._settlement, self._meeting, self._keep = settlement, meeting, keep

    async def around(self, call: Call, proceed: Proceed) -> Outcome:
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
        await self._rollback(call, unit)
        return outcome

    async def _begin(self, call: Call) -> Unit:
        work = call.stores.work
        if work is None:  # pragma: no cover - refused at wiring
            raise ConfigurationError("BG160", "this storage has no unit of work", where=call.plan.command.name)
        unit = work.begin()
        if hasattr(unit, "__await__"):
            unit = await call.bridge(unit)
        return unit  # type: ignore[return-value]

    async def _rollback(self, call: Call, unit: Unit) -> None:
        done = unit.rollback()
        if hasattr(done, "__await__"):
            await call.bridge(done)

    async def _commit(self, call: Call, unit: Unit, outcome: Outcome) -> Outcome:
        body = self._settlement.body(call, outcome.value)
        event = self._settlement.event(call, outcome)
        try:
            ack = unit.finish(
                call.row_key or "", call.claim_id, RowState.DONE, body, self._keep, call.attempt, event
            )
            if hasattr(ack, "__await__"):
                ack = await call.bridge(ack)
            if ack is Ack.LOST:
                return await self._overtaken(call, unit)
            done = unit.commit()
            if hasattr(done, "__await__"):
                await call.bridge(done)
        except StoreUnavailable as error:
            await self._rollback(call, unit)
            if not await self._committed(call, error):
                return _down(error)
            ack = Ack.APPLIED
        self._settlement.acknowledge(call, ack, event)  # type: ignore[arg-type]
        return outcome

    async def _committed(self, call: Call, error: StoreUnavailable) -> bool:
        """An answer lost around COMMIT is unknown until the row was looked up."""
        if not error.maybe_applied:
            return False
        try:
            row = call.stores.idempotency.peek(call.row_key or "")
            if hasattr(row, "__await__"):
                row = await call.bridge(row)
        except StoreUnavailable:
            return False
        return row is not None and row.claim_id == call.claim_id and row.state is RowState.DONE  # type: ignore[union-attr]

    async def _overtaken(self, call: Call, unit: Unit) -> Outcome:
        """Somebody else owns the key by now: undo everything, and answer with his result if there is one."""
        await self._rollback(call, unit)
        call.settled = True
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
