"""edge: a cheap local limit on refusals, so that strangers can neither guess tokens nor flood the audit."""

from __future__ import annotations

from typing import Any

from botguard.errors import ConfigurationError
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.stage import Proceed

__all__ = ["Edge", "RefusalBudget"]

#: Outcomes that cost the caller's budget: those a stranger who guesses would get.
_CHARGED = frozenset((Status.DENIED, Status.INVALID, Status.CONFLICT))


class RefusalBudget:
    """Refusals per minute and per (channel, address or actor); shared by all commands of a guard.

    Counts in fixed minutes: two generations of a plain dict, so that nothing has to be swept. Bounded: beyond
    ``capacity`` names no new one is counted (they were all refused by authorisation anyway).
    """

    __slots__ = ("_capacity", "_counts", "_limit", "_minute")

    def __init__(self, per_minute: int = 60, capacity: int = 50_000) -> None:
        self._limit, self._capacity = per_minute, capacity
        self._minute = -1
        self._counts: dict[str, int] = {}

    @property
    def limit(self) -> int:
        """Refusals a minute."""
        return self._limit

    @property
    def quiet(self) -> bool:
        """True if nobody was refused lately: the usual case, and the cheapest to ask."""
        return not self._counts

    def exhausted(self, name: str, now: float) -> float:
        """Seconds until this caller is heard again, or 0."""
        if int(now // 60) != self._minute or self._counts.get(name, 0) < self._limit:
            return 0.0
        return 60.0 - now % 60

    def charge(self, name: str, now: float) -> None:
        """Count one refusal."""
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        count = self._counts.get(name)
        if count is not None:
            self._counts[name] = count + 1
        elif len(self._counts) < self._capacity:
            self._counts[name] = 1


def caller(call: Call) -> str:
    """Whom refusals are charged to: the channel's address and the actor, or the channel alone for a stranger."""
    context = call.context
    actor = context.actor.id if context.actor is not None else ""
    return f"{len(context.org)}:{context.org}{context.channel}\x1f{context.address or ''}\x1f{actor}"


class Edge:
    """Refuses who was refused too often, before anything is looked up."""

    name = "edge"

    def __init__(self, budget: RefusalBudget) -> None:
        self._budget = budget

    async def around(self, call: Call, proceed: Proceed) -> Outcome:
        """Ask the budget, run, charge a refusal."""
        if call.context is None:
            return _homeless()
        budget = self._budget
        if not budget.quiet:
            refused = await self.preview(call)
            if refused is not None:
                return refused
        outcome = await proceed(call)
        if outcome.status in _CHARGED and not outcome.replayed:
            budget.charge(caller(call), call.plan.runtime.clock.monotonic())
        return outcome

    async def preview(self, call: Call) -> Outcome | None:
        """Refused if the budget of refusals is spent."""
        if call.context is None:
            return _homeless()
        wait = self._budget.exhausted(caller(call), call.plan.runtime.clock.monotonic())
        return refusal(Status.THROTTLED, Reason.TOO_MANY_REFUSALS, retry_after=wait) if wait else None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"refusals_per_minute": self._budget.limit}


def _homeless() -> Outcome:
    """A direct call that says nowhere who asks. It is the developer who reads this, so the error tells what to do."""
    outcome = refusal(Status.DENIED, Reason.NO_CONTEXT)
    outcome.error = ConfigurationError(
        "BG173",
        "the call has no Context, so nobody can be authorised",
        fix="call it inside `with guard.acting(Context(org=…, actor=…)):`, pass bind=…, or Guard(context=…)",
    )
    return outcome
