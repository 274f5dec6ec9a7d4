"""The claim store: who may execute a key, and what came of it (semantics, section 3).

A row goes ``absent → claimed → done | failed | unknown`` and back to absent when it is released. Only a unique
constraint or a conditional write decides who wins; the store's own clock decides leases and expiry.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event

__all__ = ["Ack", "ClaimAnswer", "ClaimRequest", "IdempotencyStore", "Row", "RowState"]


class RowState(StrEnum):
    """State of one key. ``failed`` is a stored final failure; ``unknown`` waits for reconcile or a person."""

    CLAIMED = "claimed"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Ack(StrEnum):
    """Answer to a fenced write: stored, stored already by the same claim, or the claim is no longer ours."""

    APPLIED = "applied"
    ALREADY = "already"
    LOST = "lost"


class Row(NamedTuple):
    """One key as stored.

    ``lease_left`` is seconds by the store's clock at the time of reading (0 or less: over); ``result`` is what
    ``finish`` was given, byte for byte; ``event_id`` is the audit event of the run that finished it.
    """

    state: RowState
    claim_id: str
    fence: int
    lease_left: float
    person: str
    fingerprint: bytes
    version: str
    result: bytes | None
    event_id: str
    attempts: int


class ClaimRequest(NamedTuple):
    """What a claim stores.

    Args:
        key: digest of org, command and the caller's key; at most 64 ASCII characters, compared byte by byte.
        org, command: for operators and purges; they are part of ``key`` already.
        claim_id: random, never used before; the same claim id asking again wins, since its answer may have been lost.
        person: the requester, for whom alone a result is replayed.
        fingerprint, version: keyed digest of the validated payload, and the schema version it was made under.
        lease: seconds until the claim may be judged abandoned.
        takeover: True if an abandoned claim may be executed again (``idempotent``, ``transactional``); False turns it
            into ``unknown``.
        supersede: claim id of an ``unknown`` row whose effect is known *not* to have happened; that row is taken over.
    """

    key: str
    org: str
    command: str
    claim_id: str
    person: str
    fingerprint: bytes
    version: str
    lease: float
    takeover: bool
    supersede: str | None = None


class ClaimAnswer(NamedTuple):
    """``won`` with the fence of the new owner, or the row that stands in the way (never None then)."""

    won: bool
    fence: int
    row: Row | None


class IdempotencyStore(Protocol):
    """Rows of claims. Implementations are thread-safe, and process-safe where they are shared."""

    colour: Colour

    def peek(self, key: str) -> MaybeAwaitable[Row | None]:
        """The live row, or None; changes nothing. Settled rows past their lifetime count as absent."""
        ...

    def claim(self, request: ClaimRequest, event: Event | None = None) -> MaybeAwaitable[ClaimAnswer]:
        """Try to become the owner of a key, in one atomic step that is durable when it returns.

        Wins if the key is absent or its settled row has expired; if the row bears this claim id; if its lease is over,
        the payload may be the same and ``takeover`` is set; or if it is ``unknown`` under ``supersede``. Payloads may be
        the same if their fingerprints are equal, or were made under different versions, which cannot be compared. An
        abandoned claim of such a payload becomes ``unknown`` in the same step where ``takeover`` is not set.
        ``event``, where given, is stored in the same commit if the claim is won.
        """
        ...

    def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None = None,
    ) -> MaybeAwaitable[Ack]:
        """Settle a claim as done, failed or unknown; the row lives ``keep`` seconds more (unknown: until resolved).

        Conditional on the claim id. Done and failed never change again (a repeat answers ``already``); a late ``done``
        whose claim id still matches turns unknown into done. The event is stored in the same commit, if and only if
        the answer is ``applied``.
        """
        ...

    def release(self, key: str, claim_id: str) -> MaybeAwaitable[Ack]:
        """Forget a claim whose effect did not happen: the key is absent again. Only a *claimed* row is released."""
        ...

    def extend(self, key: str, claim_id: str, lease: float) -> MaybeAwaitable[Ack]:
        """Set the lease of a running claim to ``lease`` seconds from now."""
        ...

    def purge(self, limit: int = 1000) -> MaybeAwaitable[int]:
        """Delete up to ``limit`` settled rows past their lifetime; never claimed or unknown ones. Returns how many."""
        ...
