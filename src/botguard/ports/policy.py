"""The decision point: policies restrict and oblige; they never grant."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from botguard.invocation import Invocation
from botguard.outcome import Detail
from botguard.ports.colour import MaybeAwaitable

__all__ = ["PERMIT", "Decision", "Obligation", "PolicyEngine"]


class Obligation(NamedTuple):
    """What must also hold if a call is permitted. ``kind`` is ``confirm``; ``text`` is what the person is asked."""

    kind: str
    text: str = ""
    code: str = ""


class Decision(NamedTuple):
    """Permit or deny, with particulars for people and the obligations that come with a permit."""

    permitted: bool = True
    details: tuple[Detail, ...] = ()
    obligations: tuple[Obligation, ...] = ()


PERMIT = Decision()


class PolicyEngine(Protocol):
    """Rules, compiled."""

    #: Version of the rules that decide, recorded in every event.
    digest: str

    def concerns(self, command: str) -> bool:
        """True if any rule can match the command; the policy stage is left out of the others' pipelines."""
        ...

    def decide(self, invocation: Invocation) -> MaybeAwaitable[Decision]:
        """Deny beats all, and the order of rules never matters. A restricting rule that errors counts as matched."""
        ...
