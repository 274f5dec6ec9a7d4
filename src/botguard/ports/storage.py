"""The bundle of stores that a guard is given, and what it declares about itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from botguard.ports.approvals import ApprovalStore
from botguard.ports.colour import Colour
from botguard.ports.events import EventStore
from botguard.ports.idempotency import IdempotencyStore
from botguard.ports.limits import LimitStore
from botguard.ports.work import UnitOfWork

__all__ = ["COMPLETION_WITH_EVENT", "JoinsHost", "Storage"]

#: Atomic group: ``claim``/``finish`` store the event they are given in the same commit.
COMPLETION_WITH_EVENT = "completion+event"


class Storage(Protocol):
    """A small bundle of ports. A host may implement one of them and take the others from us."""

    colour: Colour
    #: Which writes this storage commits together; the guard uses the safe order for the rest.
    atomic: frozenset[str]
    #: Keys the payload fingerprints; the same in every process that shares the rows. 32 bytes.
    fingerprint_key: bytes

    @property
    def idempotency(self) -> IdempotencyStore:
        """Claims."""
        ...

    @property
    def events(self) -> EventStore:
        """The audit trail."""
        ...

    @property
    def approvals(self) -> ApprovalStore:
        """Confirmations."""
        ...

    @property
    def limits(self) -> LimitStore | None:
        """Shared counters, or None: then each process counts for itself."""
        ...

    @property
    def work(self) -> UnitOfWork | None:
        """Transactions for ``transactional`` commands, or None: then such commands are refused at wiring."""
        ...

    def for_async(self) -> Storage | None:
        """The same rows for async handlers: this object if it never blocks, a thread wrapper, or None."""
        ...

    def joined(self, session: Any) -> Storage:
        """The same stores inside the host's open transaction; raises ConfigurationError if it is not of this database."""
        ...


@runtime_checkable
class JoinsHost(Protocol):
    """What a storage has beside its stores if it finds the host's open transaction by itself (Django's ``atomic``)."""

    def for_transactional(self) -> Any:
        """The storage whose claims are part of that transaction; asked when a ``transactional`` command is bound."""
        ...

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call it once what was written is durable: now, or when the host commits; never if the host rolls back."""
        ...
