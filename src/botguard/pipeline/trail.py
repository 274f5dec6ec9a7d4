"""From a finished run to its outcome's last fields and its audit event."""

from __future__ import annotations

from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call
from botguard.ports.events import Event

__all__ = ["event_of", "seal"]

_SUCCEEDED = Status.SUCCEEDED
_make = tuple.__new__  # a NamedTuple's own constructor parses keywords, at three times the cost


def seal(call: Call, outcome: Outcome) -> Outcome:
    """Complete an outcome: attempts, duration, notes. Safe to repeat; the last one counts."""
    now = call.plan.runtime.clock.monotonic()
    outcome.duration = now - call.started
    outcome.command = call.plan.command.name
    if call.policy_digest:
        outcome.policy_digest = call.policy_digest
    if not outcome.replayed:
        outcome.attempts = call.attempt if call.began else 0
        if call.deadline_at is not None and now > call.deadline_at and outcome.status is _SUCCEEDED:
            call.note(Reason.OVERRAN)
    if call.notes:
        outcome.reasons = (*outcome.reasons, *(note for note in call.notes if note not in outcome.reasons))
        outcome.degraded = outcome.degraded or call.degraded
    return outcome


def event_of(call: Call, outcome: Outcome, kind: str = "run", count: int = 1) -> Event:
    """The audit event of a sealed outcome; its id is also the outcome's."""
    plan, context = call.plan, call.context
    runtime = plan.runtime
    # A claimed run is named by its claim id already, which never repeats either.
    event_id = (kind == "run" and call.claim_id) or runtime.new_id()
    org = channel = actor = correlation = ""
    if context is not None:
        org, channel, correlation = context.org, context.channel, context.correlation_id or ""
        if context.actor is not None:
            actor = context.actor.id
    if kind == "run":
        outcome.event_id = event_id
    status = outcome.status
    return _make(
        Event,
        (
            event_id, kind, runtime.clock.time(), org, actor, call.person, channel, plan.command.name, status._value_,
            ",".join(outcome.reasons) if outcome.reasons else "", outcome.attempts, outcome.duration * 1000.0,
            status is _SUCCEEDED, outcome.replayed, outcome.degraded, call.row_key or "",
            ",".join(call.shadow) if call.shadow else "", call.policy_digest, correlation, count,
        ),
    )  # fmt: skip
