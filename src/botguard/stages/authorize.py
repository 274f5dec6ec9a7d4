"""authorize: who is asking now, from here, and does he hold the permission? Default deny."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from botguard.command import Command
from botguard.errors import ConfigurationError
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, closed, refusal
from botguard.ports.access import Authorizer, Directory
from botguard.ports.colour import MaybeAwaitable

__all__ = ["Authorize", "RoleTable"]

_DENIED, _MISSING = Status.DENIED, (Reason.MISSING_PERMISSION,)  # an enum's member is slow to look up on 3.11


class RoleTable:
    """Role → permissions, the same in every org. ``"*"`` grants all, ``"orders.*"`` all that begin so."""

    def __init__(self, table: Mapping[str, Iterable[str]]) -> None:
        self._table: dict[str, frozenset[str]] = {}
        for role, permissions in table.items():
            if isinstance(permissions, str):
                raise ConfigurationError(
                    "BG150",
                    f"access[{role!r}] is the string {permissions!r}",
                    why="its letters would be taken for permissions",
                    fix=f"write {{{role!r}: {{{permissions!r}}}}}",
                )
            self._table[role] = frozenset(permissions)

    def holders(self, permission: str) -> frozenset[str]:
        """The roles that hold a permission."""
        return frozenset(role for role, held in self._table.items() if _holds(held, permission))

    def permits(self, org: str, roles: frozenset[str], permission: str, /) -> bool:
        """See :class:`botguard.ports.access.Authorizer`."""
        return not roles.isdisjoint(self.holders(permission))


def _holds(held: frozenset[str], permission: str) -> bool:
    if permission in held or "*" in held:
        return True
    parts = permission.split(".")
    return any(".".join(parts[:n]) + ".*" in held for n in range(1, len(parts)))


class Authorize:
    """The first gate. It also learns which person stands behind the actor, for replays and approvals."""

    name = "authorize"

    def __init__(self, command: Command, authorizer: Authorizer, directory: Directory | None) -> None:
        self._permission = None if command.public else command.permission
        self._bot_class, self._channels = command.bot_class, command.channels
        self._authorizer, self._directory = authorizer, directory
        # A role table does not change, so the roles that may call this command are known now.
        self._holders = (
            authorizer.holders(self._permission)
            if isinstance(authorizer, RoleTable) and self._permission is not None
            else None
        )

        self._anywhere = self._holders is not None and self._bot_class is None and not self._channels

    def check(self, call: Call) -> MaybeAwaitable[Outcome | None]:
        """Identity, org, bot class, channel, permission."""
        actor = call.context.actor
        if actor is None:
            # Where this stage is only a shadow the call goes on: strangers are told apart by where they write from.
            call.person = f"@{call.context.channel}:{call.context.address or ''}"
            return refusal(Status.DENIED, Reason.NO_ACTOR)
        call.person = actor.person or actor.id
        if self._directory is not None:
            return self._looked_up(call, self._directory)
        roles = call.roles = actor.roles
        if self._anywhere:  # only the permission counts, and who holds it is known
            for role in roles:
                if role in self._holders:  # type: ignore[operator]
                    return None
            return Outcome(_DENIED, None, None, _MISSING)
        return self._judge(call)

    def _judge(self, call: Call) -> MaybeAwaitable[Outcome | None]:
        """Person and roles are known: may they call this, from here?"""
        context = call.context
        if self._bot_class is not None and context.bot_class is not None and context.bot_class != self._bot_class:
            return refusal(Status.DENIED, Reason.WRONG_BOT_CLASS)
        if self._channels and context.channel not in self._channels:
            return refusal(Status.DENIED, Reason.WRONG_CHANNEL)
        holders = self._holders
        if holders is None:
            return None if self._permission is None else self._ask(call)
        for role in call.roles:
            if role in holders:
                return None
        return Outcome(_DENIED, None, None, _MISSING)

    async def _looked_up(self, call: Call, directory: Directory) -> Outcome | None:
        refused = await self._identify(call, directory)
        if refused is not None:
            return refused
        judged: Any = self._judge(call)
        verdict: Outcome | None = await judged if hasattr(judged, "__await__") else judged
        return verdict

    async def _identify(self, call: Call, directory: Directory) -> Outcome | None:
        context = call.context
        try:
            principal: Any = directory(context.org, context.actor.id)
            if hasattr(principal, "__await__"):
                principal = await call.bridge(principal)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - authorisation is closed when its source is down
            return closed(error)
        if principal is None or (principal.org is not None and principal.org != context.org):
            return refusal(Status.DENIED, Reason.NOT_FOUND)
        call.person, call.roles = principal.person, principal.roles
        if not principal.active:
            return refusal(Status.DENIED, Reason.ACTOR_INACTIVE)
        return None

    async def _ask(self, call: Call) -> Outcome | None:
        try:
            answer: Any = self._authorizer.permits(call.context.org, frozenset(call.roles), self._permission or "")
            if hasattr(answer, "__await__"):
                answer = await call.bridge(answer)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - authorisation is closed when its source is down
            return closed(error)
        return None if answer is True else refusal(Status.DENIED, Reason.MISSING_PERMISSION)

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {
            "permission": self._permission or "public",
            "directory": self._directory is not None,
            "bot_class": self._bot_class,
            "channels": sorted(self._channels),
        }
