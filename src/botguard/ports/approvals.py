"""Requests that wait for a person's answer: confirmations now, four-eyes approvals later."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["ApprovalRequest", "ApprovalState", "ApprovalStore"]


class ApprovalState(StrEnum):
    """State of a request; expiry is judged by the store's clock when it is read."""

    OPEN = "open"
    APPROVED = "approved"
    DECLINED = "declined"
    EXPIRED = "expired"


class ApprovalRequest(NamedTuple):
    """One request. ``subject`` is unique: the digest of org, command, key, fingerprint and requester, so that a call
    which is delivered again finds the request it made before, and nobody else's.

    ``token`` is random and is what a button carries; ``payload`` is the validated payload as JSON, or None where it
    must not be stored; ``spent_on`` is the key it was used for: single use for one key, repeatable for that key until a
    day after its end.
    Times are seconds since the epoch by the store's clock.
    """

    subject: str
    token: str
    org: str
    command: str
    key: str
    fingerprint: bytes
    person: str
    actor: str
    channel: str
    delivery: str | None
    text: str
    reasons: str
    payload: bytes | None
    expires_at: float
    state: ApprovalState = ApprovalState.OPEN
    spent_on: str = ""


class ApprovalStore(Protocol):
    """Where requests wait."""

    colour: Colour

    def open(self, request: ApprovalRequest, lifetime: float) -> MaybeAwaitable[ApprovalRequest]:
        """Store a request that lives ``lifetime`` seconds, or return the live one of the same subject.

        Only an expired one of the same subject is replaced: a declined one stays until its time is over, so that a
        call which is delivered again does not ask a second time.
        """
        ...

    def by_token(self, token: str) -> MaybeAwaitable[ApprovalRequest | None]:
        """The request that a button names, whatever its state."""
        ...

    def by_subject(self, subject: str) -> MaybeAwaitable[ApprovalRequest | None]:
        """The request for a subject, whatever its state."""
        ...

    def decide(self, token: str, state: ApprovalState) -> MaybeAwaitable[ApprovalRequest | None]:
        """Move an open, unexpired request to approved or declined; returns it as it is afterwards, None if unknown."""
        ...

    def spend(self, subject: str, key: str) -> MaybeAwaitable[bool]:
        """Use an approved, unexpired request for one idempotency key; True again for the same key, else False."""
        ...

    def purge(self, limit: int = 1000) -> MaybeAwaitable[int]:
        """Delete up to ``limit`` requests that have been over for a day."""
        ...
