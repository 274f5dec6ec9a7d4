"""Counting: told of every outcome, never allowed to break a call."""

from __future__ import annotations

from typing import Protocol

from botguard.outcome import Outcome

__all__ = ["Meter"]


class Meter(Protocol):
    """Metrics. Labels come from the registry only, so their number is bounded."""

    def register(self, command: str, module: str) -> None:
        """Make a command's series exist at zero."""
        ...

    def observe(self, command: str, outcome: Outcome) -> None:
        """Count one finished call."""
        ...
