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
    return RoleTable(access) if isinstance(access, Mapping) else access


def policies_given(policies: Any) -> Any:
    if policies is None or hasattr(policies, "decide"):
        return policies
    if isinstance(policies, Iterable) and not isinstance(policies, str):
        return RuleList(policies)
    raise ConfigurationError(
        "BG152", f"policies={policies!r:.60} cannot be read yet", fix="give a list of Rule(...) objects"
    )


def secret_given(secret: bytes | None, storage: Storage) -> bytes:
    if secret is None:
        return storage.fingerprint_key
    given: Any = secret
    if not isinstance(given, bytes) or not 16 <= len(secret) <= 64:
        raise ConfigurationError("BG172", "secret= must be 16 to 64 bytes", fix="secrets.token_bytes(32), kept safe")
    return secret
