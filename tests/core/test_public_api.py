"""What users lean on: names, signatures, and an import that stays cheap."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import botguard
from botguard import Guard

NAMES = [
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

#: Wrapped for reading; white space does not count.
SIGNATURES = """
__init__(self, *, storage: 'Storage | None' = None, access: 'Any' = None, directory: 'Any' = None,
    policies: 'Any' = None, breakers: 'Mapping[str, Breaker] | None' = None, context: 'Callable[...,
    Context | None] | None' = None, registry: 'CommandRegistry | None' = None, clock: 'Any' = None,
    spool: 'Any' = None, refusals_per_minute: 'int' = 60, secret: 'bytes | None' = None, work: 'HostWork | None' = None,
    breaker_store: 'BreakerStore | None' = None) -> 'None'
command(self, name: 'str', **options: 'Unpack[CommandOptions]') -> 'Callable[[F], F]'
check(self, pattern: 'str', *, stage: 'str' = 'context') -> 'Callable[[F], F]'
bind(self, declaration: 'Declaration') -> 'None'
shadow(self, handlers: 'H', *, bind: 'Callable[..., Any] | None' = None, options: 'Mapping[str, Mapping[str, Any]] |
    Callable[[str], Mapping[str, Any] | None] | None' = None, in_place: 'bool' = False) -> 'H'
shadow_report(self, *, since: 'datetime | timedelta | None' = None) -> 'ShadowReport'
shadow_report_async(self, *, since: 'datetime | timedelta | None' = None) -> 'ShadowReport'
acting(self, context: 'Context') -> 'Iterator[Context]'
run(self, command: 'str | Callable[..., Any]', payload: 'Any' = None, *, context: 'Context | None' =
    None, session: 'Any' = None) -> 'Outcome'
run_async(self, command: 'str | Callable[..., Any]', payload: 'Any' = None, *, context: 'Context | None'
    = None, session: 'Any' = None) -> 'Outcome'
confirm(self, token: 'str', *, context: 'Context', payload: 'Any' = None) -> 'Outcome'
confirm_async(self, token: 'str', *, context: 'Context', payload: 'Any' = None) -> 'Outcome'
decline(self, token: 'str', *, context: 'Context') -> 'Outcome'
decline_async(self, token: 'str', *, context: 'Context') -> 'Outcome'
explain(self, command: 'str | Callable[..., Any]', payload: 'Any' = None, *, context: 'Context | None' =
    None) -> 'list[Verdict]'
explain_async(self, command: 'str | Callable[..., Any]', payload: 'Any' = None, *, context: 'Context |
    None' = None) -> 'list[Verdict]'
describe(self) -> 'dict[str, Any]'
purge(self, *, batch: 'int' = 1000) -> 'int'
flush(self) -> 'None'
flush_async(self) -> 'None'
apply_spool(self) -> 'int'
"""

OUTCOME = [
    "attempts",
    "command",
    "confirmation",
    "degraded",
    "details",
    "duration",
    "error",
    "event_id",
    "policy_digest",
    "reasons",
    "replayed",
    "retry_after",
    "sentry_event_id",
    "status",
    "value",
]

#: What `import botguard` must not load.
HEAVY = (
    "sentry_sdk", "sqlalchemy", "django", "flask", "fastapi", "hypothesis", "aiogram", "redis", "sqlite3", "prometheus_client",
)  # fmt: skip


def test_names() -> None:
    assert sorted(botguard.__all__) == sorted(NAMES), "a name that comes or goes is a line in CHANGELOG.md"


def test_every_name_is_there() -> None:
    for name in NAMES:
        assert getattr(botguard, name) is not None


def public(owner: type) -> list[str]:
    return [
        name for name, one in vars(owner).items() if not name.startswith("_") or name == "__init__" if callable(one)
    ]


def test_signatures_of_the_guard() -> None:
    text = " ".join(f"{name}{inspect.signature(getattr(Guard, name))}" for name in public(Guard))
    assert text.split() == SIGNATURES.split(), "a changed signature is a line in CHANGELOG.md"


def test_fields_of_an_outcome() -> None:
    outcome = botguard.Outcome(botguard.Status.SUCCEEDED)
    assert [name for name in OUTCOME if not hasattr(outcome, name)] == []
    assert outcome.ok
    assert [name for name in ("unwrap", "problem", "message") if not callable(getattr(outcome, name))] == []


def test_statuses_are_closed() -> None:
    assert [str(status) for status in botguard.Status] == [
        "succeeded", "invalid", "denied", "pending", "throttled", "unavailable", "in_flight", "conflict", "failed", "unknown",
        "cancelled",
    ]  # fmt: skip


@pytest.mark.parametrize("statement", ["import botguard", "from botguard import Guard, guarded, Actor, Context, Retry"])
def test_the_import_loads_nothing_heavy(statement: str) -> None:
    program = f"import sys\n{statement}\nprint(*sorted(n for n in {HEAVY!r} if n in sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == []


def test_memory_loads_no_database() -> None:
    program = "import sys\nimport botguard, botguard.adapters.memory\nprint('sqlite3' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "False"


def test_the_testing_kit_loads_its_parts_when_they_are_asked_for() -> None:
    program = (
        "import sys\nimport botguard.testing\n"
        "print('botguard.testing.suites' in sys.modules, 'hypothesis' in sys.modules, 'pytest' in sys.modules)\n"
        "botguard.testing.IdempotencyStoreSuite\n"
        "print('hypothesis' in sys.modules, 'pytest' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == ["False"] * 5


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gaurd'"):
        _ = botguard.Gaurd
