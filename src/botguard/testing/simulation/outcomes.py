"""What an outcome must not say, given what was seen to happen."""

from __future__ import annotations

from collections.abc import Iterator

from botguard.outcome import Outcome, Reason, Status
from botguard.testing.simulation.runs import Run

__all__ = ["judge"]

#: They say that nothing happened.
_NOTHING = frozenset(
    (
        Status.INVALID,
        Status.DENIED,
        Status.PENDING,
        Status.THROTTLED,
        Status.UNAVAILABLE,
        Status.IN_FLIGHT,
        Status.CONFLICT,
    )
)
#: What a gate says, which looks at the key once more before it does.
_REFUSED = frozenset((Status.DENIED, Status.PENDING, Status.THROTTLED))
#: They cost no limit. A confirmed call was charged when it was first made.
_FREE = frozenset((Status.IN_FLIGHT, Status.CONFLICT, Status.UNAVAILABLE, Status.THROTTLED, Status.CANCELLED))
#: Of these floods are counted and not written one by one.
_COUNTED = frozenset(
    (Status.DENIED, Status.INVALID, Status.THROTTLED, Status.CONFLICT, Status.IN_FLIGHT, Status.UNAVAILABLE)
)


def judge(run: Run, outcome: Outcome) -> Iterator[tuple[str, str]]:
    """The rules that this outcome breaks: (number, what)."""
    yield from _effects(run, outcome)
    if outcome.replayed:
        yield from _replay(run, outcome)
    yield from _charges(run, outcome)
    yield from _events(run, outcome)


def _effects(run: Run, outcome: Outcome) -> Iterator[tuple[str, str]]:
    status, effects = outcome.status, run.command.effects
    if status in _NOTHING and run.made:
        yield "2", f"{run} says {status}, and its effect happened"
    if effects == "read" or outcome.replayed:
        return
    if status is Status.SUCCEEDED and not run.made:
        yield "2", f"{run} succeeded without an effect"
    if status is Status.SUCCEEDED and outcome.value != run.value:
        yield "2", f"{run} returned {outcome.value!r}, and its handler {run.value!r}"
    if status is not Status.FAILED or Reason.EFFECT_UNKNOWN in outcome.reasons:
        return
    if effects == "external" and run.sent:
        yield "2", f"{run} failed after its effect was on its way, and does not say that nobody can know"
    if effects == "transactional" and run.made and not run.leapt:
        yield "2", f"{run} failed, and its effect was committed"


def _replay(run: Run, outcome: Outcome) -> Iterator[tuple[str, str]]:
    if not run.authorised:
        yield "4", f"{run} was shown a stored result though its caller is not authorised"
    if run.found is not None:
        if outcome.value != run.found:
            yield "2", f"{run} was shown {outcome.value!r}, and reconcile found {run.found!r}"
        return
    known = run.saw
    if known is None or not known.settled:
        yield "2", f"{run} was shown a result, and there is none"
        return
    owner: Run = known.owner
    if owner.context.org != run.context.org or (owner.person != run.person and not run.command.to_org):
        yield "4", f"{run} was shown the result of {owner}"
    if owner.raw != run.raw:
        yield "4", f"{run} was shown the result of another payload, {owner.raw}"
    readable = outcome.status is Status.SUCCEEDED and Reason.RESULT_UNAVAILABLE not in outcome.reasons
    if readable and outcome.value != known.value:
        yield "2", f"{run} was shown {outcome.value!r}, and the first run returned {known.value!r}"


def _charges(run: Run, outcome: Outcome) -> Iterator[tuple[str, str]]:
    if run.crossed and outcome.status in _REFUSED and not (run.troubled or run.leapt):
        yield "7", f"{run} was told {outcome.status}, though its twin had finished before that was decided"
    if run.troubled:
        return
    if run.slots:
        yield "7", f"{run} ended and still holds {run.slots} slots of a cap"
    if run.charged > 1:
        yield "7", f"{run} was charged {run.charged} times"
    if run.charged and (outcome.replayed or outcome.status in _FREE or run.way != "call"):
        yield "7", f"{run} ended {outcome.status}{' (replayed)' * outcome.replayed} and was charged for it"


def _events(run: Run, outcome: Outcome) -> Iterator[tuple[str, str]]:
    written = {event.id for event in run.events if event.kind == "run"}
    if len(written) > 1:
        yield "4", f"{run} has {len(written)} events"
    if written or outcome.status in _COUNTED:
        return
    if Reason.AUDIT_LOST not in outcome.reasons:
        yield "4", f"{run} ended {outcome.status} without an event"
