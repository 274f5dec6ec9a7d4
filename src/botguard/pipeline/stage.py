"""The two shapes of a stage. A gate looks and says yes or no; a wrap surrounds what comes after it.

Neither knows which stage is next, reads a clock, opens a connection or starts a thread: it asks a port.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from botguard.outcome import Outcome
from botguard.pipeline.call import Call

__all__ = ["Gate", "Proceed", "Stage", "Wrap"]

#: The rest of the pipeline.
Proceed = Callable[[Call], Awaitable[Outcome]]


class Gate(Protocol):
    """Decides; consumes nothing, so that it can also be run as a shadow or a dry run."""

    name: str

    async def check(self, call: Call) -> Outcome | None:
        """None: go on. An outcome: the call ends here. Never raises for anything but cancellation."""
        ...


class Wrap(Protocol):
    """Holds something while the rest runs: a reservation, a claim, a probe, a transaction."""

    name: str

    async def around(self, call: Call, proceed: Proceed) -> Outcome:
        """Run the rest and return its outcome, or one of its own."""
        ...

    async def preview(self, call: Call) -> Outcome | None:
        """What it would say now; takes nothing (dry run)."""
        ...


Stage = Gate | Wrap


def options_of(stage: Any) -> dict[str, Any]:
    """What ``guard.describe()`` shows of a stage: its public, plain attributes."""
    described = getattr(stage, "describe", None)
    return dict(described()) if described is not None else {}
