"""From a host's function to a guarded one that nobody can tell apart: name, signature, colour and pickling stay."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, get_args

from botguard.command import Declaration
from botguard.errors import ConfigurationError

__all__ = ["Shape", "caller_locals", "is_async", "publish", "wrap"]

_MISSING: Any = object()


def caller_locals(depth: int) -> dict[str, Any]:
    """The local names where a decorator stands, so that models declared in a function can be resolved."""
    frame = sys._getframe(depth)  # noqa: SLF001 - the only way to see a function's local classes
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def is_async(function: Any) -> bool:
    """True for ``async def``, also behind partials and in callable objects."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - asked for its colour, not whether it can be called
    )


def check_function(function: Any, command: str) -> FunctionType:
    """Only plain functions can be wrapped without changing what they are.

    Raises:
        ConfigurationError: for generators, tasks of a framework, classes and other objects.
    """
    where = f"{command} {getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)!s}"
    if not isinstance(function, FunctionType):
        raise ConfigurationError(
            "BG135",
            f"it is a {type(function).__name__} already, not a function",
            where=where,
            why="a framework's decorator was applied first, so the guard would wrap the framework's object",
            fix="put the framework's decorator above ours",
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            "BG134",
            "it is a generator",
            where=where,
            why="a generator's effects come while its caller iterates, after the guard has finished",
            fix="return a list, or guard the function that does the work",
        )
    return function


class Shape:
    """How a handler takes its payload, and which model that is. Annotations are resolved one by one, lazily."""

    def __init__(self, function: FunctionType, local_names: dict[str, Any], request: Any, bind: Any) -> None:
        self.function, self.bind = function, bind
        self._request = request
        self._locals = local_names
        self.signature = _resolved(function, local_names)
        self.returns = self.signature.return_annotation
        parameters = list(self.signature.parameters.values())
        self._bound_first = _takes_self(function, parameters)
        self._own = parameters[1:] if self._bound_first else parameters
        self._payload = None if bind is not None else self._find_payload()
        self.position = parameters.index(self._payload) if self._payload is not None else -1
        self.name = self._payload.name if self._payload is not None else ""
        # Frames are not kept alive for longer than needed: only unresolved names still want them.
        if not self.unresolved:
            self._locals = {}

    def _find_payload(self) -> inspect.Parameter | None:
        usable = [p for p in self._own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        models = [p for p in usable if _is_model(p.annotation)]
        if len(models) == 1:
            return models[0]
        if self._request is not None and len(models) > 1:
            models = [p for p in models if p.annotation is self._request]
            if len(models) == 1:
                return models[0]
        named = [p for p in usable if p.name == "payload"]
        if len(named) == 1:
            return named[0]
        if len(usable) == 1 and not models:
            return usable[0]
        if not usable:
            return None
        raise ConfigurationError(
            "BG133",
            f"it takes ({', '.join(p.name for p in self._own)}), and none of them is plainly the payload",
            where=f"{self.function.__module__}.{self.function.__qualname__}",
            why="the guard would not know what to validate",
            fix="annotate one parameter with a pydantic model, name it payload, or pass "
            "bind=lambda *args, **kwargs: (payload, context)",
        )

    @property
    def unresolved(self) -> bool:
        """True while the payload's annotation is a name that does not exist yet."""
        return self._payload is not None and isinstance(self._payload.annotation, str) and self._request is None

    def resolve(self) -> None:
        """Try again to find the payload's model; modules may have finished loading meanwhile.

        Raises:
            ConfigurationError: if the name still does not exist.
        """
        if not self.unresolved or self._payload is None:
            return
        self.signature = _resolved(self.function, self._locals)
        self._payload = self.signature.parameters[self.name]
        self.returns = self.signature.return_annotation
        if self.unresolved:
            raise ConfigurationError(
                "BG136",
                f"the annotation {self._payload.annotation!r} of {self.name!r} names nothing that can be found",
                where=f"{self.function.__module__}.{self.function.__qualname__}",
                why="without the model the payload cannot be validated",
                fix="import the model at the top of the module (not under TYPE_CHECKING), or pass request=TheModel",
            )

    @property
    def model(self) -> Any:
        """The pydantic model of the payload, or None for plain data."""
        if self._request is not None:
            return self._request
        annotation = self._payload.annotation if self._payload is not None else None
        return annotation if _is_model(annotation) else None

    @property
    def wants_model(self) -> bool:
        """True if the handler is given the model instance, False if it takes a plain dict."""
        return self._payload is not None and (_is_model(self._payload.annotation) or not _is_dict(self._payload))

    @property
    def runnable(self) -> bool:
        """True if the handler can be called by name with nothing but its payload."""
        others = [p for p in self._own if p is not self._payload and p.default is p.empty]
        others = [p for p in others if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if self.bind is not None:
            return not self._bound_first and len(others) == 1
        return not self._bound_first and not others

    def take(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The payload among a direct call's arguments.

        Raises:
            TypeError: as Python itself would, if it is missing.
        """
        if self.position < 0:
            return {}
        if len(args) > self.position:
            return args[self.position]
        value = kwargs.get(self.name, _MISSING)
        if value is _MISSING:
            bound = self.signature.bind(*args, **kwargs)  # raises Python's own TypeError
            bound.apply_defaults()
            return bound.arguments[self.name]
        return value

    def put(self, call: Any, payload: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments for the handler, the validated payload in its place."""
        args, kwargs = call.args, call.kwargs
        if self.bind is not None:
            return (args, kwargs) if args is not None else ((payload,), {})
        if self.position < 0:
            return args or (), kwargs or {}
        if not self.wants_model and hasattr(payload, "model_dump"):
            payload = payload.model_dump()
        if args is None:
            return ((payload,), {}) if self._payload.kind is not _KEYWORD else ((), {self.name: payload})  # type: ignore[union-attr]
        if len(args) > self.position:
            return (*args[: self.position], payload, *args[self.position + 1 :]), kwargs
        return args, {**kwargs, self.name: payload}


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _takes_self(function: FunctionType, parameters: list[inspect.Parameter]) -> bool:
    inside = function.__qualname__.rpartition(".")[0]
    in_class = bool(inside) and not inside.endswith("<locals>")
    return in_class and bool(parameters) and parameters[0].name in ("self", "cls")


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "__pydantic_core_schema__")


def _is_dict(parameter: inspect.Parameter) -> bool:
    origin = getattr(parameter.annotation, "__origin__", parameter.annotation)
    return parameter.annotation is parameter.empty or (isinstance(origin, type) and issubclass(origin, dict))


def _resolved(function: FunctionType, local_names: dict[str, Any]) -> inspect.Signature:
    """The signature with each string annotation evaluated on its own: a name that exists only for type checkers stays
    a string instead of spoiling the others."""
    signature = inspect.signature(function)
    closure = inspect.getclosurevars(function).nonlocals if function.__closure__ else {}
    scope = {**closure, **local_names}

    def value(annotation: Any) -> Any:
        if not isinstance(annotation, str):
            return annotation
        try:
            found = eval(annotation, function.__globals__, scope)  # noqa: S307 - the host's own source text
        except Exception:  # noqa: BLE001 - any failure means: not resolvable yet
            return annotation
        return type(None) if found is None else found

    parameters = [p.replace(annotation=_unwrap(value(p.annotation))) for p in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=value(signature.return_annotation))


def _unwrap(annotation: Any) -> Any:
    """``Annotated[Model, Body()]`` is published as it is; only a bare Annotated model counts as the payload's."""
    return annotation


def publish(wrapper: Any, shape: Shape) -> None:
    """Give a wrapper the handler's face: metadata by functools, and annotations that any framework can read."""
    wrapper.__signature__ = shape.signature
    annotations = {name: p.annotation for name, p in shape.signature.parameters.items() if p.annotation is not p.empty}
    if shape.signature.return_annotation is not shape.signature.empty:
        annotations["return"] = shape.signature.return_annotation
    wrapper.__annotations__ = annotations


def wrap(function: FunctionType, declaration: Declaration) -> Callable[..., Any]:
    """A plain function of the same colour that enters the guard. Never adds a parameter."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def guarded_async(*args: Any, **kwargs: Any) -> Any:
            entry = declaration.entry
            if entry is None:
                raise declaration.unbound()
            return await entry(args, kwargs)

        wrapper: Callable[..., Any] = guarded_async
    else:

        @functools.wraps(function)
        def guarded_sync(*args: Any, **kwargs: Any) -> Any:
            entry = declaration.entry
            if entry is None:
                raise declaration.unbound()
            return entry(args, kwargs)

        wrapper = guarded_sync
    publish(wrapper, declaration.shape)
    wrapper.__botguard__ = declaration  # type: ignore[attr-defined]
    return wrapper


def model_of(annotation: Any) -> Any:
    """The model inside ``Annotated[Model, …]``, or the annotation itself."""
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
