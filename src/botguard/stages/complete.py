"""complete: how a claimed run that reached its handler is written down (the table of semantics, section 3)."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.errors import DeadlineExceeded
from botguard.options import Effects
from botguard.outcome import Outcome, Status
from botguard.pipeline.call import Call
from botguard.pipeline.settle import Settlement
from botguard.pipeline.stage import Proceed

__all__ = ["Complete"]

_SUCCEEDED = Status.SUCCEEDED  # an enum's member is slow to look up on 3.11


class Complete:
    """Stores the result, the final failure, or that nobody can know; releases only what surely did not happen."""

    name = "complete"

    def __init__(self, command: Command, settlement: Settlement) -> None:
        self._effects, self._before_effect = command.effects, command.before_effect
        self._settlement = settlement

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Run, then settle the claim, if there is one and nobody settled it inside (a unit of work does)."""
        try:
            outcome = await proceed(call)
        except BaseException:
            if call.began and not call.settled and call.claim_id:
                ended = call.committed
                settling = self._interrupted(call) if ended is None else self._once_more(call, ended)
                await call.plan.runtime.shield(settling)
            raise
        if call.settled or not call.began or not call.claim_id:
            return outcome
        settlement = self._settlement
        try:
            if outcome.status is _SUCCEEDED:
                await settlement.done(call, outcome)
            elif outcome.status is Status.FAILED:
                await self._failed(call, outcome)
        except BaseException:
            # Cancelled while the answer was on its way. Writing it again is harmless: the claim id makes it one.
            if not call.settled:
                await call.plan.runtime.shield(self._once_more(call, outcome))
            raise
        return outcome

    async def _once_more(self, call: Call, outcome: Outcome) -> None:
        if outcome.status is Status.SUCCEEDED:
            await self._settlement.done(call, outcome)
        else:
            await self._failed(call, outcome)

    async def _failed(self, call: Call, outcome: Outcome) -> None:
        settlement, error = self._settlement, outcome.error
        if settlement.is_final(error):
            await settlement.failed(call, outcome)
        elif self._effects is Effects.TRANSACTIONAL:
            await settlement.release(call)
        elif self._effects is Effects.IDEMPOTENT:
            # A handler that was stopped may still be at work outside: the lease decides when it may run again.
            if not isinstance(error, DeadlineExceeded):
                await settlement.release(call)
        elif isinstance(error, self._before_effect) and not isinstance(error, DeadlineExceeded):
            # A handler that was stopped is not one that raised a TimeoutError: nobody can say how far it came.
            await settlement.release(call)
        else:
            await settlement.park(call, outcome)

    async def _interrupted(self, call: Call) -> None:
        if self._effects is Effects.TRANSACTIONAL:
            await self._settlement.release(call)
        elif self._effects is Effects.EXTERNAL:
            await self._settlement.abandon(call)

    async def preview(self, call: Call) -> Outcome | None:
        """Nothing to say before the run."""
        return None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {}
