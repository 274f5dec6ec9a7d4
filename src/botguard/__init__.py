"""botguard makes the commands of bots and automations reliable: authorised, validated, executed at most once per intent.

Start with :class:`Guard` and :func:`guarded`; ``docs/tutorial.md`` is the first five minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botguard.command import Command, CommandRegistry, default_registry
from botguard.errors import (
    AlreadyInProgress,
    BotguardError,
    ConfigurationError,
    DeadlineExceeded,
    Denied,
    InvalidPayload,
    KeyReused,
    OutcomeError,
    OutcomeUnknown,
    Pending,
    RateLimited,
    Rejected,
    ReplayedFailure,
    StoreUnavailable,
    Unavailable,
)
from botguard.guard import ALLOW_ALL, Guard, Verdict, guarded
from botguard.invocation import Actor, Context, Invocation, Principal, current
from botguard.options import Breaker, Check, Retry
from botguard.outcome import Detail, Outcome, PendingRequest, Reason, Status
from botguard.policies.rules import Ask, Rule
from botguard.reconcile import Happened, NotHappened

if TYPE_CHECKING:
    from botguard.validation import (
        Currency,
        Date,
        DateTime,
        DecimalNumber,
        Email,
        Money,
        Phone,
        Quantity,
        Text,
        Time,
        ValidatorRegistry,
        validate_payload,
    )

__version__ = "0.1.0"

_VALIDATION = (
    "Currency",
    "Date",
    "DateTime",
    "DecimalNumber",
    "Email",
    "Money",
    "Phone",
    "Quantity",
    "Text",
    "Time",
    "ValidatorRegistry",
    "validate_payload",
)

__all__ = [
    "ALLOW_ALL",
    "Actor",
    "AlreadyInProgress",
    "Ask",
    "BotguardError",
    "Breaker",
    "Check",
    "Command",
    "CommandRegistry",
    "ConfigurationError",
    "Context",
    "Currency",
    "Date",
    "DateTime",
    "DeadlineExceeded",
    "DecimalNumber",
    "Denied",
    "Detail",
    "Email",
    "Guard",
    "Happened",
    "InvalidPayload",
    "Invocation",
    "KeyReused",
    "Money",
    "NotHappened",
    "Outcome",
    "OutcomeError",
    "OutcomeUnknown",
    "Pending",
    "PendingRequest",
    "Phone",
    "Principal",
    "Quantity",
    "RateLimited",
    "Reason",
    "Rejected",
    "ReplayedFailure",
    "Retry",
    "Rule",
    "Status",
    "StoreUnavailable",
    "Text",
    "Time",
    "Unavailable",
    "ValidatorRegistry",
    "Verdict",
    "current",
    "default_registry",
    "guarded",
    "validate_payload",
]


def __getattr__(name: str) -> Any:
    # The normalised types are loaded when they are first used: `import botguard` stays cheap without them.
    if name in _VALIDATION:
        from botguard import validation

        return getattr(validation, name)
    raise AttributeError(f"module 'botguard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_VALIDATION})
