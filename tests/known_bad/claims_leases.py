"""Claim stores that are wrong about time: leases, lifetimes, abandoned and unknown claims."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.testing.models.claims import CLAIMED, UNKNOWN, ClaimModel, Entry
from known_bad.register import caught_by


@caught_by("test_idem_10_a_lease_holds_until_its_end_and_not_longer")
class LosesTheLease(ClaimModel):
    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        return super().claim(request._replace(lease=0.0), event)


@caught_by(
    "test_idem_10_a_lease_holds_until_its_end_and_not_longer",
    "test_idem_11_an_abandoned_claim_is_taken_over",
    "test_an_abandoned_claim_without_takeover_becomes_unknown_in_the_same_step",
)
class LeasesNeverEnd(ClaimModel):
    def may_take(self, row: Entry, request: ClaimRequest) -> bool:
        return row.state is not CLAIMED and super().may_take(row, request)


@caught_by(
    "test_idem_10_a_settled_row_lives_exactly_as_long_as_was_said", "test_idem_07_nothing_of_the_run_before_is_left"
)
class ResultsNeverExpire(ClaimModel):
    def live(self, key: str) -> Entry | None:
        return self.rows.get(key)


@caught_by(
    "test_idem_10_a_lease_holds_until_its_end_and_not_longer",
    "test_idem_10_a_settled_row_lives_exactly_as_long_as_was_said",
    "test_idem_14_purge_deletes_only_what_is_settled_and_over",
)
class BoundaryOneTooLate(ClaimModel):
    """``<`` where ``<=`` belongs."""

    def over(self, until: float) -> bool:
        return bool(self.time() > until)


@caught_by("test_idem_10_a_short_lease_is_not_rounded")
class WholeSeconds(ClaimModel):
    """An INTEGER column for times."""

    def over(self, until: float) -> bool:
        return int(self.time()) >= int(until)


@caught_by("test_lease_and_lifetime_are_separate")
class ResultsEndWithTheLease(ClaimModel):
    def finish(self, key: str, claim_id: str, state: RowState, *rest: Any) -> Ack:
        row = self.mine(key, claim_id)
        until = None if row is None else row.until
        answer = super().finish(key, claim_id, state, *rest)
        if answer is Ack.APPLIED and until is not None and state is not UNKNOWN:
            self.rows[key].until = until
        return answer


@caught_by("test_idem_05_extend_moves_the_end_of_the_lease")
class ExtendDoesNothing(ClaimModel):
    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        row = self.mine(key, claim_id)
        return Ack.LOST if row is None or row.state is not CLAIMED else Ack.APPLIED


@caught_by("test_idem_05_extend_may_shorten", "test_idem_05_extend_moves_the_end_of_the_lease")
class ExtendAdds(ClaimModel):
    """From the old end, not from now."""

    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        row = self.mine(key, claim_id)
        return super().extend(key, claim_id, lease + (row.until - self.time() if row else 0.0))


@caught_by(
    "test_idem_05_only_the_owner_of_a_running_claim_extends",
    "test_idem_11_the_former_owner_can_do_nothing",
    "test_idem_05_stale_owner_after_release_and_new_claim",
)
class AnybodyExtends(ClaimModel):
    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        row = self.rows.get(key)
        return Ack.LOST if row is None else super().extend(key, row.request.claim_id, lease)


@caught_by("test_idem_16_looking_at_an_abandoned_claim_changes_nothing")
class LookingJudges(ClaimModel):
    def peek(self, key: str) -> Row | None:
        row = self.rows.get(key)
        if row is not None and row.state is CLAIMED and self.over(row.until):
            row.state, row.until = UNKNOWN, math.inf
        return super().peek(key)


# ── abandoned and unknown ───


@caught_by("test_idem_08_a_mismatch_never_takes_over", "test_event_of_a_takeover_is_stored")
class TakesOverAnyPayload(ClaimModel):
    """An abandoned claim goes to whoever comes, whatever he wants."""

    def same(self, one: ClaimRequest, other: ClaimRequest) -> bool:
        return True


@caught_by("test_idem_l1_a_new_version_is_not_blocked_by_an_abandoned_claim_of_the_old")
class ComparesAcrossVersions(ClaimModel):
    """A key whose worker died is blocked for ever once the payload has a new version."""

    def same(self, one: ClaimRequest, other: ClaimRequest) -> bool:
        return one.fingerprint == other.fingerprint


@caught_by("test_an_abandoned_claim_without_takeover_becomes_unknown_in_the_same_step")
class IgnoresTakeover(ClaimModel):
    """External effects run again after a crash."""

    def may_take(self, row: Entry, request: ClaimRequest) -> bool:
        return super().may_take(row, request._replace(takeover=True))


@caught_by(
    "test_an_abandoned_claim_without_takeover_becomes_unknown_in_the_same_step",
    "test_event_of_an_abandoned_claim_that_becomes_unknown_is_not_stored",
)
class LeavesTheAbandonedClaimed(ClaimModel):
    """It says unknown, and stores an event for it, but not the state."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        before = {key: replace(row) for key, row in self.rows.items()}
        answer = super().claim(request, event)
        if answer.row is not None and answer.row.state is UNKNOWN:
            self.rows = before
            self.store(event)
        return answer


@caught_by("test_idem_11_the_former_owner_can_do_nothing")
class TakeoverKeepsTheClaimId(ClaimModel):
    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        row = self.rows.get(request.key)
        if row is not None and row.state is CLAIMED and self.over(row.until):
            request = request._replace(claim_id=row.request.claim_id)
            row.request = row.request._replace(claim_id="")
        return super().claim(request, event)


@caught_by("test_idem_04_the_fence_rises_with_every_owner")
class FencesRestart(ClaimModel):
    """The fence lives in the row, and is forgotten with it."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        before = self.rows.get(request.key)
        answer = super().claim(request, event)
        row = self.rows[request.key]
        if answer.won and row is not before:
            row.fence = 1 + (before.fence if before is not None else 0)
            return ClaimAnswer(True, row.fence, None)
        return answer


@caught_by("test_idem_11_an_abandoned_claim_is_taken_over", "test_supersede_takes_over_the_unknown_row_it_names")
class TakeoverKeepsTheFence(ClaimModel):
    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        before = self.rows.get(request.key)
        answer = super().claim(request, event)
        if answer.won and before is not None:
            self.rows[request.key].fence = before.fence
            return ClaimAnswer(True, before.fence, None)
        return answer


@caught_by("test_idem_13_unknown_waits_until_it_is_resolved")
class UnknownExpires(ClaimModel):
    def finish(self, key: str, claim_id: str, state: RowState, result: Any, keep: float, *rest: Any) -> Ack:
        answer = super().finish(key, claim_id, state, result, keep, *rest)
        if answer is Ack.APPLIED:
            self.rows[key].until = self.time() + keep
        return answer

    def live(self, key: str) -> Entry | None:
        row = self.rows.get(key)
        return None if row is not None and row.state is not CLAIMED and self.over(row.until) else row


@caught_by("test_supersede_takes_over_the_unknown_row_it_names")
class NeverSupersedes(ClaimModel):
    def may_take(self, row: Entry, request: ClaimRequest) -> bool:
        return super().may_take(row, request._replace(supersede=None))


@caught_by("test_supersede_takes_nothing_else")
class SupersedesAnything(ClaimModel):
    def may_take(self, row: Entry, request: ClaimRequest) -> bool:
        return request.supersede is not None or super().may_take(row, request)
