"""From a host's function to a guarded one that nobody can tell apart: name, signature, colour and pickling stay."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType
from typing import Any, get_args

from botguard.command import Declaration
from botguard.errors import ConfigurationError

__all__ = ["Shape", "caller_locals", "is_async", "publish", "wrap"]

_MISSING: Any = object()


def caller_locals(depth: int) -> dict[str, Any]:
    """The local names where a decorator stands, so that models declared in a function can be resolved.

    In the body of a class these are the class's own names and those of the function around it.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - the only way to see a function's local classes
    found: dict[str, Any] = {}
    inner = True
    while frame is not None and frame.f_locals is not frame.f_globals:
        in_class = not frame.f_code.co_flags & inspect.CO_OPTIMIZED
        if inner or not in_class:  # the names of a class are not seen from the classes inside it
            found = {**frame.f_locals, **found}
        if not in_class and not frame.f_code.co_name.startswith("<generic parameters"):
            break
        frame, inner = frame.f_back, False  # a class body is run by the function that it stands in
    return found


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


def check_one_retrier(function: FunctionType, command: str) -> None:
    """A command that the guard retries must not be retried below it too: 3 attempts of 3 attempts are 9 calls.

    Only tenacity's own decorator can be told, by what it leaves on the function (and so without tenacity).

    Raises:
        ConfigurationError: if tenacity retries the handler already.
    """
    below: Any = function
    while below is not None:
        if hasattr(below, "retry_with") and hasattr(below, "statistics"):
            raise ConfigurationError(
                "BG125",
                "it has two retry owners: retry= and tenacity's decorator on the handler",
                where=f"{command} {function.__module__}.{function.__qualname__}",
                why="the attempts multiply, and those inside neither know the deadline nor whether the effect is there",
                fix="take tenacity's decorator away, and give its wait and stop to Retry(wait=…, stop=…)",
            )
        below = getattr(below, "__wrapped__", None)


class Shape:
    """How a handler takes its payload, and which model that is. Annotations are resolved one by one, lazily."""

    #: The function that callers see; its face is made anew once later names are known.
    face: Any = None

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
        self.position, self.name = _BY_NAME, self._payload.name if self._payload is not None else ""
        if self._payload is None:
            self.position = -1
        elif self._payload.kind is not _KEYWORD:
            self.position = parameters.index(self._payload)
        #: The usual case: called by name, with the payload as the first positional argument, given as the model.
        self._plain = self.position == 0
        self._least, self._most, self._needed, self._known = _arity(parameters)
        self._check_payload()
        # Frames are not kept alive for longer than needed: only unresolved names still want them.
        if not self.unresolved:
            self._locals = {}

    def _find_payload(self) -> inspect.Parameter | None:
        usable = [p for p in self._own if p.kind not in _VARIADIC]
        if self._request is not None:
            asked = [p for p in usable if _model_in(p.annotation) is self._request]
            if len(asked) == 1:
                return asked[0]
        models = [p for p in usable if _is_model(p.annotation)]
        if len(models) == 1:
            return models[0]
        named = [p for p in usable if p.name == "payload"]
        if len(named) == 1:
            return named[0]
        if len(usable) == 1 and not models:
            return usable[0]
        if not self._own:
            return None
        raise ConfigurationError(
            "BG133",
            f"it takes ({', '.join(str(p.replace(annotation=p.empty)) for p in self._own)}), "
            "and none of them is plainly the payload",
            where=self.where,
            why="the guard would not know what to validate",
            fix="annotate just one parameter with a pydantic model, name it payload, say which by request=TheModel, or "
            "pass bind=lambda *args, **kwargs: (payload, context)",
        )

    @property
    def where(self) -> str:
        """``module.function``, for messages."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def _check_payload(self) -> None:
        """Refuse a payload that looks as if it were validated and would not be.

        Raises:
            ConfigurationError: for dataclasses, and for models inside other types.
        """
        if self._payload is None or self._request is not None or _model_in(self._payload.annotation) is not None:
            return
        annotation = self._payload.annotation
        if any(_is_model(kind) or dataclasses.is_dataclass(kind) for kind in _mentioned(annotation)):
            raise ConfigurationError(
                "BG139",
                f"its payload {self.name!r} is {inspect.formatannotation(annotation)}, which is no request model",
                where=self.where,
                why="called by name, it would get plain data that nobody has validated",
                fix="make it one pydantic BaseModel (RootModel for a list), or pass request=TheModel",
            )

    @property
    def unresolved(self) -> bool:
        """True while the payload's annotation, or a field of its model, is a name that does not exist yet."""
        if self._request is None and self._payload is not None and isinstance(self._payload.annotation, str):
            return True
        model = self.model
        return model is not None and getattr(model, "__pydantic_complete__", True) is False

    def resolve(self) -> None:
        """Try again to find the payload's model; modules may have finished loading meanwhile.

        Raises:
            ConfigurationError: if the name still does not exist.
        """
        if not self.unresolved:
            return
        self.signature = _resolved(self.function, self._locals)
        self.returns = self.signature.return_annotation
        if self._payload is not None:
            self._payload = self.signature.parameters[self.name]
        if self._payload is not None and self._request is None and isinstance(self._payload.annotation, str):
            raise ConfigurationError(
                "BG136",
                f"the annotation {self._payload.annotation!r} of {self.name!r} names nothing that can be found",
                where=self.where,
                why="without the model the payload cannot be validated",
                fix="import the model at the top of the module (not under TYPE_CHECKING), or pass request=TheModel",
            )
        self._check_payload()
        model = self.model
        if model is not None and model.model_rebuild(raise_errors=False, _types_namespace=self._locals) is False:
            raise ConfigurationError(
                "BG136",
                f"the model {model.__name__} has a field whose type cannot be found",
                where=self.where,
                why="without it the payload cannot be validated",
                fix=f"import that type where the model is defined, or call {model.__name__}.model_rebuild()",
            )
        self._locals = {}
        if self.face is not None:
            publish(self.face, self)

    @property
    def model(self) -> Any:
        """The pydantic model of the payload, or None for plain data."""
        if self._request is not None:
            return self._request
        return _model_in(self._payload.annotation) if self._payload is not None else None

    @functools.cached_property
    def wants_model(self) -> bool:
        """True if the handler is given the model instance, False if it takes a plain dict."""
        payload = self._payload
        if payload is None:  # bind= reads the arguments; called by name, the handler gets the payload as its only one
            needed = [p for p in self._own if p.default is p.empty and p.kind not in _VARIADIC]
            return not (len(needed) == 1 and _is_dict(needed[0]))
        return _model_in(payload.annotation) is not None or not _is_dict(payload)

    @functools.cached_property
    def runnable(self) -> bool:
        """True if the handler can be called by name with nothing but its payload."""
        others = [p for p in self._own if p.name != self.name and p.default is p.empty and p.kind not in _VARIADIC]
        if self.bind is not None:
            return not self._bound_first and len(others) == 1
        return not self._bound_first and not others

    def require(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse arguments that the handler cannot be called with, before anything is claimed for them.

        Raises:
            TypeError: as Python itself would.
        """
        if kwargs:
            if not args and self._needed is not None and self._needed <= kwargs.keys() <= self._known:
                return
        elif self._least <= len(args) <= self._most:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.function.__qualname__}() {error}") from None

    def take(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The payload among a direct call's arguments, which ``require`` has passed."""
        if self.position < 0:
            return {}
        if len(args) > self.position:
            return args[self.position]
        value = kwargs.get(self.name, _MISSING)
        return self._payload.default if value is _MISSING else value  # type: ignore[union-attr]

    @property
    def plain(self) -> bool:
        """True if a call by name is nothing but ``handler(payload)``."""
        return self._plain and self.wants_model

    def put(self, call: Any, payload: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments for the handler, the validated payload in its place."""
        args, kwargs = call.args, call.kwargs
        if self.bind is not None and args is not None:
            return args, kwargs
        if self.position < 0 and self.bind is None:
            return args or (), kwargs or {}
        if not self.wants_model and hasattr(payload, "model_dump"):
            payload = payload.model_dump()
        if args is None:
            return ((payload,), {}) if self._plain else self._alone(payload)
        if len(args) > self.position:
            return (*args[: self.position], payload, *args[self.position + 1 :]), kwargs
        if self._payload.kind is _POSITIONAL:  # type: ignore[union-attr]
            return (*args, *self._skipped(len(args)), payload), kwargs
        return args, {**kwargs, self.name: payload}

    def _alone(self, payload: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call by name: the payload in its place, the defaults for everything else."""
        place = self._payload
        if place is None:  # bind=: the one argument that has no default
            place = next(p for p in self._own if p.default is p.empty and p.kind not in _VARIADIC)
        if place.kind is _POSITIONAL:
            return (*self._skipped(0), payload), {}
        return (), {place.name: payload}

    def _skipped(self, first: int) -> tuple[Any, ...]:
        """Defaults of the positional parameters before the payload, from the given place on."""
        return tuple(p.default for p in list(self.signature.parameters.values())[first : max(self.position, 0)])


_KEYWORD, _POSITIONAL = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
#: The place of a payload that can only be given by name: behind all positional arguments.
_BY_NAME = sys.maxsize


def _arity(parameters: list[inspect.Parameter]) -> tuple[int, int, frozenset[str] | None, frozenset[str]]:
    """How many positional arguments a call without names has, at least and at most; and which names a call with nothing
    else needs and knows (None where that cannot be said so simply)."""
    kinds = {p.kind for p in parameters}
    places = [p for p in parameters if p.kind in (_POSITIONAL, inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    most = sys.maxsize if inspect.Parameter.VAR_POSITIONAL in kinds else len(places)
    least = sum(1 for p in places if p.default is p.empty)
    named = [p for p in parameters if p.kind not in _VARIADIC]
    if any(p.kind is _KEYWORD and p.default is p.empty for p in named):
        least = sys.maxsize  # never: it needs names
    needed = frozenset(p.name for p in named if p.default is p.empty)
    simple = _POSITIONAL not in kinds and inspect.Parameter.VAR_KEYWORD not in kinds
    return least, most, needed if simple else None, frozenset(p.name for p in named)


def _takes_self(function: FunctionType, parameters: list[inspect.Parameter]) -> bool:
    inside = function.__qualname__.rpartition(".")[0]
    in_class = bool(inside) and not inside.endswith("<locals>")
    return in_class and bool(parameters) and parameters[0].name in ("self", "cls")


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "model_fields") and hasattr(annotation, "model_rebuild")


def _model_in(annotation: Any) -> Any:
    """The model that an annotation is, also as ``Annotated[Model, Body()]``; or None."""
    bare = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    return bare if _is_model(bare) else None


def _mentioned(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _mentioned(inner)


def _is_dict(parameter: inspect.Parameter) -> bool:
    origin = getattr(parameter.annotation, "__origin__", parameter.annotation)
    return parameter.annotation is parameter.empty or (isinstance(origin, type) and issubclass(origin, dict))


def _resolved(function: FunctionType, local_names: dict[str, Any]) -> inspect.Signature:
    """The signature with each string annotation evaluated on its own: a name that exists only for type checkers stays
    a string instead of spoiling the others."""
    signature = inspect.signature(function)
    # The names are those of the module that wrote the annotations, whatever plain decorators stand below ours.
    author = inspect.unwrap(function, stop=lambda f: hasattr(f, "__signature__"))
    scope = {**_closure(author), **local_names}
    names = getattr(author, "__globals__", function.__globals__)

    def value(annotation: Any) -> Any:
        if not isinstance(annotation, str):
            return annotation
        try:
            found = eval(annotation, names, scope)  # noqa: S307 - the host's own source text
        except Exception:  # noqa: BLE001 - any failure means: not resolvable yet
            return annotation
        return type(None) if found is None else found

    parameters = [p.replace(annotation=value(p.annotation)) for p in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=value(signature.return_annotation))


def _closure(function: Any) -> dict[str, Any]:
    """The names a nested function uses from around it, as far as they have a value: its own name and ``__class__`` (for
    ``super()``) get theirs after the decorators have run."""
    found: dict[str, Any] = {}
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    for name, cell in zip(code.co_freevars if code is not None else (), cells or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


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
    declaration.shape.face = wrapper
    publish(wrapper, declaration.shape)
    wrapper.__botguard__ = declaration  # type: ignore[attr-defined]
    return wrapper
