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
    plan = call.plan
    now = plan.monotonic()
    outcome.duration = now - call.started
    outcome.command = plan.name
    if call.policy_digest:
        outcome.policy_digest = call.policy_digest
    if not outcome.replayed:
        if call.began:
            outcome.attempts = call.attempt
        end = call.deadline_at
        if end is not None and now > end and outcome.status is _SUCCEEDED:
            call.note(Reason.OVERRAN)
    if call.notes:
        outcome.reasons = (*outcome.reasons, *(note for note in call.notes if note not in outcome.reasons))
        outcome.degraded = outcome.degraded or call.degraded
    return outcome


def event_of(call: Call, outcome: Outcome, kind: str = "run", count: int = 1) -> Event:
    """The audit event of a sealed outcome; that of the run gives the outcome its id."""
    plan, context, reasons, status = call.plan, call.context, outcome.reasons, outcome.status
    if kind == "run":
        # A claimed run is named by its claim id already, which never repeats either.
        event_id = outcome.event_id = call.claim_id or plan.new_id()
    else:
        event_id = plan.new_id()
    if context is None:
        org = actor = channel = correlation = ""
    else:
        who = context.actor
        org, channel, correlation = context.org, context.channel, context.correlation_id or ""
        actor = "" if who is None else who.id
    return _make(
        Event,
        (
            event_id, kind, plan.time(), org, actor, call.person, channel, plan.name, status._value_,
            ",".join(reasons) if reasons else "", outcome.attempts, outcome.duration * 1000.0,
            status is _SUCCEEDED, outcome.replayed, outcome.degraded, call.row_key or "",
            ",".join(call.shadow) if call.shadow else "", call.policy_digest, correlation, count,
        ),
    )  # fmt: skip
