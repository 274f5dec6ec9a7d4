"""Clocks, waiting, time limits, shields and ids in virtual time."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

from botguard.ports.runtime import Clock, TimeoutScope
from botguard.testing.simulation.loop import Dropped, Latch, Loop, Task, Wait, ask

__all__ = ["EPOCH", "SimulatedRuntime", "StoreClock"]

_T = TypeVar("_T")

#: Where the wall clocks begin.
EPOCH = 1_800_000_000.0


class StoreClock:
    """The clock that judges leases; it can be set wrong, while the monotonic one goes on."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.skew = 0.0

    def time(self) -> float:
        """See the port."""
        return EPOCH + self.loop.now + self.skew

    def monotonic(self) -> float:
        """See the port."""
        return self.loop.now

    def sleep(self, seconds: float) -> None:
        """A store that waits makes everybody wait."""
        self.loop.now += seconds


class SimulatedRuntime:
    """A :class:`botguard.ports.runtime.Runtime` over the loop of the schedule that is running."""

    enforces_timeout = True

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock = name, clock
        self.loop: Any = None
        self.begin(0)

    def begin(self, life: int) -> None:
        """A new process under the same name, whose ids no other one has."""
        self._prefix, self._number = f"{self.name}{life}-", 0

    def new_id(self) -> str:
        """See the port."""
        self._number += 1
        return f"{self._prefix}{self._number}"

    def new_secret(self) -> str:
        """See the port."""
        return f"token-{self.new_id()}"

    def random(self) -> float:
        """See the port."""
        return 0.5

    async def sleep(self, seconds: float) -> None:
        """See the port."""
        if self.loop.dropping:
            raise Dropped
        await ask(Wait(self.loop.now + seconds))

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[TimeoutScope]:
        """See the port."""
        return _Scope(self.loop, seconds)

    async def shield(self, work: Awaitable[_T]) -> _T:
        """See the port."""
        task: Task = self.loop.current
        if self.loop.dropping:  # the task that unwinds is not the one whose turn it is
            return await work
        task.shields += 1
        try:
            answer = await work
        except BaseException:
            if not self.loop.dropping:
                self._unshield(task)
            raise
        self._unshield(task)
        return answer

    def _unshield(self, task: Task) -> None:
        """Tell him now what he was spared."""
        task.shields -= 1
        if not task.shields and (task.cancelled or task.overdue(self.loop.now)):
            task.cancelled = False
            raise CancelledError

    def signal(self) -> _Signal:
        """See the port."""
        return _Signal(self.loop)


class _Scope:
    """``asyncio.timeout`` in virtual time."""

    __slots__ = ("_loop", "_seconds", "_task", "foreign", "over", "until")

    def __init__(self, loop: Loop, seconds: float) -> None:
        self._loop, self._seconds = loop, seconds
        self._task: Any = None
        #: Its time was over, and it has said so.
        self.over = False
        #: The caller was cancelled meanwhile, which is not for it to turn into an error.
        self.foreign = False
        self.until = 0.0

    async def __aenter__(self) -> Self:
        self._task = self._loop.current
        self.until = self._loop.now + self._seconds
        self._task.scopes.append(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self in self._task.scopes:
            self._task.scopes.remove(self)
        if self.over and not self.foreign and kind is CancelledError:
            raise TimeoutError from error

    def expired(self) -> bool:
        """See the port."""
        return self.over


class _Signal:
    __slots__ = ("_latch", "_loop", "_set")

    def __init__(self, loop: Loop) -> None:
        self._loop, self._latch, self._set = loop, Latch(), False

    def set(self) -> None:
        self._set = True
        self._loop.open(self._latch)

    async def wait(self, seconds: float) -> bool:
        if self._loop.dropping:
            raise Dropped
        if not self._set:
            await ask(Wait(self._loop.now + seconds, self._latch))
        return self._set
