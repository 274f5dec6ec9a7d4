"""edge: a cheap local limit on refusals, so that strangers can neither guess tokens nor flood the audit."""

from __future__ import annotations

from typing import Any

from botguard.errors import ConfigurationError
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.refusals import RefusalBudget, caller_of

__all__ = ["Edge"]


class Edge:
    """Refuses who was refused too often, before anything is looked up. The record stage charges the refusals."""

    name = "edge"

    def __init__(self, budget: RefusalBudget) -> None:
        self._budget = budget

    def check(self, call: Call) -> Outcome | None:
        """Refused if nobody asks, or if the asker's budget of refusals is spent."""
        if call.context is None:
            return _homeless()
        budget = self._budget
        counts = budget.counts
        if counts:
            caller = caller_of(call)
            if counts.get(caller, 0) >= budget.limit:
                wait = budget.wait(caller, call.started)
                if wait:
                    return refusal(Status.THROTTLED, Reason.TOO_MANY_REFUSALS, retry_after=wait)
        return None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"refusals_per_minute": self._budget.limit}


def _homeless() -> Outcome:
    """A direct call that says nowhere who asks. It is the developer who reads this, so the error tells what to do."""
    outcome = refusal(Status.DENIED, Reason.NO_CONTEXT)
    outcome.error = ConfigurationError(
        "BG173",
        "the call has no Context",
        why="nobody can be authorised",
        fix="call it inside `with guard.acting(Context(org=…, actor=…)):`, pass bind=…, or Guard(context=…)",
    )
    return outcome
