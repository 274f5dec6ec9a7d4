"""Every exception that botguard raises on purpose, on one screen.

BotguardError
├── ConfigurationError      wiring; raised while decorating, binding or building, never for a user's input
│   └── ExtraMissing        (also an ImportError) the library of an integration or adapter is not installed
├── OutcomeError            a guarded call ended without a value; carries the Outcome
│   ├── InvalidPayload · Denied · Pending · RateLimited · Unavailable
│   ├── AlreadyInProgress · KeyReused · OutcomeUnknown
│   └── DeadlineExceeded    (also a TimeoutError)
├── Rejected                raised by *handlers*: a business refusal, final everywhere
├── ReplayedFailure         the stored failure of an earlier run whose class cannot be rebuilt
└── StoreError              raised by *stores*
    ├── StoreUnavailable    down, busy or cut off; ``maybe_applied`` tells whether the write may have happened
    └── SchemaTooNew        the database was written by a newer botguard

A handler's own exception passes through unchanged and is not in this tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botguard.outcome import Detail, Outcome, PendingRequest

__all__ = [
    "AlreadyInProgress",
    "BotguardError",
    "ConfigurationError",
    "DeadlineExceeded",
    "Denied",
    "ExtraMissing",
    "InvalidPayload",
    "KeyReused",
    "OutcomeError",
    "OutcomeUnknown",
    "Pending",
    "RateLimited",
    "Rejected",
    "ReplayedFailure",
    "SchemaTooNew",
    "StoreError",
    "StoreUnavailable",
    "Unavailable",
]


class BotguardError(Exception):
    """Base of everything that botguard raises on purpose."""


class ConfigurationError(BotguardError):
    """The guard, a command or a store is wired in a way that cannot keep its promises.

    Args:
        code: stable code such as ``BG101``; the page ``docs/reference/errors.md`` lists them.
        what: what is wrong, in one clause.
        where: the command, file or option it is about.
        why: what would happen if it were allowed.
        fix: one thing to do.
    """

    def __init__(self, code: str, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        self.code, self.what, self.where, self.why, self.fix = code, what, where, why, fix
        head = f"[{code}] {where}: {what}" if where else f"[{code}] {what}"
        parts = (head, why[:1].upper() + why[1:], fix and f"Fix: {fix}")
        super().__init__(". ".join(part.rstrip(".") for part in parts if part) + ".")

    def at(self, where: str) -> ConfigurationError:
        """The same error with the place that only the caller knows."""
        return ConfigurationError(self.code, self.what, where=where, why=self.why, fix=self.fix)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_configuration_error, (self.code, self.what, self.where, self.why, self.fix)


def _rebuild_configuration_error(code: str, what: str, where: str, why: str, fix: str) -> ConfigurationError:
    return ConfigurationError(code, what, where=where, why=why, fix=fix)


class ExtraMissing(ConfigurationError, ImportError):
    """A part of botguard was imported whose library is not installed.

    Args:
        what: which part needs what, in one clause.
        extra: the extra of botguard's that brings it.
        name: the module that could not be imported.
    """

    def __init__(self, what: str, extra: str, name: str | None = None) -> None:
        why = "It is an extra, so that a host without it stays small"
        super().__init__("BG199", what, why=why, fix=f"pip install 'botguard[{extra}]'")
        self.extra, self.name = extra, name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.extra, self.name)


class OutcomeError(BotguardError):
    """A guarded call ended without a value; ``outcome`` says how and why."""

    def __init__(self, outcome: Outcome, message: str | None = None) -> None:
        self.outcome = outcome
        super().__init__(message or outcome.summary())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.outcome, str(self))

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the same call may succeed, or None where waiting does not help."""
        return self.outcome.retry_after


class InvalidPayload(OutcomeError):
    """The payload does not fit the command's request model; nothing happened."""

    @property
    def details(self) -> tuple[Detail, ...]:
        """One entry per wrong field, in words for a person."""
        return self.outcome.details


class Denied(OutcomeError):
    """The caller may not do this, or the business state forbids it; nothing happened."""


class Pending(OutcomeError):
    """A person has to confirm first; nothing happened yet."""

    @property
    def confirmation(self) -> PendingRequest:
        """What to show, and the token that carries the answer."""
        if self.outcome.confirmation is None:  # pragma: no cover - a pending outcome always has one
            raise AttributeError("confirmation")
        return self.outcome.confirmation


class RateLimited(OutcomeError):
    """Too many calls; nothing happened and nothing was charged."""


class Unavailable(OutcomeError):
    """A dependency or a required store is down; nothing happened."""


class AlreadyInProgress(OutcomeError):
    """The same intent is being executed at this moment."""


class KeyReused(OutcomeError):
    """The idempotency key belongs to another payload or to another person."""


class OutcomeUnknown(OutcomeError):
    """An earlier attempt may or may not have had its effect; a person or ``reconcile`` has to find out."""


class DeadlineExceeded(OutcomeError, TimeoutError):
    """The handler was stopped because the deadline or the attempt's time-out passed."""


class Rejected(BotguardError):
    """Raise this in a handler for a business refusal ("out of stock"): final, never retried, safe to replay.

    Args:
        message: words for the person who asked.
        code: a stable machine code of the host's, such as ``"out_of_stock"``.
    """

    def __init__(self, message: str, code: str = "rejected") -> None:
        super().__init__(message)
        self.message, self.code = message, code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.code)


class ReplayedFailure(BotguardError):
    """The first run of this key failed for good; ``kind`` is its class and ``message`` its text."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.message)


class StoreError(BotguardError):
    """A store could not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store is down, busy beyond its time-out, or the connection was lost.

    Args:
        maybe_applied: True if the write may have been committed before the answer was lost.
        fix: what the operator or developer can do, where that is known.
        host_transaction: True if the host itself holds the lock that we would wait for.
    """

    def __init__(
        self, message: str, *, maybe_applied: bool = False, fix: str = "", host_transaction: bool = False
    ) -> None:
        super().__init__(f"{message}. Fix: {fix}" if fix else message)
        self.maybe_applied, self.fix, self.host_transaction = maybe_applied, fix, host_transaction


class SchemaTooNew(StoreError):
    """The database has a newer schema than this version of botguard knows."""
