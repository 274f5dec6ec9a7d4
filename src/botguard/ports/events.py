"""The audit trail: one event for each decision and each finished run."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["Event", "EventStore"]


class Event(NamedTuple):
    """One line of the trail. It holds no payload and no error text, only names, codes and digests.

    Args:
        id: unique, and increasing within one process.
        kind: ``run`` (one guarded call), ``started`` (a ``must_audit`` command is about to run), ``refusals`` (a counted
            summary of refusals; ``count`` says how many), ``reconciled`` (an unknown effect was found out),
            ``operator`` (a person acted on a row; ``status`` names the act),
            ``shadow`` (a handler in shadow was called: what the guard would have answered)
        at: seconds since the epoch, UTC.
        org, actor, person, channel, command: who, from where, what.
        status, reasons: the outcome's; reasons joined by commas.
        attempts, duration_ms, success: how it went.
        replayed, degraded: the outcome's flags.
        key: digest of the idempotency key, or "".
        shadow: what shadow stages would have done, or what else an observed call would have met: ``stage=code`` joined by
            commas.
        policy_digest, correlation_id: versions and the host's id, or "".
        count: calls this event stands for.
    """

    id: str
    kind: str
    at: float
    org: str
    actor: str
    person: str
    channel: str
    command: str
    status: str
    reasons: str
    attempts: int
    duration_ms: float
    success: bool
    replayed: bool
    degraded: bool
    key: str
    shadow: str
    policy_digest: str
    correlation_id: str
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody asks of an event


class EventStore(Protocol):
    """Where events go. Append only."""

    colour: Colour

    def append(self, event: Event) -> MaybeAwaitable[None]:
        """Store one event, durably when it returns."""
        ...

    def tail(self, limit: int = 100, *, org: str | None = None) -> MaybeAwaitable[list[Event]]:
        """The newest events, oldest of them first; of one org where given."""
        ...
