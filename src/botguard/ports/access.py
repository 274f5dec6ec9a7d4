"""Who is who, and who may do what."""

from __future__ import annotations

from typing import Protocol

from botguard.invocation import Principal
from botguard.ports.colour import MaybeAwaitable

__all__ = ["Authorizer", "Directory"]


class Directory(Protocol):
    """Looks an actor up at execution; a plain function ``(org, actor_id) -> Principal | None`` is one."""

    def __call__(self, org: str, actor_id: str, /) -> MaybeAwaitable[Principal | None]:
        """The principal as of now, or None if the org has no such actor."""
        ...


class Authorizer(Protocol):
    """Decides whether roles hold a permission in an org. It is asked for every call; default deny."""

    def permits(self, org: str, roles: frozenset[str], permission: str, /) -> MaybeAwaitable[bool]:
        """True if any of the roles holds the permission in the org."""
        ...
