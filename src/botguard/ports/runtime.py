"""Time, waiting and chance: the one injected port for all of them (semantics, section 12)."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from botguard.ports.colour import MaybeAwaitable

__all__ = ["Clock", "Runtime", "TimeoutScope"]

_T = TypeVar("_T")


class Clock(Protocol):
    """The two clocks. Leases and audit use ``time``, durations use ``monotonic``."""

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class TimeoutScope(Protocol):
    """What ``Runtime.timeout`` gives to its block, as ``asyncio.timeout`` does."""

    def expired(self) -> bool:
        """True if the block was stopped because its time was over."""
        ...


class Runtime(Protocol):
    """One for the sync runner and one for the async runner; both over the same clock."""

    clock: Clock
    #: True if ``timeout`` can stop a handler (async); a sync handler only gets to know its deadline.
    enforces_timeout: bool

    def sleep(self, seconds: float) -> MaybeAwaitable[None]:
        """Wait between attempts."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[TimeoutScope]:
        """Stop the block after so many seconds with TimeoutError; only where ``enforces_timeout``."""
        ...

    def shield(self, work: Awaitable[_T]) -> Awaitable[_T]:
        """Run clean-up to its end though the caller is cancelled, once or twice, meanwhile; then cancel the caller."""
        ...

    def signal(self) -> Any:
        """A one-shot flag with ``set()`` and ``wait(seconds)``, for callers that join a running twin."""
        ...

    def random(self) -> float:
        """A float in [0, 1), for jitter."""
        ...

    def new_id(self) -> str:
        """An id that no process has ever made before: 128 random bits and a counter. Not a secret."""
        ...

    def new_secret(self) -> str:
        """At least 128 unguessable bits as URL-safe text, for the token of a button."""
        ...
