"""Stores that hold every promise, in the forms that the bad ones need: async, with two handles, with a plug to pull.

They are the positive control: every test passes on them, and what is built on them is wrong in one way only.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from botguard.errors import StoreUnavailable
from botguard.testing.models import ApprovalModel, ClaimModel, EventModel, LimitModel

__all__ = [
    "AsyncApprovals",
    "AsyncClaims",
    "AsyncEvents",
    "AsyncLimits",
    "CutApprovals",
    "CutClaims",
    "CutEvents",
    "CutLimits",
    "SharedApprovals",
    "SharedClaims",
    "SharedEvents",
    "SharedLimits",
]

_METHODS = {
    "claim", "finish", "release", "extend", "peek", "purge", "append", "tail", "open", "by_token", "by_subject", "decide",
    "spend", "reserve", "test", "refund",
}  # fmt: skip


class OneByOne:
    """One connection, which is waited for: each call waits before and after it is carried out."""

    colour = "async"
    model: type[Any]

    def __init__(self, clock: Any) -> None:
        self.inner = self.model(clock)
        self.turn = asyncio.Semaphore(1)

    @property
    def trail(self) -> Any:
        """Events are read beside the one connection."""
        return self.inner

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self.carry_out(name, *args, **kwargs)

        return call

    async def carry_out(self, name: str, *args: Any, **kwargs: Any) -> Any:
        async with self.turn:
            await asyncio.sleep(0)
            answer = self.apply(name, *args, **kwargs)
            await asyncio.sleep(0)
            return answer

    def apply(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.inner, name)(*args, **kwargs)


class AsyncClaims(OneByOne):
    model = ClaimModel


class AsyncApprovals(OneByOne):
    model = ApprovalModel


class AsyncEvents(OneByOne):
    model = EventModel


class AsyncLimits(OneByOne):
    model = LimitModel


class Handles:
    """Handles share their rows."""

    def handle(self) -> Any:
        return copy.copy(self)


class SharedClaims(Handles, ClaimModel):
    pass


class SharedApprovals(Handles, ApprovalModel):
    pass


class SharedEvents(Handles, EventModel):
    pass


class SharedLimits(Handles, LimitModel):
    pass


class Plug:
    """While it is cut off, each write is refused before anything was written; reads are answered."""

    cut = False

    def refuse(self) -> None:
        if self.cut:
            raise StoreUnavailable("cut off on purpose")

    def through(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        self.refuse()
        return method(*args, **kwargs)


class CutClaims(Plug, ClaimModel):
    def claim(self, *args: Any) -> Any:
        return self.through(super().claim, *args)

    def finish(self, *args: Any) -> Any:
        return self.through(super().finish, *args)

    def release(self, *args: Any) -> Any:
        return self.through(super().release, *args)


class CutApprovals(Plug, ApprovalModel):
    def spend(self, *args: Any) -> Any:
        return self.through(super().spend, *args)


class CutEvents(Plug, EventModel):
    def append(self, *args: Any) -> Any:
        return self.through(super().append, *args)


class CutLimits(Plug, LimitModel):
    def reserve(self, *args: Any) -> Any:
        return self.through(super().reserve, *args)
