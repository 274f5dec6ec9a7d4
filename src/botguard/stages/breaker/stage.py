"""BreakerStage: each attempt admitted, run and settled as ok, failed or ignored."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.options import ExceptionTypes
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.settle import Settlement
from botguard.pipeline.stage import Proceed
from botguard.stages.breaker.gate import BreakerGate

__all__ = ["BreakerStage"]

_SUCCEEDED = Status.SUCCEEDED  # an enum's member is slow to look up on 3.11


class BreakerStage:
    """Stands around each attempt, so that its counts are honest; inside retry, so that an open breaker ends the loop."""

    name = "breaker"

    def __init__(self, command: Command, gate: BreakerGate, settlement: Settlement) -> None:
        self._gate, self._settlement = gate, settlement
        self._ignore: ExceptionTypes = gate.options.ignore
        self._slow = gate.options.slow_after

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Admit, run, settle as ok, failed or ignored."""
        gate = self._gate
        permit = gate.admit()
        if type(permit) is float:
            return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=permit)
        began = call.plan.monotonic() if self._slow is not None else 0.0
        try:
            outcome = await proceed(call)
        except BaseException:
            gate.ignored(permit)  # type: ignore[arg-type]
            raise
        if outcome.status is _SUCCEEDED:
            slow = self._slow is not None and call.plan.monotonic() - began > self._slow
            gate.failed(permit) if slow else gate.ok(permit)  # type: ignore[arg-type]
        elif outcome.status is not Status.FAILED or self._ignored(outcome):
            gate.ignored(permit)  # type: ignore[arg-type]
        else:
            gate.failed(permit)  # type: ignore[arg-type]
        return outcome

    def _ignored(self, outcome: Outcome) -> bool:
        error = outcome.error
        return (
            self._settlement.is_final(error)
            or isinstance(error, self._ignore)
            or Reason.STORE_UNAVAILABLE in outcome.reasons
            or Reason.RETRY_DOES_NOT_FIT in outcome.reasons
        )

    async def preview(self, call: Call) -> Outcome | None:
        """Unavailable if it would be refused now."""
        wait = self._gate.look()
        return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=wait) if wait is not None else None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        o = self._gate.options
        return {"name": self._gate.name, "fail_max": o.fail_max, "reset_after": o.reset_after, "probes": o.probes}
