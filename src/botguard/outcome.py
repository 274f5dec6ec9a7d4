"""What happened, as a value: Outcome, its closed Status, and the closed Reason codes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from botguard import errors, messages

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Detail", "Outcome", "PendingRequest", "Reason", "Status"]


class Status(StrEnum):
    """How a guarded call ended. Closed: a new member is a major version."""

    SUCCEEDED = "succeeded"
    INVALID = "invalid"
    DENIED = "denied"
    PENDING = "pending"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    IN_FLIGHT = "in_flight"
    CONFLICT = "conflict"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Why, as a stable machine code. A host's own codes travel in ``Outcome.details``."""

    # invalid
    INVALID_PAYLOAD = "invalid_payload"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    KEY_MISSING = "key_missing"
    # denied
    NO_CONTEXT = "no_context"
    NO_ACTOR = "no_actor"
    NOT_FOUND = "not_found"
    ACTOR_INACTIVE = "actor_inactive"
    MISSING_PERMISSION = "missing_permission"
    WRONG_BOT_CLASS = "wrong_bot_class"
    WRONG_CHANNEL = "wrong_channel"
    POLICY_DENIED = "policy_denied"
    NOT_VISIBLE = "not_visible"
    CONTEXT_REFUSED = "context_refused"
    CONSISTENCY_REFUSED = "consistency_refused"
    PREDICTION_REFUSED = "prediction_refused"
    CHECK_ERROR = "check_error"
    CONFIRMATION_DECLINED = "confirmation_declined"
    CONFIRMATION_EXPIRED = "confirmation_expired"
    CONFIRMATION_INVALID = "confirmation_invalid"
    # pending
    CONFIRMATION_REQUIRED = "confirmation_required"
    # throttled
    RATE_LIMITED = "rate_limited"
    CONCURRENCY_LIMITED = "concurrency_limited"
    TOO_MANY_REFUSALS = "too_many_refusals"
    # unavailable
    BREAKER_OPEN = "breaker_open"
    STORE_UNAVAILABLE = "store_unavailable"
    HOST_TRANSACTION_OPEN = "host_transaction_open"
    # in_flight, conflict
    RUNNING = "running"
    KEY_REUSED = "key_reused"
    # failed, unknown
    HANDLER_ERROR = "handler_error"
    REJECTED = "rejected"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    BREAKER_OPENED = "breaker_opened"
    RETRY_DOES_NOT_FIT = "retry_does_not_fit"
    EFFECT_UNKNOWN = "effect_unknown"
    LEASE_LOST = "lease_lost"
    # cancelled
    CANCELLED = "cancelled"
    # beside a value
    OVERRAN = "overran"
    RESULT_NOT_STORED = "result_not_stored"
    RESULT_UNAVAILABLE = "result_unavailable"
    COMPLETION_LOST = "completion_lost"
    CLAIM_SKIPPED = "claim_skipped"
    LOCAL_LIMITS = "local_limits"
    LOCAL_BREAKER = "local_breaker"
    AUDIT_LOST = "audit_lost"


class Detail(NamedTuple):
    """One reason in particulars: a wrong field, or a host check's own code.

    ``field`` is the path in the payload ("phone", "lines.0.quantity") or "" for the whole call;
    ``code`` is stable; ``message`` is for a person and free of library words; ``hint`` shows a good example.
    """

    field: str
    code: str
    message: str
    hint: str = ""


class PendingRequest(NamedTuple):
    """What a person is asked, as returned with a ``pending`` outcome.

    ``token`` carries the answer (give it to ``guard.confirm``); ``text`` is what to show; ``expires_at``
    is an aware UTC time after which the request is void.
    """

    token: str
    text: str
    command: str
    reasons: tuple[str, ...]
    expires_at: datetime


class Outcome:
    """How one guarded call ended. Read-only by convention: only botguard makes and completes it.

    Attributes:
        status: the closed kind.
        value: what the handler returned (only when succeeded).
        error: the exception (failed, unknown) exactly as raised.
        reasons: closed codes, most important first; beside a value they are notes such as ``overran``.
        details: particulars for people: wrong fields, a host check's own code.
        retry_after: seconds after which the same call may succeed, or None.
        attempts: how often the handler was called in this run, from 1; 0 if never.
        duration: seconds by the monotonic clock, whole call.
        replayed: True if this is the stored result of the first run, which may be a stored failure.
        degraded: True if a part was down and its declared fallback was used; ``reasons`` names it.
        confirmation: what to ask whom, when pending.
        policy_digest: the version of the policies that decided, or "".
        event_id: the audit event of this call, or "" if it was folded into a counted summary.
        sentry_event_id: the Sentry event that support can look up, or "".
    """

    # Fields begin as class attributes, so that an outcome stores only what differs (see pipeline.call.Call).
    value: Any = None
    error: BaseException | None = None
    reasons: tuple[Reason, ...] = ()
    details: tuple[Detail, ...] = ()
    retry_after: float | None = None
    confirmation: PendingRequest | None = None
    attempts: int = 0
    duration: float = 0.0
    replayed: bool = False
    degraded: bool = False
    policy_digest: str = ""
    event_id: str = ""
    sentry_event_id: str = ""
    command: str = ""

    def __init__(
        self,
        status: Status,
        value: Any = None,
        error: BaseException | None = None,
        reasons: tuple[Reason, ...] = (),
        details: tuple[Detail, ...] = (),
        retry_after: float | None = None,
        confirmation: PendingRequest | None = None,
    ) -> None:
        self.status = status
        self.value = value
        if error is not None:
            self.error = error
        if reasons:
            self.reasons = reasons
        if details:
            self.details = details
        if retry_after is not None:
            self.retry_after = retry_after
        if confirmation is not None:
            self.confirmation = confirmation

    @property
    def ok(self) -> bool:
        """True if the call succeeded, now or in the run that this replays."""
        return self.status is Status.SUCCEEDED

    def unwrap(self) -> Any:
        """Return the value, or raise what a direct call would have raised."""
        if self.status is Status.SUCCEEDED:
            return self.value
        raise self.exception()

    def exception(self) -> BaseException:
        """The exception that a direct call raises for this outcome (not for a succeeded one)."""
        if self.error is not None and self.status in (Status.FAILED, Status.CANCELLED):
            return self.error
        made = _EXCEPTIONS[self.status](self)
        if self.error is not None:
            made.__cause__ = self.error
        return made

    def message(self, locale: str = "en") -> str:
        """Words for the person who asked, for a chat: no library terms, no internals.

        English, German and Russian are built in; "de-AT" falls back to "de", and what a language lacks to English.
        """
        return messages.render(self, locale)

    def problem(self, locale: str = "en") -> dict[str, Any]:
        """This outcome as an RFC 9457 problem (``application/problem+json``) for a web client."""
        return messages.problem(self, locale)

    def summary(self) -> str:
        """One line for developers and logs: status, codes and particulars."""
        codes = ", ".join(self.reasons)
        text = f"{self.command or 'call'}: {self.status.value}" + (f" ({codes})" if codes else "")
        particulars = "; ".join(f"{d.field}: {d.message}" if d.field else d.message for d in self.details)
        return f"{text}: {particulars}" if particulars else text

    def __repr__(self) -> str:
        notes = [f"status={self.status.value!r}"]
        if self.status is Status.SUCCEEDED:
            notes.append(f"value={self.value!r}")
        notes += [f"{n}={getattr(self, n)!r}" for n in ("error", "retry_after") if getattr(self, n) is not None]
        if self.reasons:
            notes.append(f"reasons={tuple(str(r) for r in self.reasons)!r}")
        notes += [f"{n}=True" for n in ("replayed", "degraded") if getattr(self, n)]
        return f"Outcome({', '.join(notes)})"


_EXCEPTIONS: dict[Status, type[errors.OutcomeError]] = {
    Status.INVALID: errors.InvalidPayload,
    Status.DENIED: errors.Denied,
    Status.PENDING: errors.Pending,
    Status.THROTTLED: errors.RateLimited,
    Status.UNAVAILABLE: errors.Unavailable,
    Status.IN_FLIGHT: errors.AlreadyInProgress,
    Status.CONFLICT: errors.KeyReused,
    Status.FAILED: errors.DeadlineExceeded,
    Status.UNKNOWN: errors.OutcomeUnknown,
    Status.CANCELLED: errors.OutcomeError,
}
