"""Who was asked what, and who said yes to it."""

from __future__ import annotations

import json

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.testing.simulation.runs import Run

__all__ = ["Consents"]


class Consents:
    """Every request of one schedule, and what its answer may be used for."""

    def __init__(self) -> None:
        #: Requests by their tokens, as they were shown.
        self.shown: dict[str, ApprovalRequest] = {}
        self._approved: set[str] = set()
        self._spent: dict[str, str] = {}
        #: The epoch of its key in which an approval was used.
        self._used: dict[str, int] = {}

    def decided(self, run: Run, token: str, state: ApprovalState) -> str | None:
        """A run has answered a request. What is wrong with that, or None."""
        shown = self.shown.get(token)
        if shown is None:
            return None
        if state is ApprovalState.APPROVED:
            self._approved.add(token)
        if run.person == shown.person and run.context.org == shown.org:
            return None
        return f"{run} decided about a request that {shown.person} of {shown.org} was shown"

    def spent(self, subject: str, key: str) -> bool:
        """True if this request was spent on no other key before."""
        return self._spent.setdefault(subject, key) == key

    def cover(self, run: Run, amount: int) -> bool:
        """True if its person has said yes to exactly this, and that was not used up by an earlier intent."""
        return any(self._covers(token, run, amount) for token in self._approved)

    def _covers(self, token: str, run: Run, amount: int) -> bool:
        shown = self.shown[token]
        if (shown.person, shown.org, shown.command) != (run.person, run.context.org, run.command.name):
            return False
        said = json.loads(shown.payload or b"{}")
        if (said.get("order"), said.get("amount")) != (run.intent.order, amount):
            return False
        # For one intent it counts again and again; once a result has expired, the next one is another. Only who had its
        # answer before the clock was set cannot know that.
        return self._used.setdefault(token, run.epoch) == run.epoch or run.leapt
