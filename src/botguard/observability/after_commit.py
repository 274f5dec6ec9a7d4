"""Counting a run that is part of the host's own transaction: when that is committed, and not at all if it is undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from botguard.outcome import Outcome, Status
from botguard.ports.telemetry import Meter

__all__ = ["AfterCommit"]


class AfterCommit:
    """A meter for ``transactional`` commands of a storage that finds the host's transaction by itself.

    Args:
        meter: counts.
        after_commit: the storage's; calls a function when what was written is durable.
    """

    def __init__(self, meter: Meter, after_commit: Callable[[Callable[[], object]], None]) -> None:
        self._meter, self._after_commit = meter, after_commit

    def register(self, command: str, module: str) -> None:
        """See the port."""
        self._meter.register(command, module)

    def observe(self, command: str, outcome: Outcome) -> None:
        """Count a success once it stands; refusals, failures and replays are not undone by a rollback."""
        if outcome.status is Status.SUCCEEDED and not outcome.replayed:
            self._after_commit(partial(self._meter.observe, command, outcome))
        else:
            self._meter.observe(command, outcome)
