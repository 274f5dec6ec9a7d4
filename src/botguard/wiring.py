"""What a guard is given, checked where it is given: storage keys, access, policies, contexts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from botguard.command import Declaration
from botguard.errors import ConfigurationError
from botguard.invocation import Context
from botguard.plan import Plan
from botguard.policies.rules import RuleList
from botguard.ports.storage import Storage
from botguard.ports.work import HostWork
from botguard.stages.authorize import RoleTable
from botguard.wrapping import is_async

__all__ = [
    "ALLOW_ALL",
    "authorizer_given",
    "bound_given",
    "context_given",
    "foreign_given",
    "policies_given",
    "resolver_given",
    "secret_given",
    "storage_given",
]


class _AllowAll:
    """Every identified actor may do everything. Written down on purpose; it is never a default."""

    def permits(self, org: str, roles: frozenset[str], permission: str, /) -> bool:
        return True

    def __repr__(self) -> str:
        return "ALLOW_ALL"


ALLOW_ALL = _AllowAll()


def context_given(context: Any, source: str, *, needed: bool = False) -> Context | None:
    """The Context itself; anything else is a mistake of the host's code that nobody may be authorised by."""
    if type(context) is Context or (context is None and not needed):
        return context
    if isinstance(context, Context):
        return context
    raise ConfigurationError(
        "BG123",
        f"{source} {context!r:.60}, which is no Context",
        why="nobody could be authorised by it",
        fix="give Context(org='acme', actor=Actor('u1'), channel='web')",
    )


def bound_given(plan: Plan, said: Any) -> tuple[Any, Context | None]:
    if type(said) is not tuple or len(said) != 2:
        raise ConfigurationError(
            "BG119",
            f"bind= returned {said!r:.60}",
            where=f"{plan.command.name} {plan.declaration.where}",
            why="the guard would take something else for the payload, or for who asks",
            fix="return a tuple (payload, context); the context may be None",
        )
    return said[0], context_given(said[1], "bind= returned as context")


def resolver_given(context: Any) -> Callable[..., Context | None] | None:
    if context is None or (callable(context) and not is_async(context)):
        return context  # type: ignore[no-any-return]
    raise ConfigurationError(
        "BG174",
        f"Guard(context={context!r:.60}) is " + ("async def" if callable(context) else "not a function"),
        why="a direct call asks it for its Context, and a synchronous one cannot wait",
        fix="give a plain function that returns a Context or None",
    )


def foreign_given(declaration: Declaration) -> ConfigurationError:
    return ConfigurationError(
        "BG132",
        "another guard has bound this handler",
        where=f"{declaration.command.name} {declaration.where}",
        why="one handler would run under two guards with different rules",
        fix="declare it in a registry of its own, or use one guard",
    )


def authorizer_given(access: Any) -> Any:
    if access is None:
        raise ConfigurationError(
            "BG171",
            "Guard() has no access=",
            why="nobody could do anything: the default is to deny",
            fix='access={"sales": {"orders.create"}}, or access=ALLOW_ALL on purpose',
        )
    if isinstance(access, Mapping):
        return RoleTable(access)
    if not callable(getattr(access, "permits", None)):
        raise ConfigurationError(
            "BG171",
            f"Guard(access={access!r:.60}) permits nothing",
            why="nobody could do anything: it says neither which role may do what, nor decides by itself",
            fix='write {"sales": {"orders.create"}}, or give an object with permits(org, roles, permission)',
        )
    return access


def policies_given(policies: Any) -> Any:
    if policies is None or hasattr(policies, "decide"):
        return policies
    if isinstance(policies, Iterable) and not isinstance(policies, str):
        return RuleList(policies)
    raise ConfigurationError(
        "BG152",
        f"policies={policies!r:.60} cannot be read yet",
        why="it would restrict nothing",
        fix="give a list of Rule(...) objects",
    )


def storage_given(storage: Any, work: HostWork | None = None) -> Storage:
    """A storage, with the host's units of work where it gives some; what is none is told apart here, before its first
    port is asked."""
    if storage is not None and not isinstance(storage, type) and hasattr(storage, "for_async"):
        return storage if work is None else work.over(storage)
    given = "has no storage" if storage is None else f"was given storage={storage!r:.80}, which is none"
    raise ConfigurationError(
        "BG170",
        f"Guard() {given}",
        why="without one it cannot tell a duplicate from a new request",
        fix="Guard(storage=MemoryStorage(), …) to try out, SqliteStorage('bot.db') to keep",
    )


def secret_given(secret: bytes | None, storage: Storage) -> bytes:
    if secret is None:
        return storage.fingerprint_key
    given: Any = secret
    if not isinstance(given, bytes) or not 16 <= len(secret) <= 64:
        raise ConfigurationError(
            "BG172",
            "secret= is not 16 to 64 bytes",
            why="fingerprints of payloads could be guessed",
            fix="take secrets.token_bytes(32) once, and keep it safe",
        )
    return secret
