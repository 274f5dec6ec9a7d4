"""timeout: stops an attempt that takes too long. Only where it can: a sync handler gets to know its deadline instead."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.errors import DeadlineExceeded
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call
from botguard.pipeline.stage import Proceed

__all__ = ["Timeout"]


class Timeout:
    """The shorter of the attempt's own time and what is left to the deadline."""

    name = "timeout"

    def __init__(self, command: Command) -> None:
        self._timeout, self._deadline = command.timeout, command.deadline

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Run under a time limit; a stop is a failure whose effect is judged by the complete stage."""
        left = call.remaining()
        limit = left if self._timeout is None else self._timeout if left is None else min(self._timeout, left)
        if limit is None:
            return await proceed(call)
        if limit <= 0:  # nothing was tried: the attempt before this one, if any, is the answer
            return self._stopped(Reason.RETRY_DOES_NOT_FIT)
        running = None
        try:
            async with call.plan.runtime.timeout(limit) as running:
                return await proceed(call)
        except TimeoutError:
            if running is not None and running.expired():
                return call.committed or self._stopped()
            raise

    @staticmethod
    def _stopped(*more: Reason) -> Outcome:
        outcome = Outcome(Status.FAILED, None, None, (Reason.DEADLINE_EXCEEDED, *more))
        outcome.error = DeadlineExceeded(outcome, "the deadline or the attempt's time-out passed")
        return outcome

    async def preview(self, call: Call) -> Outcome | None:
        """Nothing to say before the run."""
        return None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"timeout": self._timeout, "deadline": self._deadline}
