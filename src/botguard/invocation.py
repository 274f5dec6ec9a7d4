"""Who asks, from where, and the call that is running now."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from botguard.errors import BotguardError, ConfigurationError

__all__ = ["Actor", "Context", "Invocation", "Principal", "current"]

#: Longer names are refused at the door, so that a caller's input cannot grow keys, rows and logs.
MAX_NAME = 255


def _name(value: Any, what: str, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if not is_name(value):
        raise ConfigurationError(
            "BG120",
            f"{what} is {value!r:.60}",
            why=f"it must be a string of 1 to {MAX_NAME} characters without NUL and without halves of characters, since "
            "rows and limits are scoped by it",
            fix=f"pass the host's own id, as in {what}='acme'",
        )


def is_name(value: Any) -> bool:
    """True for what can be a name in any store."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and "\x00" not in value and _is_text(value)


def _is_text(value: str) -> bool:
    """False for lone surrogates, which JSON can spell and no database can store."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, as the channel knows it.

    Args:
        id: the host's id of the account, unique within the org.
        roles: used only where the guard has no directory; a directory's answer always wins.
        kind: ``user``, ``system`` or ``bot``.
        person: the human behind it, where one person has several accounts; default: ``id``.
        on_behalf_of: ids of persons for whom the actor acts.
    """

    id: str
    roles: tuple[str, ...] = ()
    kind: str = "user"
    person: str | None = None
    on_behalf_of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _name(self.id, "Actor(id)")
        _name(self.person, "Actor(person)", optional=True)
        if isinstance(self.roles, str):
            raise ConfigurationError(
                "BG121",
                f"Actor(roles={self.roles!r}) is one string",
                why="its letters would be taken for roles",
                fix=f"write roles=({self.roles!r},)",
            )
        object.__setattr__(self, "roles", tuple(self.roles))


@dataclass(frozen=True, slots=True)
class Principal:
    """Who the actor is *now*, as the directory answers: person, roles, and whether the account is active.

    ``org`` is checked against the call's where the directory knows it: a foreign one is answered as not found.
    """

    person: str
    roles: frozenset[str] = frozenset()
    active: bool = True
    org: str | None = None

    def __post_init__(self) -> None:
        _name(self.person, "Principal(person)")
        object.__setattr__(self, "roles", frozenset(self.roles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a call comes from. An integration makes one for each request.

    Args:
        org: the tenant that everything is scoped to.
        actor: who asks, or None if unknown (then every command is denied).
        channel: ``telegram``, ``slack``, ``web``, ``email``, ``scheduler`` … or ``api``.
        delivery: names one intent as the channel delivers it, the same when it is delivered again: for a message its
            update, for a button press chat, message and button token. It is the idempotency key of commands that
            declare none.
        address: the channel's own address (chat id, remote address); refusals are counted for it.
        bot_class: which bot took the call; compared with the command's.
        locale: language of texts, such as ``en`` or ``de-AT``.
        correlation_id: the host's id for logs and audit.
    """

    org: str
    actor: Actor | None
    channel: str = "api"
    delivery: str | None = None
    address: str | None = None
    bot_class: str | None = None
    locale: str = "en"
    correlation_id: str | None = None

    def __post_init__(self) -> None:
        _name(self.org, "Context(org)")
        _name(self.channel, "Context(channel)")
        _name(self.address, "Context(address)", optional=True)
        actor: Any = self.actor
        if actor is not None and not isinstance(actor, Actor):
            raise ConfigurationError(
                "BG122",
                f"Context(actor={self.actor!r:.60}) is no Actor",
                why="nobody could be authorised by it",
                fix="write actor=Actor('u1', roles=('sales',))",
            )
        delivery: Any = self.delivery
        if delivery is not None and (not isinstance(delivery, str) or len(delivery) > 1024 or not _is_text(delivery)):
            raise ConfigurationError(
                "BG120",
                "Context(delivery) is not a string of at most 1024 whole characters",
                why="two deliveries could be taken for one",
                fix="pass the channel's own id of the message or button press",
            )
        given: Any = self.correlation_id
        if given is not None and not (type(given) is str and given.isascii() and len(given) <= MAX_NAME):
            # It often comes from a caller's header and only names things in logs: cut and cleaned, never refused.
            cleaned = str(given)[:MAX_NAME].encode("utf-8", "replace").decode()
            object.__setattr__(self, "correlation_id", cleaned)


class _CallView(Protocol):
    """What the view reads of the pipeline's own record."""

    plan: Any
    payload: Any
    context: Any
    person: str
    roles: Any
    row_key: str | None
    attempt: int
    fence: int
    unit: Any

    def remaining(self) -> float | None: ...


class Invocation:
    """The call that is running, as checks, policies and handlers see it. Read-only.

    A view: making one costs next to nothing, and it always shows the present attempt.
    """

    __slots__ = ("_call",)
    _call: _CallView

    def __init__(self, call: _CallView) -> None:
        object.__setattr__(self, "_call", call)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Invocation.{name} is read-only")

    @property
    def command(self) -> str:
        """The command's name."""
        return str(self._call.plan.command.name)

    @property
    def payload(self) -> Any:
        """The validated request."""
        return self._call.payload

    @property
    def context(self) -> Context:
        """Org, actor, channel and locale of the call."""
        context: Context = self._call.context
        return context

    @property
    def org(self) -> str:
        """The tenant."""
        return self.context.org

    @property
    def actor(self) -> Actor:
        """Who asks, as the channel knows it."""
        actor: Actor = self._call.context.actor
        return actor

    @property
    def principal(self) -> Principal:
        """Who that is now, as the directory answered for this call."""
        call = self._call
        return Principal(call.person, frozenset(call.roles))

    @property
    def key(self) -> str | None:
        """The stable idempotency key of this intent: hand it to the outside system. None for ``read`` commands."""
        return self._call.row_key

    @property
    def attempt(self) -> int:
        """Which try of the handler this is, from 1; 0 before the first."""
        return self._call.attempt

    @property
    def fence(self) -> int:
        """Rises with every new owner of the key; make outside writes conditional on it where you can."""
        return self._call.fence

    @property
    def remaining(self) -> float | None:
        """Seconds left until the deadline (may be negative), or None without one."""
        return self._call.remaining()

    @property
    def work(self) -> Any:
        """The open unit of work of a ``transactional`` command: a connection or session. Do not commit it.

        Raises:
            BotguardError: outside the handler of a transactional command.
        """
        if self._call.unit is None:
            raise BotguardError(
                f"{self.command}: there is no unit of work here; only a command with effects='transactional' has one, "
                "and only while its handler runs"
            )
        return self._call.unit.handle

    @property
    def correlation_id(self) -> str | None:
        """The host's id for logs and audit."""
        return self.context.correlation_id


#: The pipeline's own record of the innermost running call; None outside handlers.
running: ContextVar[Any] = ContextVar("botguard_running", default=None)


def current() -> Invocation:
    """The invocation whose handler is running in this thread or task.

    Raises:
        BotguardError: outside a guarded handler.
    """
    call = running.get()
    if call is None:
        raise BotguardError("current() was called outside a guarded handler")
    return Invocation(call)
