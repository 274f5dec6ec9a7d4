"""States that a simulation must reach to mean anything, given its options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botguard.testing.simulation.faults import Faults

__all__ = ["expected", "unreached"]

#: For every set of commands.
_ALWAYS = ("succeeded",)
#: With any command that claims.
_CLAIMING = ("replayed", "conflict", "in_flight", "invalid", "denied", "reason policy_denied", "revocation")
#: By the weight of the faults that lead there.
_BY_FAULT = {
    "crash": ("crash", "crash while claimed", "crash after the effect"),
    "lost": ("lost answer", "doubtful answer"),
    "outage": ("outage", "unavailable"),
    "delay": ("delay",),
    "duplicate": ("duplicate delivery",),
    "clock": ("clock jump",),
    "cancel": ("cancelled",),
    "handler": ("failed",),
}


def _by_effects(kinds: set[str], faults: Faults) -> Iterator[str]:
    """What the kinds of effects add."""
    if faults.crash and faults.delay and kinds & {"idempotent", "transactional"}:
        yield from ("takeover", "stale owner refused")
    if faults.crash and "external" in kinds:
        yield from ("abandoned and parked", "unknown")
    if faults.handler and "external" in kinds:
        yield from ("parked as unknown", "late effect", "reason deadline_exceeded")
    if "transactional" in kinds:
        yield "rolled back"
        if faults.crash:
            yield "crash inside a unit of work"


def _by_options(commands: Any, faults: Faults) -> Iterator[str]:
    """What the commands' options add."""
    if faults.crash and any(command.reconciles for command in commands):
        yield from ("reconciled: happened", "reconciled: did not happen", "superseded")
    if any(command.confirmed for command in commands):
        yield from ("pending", "answered: yes", "reason confirmation_declined", "reason confirmation_invalid")
    if any(command.limited for command in commands):
        yield from ("throttled", "refunded")
    if any(command.checks for command in commands):
        yield "refusal beside a finished twin"


def expected(commands: Any, faults: Faults) -> frozenset[str]:
    """The states that these commands and faults can lead to."""
    kinds = {command.effects for command in commands}
    wanted = set(_ALWAYS)
    if kinds - {"read"}:
        wanted.update(_CLAIMING)
        for family, states in _BY_FAULT.items():
            if getattr(faults, family):
                wanted.update(states)
        if faults.lost:
            wanted.add("claimed again by its owner")
    return frozenset(wanted.union(_by_effects(kinds, faults), _by_options(commands, faults)))


def unreached(seen: Mapping[str, int], stage: Any, faults: Faults) -> tuple[str, ...]:
    """What should have been reached, and never was."""
    return tuple(sorted(expected(stage.commands, faults) - seen.keys()))
