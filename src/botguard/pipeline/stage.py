"""The shapes of a stage. A gate looks and says yes or no; a wrap surrounds what comes after it.

None of them knows which stage is next, reads a clock, opens a connection or starts a thread: it asks a port.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from botguard.outcome import Outcome
from botguard.pipeline.call import Call
from botguard.ports.colour import MaybeAwaitable

__all__ = ["Again", "Gate", "Proceed", "SecondLook", "Stage", "Wrap", "options_of"]

#: The rest of the pipeline.
Proceed = Callable[[Call], Awaitable[Outcome]]
#: What a refusal becomes when it is looked at once more.
Again = Callable[[Call, Outcome], Awaitable[Outcome]]


class Gate(Protocol):
    """Decides, so that it can also be run as a shadow or a dry run.

    Like a port it answers at once, or hands over an awaitable where something it asked did: a gate whose sources answer
    at once costs no coroutine.
    """

    name: str

    def check(self, call: Call) -> MaybeAwaitable[Outcome | None]:
        """None: go on. An outcome: the call ends here. Never raises for anything but cancellation."""
        ...


class Wrap(Protocol):
    """Holds something while the rest runs: a reservation, a claim, a probe, a transaction."""

    name: str

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Run the rest and return its outcome, or one of its own."""
        ...

    async def preview(self, call: Call) -> Outcome | None:
        """What it would say now; takes nothing (dry run)."""
        ...


class SecondLook(Protocol):
    """Told of a refusal by the gates that follow it."""

    name: str

    async def again(self, call: Call, refused: Outcome) -> Outcome:
        """The refusal, or what it has become meanwhile."""
        ...


Stage = Gate | Wrap | SecondLook


def options_of(stage: Any) -> dict[str, Any]:
    """What ``guard.describe()`` shows of a stage: its public, plain attributes."""
    described = getattr(stage, "describe", None)
    return dict(described()) if described is not None else {}
