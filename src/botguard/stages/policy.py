"""policy: do the company's rules allow it, and what do they ask for? They restrict and oblige; they never grant."""

from __future__ import annotations

from typing import Any

from botguard.errors import ConfigurationError
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, closed, refusal
from botguard.ports.policy import PolicyEngine

__all__ = ["Policy"]


class Policy:
    """Asks the decision point; gathers obligations for the confirm stage."""

    name = "policy"

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine

    async def check(self, call: Call) -> Outcome | None:
        """Denied, or permitted with obligations."""
        engine = self._engine
        call.policy_digest = engine.digest
        try:
            decision = engine.decide(call.invocation())
            if hasattr(decision, "__await__"):
                decision = await call.bridge(decision)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - policies are closed when they cannot be asked
            return closed(error)
        if not decision.permitted:  # type: ignore[union-attr]
            return refusal(Status.DENIED, Reason.POLICY_DENIED, decision.details)  # type: ignore[union-attr]
        if decision.obligations:  # type: ignore[union-attr]
            call.obligations = (*call.obligations, *decision.obligations)  # type: ignore[union-attr]
        return None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"digest": self._engine.digest}
