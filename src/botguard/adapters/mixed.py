"""MixedStorage: some ports from one storage, others from elsewhere, and honest about what commits together."""

from __future__ import annotations

from typing import Any

from botguard.errors import ConfigurationError
from botguard.ports.approvals import ApprovalStore
from botguard.ports.colour import Colour
from botguard.ports.events import EventStore
from botguard.ports.idempotency import IdempotencyStore
from botguard.ports.limits import LimitStore
from botguard.ports.storage import Storage

__all__ = ["MixedStorage"]


class MixedStorage:
    """A storage whose ports come from several places, such as claims in Redis beside events in a database.

    Where claims and events come from different places, no commit holds both: the completion is written first and its
    event after it. ``transactional`` commands need the claims of ``base``, since their effect and completion commit
    together.

    Args:
        base: gives every port that is not given here, the fingerprint key and the unit of work.
        idempotency, events, approvals, limits: stores that take the place of ``base``'s. One that blocks
            (``colour = "sync"``) serves ``async def`` handlers by its ``for_async()``.
    """

    def __init__(
        self,
        base: Storage,
        *,
        idempotency: IdempotencyStore | None = None,
        events: EventStore | None = None,
        approvals: ApprovalStore | None = None,
        limits: LimitStore | None = None,
    ) -> None:
        self._base = base
        self._given: dict[str, Any] = {
            name: store
            for name, store in (
                ("idempotency", idempotency),
                ("events", events),
                ("approvals", approvals),
                ("limits", limits),
            )
            if store is not None
        }
        self.fingerprint_key = base.fingerprint_key
        self.idempotency: IdempotencyStore = idempotency if idempotency is not None else base.idempotency
        self.events: EventStore = events if events is not None else base.events
        self.approvals: ApprovalStore = approvals if approvals is not None else base.approvals
        self.limits: LimitStore | None = limits if limits is not None else base.limits
        together = idempotency is None and events is None
        self.atomic: frozenset[str] = base.atomic if together else frozenset()
        self.work = base.work if together else None
        self.colour: Colour = _joint([base, *self._given.values()])

    def for_async(self) -> MixedStorage | None:
        """The same places for async handlers, or None if one of them has nothing for those."""
        base = self._base.for_async()
        given = {name: _awaited(store) for name, store in self._given.items()}
        if base is None or None in given.values():
            return None
        return MixedStorage(base, **given)

    def joined(self, session: Any) -> Storage:
        """Inside the host's transaction: ``base``'s stores there, beside the others.

        Raises:
            ConfigurationError: where claims or events are elsewhere, since a rollback would not reach them.
        """
        if self.work is None:
            raise ConfigurationError(
                "BG214",
                "this MixedStorage cannot join a transaction",
                why="its claims or events are elsewhere, where a rollback would not reach them",
                fix="take idempotency and events from the storage of that database",
            )
        kept = {name: store for name, store in self._given.items() if name in ("approvals", "limits")}
        return MixedStorage(self._base.joined(session), **kept)

    def close(self) -> None:
        """Close what can be closed."""
        for part in (self._base, *self._given.values()):
            close = getattr(part, "close", None)
            if close is not None:
                close()


def _awaited(store: Any) -> Any:
    """A store for async handlers: itself if it never blocks, what it offers for them, or None."""
    if store.colour != "sync":
        return store
    offered = getattr(store, "for_async", None)
    return offered() if offered is not None else None


def _joint(parts: list[Any]) -> Colour:
    colours = {part.colour for part in parts} - {"any"}
    if len(colours) > 1:
        names = ", ".join(f"{type(part).__name__} is {part.colour}" for part in parts)
        raise ConfigurationError(
            "BG215",
            f"sync and async stores are mixed: {names}",
            why="one call asks them all, and waits in one way",
            fix="give stores of one colour; a sync one with for_async() serves async handlers too",
        )
    colour: Colour = next(iter(colours), "any")
    return colour
