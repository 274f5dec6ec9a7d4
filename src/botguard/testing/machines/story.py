"""A history in the words of the port: what was asked, what was answered, how much time passed."""

from __future__ import annotations

from typing import Any

from botguard.ports.approvals import ApprovalRequest
from botguard.ports.events import Event
from botguard.ports.idempotency import ClaimAnswer, Row, RowState
from botguard.ports.limits import Reservation

__all__ = ["Story", "said"]


def said(answer: Any) -> str:
    """An answer, as a person would report it."""
    match answer:
        case None:
            return "nothing"
        case ClaimAnswer(won=True):
            return f"won, fence {answer.fence}"
        case ClaimAnswer():
            return f"not won: {said(answer.row)}"
        case Row():
            left = f", {answer.lease_left:g} s left" if answer.state is RowState.CLAIMED else ""
            result = f", result {answer.result!r:.40}" if answer.result is not None else ""
            return f"{answer.state} by {answer.claim_id}{left}{result}"
        case ApprovalRequest():
            used = f", spent on {answer.spent_on!r}" if answer.spent_on else ""
            return f"{answer.token} is {answer.state}{used}"
        case Reservation(granted=True):
            return "granted"
        case Reservation():
            name = answer.limit.name if answer.limit is not None else "nobody"
            return f"refused by {name}, for {answer.retry_after:g} s"
        case Event():
            return str(answer.id)
        case [*items]:
            return f"[{', '.join(said(item) for item in items)}]"
        case _:
            return str(answer)


class Story:
    """The lines of one history."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str]] = []

    def tell(self, what: str, answer: str = "") -> None:
        """Add a line; times that pass one after another become one."""
        self._lines.append((what, answer))

    def __str__(self) -> str:
        width = max((len(what) for what, answer in self._lines if answer), default=0)
        lines = [
            f"{n:>4}. {what:<{width}} -> {answer}" if answer else f"{n:>4}. {what}"
            for n, (what, answer) in enumerate(self._lines, 1)
        ]
        return "\n".join(lines)
