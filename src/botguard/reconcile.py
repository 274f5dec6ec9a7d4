"""What ``reconcile(key)`` answers about an earlier attempt whose effect is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Happened", "NotHappened"]


@dataclass(frozen=True, slots=True)
class Happened:
    """The effect exists; ``value`` is what the handler would have returned. The key becomes done with it."""

    value: Any = None


@dataclass(frozen=True, slots=True)
class NotHappened:
    """The effect does not exist and never will from that attempt; the key may be executed again."""
