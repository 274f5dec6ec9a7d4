"""What a command can be told: retries, breakers, effects, modes. Frozen values, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from botguard.errors import ConfigurationError

__all__ = ["Breaker", "Check", "Effects", "InFlight", "Mode", "Retry", "Risk"]


class Effects(StrEnum):
    """What a handler changes outside itself; it decides what may be run again (semantics, section 3)."""

    READ = "read"
    TRANSACTIONAL = "transactional"
    IDEMPOTENT = "idempotent"
    EXTERNAL = "external"


class Mode(StrEnum):
    """How strictly a stage is applied: a shadow stage records its verdict, consumes nothing and lets the call go on."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


class InFlight(StrEnum):
    """What a caller gets whose key is running: an answer at once, or the first run's result within a bounded wait."""

    REJECT = "reject"
    WAIT = "wait"
    JOIN = "join"


class Risk(StrEnum):
    """How much harm a wrong call does. ``high`` asks the requester to confirm."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


ExceptionTypes = tuple[type[Exception], ...]


def exception_types(value: Any, option: str) -> ExceptionTypes:
    """A tuple of Exception classes from one class or several; anything else is a ConfigurationError."""
    found = value if isinstance(value, tuple | list | set | frozenset) else (value,)
    for item in found:
        if not (isinstance(item, type) and issubclass(item, Exception)):
            raise ConfigurationError(
                "BG110",
                f"{option} takes exception classes, not {item!r}",
                why="cancellation and KeyboardInterrupt must always pass through, so BaseException is not accepted",
                fix=f"write {option}=(ConnectionRefusedError,)",
            )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When and how often to call a handler again, inside one claim.

    Args:
        on: errors after which another attempt is safe because the command may run twice (``idempotent``) or is
            rolled back (``transactional``).
        before_effect: errors that are only raised *before* the effect, safe for ``external`` too.
        attempts: calls in all, the first included.
        wait: a tenacity wait object, or None for exponential back-off with full jitter (0.1 s doubling to 10 s).
        stop: a tenacity stop object that is asked beside ``attempts`` and the deadline.
    """

    on: ExceptionTypes = ()
    before_effect: ExceptionTypes = ()
    attempts: int = 3
    wait: Any = None
    stop: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", exception_types(self.on, "Retry(on=…)"))
        object.__setattr__(self, "before_effect", exception_types(self.before_effect, "Retry(before_effect=…)"))
        attempts: Any = self.attempts
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
            raise ConfigurationError(
                "BG111",
                f"Retry(attempts={self.attempts!r}) is not a number of calls",
                why="there would be no first attempt",
                fix="use 1 or more",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When to stop calling a dependency that fails, and how to find out that it is back.

    Args:
        fail_max: consecutive failures that open it.
        reset_after: seconds it stays open before probes are let through.
        probes: calls admitted while half-open; all must succeed to close it.
        probe_timeout: seconds after which a probe that never answered is given up.
        slow_after: a call slower than this many seconds counts as a failure; None: speed does not count.
        ignore: errors that say nothing about the dependency, such as a refused order.
        listeners: pybreaker listeners, told of each change of state.
        refresh: seconds after which this process knows of what another has found out, where the guard has a
            ``breaker_store``; each breaker asks the store about twice in that time.
    """

    fail_max: int = 5
    reset_after: float = 30.0
    probes: int = 1
    probe_timeout: float = 60.0
    slow_after: float | None = None
    ignore: ExceptionTypes = ()
    listeners: tuple[Any, ...] = ()
    refresh: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ignore", exception_types(self.ignore, "Breaker(ignore=…)"))
        object.__setattr__(self, "listeners", tuple(self.listeners))
        for name in ("fail_max", "probes"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise _out_of_range(name, getattr(self, name), "give 1 or more")
        for name in ("reset_after", "probe_timeout", "refresh"):
            if not getattr(self, name) > 0:
                raise _out_of_range(name, getattr(self, name), "give seconds above 0")


def _out_of_range(name: str, value: Any, fix: str) -> ConfigurationError:
    return ConfigurationError(
        "BG112",
        f"Breaker({name}={value!r}) is out of range",
        why="the breaker could never open, or never close again",
        fix=fix,
    )


@dataclass(frozen=True, slots=True)
class Check:
    """A business check of a command, run at one stage.

    ``function`` takes the running :class:`~botguard.Invocation` and returns None when all is well; else a reason: a code
    of the host's ("order_closed"), a :class:`~botguard.Detail`, a list of them, or ``Ask(...)`` to have the requester
    confirm. ``stage`` is ``visibility`` (asked before a replay too), ``context``, ``consistency`` or ``predict``.
    """

    function: Callable[..., Any]
    stage: str = "context"

    def __post_init__(self) -> None:
        if self.stage not in ("visibility", "context", "consistency", "predict"):
            raise ConfigurationError(
                "BG113",
                f"Check(stage={self.stage!r}) is not a stage for checks",
                why="the check would never be asked",
                fix='use "visibility", "context", "consistency" or "predict"',
            )
