"""Rate limits and concurrency caps, reserved together or not at all (semantics, sections 2.4 and 4)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["Limit", "LimitStore", "Reservation"]


class Limit(NamedTuple):
    """One declared limit, as compiled from ``"5/minute per user"`` or ``"3 concurrent per org"``.

    Args:
        name: what a refusal and the audit call it: the declaration's own text.
        amount: calls per window, or calls at once for a cap.
        window: seconds; for a cap, the seconds after which a lost slot is free again.
        strategy: ``fixed-window``, ``moving-window``, ``sliding-window-counter`` (the names of the ``limits`` package)
            or ``concurrent``.
        scope: ``user``, ``org``, ``command`` or ``channel``: whose calls are counted together.
        tag: separates the counters of limits that differ in command or declaration.
    """

    name: str
    amount: int
    window: float
    strategy: str
    scope: str
    tag: str


class Reservation(NamedTuple):
    """What ``reserve`` took (``granted``), or the limit that refused and the seconds after which it may admit."""

    granted: bool
    limit: Limit | None = None
    retry_after: float = 0.0
    token: object = None


class LimitStore(Protocol):
    """Counters. Thread-safe; all methods take the limits of one call together."""

    colour: Colour

    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> MaybeAwaitable[Reservation]:
        """Count one call in each limit's bucket, or in none if any is full. ``token`` names the cap slots taken."""
        ...

    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> MaybeAwaitable[Reservation]:
        """What ``reserve`` would answer; counts nothing."""
        ...

    def refund(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation
    ) -> MaybeAwaitable[None]:
        """Take one reservation back entirely: counters and cap slots."""
        ...

    def release(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation
    ) -> MaybeAwaitable[None]:
        """Free the cap slots of a finished call; its counts stay."""
        ...
