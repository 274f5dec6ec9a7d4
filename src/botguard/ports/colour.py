"""The colour of a port: whether it is called plainly, awaited, or both."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal, TypeAlias, TypeVar

__all__ = ["Colour", "MaybeAwaitable"]

_T = TypeVar("_T")

#: A value, or something to await for it.
MaybeAwaitable: TypeAlias = _T | Awaitable[_T]

#: ``sync``: blocks its thread (a database driver); ``async``: returns awaitables; ``any``: answers at once without
#: blocking (memory), so that both runners may use it.
Colour = Literal["sync", "async", "any"]
