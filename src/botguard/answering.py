"""A person's no, and answers that lead nowhere: decided outside the pipeline, but recorded like every call."""

from __future__ import annotations

from functools import partial
from typing import Any

from botguard.errors import StoreUnavailable
from botguard.observability.tracing import traced
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, closed, refusal
from botguard.pipeline.stage import Proceed
from botguard.plan import Plan
from botguard.ports.approvals import ApprovalRequest, ApprovalState

__all__ = ["declining", "ending_with"]


def declining(plan: Plan, request: ApprovalRequest) -> Proceed:
    """Closes a request for its requester; to be run like a pipeline."""
    return traced(partial(_record(plan).around, partial(_decline, plan, request)))


def ending_with(plan: Plan, error: StoreUnavailable) -> Proceed:
    """An answer whose request could not even be looked up."""

    async def end(_: Call) -> Outcome:
        return closed(error)

    return traced(partial(_record(plan).around, end))


def _record(plan: Plan) -> Any:
    return plan.by_name["record"]


async def _decline(plan: Plan, request: ApprovalRequest, call: Call) -> Outcome:
    try:
        refused: Any = plan.by_name["authorize"].check(call)  # type: ignore[union-attr]
        if hasattr(refused, "__await__"):
            refused = await refused
        if refused is not None or call.person != request.person:
            return refused or refusal(Status.DENIED, Reason.CONFIRMATION_INVALID)
        decided: Any = call.stores.approvals.decide(request.token, ApprovalState.DECLINED)
        if hasattr(decided, "__await__"):
            decided = await call.bridge(decided)
    except StoreUnavailable as error:
        return closed(error)
    if decided is None or decided.state is not ApprovalState.DECLINED:
        return refusal(Status.DENIED, Reason.CONFIRMATION_EXPIRED)
    return refusal(Status.DENIED, Reason.CONFIRMATION_DECLINED)
