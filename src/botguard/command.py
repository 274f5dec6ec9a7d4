"""What a command is: its declared options, and the registry that knows all of them."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypedDict

from botguard.errors import ConfigurationError
from botguard.options import Check, Effects, ExceptionTypes, InFlight, Mode, Retry, Risk, exception_types

__all__ = [
    "Binder",
    "Command",
    "CommandOptions",
    "CommandRegistry",
    "Declaration",
    "default_registry",
    "make_command",
]

_NAME = re.compile(r"[a-z0-9][a-z0-9_\-]*(\.[a-z0-9_\-]+)*")
#: Stages whose mode a command may set, and what they may be set to.
MODES: dict[str, frozenset[Mode]] = {
    "authorize": frozenset((Mode.ENFORCE, Mode.SHADOW)),
    **{stage: frozenset(Mode) for stage in ("limit", "policy", "context", "consistency", "predict", "confirm")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command's options, as declared; see the how-to pages for each of them.

    Args:
        name: dotted lower-case name, unique in its registry.
        permission: what the actor must hold; None only with ``public``.
        public: everybody with an identity may call it, on purpose.
        request: the pydantic model of the payload; None: found from the handler's annotation.
        effects: what the handler changes (semantics, section 3).
        key: names one intent: a function of the payload, or a template such as ``"{order_id}"``; None: the channel's
            delivery key.
        version: schema version of the payload; fingerprints are compared within one version only.
        deadline: seconds for the whole call; ``timeout``: seconds for one attempt (async).
        grace: seconds that the claim's lease outlives the deadline.
        keep: seconds that a settled result is replayed; it must exceed the channel's redelivery window.
        in_flight: what a duplicate gets while the first runs; ``wait`` bounds the waiting, in seconds.
        replay_to: ``person`` or ``org``: who may see a stored result.
        result: ``store``, ``discard`` or a codec with ``encode(value) -> bytes`` and ``decode(bytes) -> value``.
        confirm_within: seconds that a confirmation may take.
    """

    name: str
    permission: str | None
    public: bool = False
    request: type[Any] | None = None
    module: str = ""
    bot_class: str | None = None
    channels: frozenset[str] = frozenset()
    risk: Risk = Risk.LOW
    effects: Effects = Effects.EXTERNAL
    key: Callable[[Any], Any] | str | None = None
    version: str = "1"
    retry: Retry | None = None
    breaker: str | None = None
    deadline: float | None = 60.0
    timeout: float | None = None
    grace: float = 30.0
    keep: float = 7 * 86400.0
    limits: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    modes: Mapping[str, Mode] = field(default_factory=dict)
    final: ExceptionTypes = ()
    before_effect: ExceptionTypes = (ConnectionRefusedError,)
    reconcile: Callable[..., Any] | None = None
    result: Any = "store"
    targets: Callable[[Any], Any] | None = None
    replay_to: str = "person"
    in_flight: InFlight = InFlight.REJECT
    wait: float = 10.0
    must_audit: bool = False
    critical: bool = False
    flag: str | None = None
    confirm_within: float = 900.0
    bind: Callable[..., Any] | None = None
    #: Names of the options that were written down; the others hold their defaults.
    declared: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise problem

    @property
    def retryable(self) -> ExceptionTypes:
        """Errors after which another attempt is allowed, given the declared effects."""
        if self.retry is None:
            return ()
        if self.effects is Effects.EXTERNAL:
            return self.before_effect
        return self.retry.on + self.before_effect

    def mode(self, stage: str) -> Mode:
        """How strictly a stage is applied to this command."""
        return self.modes.get(stage, Mode.ENFORCE)


def _problems(c: Command) -> Iterator[ConfigurationError]:
    def wrong(code: str, what: str, why: str = "", fix: str = "") -> ConfigurationError:
        return ConfigurationError(code, what, where=c.name, why=why, fix=fix)

    if not _NAME.fullmatch(c.name) or len(c.name) > 200:
        yield wrong(
            "BG100",
            f"{c.name!r} is no command name",
            "audit, limits and deliveries know a command by its name",
            'use dotted lower case, such as "orders.create"',
        )
    if c.permission is None and not c.public:
        yield wrong("BG103", "it has neither a permission nor public=True", "nobody could ever call it", "give one")
    yield from _effect_problems(c, wrong)
    for name in ("deadline", "timeout"):
        value = getattr(c, name)
        if value is not None and not value > 0:
            yield wrong(
                "BG105",
                f"{name}={value!r} is no length of time",
                "it would stop every call",
                "give seconds above 0, or None",
            )
    if not (c.keep > 0 and c.grace >= 0 and c.wait >= 0 and c.confirm_within > 0):
        yield wrong(
            "BG105",
            f"keep={c.keep!r}, grace={c.grace!r}, wait={c.wait!r}, confirm_within={c.confirm_within!r}",
            why="such a length of time would stop every call, or forget every result",
            fix="give seconds: keep and confirm_within above 0, grace and wait not below",
        )
    if c.replay_to not in ("person", "org"):
        yield wrong(
            "BG106", f"replay_to={c.replay_to!r}", "nobody could tell who may see a result", 'use "person" or "org"'
        )
    if c.result not in ("store", "discard") and not (hasattr(c.result, "encode") and hasattr(c.result, "decode")):
        yield wrong(
            "BG107",
            f"result={c.result!r}",
            "a replay could not give it back",
            'use "store", "discard" or a codec with encode and decode',
        )
    for stage, mode in c.modes.items():
        if stage not in MODES or mode not in MODES[stage]:
            yield wrong(
                "BG108",
                f"modes={{{stage!r}: {str(mode)!r}}} is not possible",
                "claims cannot be shadowed, validation and replays always hold",
                f"stages with modes: {', '.join(MODES)}",
            )


def _effect_problems(c: Command, wrong: Callable[..., ConfigurationError]) -> Iterator[ConfigurationError]:
    if c.retry is not None and "effects" not in c.declared:
        yield wrong(
            "BG101",
            "it is retried but does not say what its effects are",
            "a second attempt after a lost answer could do everything twice",
            'add effects="external" (retried only on before_effect errors), "idempotent" or "transactional"',
        )
    if c.retry is not None and c.effects is Effects.EXTERNAL and c.retry.on:
        names = ", ".join(error.__name__ for error in c.retry.on)
        yield wrong(
            "BG102",
            f"it has external effects and is retried on {names}",
            "such an error may come after the effect, so the retry could do it twice",
            "move errors that only come before the effect to Retry(before_effect=…), or declare "
            'effects="idempotent" if the handler may run twice with the same key',
        )
    if c.effects is Effects.READ and c.must_audit:
        yield wrong(
            "BG124",
            "it is must_audit, but a read has no claim to hold the event before it starts",
            "the read would happen although its trail could not be kept",
            'declare effects="idempotent"',
        )
    if c.effects is Effects.READ and c.reconcile is not None:
        yield wrong(
            "BG104",
            "it is a read with reconcile=",
            "a read has no effect that could be unknown",
            "drop reconcile=, or declare its effects",
        )


class CommandOptions(TypedDict, total=False):
    """The keyword options of ``guard.command`` and ``guarded``; see :class:`Command` for each."""

    permission: str
    public: bool
    request: type[Any]
    module: str
    bot_class: str
    channels: Iterable[str]
    risk: str
    effects: str
    key: Callable[[Any], Any] | str
    version: str
    retry: Retry
    breaker: str
    deadline: float | None
    timeout: float | None
    grace: float
    keep: float
    limits: Iterable[str]
    checks: Iterable[Any]
    modes: Mapping[str, str]
    final: Any
    before_effect: Any
    reconcile: Callable[..., Any]
    result: Any
    targets: Callable[[Any], Any]
    replay_to: str
    in_flight: str
    wait: float
    must_audit: bool
    critical: bool
    flag: str
    confirm_within: float
    bind: Callable[..., Any]


_ENUMS: dict[str, type[StrEnum]] = {"effects": Effects, "risk": Risk, "in_flight": InFlight}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    return callable(value) and not inspect.iscoroutinefunction(value)


def _is_check(value: Any) -> bool:
    return callable(value.function if isinstance(value, Check) else value)


def _lists(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Iterable) and not isinstance(value, str) and all(of(item) for item in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


#: What an option takes, where that is no closed set of words: a test, and how to say it.
_TAKES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("permission", "module", "bot_class", "version", "breaker", "flag"), (_is_text, "a string")),
    **dict.fromkeys(("public", "must_audit", "critical"), (lambda v: isinstance(v, bool), "True or False")),
    **dict.fromkeys(("deadline", "timeout", "grace", "keep", "wait", "confirm_within"), (_is_number, "seconds")),
    **dict.fromkeys(("limits", "channels"), (_lists(_is_text), "a list of strings")),
    **dict.fromkeys(("bind", "targets"), (_is_plain, "a plain function, not async def")),
    "key": (lambda v: isinstance(v, str) or _is_plain(v), "a template or a plain function, not async def"),
    "reconcile": (callable, "a function of the key"),
    "checks": (_lists(_is_check), "a list of functions or Check(...)"),
    "modes": (lambda v: isinstance(v, Mapping), 'a dict such as {"policy": "shadow"}'),
    "retry": (lambda v: isinstance(v, Retry), "Retry(...)"),
    "request": (lambda v: isinstance(v, type) and hasattr(v, "model_validate"), "a pydantic model class"),
}
#: Options that may also be given as None, which is what they are without being given.
_OPTIONAL = frozenset(
    [
        "permission",
        "bot_class",
        "breaker",
        "flag",
        "deadline",
        "timeout",
        "key",
        "reconcile",
        "targets",
        "bind",
        "retry",
        "request",
    ]
)


def make_command(name: str, options: Mapping[str, Any]) -> Command:
    """A Command from the options as they were written.

    Raises:
        ConfigurationError: for an option or a value that does not exist, with the nearest one that does.
    """
    if not isinstance(name, str):
        raise ConfigurationError(
            "BG100",
            f"{name!r:.80} is no command name",
            why="audit, limits and deliveries know a command by its name, which must outlive a renamed function",
            fix='write @guard.command("orders.create")',
        )
    known = set(CommandOptions.__annotations__)
    for option, value in options.items():
        if option not in known:
            raise ConfigurationError(
                "BG109",
                f"{option!r} is not an option here",
                where=name,
                why="what is misspelt would protect nothing",
                fix=_nearest(option, sorted(known)),
            )
        suits, takes = _TAKES.get(option, (None, ""))
        if suits is not None and not suits(value) and not (value is None and option in _OPTIONAL):
            raise ConfigurationError(
                "BG117",
                f"{option}={value!r:.80}",
                where=name,
                why="it would fail at the first call instead of now",
                fix=f"{option}= takes {takes}",
            )
    made: dict[str, Any] = dict(options)
    for option, kind in _ENUMS.items():
        if option in made:
            made[option] = _member(kind, made[option], f"{option}=", name)
    if "modes" in made:
        made["modes"] = {
            stage: _member(Mode, mode, f"modes[{stage!r}]=", name) for stage, mode in made["modes"].items()
        }
    made["limits"] = tuple(made.get("limits", ()))
    made["channels"] = frozenset(made.get("channels", ()))
    made["checks"] = tuple(c if isinstance(c, Check) else Check(c) for c in made.get("checks", ()))
    retry = made.get("retry")
    before = _exceptions(made.get("before_effect", ()), "before_effect", name)
    made["before_effect"] = (ConnectionRefusedError, *before, *(retry.before_effect if retry is not None else ()))
    made["final"] = _exceptions(made.get("final", ()), "final", name)
    if not made.get("public"):
        made.setdefault("permission", name)
    made.setdefault("permission", None)
    return Command(name=name, declared=frozenset(options), **made)


def _exceptions(value: Any, option: str, name: str) -> ExceptionTypes:
    try:
        return exception_types(value, option)
    except ConfigurationError as error:
        raise error.at(name) from None


def _member(kind: type[StrEnum], value: Any, option: str, name: str) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        choices = [str(member) for member in kind]
        raise ConfigurationError(
            "BG109",
            f"{option}{value!r} does not exist",
            where=name,
            why="what is misspelt would protect nothing",
            fix=_nearest(str(value), choices),
        ) from None


def _nearest(word: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(word, choices, 1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"there are: {', '.join(choices)}"


class Binder(Protocol):
    """What a registry needs of a guard."""

    def bind(self, declaration: Declaration) -> None:
        """Compile a declaration and set its ``entry``."""
        ...


class Declaration:
    """A handler with its command, waiting for a guard. ``entry`` is set once, by the guard that binds it."""

    __slots__ = ("command", "entry", "function", "owner", "plan", "shape")

    def __init__(self, command: Command, function: Callable[..., Any], shape: Any) -> None:
        self.command, self.function, self.shape = command, function, shape
        self.plan: Any = None
        self.entry: Callable[[tuple[Any, ...], dict[str, Any]], Any] | None = None
        self.owner: Binder | None = None

    @property
    def where(self) -> str:
        """``module.function (file:line)``, for messages."""
        code = getattr(self.function, "__code__", None)
        place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        return f"{self.function.__module__}.{self.function.__qualname__}{place}"

    def unbound(self) -> ConfigurationError:
        """The error of a call that came before any guard."""
        return ConfigurationError(
            "BG130",
            "it is guarded but no guard has bound it, so it was not run",
            where=f"{self.command.name} {self.where}",
            why="without a guard nobody could be authorised",
            fix="build Guard(..., registry=botguard.default_registry) (or the registry= it was declared in) at start-up",
        )


class CommandRegistry:
    """Declared commands by name. One guard may bind it; handlers declared later are bound at once."""

    def __init__(self) -> None:
        self._declarations: dict[str, Declaration] = {}
        self._binder: Binder | None = None

    def add(self, declaration: Declaration) -> None:
        """Add a declaration.

        Raises:
            ConfigurationError: if the name is taken.
        """
        known = self._declarations.get(declaration.command.name)
        if known is not None:
            raise ConfigurationError(
                "BG131",
                "the name is taken",
                where=f"{declaration.command.name} {declaration.where}",
                why=f"it already names {known.where}",
                fix="give one of them another name",
            )
        if self._binder is not None:
            self._binder.bind(declaration)
        self._declarations[declaration.command.name] = declaration

    def bind(self, binder: Binder) -> None:
        """Hand all declarations, and those to come, to a guard.

        Raises:
            ConfigurationError: if another guard has bound this registry.
        """
        if self._binder is not None and self._binder is not binder:
            raise ConfigurationError(
                "BG132",
                "another guard has bound this registry",
                why="one handler would run under two guards with different rules",
                fix="give each guard its own CommandRegistry()",
            )
        self._binder = binder
        try:
            for declaration in self._declarations.values():
                if declaration.owner is None:
                    binder.bind(declaration)
        except BaseException:  # the guard could not be built: leave the handlers free for the next one
            self._binder = None
            for declaration in self._declarations.values():
                if declaration.owner is binder:
                    declaration.owner = declaration.plan = declaration.entry = None
            raise

    def get(self, name: str) -> Declaration | None:
        """The declaration of a command, or None."""
        return self._declarations.get(name)

    def __iter__(self) -> Iterator[Declaration]:
        return iter(list(self._declarations.values()))

    def __len__(self) -> int:
        return len(self._declarations)

    def __contains__(self, name: object) -> bool:
        return name in self._declarations


#: Where ``@guarded`` declares unless it is told another registry. A guard uses it only when given it.
default_registry = CommandRegistry()
