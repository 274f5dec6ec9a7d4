"""What ``module:factory`` names, what it makes, and which ports that fits."""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botguard.errors import ConfigurationError
from botguard.ports.approvals import ApprovalStore
from botguard.ports.events import EventStore
from botguard.ports.idempotency import IdempotencyStore
from botguard.ports.limits import LimitStore

__all__ = ["PORTS", "close", "fitting", "load", "make", "store_of", "takes_clock"]

#: The stores that a Storage may hold, by the name of its attribute.
PORTS: dict[str, type[Any]] = {
    "idempotency": IdempotencyStore,
    "events": EventStore,
    "approvals": ApprovalStore,
    "limits": LimitStore,
}


def load(target: str, *, beside: Path | None = None) -> Callable[..., Any]:
    """What ``module:name`` names.

    Args:
        beside: a folder to look into as well, as ``python -m`` does with the present one.

    Raises:
        ConfigurationError: there is no such thing, or it cannot be called.
    """
    try:
        found = _resolve(target, str(beside or Path.cwd()))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            "BG291",
            f"{target!r} cannot be loaded: {error}",
            fix="write module:factory, as in shop.storage:make_storage, importable from this folder",
        ) from error
    if ":" not in target or not callable(found):
        raise ConfigurationError(
            "BG291",
            f"{target!r} names {type(found).__name__}, which nobody can call",
            fix="write module:factory, where factory(clock) returns a store or a storage",
        )
    made: Callable[..., Any] = found
    return made


def _resolve(target: str, folder: str) -> Any:
    try:
        return pkgutil.resolve_name(target)
    except ImportError:
        if folder in sys.path:
            raise
    sys.path.append(folder)
    return pkgutil.resolve_name(target)


def takes_clock(factory: Callable[..., Any]) -> bool:
    """True if the factory wants the clock by which its store judges time."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        parameter.name == "clock" or parameter.default is parameter.empty
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    )


def make(factory: Callable[..., Any], clock: Any) -> Any:
    """Call the factory, with the clock if it takes one."""
    if not takes_clock(factory):
        return factory()
    named = inspect.signature(factory).parameters.get("clock")
    return factory(clock=clock) if named is not None and named.kind is not named.POSITIONAL_ONLY else factory(clock)


def close(made: Any) -> None:
    """Close what was made, if it can be."""
    closing = getattr(made, "close", None)
    if callable(closing):
        closing()


def store_of(made: Any, port: str) -> Any:
    """The store for a port: the object itself, or what it holds under the port's name; None where there is neither."""
    store = made if _fits(made, port) else getattr(made, port, None)
    return store if store is not None and _fits(store, port) else None


def fitting(made: Any) -> tuple[str, ...]:
    """The ports for which there is a store."""
    return tuple(port for port in PORTS if store_of(made, port) is not None)


def _fits(made: Any, port: str) -> bool:
    wanted = (name for name, member in vars(PORTS[port]).items() if inspect.isfunction(member) and name[0] != "_")
    return all(callable(getattr(made, name, None)) for name in wanted)
