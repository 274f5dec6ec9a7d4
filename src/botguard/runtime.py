"""The system's clock, waiting and chance, for each of the two runners. Tests give the guard a FakeClock instead."""

from __future__ import annotations

import os
import threading
import time as system_time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from botguard.ports.colour import MaybeAwaitable
from botguard.ports.runtime import Clock, TimeoutScope

if TYPE_CHECKING:
    import asyncio
else:
    # asyncio costs more to import than all of botguard, and a synchronous host never needs it.
    class _Later:
        def __getattr__(self, name: str) -> Any:
            global asyncio  # noqa: PLW0603 - the real module takes this object's place at its first use
            import asyncio

            return getattr(asyncio, name)

    asyncio = _Later()

__all__ = ["AsyncRuntime", "SyncRuntime", "SystemClock", "in_thread", "is_loop_running", "run_alone"]

_T = TypeVar("_T")


class SystemClock:
    """The machine's own clocks."""

    time = staticmethod(system_time.time)
    monotonic = staticmethod(system_time.monotonic)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Block this thread."""
        system_time.sleep(seconds)

    @staticmethod
    async def sleep_async(seconds: float) -> None:
        """Wait on this loop."""
        await asyncio.sleep(seconds)


class _Ids:
    """Ids from one 128-bit nonce per process and a counter: a twelfth of the cost of uuid4, and never the same twice."""

    def __init__(self) -> None:
        self._reseed()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reseed)  # a forked child must not go on with its parent's ids

    def _reseed(self) -> None:
        self._nonce = os.urandom(16).hex()
        self._next = count(1).__next__

    def new(self) -> str:
        """The next id."""
        return f"{self._nonce}-{self._next()}"


new_id = _Ids().new


async def in_thread(function: Callable[..., _T], *args: Any) -> _T:
    """Run a blocking function in a thread that sees the caller's context variables."""
    return await asyncio.to_thread(function, *args)


def is_loop_running() -> bool:
    """True inside a coroutine or callback of an event loop."""
    return asyncio._get_running_loop() is not None  # noqa: SLF001 - the documented form raises and costs more


def run_alone(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on a loop of its own, for scripts."""
    return asyncio.run(coroutine)


class _Base:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.new_id = new_id

    @staticmethod
    def new_secret() -> str:
        """See the port."""
        import secrets

        return secrets.token_urlsafe(18)

    @staticmethod
    def random() -> float:
        """See the port."""
        import random

        return random.random()  # noqa: S311 - jitter is no secret


class SyncRuntime(_Base):
    """Waits by blocking the caller's thread; cannot stop a handler."""

    enforces_timeout = False

    def sleep(self, seconds: float) -> None:
        """See the port."""
        self.clock.sleep(seconds)  # type: ignore[attr-defined]

    def timeout(self, seconds: float) -> NoReturn:
        """Not here: nothing can stop a thread from outside."""
        raise NotImplementedError("a synchronous handler cannot be stopped; it gets current().remaining")

    def shield(self, work: Awaitable[_T]) -> Awaitable[_T]:
        """See the port; nothing can interrupt between two steps of a coroutine that never suspends."""
        return work

    def signal(self) -> Any:
        """See the port."""
        return threading.Event()


class AsyncRuntime(_Base):
    """Waits on the caller's event loop."""

    enforces_timeout = True

    def sleep(self, seconds: float) -> MaybeAwaitable[None]:
        """See the port."""
        return self.clock.sleep_async(seconds)  # type: ignore[attr-defined, no-any-return]

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[TimeoutScope]:
        """See the port. ``asyncio.timeout``, not ``wait_for``: that one may swallow a cancellation from outside."""
        return asyncio.timeout(seconds)

    async def shield(self, work: Awaitable[_T]) -> _T:
        """See the port."""
        task = asyncio.ensure_future(work)
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                if task.cancelled():
                    raise
                cancelled = error  # remember, and let the work end first
            except BaseException:  # noqa: BLE001 - the work's own error is raised below, by result()
                break
        if cancelled is not None:
            if not task.cancelled():
                task.exception()  # retrieved, so that nothing is logged about it
            raise cancelled
        return task.result()

    def signal(self) -> Any:
        """See the port."""
        return _AsyncSignal()


class _AsyncSignal:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._event.wait()
        except TimeoutError:
            return False
