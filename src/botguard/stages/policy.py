"""policy: do the company's rules allow it, and what do they ask for? They restrict and oblige; they never grant."""

from __future__ import annotations

from typing import Any

from botguard.errors import ConfigurationError
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, closed, refusal
from botguard.ports.colour import MaybeAwaitable
from botguard.ports.policy import PERMIT, PolicyEngine

__all__ = ["Policy"]


class Policy:
    """Asks the decision point; gathers obligations for the confirm stage."""

    name = "policy"

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine

    def check(self, call: Call) -> MaybeAwaitable[Outcome | None]:
        """Denied, or permitted with obligations."""
        engine = self._engine
        call.policy_digest = engine.digest
        try:
            decision = engine.decide(call.view or call.invocation())
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - policies are closed when they cannot be asked
            return closed(error)
        if decision is PERMIT:
            return None
        return self._awaited(call, decision) if hasattr(decision, "__await__") else _judge(call, decision)

    async def _awaited(self, call: Call, decision: Any) -> Outcome | None:
        try:
            return _judge(call, await call.bridge(decision))
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return closed(error)

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"digest": self._engine.digest}


def _judge(call: Call, decision: Any) -> Outcome | None:
    if not decision.permitted:
        return refusal(Status.DENIED, Reason.POLICY_DENIED, decision.details)
    if decision.obligations:
        call.obligations = (*call.obligations, *decision.obligations)
    return None
