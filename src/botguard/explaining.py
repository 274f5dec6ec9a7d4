"""Looking at a call without running it, and at the pipeline without a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botguard.options import Mode
from botguard.outcome import Detail
from botguard.pipeline.call import Call
from botguard.pipeline.order import ORDER
from botguard.pipeline.stage import options_of
from botguard.plan import Plan

__all__ = ["Verdict", "described", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one stage would say to a call (``guard.explain``).

    ``status`` is None if it would let the call go on; ``mode`` says whether a refusal would hold.
    """

    stage: str
    mode: str
    status: str | None
    reasons: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()
    why_here: str = ""

    @property
    def passes(self) -> bool:
        """True if the call would go on to the next stage."""
        return self.status is None or self.mode != Mode.ENFORCE


async def verdicts(plan: Plan, call: Call) -> list[Verdict]:
    """What each stage would say, nothing executed or consumed; it ends at a payload that cannot be read."""
    found: list[Verdict] = []
    reasons = {place.stage: place.reason for place in ORDER}
    for stage in plan.stages:
        mode = str(plan.command.mode(stage.name))
        asked = call.obligations
        look = getattr(stage, "preview", None) or getattr(stage, "check", None)
        said: Any = look(call) if look is not None else None
        if hasattr(said, "__await__"):
            said = await said
        if mode == Mode.SHADOW:
            call.obligations = asked  # what a shadow would have asked is not asked
        if said is None:
            found.append(Verdict(stage.name, mode, None, why_here=reasons[stage.name]))
            continue
        codes = tuple(str(reason) for reason in said.reasons)
        found.append(Verdict(stage.name, mode, str(said.status), codes, said.details, reasons[stage.name]))
        if stage.name in ("edge", "validate"):
            break
    call.view = None
    return found


def described(plan: Plan) -> dict[str, Any]:
    """One command's handler, colour, declared options and stages in order, as plain data."""
    command = plan.command
    return {
        "handler": plan.declaration.where,
        "colour": "sync" if plan.sync else "async",
        "declared": sorted(command.declared),
        "stages": [
            {"stage": stage.name, "mode": str(command.mode(stage.name)), "options": options_of(stage)}
            for stage in plan.stages
        ],
    }
