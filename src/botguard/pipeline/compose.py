"""Folding stages into one callable, the first outermost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from botguard.options import Mode
from botguard.outcome import Outcome
from botguard.pipeline.call import Call
from botguard.pipeline.stage import Gate, Proceed, Stage

__all__ = ["compose"]


def compose(stages: Sequence[Stage], modes: Mapping[str, Mode], innermost: Proceed) -> Proceed:
    """One callable from stages in order; neighbouring gates share a frame, shadow gates only take notes."""
    proceed = innermost
    row: list[Gate] = []
    for stage in reversed(stages):
        if hasattr(stage, "check"):
            gate = stage
            row.insert(0, _shadowed(gate) if modes.get(gate.name) is Mode.SHADOW else gate)
            continue
        if row:
            proceed, row = _gates(tuple(row), proceed), []
        proceed = partial(stage.around, proceed=proceed)
    return _gates(tuple(row), proceed) if row else proceed


def _gates(row: tuple[Gate, ...], proceed: Proceed) -> Proceed:
    checks = tuple(gate.check for gate in row)

    async def pass_gates(call: Call) -> Outcome:
        for check in checks:
            refused = await check(call)
            if refused is not None:
                return refused
        return await proceed(call)

    return pass_gates


class _Shadow:
    """Runs a gate, writes down what it would have said, and lets the call go on."""

    def __init__(self, gate: Gate) -> None:
        self.name, self._gate = gate.name, gate

    async def check(self, call: Call) -> Outcome | None:
        before = call.obligations
        refused = await self._gate.check(call)
        call.obligations = before
        if refused is not None:
            note_shadow(call, self.name, refused)
        return None


def _shadowed(gate: Gate) -> Gate:
    return _Shadow(gate)


def note_shadow(call: Call, stage: str, refused: Outcome) -> None:
    """Record a verdict that was not enforced, for the audit."""
    reason = refused.reasons[0] if refused.reasons else refused.status
    call.shadow = (*call.shadow, f"{stage}={reason}")
