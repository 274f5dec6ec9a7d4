"""A handler in shadow: an object that passes for the function or bound method it stands for, and calls just that."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from botguard.adoption.observer import Observed

__all__ = ["Shadowed", "shadowed", "why_not"]


def _itself(handler: Any) -> Any:
    return handler


#: What is the stand-in's own; every other attribute is the original's.
_OWN = frozenset(("__call__", "__deepcopy__", "__get__", "__reduce_ex__", "__wrapped__", "_observed"))


class Shadowed:
    """Stands in for a handler. Type tests, signature, name, documentation and attributes are the original's.

    A function could not be pickled: pickle finds functions by their name, and would find the original there. So this is
    an object, which pickles as the original (another process has no guard to observe with).
    """

    __slots__ = ("__weakref__", "__wrapped__", "_observed")
    __wrapped__: Any
    _observed: Observed

    def __init__(self, original: Any, observed: Observed) -> None:
        object.__setattr__(self, "__wrapped__", original)
        object.__setattr__(self, "_observed", observed)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        look = self._observed.look(args, kwargs)
        try:
            value = self.__wrapped__(*args, **kwargs)
        except BaseException as error:
            look.raised(error)
            raise
        look.returned(value)
        return value

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN:
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "__wrapped__"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__wrapped__, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__wrapped__, name)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None or not isinstance(self.__wrapped__, FunctionType):
            return self
        return MethodType(self, instance)

    def __eq__(self, other: object) -> bool:
        return bool(self.__wrapped__ == (other.__wrapped__ if _is_shadowed(other) else other))  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _itself, (self.__wrapped__,)

    def __copy__(self) -> Shadowed:
        return self

    def __deepcopy__(self, memo: Any) -> Shadowed:
        return self


class _ShadowedAsync(Shadowed):
    """The same for a coroutine function."""

    __slots__ = ()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        original = self.__wrapped__
        if not self._observed.fits(args, kwargs):
            return original(*args, **kwargs)  # wrong arguments are refused at once, and it says itself what is wrong
        running: Any = _run(original, self._observed, args, kwargs)
        running.__name__, running.__qualname__ = original.__name__, original.__qualname__
        return running


async def _run(original: Callable[..., Any], observed: Observed, args: Any, kwargs: Any) -> Any:
    look = await observed.look_async(args, kwargs)
    try:
        value = await original(*args, **kwargs)
    except BaseException as error:
        look.raised(error)
        raise
    look.returned(value)
    return value


def _is_shadowed(handler: Any) -> bool:
    return issubclass(type(handler), Shadowed)  # its __class__ is the original's


def shadowed(original: Any, observed: Observed) -> Shadowed:
    """The handler's stand-in, in its colour."""
    kind = _ShadowedAsync if inspect.iscoroutinefunction(original) else Shadowed
    return kind(original, observed)


def why_not(handler: Any) -> str | None:
    """Why a handler is left alone; "" if it is in shadow already, None if it can be put there."""
    if _is_shadowed(handler):
        return ""
    if not callable(handler):
        return "it cannot be called"
    if getattr(handler, "__botguard__", None) is not None:
        return "it is guarded already"
    function = handler.__func__ if isinstance(handler, MethodType) else handler
    if not isinstance(function, FunctionType):
        return f"it is no function or method, but a {type(handler).__name__}"
    if inspect.isgeneratorfunction(function):
        return "it is a generator: its effects come while its caller iterates"
    if inspect.isasyncgenfunction(function):
        return "it is an async generator: its effects come while its caller iterates"
    return None
