"""A legacy registry, put in shadow in one go: names become commands, handlers their stand-ins, all of it or nothing."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from types import MethodType
from typing import Any

from botguard.adoption.handlers import shadowed, why_not
from botguard.adoption.observer import Observed, Observer
from botguard.command import make_command
from botguard.errors import ConfigurationError
from botguard.wrapping import check_one_retrier

__all__ = ["Options", "shadow_all"]

#: Options by the registry's name, or a function of that name.
Options = Mapping[str, Mapping[str, Any]] | Callable[[str], Mapping[str, Any] | None]


def shadow_all(
    observer: Observer,
    handlers: Any,
    bind: Callable[..., Any] | None,
    options: Options | None,
    in_place: bool,
    local_names: dict[str, Any],
) -> Any:
    """See :meth:`botguard.Guard.shadow`."""
    pairs = _pairs(handlers, in_place)
    choose = _chooser(options, [name for name, _ in pairs])
    made: list[tuple[str, Any]] = []
    left: dict[str, str] = {}
    commands: dict[str, str] = {}
    for name, handler in pairs:
        why = why_not(handler)
        if why is not None:
            made.append((name, handler))
            left.update({name: why} if why else {})
            continue
        chosen = {**({"bind": bind} if bind is not None else {}), **choose(name)}
        command = _command_name(name, chosen.pop("command", None), commands)
        function: Any = handler.__func__ if isinstance(handler, MethodType) else handler
        owner = (handler.__self__,) if isinstance(handler, MethodType) else ()
        declared = make_command(command, chosen)
        if declared.retry is not None:
            check_one_retrier(function, command)
        made.append((name, shadowed(handler, Observed(observer, declared, function, owner, local_names))))
    observer.left_alone.update(left)
    return _put(handlers, made, in_place)


def _wrong(what: str, why: str, fix: str) -> ConfigurationError:
    return ConfigurationError("BG185", what, where="guard.shadow()", why=why, fix=fix)


def _pairs(handlers: Any, in_place: bool) -> list[tuple[str, Any]]:
    if isinstance(handlers, Mapping):
        pairs: list[Any] = list(handlers.items())
        changeable = isinstance(handlers, MutableMapping)
    elif isinstance(handlers, Sequence) and not isinstance(handlers, str | bytes):
        pairs, changeable = list(handlers), isinstance(handlers, list)
    else:
        raise _wrong(
            f"{handlers!r:.60} is no registry of handlers",
            "there is nothing to take names and handlers from",
            'give a mapping such as {"orders.create": create_order}, or a list of pairs',
        )
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise _wrong(
                f"{pair!r:.60} is not a name (a string) and a handler",
                "a command is known by its name",
                'give {"orders.create": create_order}',
            )
    if in_place and not changeable:
        raise _wrong(
            f"a {type(handlers).__name__} cannot be changed in place",
            "its callers would go on with the handlers that it has",
            "leave in_place out and use what shadow() returns",
        )
    return [(name, handler) for name, handler in pairs]


def _chooser(options: Options | None, names: list[str]) -> Callable[[str], Mapping[str, Any]]:
    if options is None:
        return lambda _: {}
    if not isinstance(options, Mapping):
        return lambda name: options(name) or {}
    for name in options:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            raise ConfigurationError(
                "BG186",
                f"options= are given for {name!r}, and there is no such handler",
                where="guard.shadow()",
                why="a misspelt name would leave its handler with the defaults",
                fix=(f"did you mean {close[0]!r}? " if close else "") + f"there are: {', '.join(names)}",
            )
    return lambda name: options.get(name, {})


def _command_name(name: str, given: Any, taken: dict[str, str]) -> str:
    """The command's name: as given, else the registry's own name in the form that commands have."""
    made = given if given is not None else re.sub(r"[^a-z0-9_.\-]+", "_", name.lower()).strip("._-") or name
    if made in taken:
        raise ConfigurationError(
            "BG187",
            f"{taken[made]!r} and {name!r} both make the command {made!r}",
            where="guard.shadow()",
            why="two handlers would be counted, limited and keyed as one",
            fix=f'name one of them: options={{{name!r}: {{"command": "another.name"}}}}',
        )
    taken[made] = name
    return str(made)


def _put(handlers: Any, made: list[tuple[str, Any]], in_place: bool) -> Any:
    if isinstance(handlers, Mapping):
        # Only a dict's copy is sure to be one: another mapping's may share what it holds with the original.
        target: Any = handlers if in_place else copy.copy(handlers) if isinstance(handlers, dict) else dict(made)
        for name, handler in made:
            target[name] = handler
        return target
    if in_place:
        handlers[:] = made
        return handlers
    return made if isinstance(handlers, list) else tuple(made)
