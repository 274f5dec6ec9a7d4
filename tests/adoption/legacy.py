"""Legacy handlers of a module, as a host has them: reached by name, pickled by name, in no way ours."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any


def plain(ctx: dict[str, Any], *, note: str = "") -> dict[str, Any]:
    """What the ERP says about it."""
    return {**ctx, "note": note}


async def awaited(ctx: dict[str, Any], *extra: int) -> dict[str, Any]:
    """The same, waited for."""
    return {**ctx, "extra": extra}


def marked(ctx: dict[str, Any]) -> str:
    return f"{ctx['entity_id']}"


marked.required_role = "admin"  # type: ignore[attr-defined]


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@logged
def decorated(ctx: dict[str, Any]) -> str:
    """Below a decorator of the host's."""
    return "decorated"


class Desk:
    """Its methods are handlers."""

    def __init__(self, name: str = "front") -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Desk) and other.name == self.name

    __hash__ = object.__hash__

    def method(self, ctx: dict[str, Any]) -> tuple[str, Any]:
        """Knows its desk."""
        return self.name, ctx

    async def awaited(self, ctx: dict[str, Any]) -> tuple[str, Any]:
        return self.name, ctx

    @classmethod
    def of_class(cls, ctx: dict[str, Any]) -> tuple[str, Any]:
        return cls.__name__, ctx

    @staticmethod
    def static(ctx: dict[str, Any]) -> Any:
        return ctx


def generated(ctx: dict[str, Any]) -> Iterator[int]:
    yield 1


async def generated_async(ctx: dict[str, Any]) -> AsyncIterator[int]:
    yield 1


def registry() -> dict[str, Any]:
    desk = Desk()
    return {
        "plain": plain,
        "awaited": awaited,
        "marked": marked,
        "decorated": decorated,
        "desk.method": desk.method,
        "desk.awaited": desk.awaited,
        "desk.of_class": Desk.of_class,
        "desk.static": Desk.static,
    }
