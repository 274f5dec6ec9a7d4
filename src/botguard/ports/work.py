"""The unit of work: the transaction that holds a ``transactional`` command's effects and its completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, RowState

if TYPE_CHECKING:
    from botguard.ports.storage import Storage

__all__ = ["HostWork", "Unit", "UnitOfWork"]


class Unit(Protocol):
    """One open transaction (or savepoint of the host's)."""

    #: What the handler gets as ``current().work``: a connection or session.
    handle: Any

    def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None,
    ) -> MaybeAwaitable[Ack]:
        """``IdempotencyStore.finish`` inside this transaction."""
        ...

    def commit(self) -> MaybeAwaitable[None]:
        """Make it durable; raises StoreUnavailable(maybe_applied=True) if the answer was lost."""
        ...

    def rollback(self) -> MaybeAwaitable[None]:
        """Undo it. Never raises."""
        ...


class UnitOfWork(Protocol):
    """Opens transactions on the database that also holds the claims."""

    colour: Colour

    def begin(self) -> MaybeAwaitable[Unit]:
        """A new transaction that may write."""
        ...


class HostWork(Protocol):
    """The host's own sessions as units of work, for ``Guard(work=…)``."""

    def over(self, storage: Storage) -> Storage:
        """The same storage, with these sessions as its ``work``.

        Raises:
            ConfigurationError: if they are of another database than the claims.
        """
        ...
