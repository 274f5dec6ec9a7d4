"""The one order of the stages, with a reason for each place. A plan that differs cannot be built."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ORDER", "Place"]


class Place(NamedTuple):
    """A stage's name, and why it stands where it stands."""

    stage: str
    reason: str


ORDER: tuple[Place, ...] = (
    Place("record", "outermost: every run leaves one event and one count, whatever happens inside"),
    Place("edge", "before any look-up: strangers who are refused again and again cost nothing more"),
    Place("authorize", "before validation: who may not call learns nothing about payloads, keys or results"),
    Place("validate", "before the key: a malformed payload must never burn a key"),
    Place("peek", "before limits and prompts: a duplicate is answered, never charged or asked again"),
    Place("limit", "before policies and checks: they cost look-ups, and abuse is to be cheap"),
    Place("look again", "inside the limits: a refusal that crosses a finished twin becomes its replay, refunded"),
    Place("policy", "rules first, since they need no business state"),
    Place("visibility", "what the caller may not see is not found, on a first run as before a replay"),
    Place("context", "does the subject exist, in the right state?"),
    Place("consistency", "do the invariants hold? They assume that the subject exists"),
    Place("predict", "last look: forecasts assume that the call itself makes sense"),
    Place("confirm", "after every automatic refusal: people are only asked for what can be done"),
    Place("claim", "after everything that can refuse: from here on the key is owned"),
    Place("complete", "around all attempts: one intent has one end"),
    Place("retry", "inside the claim: attempts of one owner, never a second intent"),
    Place("breaker", "inside retry: each attempt counts, and an open breaker ends the loop"),
    Place("timeout", "inside the breaker: an attempt that hangs is a failure of the dependency"),
    Place("work", "inside the attempt: each one gets its own transaction"),
    Place("handler", "innermost: its errors are caught in the frame that calls it"),
)
