"""Folding stages into one callable, the first outermost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from botguard.options import Mode
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.stage import Again, Gate, Proceed, Stage

__all__ = ["compose", "note_shadow"]


def compose(stages: Sequence[Stage], modes: Mapping[str, Mode], innermost: Proceed) -> Proceed:
    """One callable from stages in order; neighbouring gates share a frame, shadow gates only take notes."""
    proceed = innermost
    row: list[Any] = []
    stage: Any
    for stage in reversed(stages):
        if hasattr(stage, "check"):
            shadow = modes.get(stage.name) is Mode.SHADOW and not getattr(stage, "shadows_itself", False)
            row.insert(0, _Shadow(stage) if shadow else stage)
        elif hasattr(stage, "again"):
            proceed, row = (_gates(row, proceed, stage.again), []) if row else (proceed, row)
        else:
            proceed, row = (_gates(row, proceed), []) if row else (proceed, row)
            proceed = partial(stage.around, proceed)
    return _gates(row, proceed) if row else proceed


def _gates(row: list[Gate], proceed: Proceed, again: Again | None = None) -> Proceed:
    checks = tuple([gate.check for gate in row])

    async def pass_gates(call: Call) -> Outcome:
        for check in checks:
            refused: Any = check(call)
            if refused is not None:
                if hasattr(refused, "__await__"):
                    refused = await refused
                if refused is not None:
                    return refused if again is None else await again(call, refused)
        return await proceed(call)

    return pass_gates


class _Shadow:
    """Runs a gate, writes down what it would have said, and lets the call go on."""

    def __init__(self, gate: Gate) -> None:
        self.name, self._gate = gate.name, gate

    async def check(self, call: Call) -> Outcome | None:
        before = call.obligations
        refused: Any = self._gate.check(call)
        if hasattr(refused, "__await__"):
            refused = await refused
        asked, call.obligations = call.obligations[len(before) :], before
        if refused is None and asked:
            refused = refusal(Status.PENDING, Reason.CONFIRMATION_REQUIRED)
        if refused is not None:
            note_shadow(call, self.name, refused)
        return None


def note_shadow(call: Call, stage: str, refused: Outcome) -> None:
    """Record a verdict that was not enforced, for the audit."""
    reason = refused.reasons[0] if refused.reasons else refused.status
    call.shadow = (*call.shadow, f"{stage}={reason}")
