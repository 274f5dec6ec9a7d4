"""Stores that are wrong in one way each, as stores have been found to be, and the test that must catch each.

``known_bad`` lists (store, tests): every one of these tests must fail on it. A suite without them could be empty.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from dataclasses import replace
from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.ports.limits import Limit, Reservation
from conformance.models import (
    CLAIMED,
    DONE,
    FAILED,
    SETTLED,
    UNKNOWN,
    ApprovalModel,
    ClaimModel,
    Entry,
    LimitModel,
)

known_bad: list[tuple[type[Any], tuple[str, ...]]] = []


def caught_by(*tests: str) -> Any:
    def add(store: type[Any]) -> type[Any]:
        known_bad.append((store, tests))
        return store

    return add


_here = threading.Barrier(2)


def _another_thread_runs() -> None:
    """Until another thread stands at the same place, so that the race is no matter of luck; a moment at most."""
    try:
        _here.wait(0.005)
    except threading.BrokenBarrierError:
        _here.reset()


# ── claims: who wins ────────────────────────────────────────────────────────────────────────────────────────


@caught_by(
    "test_idem_02_second_claim_of_a_key_loses_and_sees_the_first",
    "test_idem_05_a_lost_claim_changes_nothing",
    "test_idem_02_many_at_once_have_one_winner",
)
class EverybodyWins(ClaimModel):
    def may_take(self, row: Entry, request: ClaimRequest) -> bool:
        return True


@caught_by("test_idem_02_many_at_once_have_one_winner", "test_idem_01_at_most_one_owner_at_any_time")
class ReadsThenInserts(ClaimModel):
    """SELECT, then INSERT, in two steps."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        row = self.live(request.key)
        _another_thread_runs()
        if row is not None:
            return super().claim(request, event)
        fence = next(self.fences)
        self.rows[request.key] = Entry(CLAIMED, request, fence, self.time() + request.lease)
        return ClaimAnswer(True, fence, None)


@caught_by(
    "test_idem_11_many_takeovers_at_once_have_one_winner",
    "test_supersede_by_many_at_once_has_one_winner",
    "test_idem_10_many_claims_of_an_expired_key_have_one_winner",
)
class UpdatesWithoutCondition(ClaimModel):
    """The first INSERT is guarded; taking a row over is a plain UPDATE."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        if request.key not in self.rows:
            return super().claim(request, event)
        row = self.live(request.key)
        if row is not None and not self.may_take(row, request):
            return ClaimAnswer(False, 0, self.shown(row))
        _another_thread_runs()
        fence = next(self.fences)
        self.rows[request.key] = Entry(CLAIMED, request, fence, self.time() + request.lease)
        return ClaimAnswer(True, fence, None)


@caught_by("test_idem_01_the_same_claim_id_wins_again", "test_idem_01_the_same_claim_id_wins_again_without_takeover")
class TheSameClaimLoses(ClaimModel):
    """The answer got lost; asking again is taken for a stranger."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        return super().claim(request._replace(claim_id=f"{request.claim_id}-{len(self.rows)}"), event)

    def mine(self, key: str, claim_id: str) -> Entry | None:
        row = self.rows.get(key)
        return row if row is not None and row.request.claim_id.startswith(claim_id) else None


@caught_by("test_idem_02_the_same_claim_id_does_not_win_once_it_is_settled")
class TheSameClaimWinsForEver(ClaimModel):
    def may_take(self, row: Entry, request: ClaimRequest) -> bool:
        return row.request.claim_id == request.claim_id or super().may_take(row, request)


@caught_by("test_idem_09_keys_are_compared_byte_by_byte")
class FoldsCase(ClaimModel):
    """A case-insensitive collation."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        return super().claim(request._replace(key=request.key.casefold()), event)

    def live(self, key: str) -> Entry | None:
        return super().live(key.casefold())

    def mine(self, key: str, claim_id: str) -> Entry | None:
        return super().mine(key.casefold(), claim_id)


@caught_by("test_idem_09_keys_are_compared_byte_by_byte")
class PadsBlanks(FoldsCase):
    """Trailing blanks do not count (CHAR columns, MySQL's PAD SPACE collations)."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        return ClaimModel.claim(self, request._replace(key=request.key.rstrip()), event)


@caught_by("test_idem_07_hard_strings_come_back_as_they_are")
class TrimsNames(ClaimModel):
    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        return super().claim(request._replace(person=request.person.strip()), event)


@caught_by("test_colour_is_declared_and_true")
class AsyncInDisguise(ClaimModel):
    """Says that it answers at once, and hands out an awaitable."""

    def release(self, key: str, claim_id: str) -> Any:
        answered: Any = asyncio.sleep(0, super().release(key, claim_id))
        return answered


@caught_by("test_idem_02_second_claim_of_a_key_loses_and_sees_the_first", "test_idem_09_keys_are_compared_byte_by_byte")
class RefusesWithoutTheRow(ClaimModel):
    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        answer = super().claim(request, event)
        return answer if answer.won else ClaimAnswer(False, 0, None)

    def live(self, key: str) -> Entry | None:
        return super().live(key[:63])


# ── claims: leases and lifetimes ────────────────────────────────────────────────────────────────────────────


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


# ── claims: abandoned and unknown ───────────────────────────────────────────────────────────────────────────


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


# ── claims: settling ────────────────────────────────────────────────────────────────────────────────────────


@caught_by(
    "test_idem_05_finish_of_what_is_not_ours_is_lost",
    "test_idem_11_the_former_owner_can_do_nothing",
    "test_a_late_done_by_somebody_else_is_lost",
    "test_idem_05_stale_owner_after_release_and_new_claim",
    "test_idem_05_stale_owner_after_expiry_and_new_claim",
)
class ForgetsWhoseClaimItIs(ClaimModel):
    """UPDATE … WHERE key = ?, without the claim id: a stale owner writes over the new one."""

    def mine(self, key: str, claim_id: str) -> Entry | None:
        return self.rows.get(key)


@caught_by("test_idem_05_finish_of_what_is_not_ours_is_lost")
class FinishMakesTheRow(ClaimModel):
    """INSERT … ON CONFLICT UPDATE."""

    def finish(self, key: str, claim_id: str, *rest: Any) -> Ack:
        if key not in self.rows:
            request = ClaimRequest(key, "", "", claim_id, "", b"", "", 1.0, takeover=True)
            self.claim(request)
        return super().finish(key, claim_id, *rest)


@caught_by(
    "test_idem_06_what_is_settled_never_changes_again",
    "test_idem_06_a_repeat_does_not_lengthen_the_lifetime",
    "test_event_of_a_finish_is_stored_if_and_only_if_it_applied",
)
class CompletesTwice(ClaimModel):
    def finish(self, key: str, claim_id: str, *rest: Any) -> Ack:
        row = self.mine(key, claim_id)
        again = row is not None and row.state in SETTLED
        if again and row is not None:
            row.state = CLAIMED
        answer = super().finish(key, claim_id, *rest)
        return Ack.ALREADY if again else answer


@caught_by("test_idem_06_many_finishes_of_one_claim_apply_once")
class ReadsThenFinishes(ClaimModel):
    def finish(
        self, key: str, claim_id: str, state: RowState, result: Any, keep: float, attempts: int, event: Any = None
    ) -> Ack:
        row = self.mine(key, claim_id)
        if row is None or row.state in SETTLED or row.state is state:
            return super().finish(key, claim_id, state, result, keep, attempts, event)
        _another_thread_runs()
        until = math.inf if state is UNKNOWN else self.time() + keep
        event_id = "" if event is None else event.id
        self.rows[key] = replace(row, state=state, until=until, result=result, event_id=event_id, attempts=attempts)
        self.store(event)
        return Ack.APPLIED


@caught_by("test_a_late_done_turns_unknown_into_done")
class UnknownIsFinal(ClaimModel):
    def finish(self, key: str, claim_id: str, *rest: Any) -> Ack:
        row = self.mine(key, claim_id)
        if row is not None and row.state is UNKNOWN:
            return Ack.ALREADY
        return super().finish(key, claim_id, *rest)


@caught_by(
    "test_idem_05_a_late_owner_whom_nobody_took_over_finishes",
    "test_idem_16_looking_at_an_abandoned_claim_changes_nothing",
)
class LateOwnersAreRefused(ClaimModel):
    """A lease that is over is taken for a claim that is lost."""

    def finish(self, key: str, claim_id: str, *rest: Any) -> Ack:
        row = self.mine(key, claim_id)
        if row is not None and row.state is CLAIMED and self.over(row.until):
            return Ack.LOST
        return super().finish(key, claim_id, *rest)


@caught_by("test_idem_07_a_result_comes_back_byte_for_byte")
class EmptyIsNone(ClaimModel):
    """Oracle's habit: an empty value is NULL."""

    def finish(self, key: str, claim_id: str, state: RowState, result: bytes | None, *rest: Any) -> Ack:
        return super().finish(key, claim_id, state, result or None, *rest)


@caught_by("test_idem_07_a_result_comes_back_byte_for_byte")
class CutsLongResults(ClaimModel):
    def finish(self, key: str, claim_id: str, state: RowState, result: bytes | None, *rest: Any) -> Ack:
        return super().finish(key, claim_id, state, result[:65535] if result else result, *rest)


@caught_by("test_idem_07_nothing_of_the_run_before_is_left")
class LeavesTheOldResult(ClaimModel):
    """A takeover updates the owner and forgets the result beside him."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        before = self.rows.get(request.key)
        answer = super().claim(request, event)
        if answer.won and before is not None:
            self.rows[request.key].result = before.result
        return answer


@caught_by("test_a_settled_row_shows_what_it_was_given")
class ForgetsTheAttempts(ClaimModel):
    def finish(
        self, key: str, claim_id: str, state: RowState, result: Any, keep: float, attempts: int, event: Any = None
    ) -> Ack:
        return super().finish(key, claim_id, state, result, keep, 0, event)


@caught_by("test_a_repeated_unknown_is_already_so", "test_event_of_a_finish_is_stored_if_and_only_if_it_applied")
class ParksAgainAndAgain(ClaimModel):
    def finish(self, key: str, claim_id: str, state: RowState, *rest: Any) -> Ack:
        row = self.mine(key, claim_id)
        if row is not None and row.state is state is UNKNOWN:
            row.state = CLAIMED
        return super().finish(key, claim_id, state, *rest)


# ── claims: release, purge, events ──────────────────────────────────────────────────────────────────────────


@caught_by("test_idem_13_only_a_claimed_row_is_released")
class ReleaseDeletesDone(ClaimModel):
    def release(self, key: str, claim_id: str) -> Ack:
        return Ack.LOST if self.mine(key, claim_id) is None else Ack.APPLIED if self.rows.pop(key) else Ack.LOST


@caught_by("test_idem_05_only_the_owner_releases", "test_idem_11_the_former_owner_can_do_nothing")
class AnybodyReleases(ClaimModel):
    def release(self, key: str, claim_id: str) -> Ack:
        row = self.rows.get(key)
        return Ack.ALREADY if row is None else super().release(key, row.request.claim_id)


@caught_by("test_idem_13_release_makes_the_key_absent", "test_idem_01_at_most_one_owner_at_any_time")
class ReleaseWaitsForTheLease(ClaimModel):
    """Released is only marked: nobody gets the key before the lease would have ended."""

    def release(self, key: str, claim_id: str) -> Ack:
        row = self.mine(key, claim_id)
        if row is None or row.state is not CLAIMED:
            return super().release(key, claim_id)
        row.request = row.request._replace(claim_id="released")
        return Ack.APPLIED


@caught_by("test_idem_13_an_abandoned_claim_can_be_released_by_its_owner")
class LateReleaseIsRefused(ClaimModel):
    def release(self, key: str, claim_id: str) -> Ack:
        row = self.mine(key, claim_id)
        return Ack.LOST if row is not None and self.over(row.until) else super().release(key, claim_id)


@caught_by(
    "test_idem_13_unknown_waits_until_it_is_resolved", "test_idem_14_purge_deletes_only_what_is_settled_and_over"
)
class PurgesTheUnknown(ClaimModel):
    def purgeable(self, row: Entry) -> bool:
        return row.state is UNKNOWN or super().purgeable(row)


@caught_by("test_idem_14_purge_deletes_only_what_is_settled_and_over")
class PurgesTheAbandoned(ClaimModel):
    def purgeable(self, row: Entry) -> bool:
        return self.over(row.until)


@caught_by("test_idem_14_purge_deletes_only_what_is_settled_and_over")
class PurgesOnlyDone(ClaimModel):
    def purgeable(self, row: Entry) -> bool:
        return row.state is not FAILED and super().purgeable(row)


@caught_by("test_idem_14_purge_stops_at_its_limit")
class PurgesEverything(ClaimModel):
    def purge(self, limit: int = 1000) -> int:
        return super().purge(1000)


@caught_by("test_idem_14_purge_and_a_new_claim")
class PurgesByOldLifetime(ClaimModel):
    """The row's new owner forgot to clear its old end of life."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.ends: dict[str, float] = {}

    def finish(self, key: str, claim_id: str, state: RowState, result: Any, keep: float, *rest: Any) -> Ack:
        self.ends[key] = self.time() + keep
        return super().finish(key, claim_id, state, result, keep, *rest)

    def purgeable(self, row: Entry) -> bool:
        return self.over(self.ends.get(row.request.key, math.inf))


@caught_by("test_idem_14_purge_while_others_claim")
class PurgesARunningDictionary(ClaimModel):
    def purge(self, limit: int = 1000) -> int:
        gone: list[str] = []
        for key, row in self.rows.items():
            if len(gone) < limit and self.purgeable(row):
                gone.append(key)
            time.sleep(0)
        return sum(self.rows.pop(key, None) is not None for key in gone)


@caught_by("test_event_of_a_claim_is_stored_if_it_was_won", "test_event_of_a_takeover_is_stored")
class EventsOfLosers(ClaimModel):
    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        answer = super().claim(request)
        self.store(event)
        return answer


@caught_by("test_event_of_a_finish_is_stored_if_and_only_if_it_applied")
class EventsOfLostFinishes(ClaimModel):
    def finish(
        self, key: str, claim_id: str, state: RowState, result: Any, keep: float, attempts: int, event: Any = None
    ) -> Ack:
        answer = super().finish(key, claim_id, state, result, keep, attempts)
        self.store(event)
        return answer


@caught_by("test_event_of_a_claim_is_stored_if_it_was_won")
class ForgetsEventsOfClaims(ClaimModel):
    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        return super().claim(request)


@caught_by("test_a_row_settled_without_event_names_none")
class NamesEventsThatAreNot(ClaimModel):
    def finish(self, key: str, claim_id: str, *rest: Any) -> Ack:
        answer = super().finish(key, claim_id, *rest)
        if answer is Ack.APPLIED:
            self.rows[key].event_id = self.rows[key].event_id or "None"
        return answer


@caught_by("test_absent_key_is_none")
class LookingMakesTheRow(ClaimModel):
    def peek(self, key: str) -> Row | None:
        found = super().peek(key)
        self.claim(ClaimRequest(key, "", "", "peek", "", b"", "", 1.0, takeover=True))
        return found


@caught_by("test_idem_02_claim_of_an_absent_key_wins")
class FingerprintsAreText(ClaimModel):
    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        text = request.fingerprint.decode("ascii", "replace").encode("ascii", "replace")
        return super().claim(request._replace(fingerprint=text), event)


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────


class EventModel:
    """EventStore."""

    colour = "any"

    def __init__(self, clock: Any) -> None:
        self.rows: list[Event] = []

    def append(self, event: Event) -> None:
        self.rows.append(event)

    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        found = [event for event in list(self.rows) if org is None or event.org == org]
        return found[-limit:] if limit else []


@caught_by("test_aud_04_the_newest_come_last")
class SortsByTime(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return sorted(super().tail(limit, org=org), key=lambda event: event.at)


@caught_by("test_aud_04_the_newest_come_last", "test_tail_is_limited_to_the_newest")
class NewestFirst(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return super().tail(limit, org=org)[::-1]


@caught_by("test_tail_of_one_org")
class FiltersAfterTheLimit(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return [event for event in super().tail(limit) if org is None or event.org == org]


@caught_by("test_tail_of_one_org", "test_orgs_are_told_apart_byte_by_byte")
class ShowsEveryOrg(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return super().tail(limit)


@caught_by("test_orgs_are_told_apart_byte_by_byte")
class FoldsOrgs(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return [e for e in self.rows if org is None or e.org.casefold() == org.casefold()][-limit:]


@caught_by("test_every_field_comes_back")
class FlagsAreNumbers(EventModel):
    def append(self, event: Event) -> None:
        super().append(event._replace(success=int(event.success), degraded=int(event.degraded)))


@caught_by("test_every_field_comes_back")
class ForgetsTheCount(EventModel):
    def append(self, event: Event) -> None:
        super().append(event._replace(count=1))


@caught_by("test_aud_09_hard_strings_come_back_as_they_are")
class OneLineTexts(EventModel):
    def append(self, event: Event) -> None:
        super().append(event._replace(actor=event.actor.replace("\n", " ")))


@caught_by("test_aud_04_many_at_once_all_arrive")
class ReadsThenAppends(EventModel):
    def append(self, event: Event) -> None:
        rows = list(self.rows)
        _another_thread_runs()
        self.rows = [*rows, event]


@caught_by("test_aud_04_a_tail_does_not_change_afterwards")
class HandsOutItsOwnList(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return self.rows if len(self.rows) < limit and org is None else super().tail(limit, org=org)


@caught_by("test_tail_shows_a_hundred_unless_told")
class ShowsEverything(EventModel):
    def tail(self, limit: int = 1000, *, org: str | None = None) -> list[Event]:
        return super().tail(limit, org=org)


@caught_by("test_empty")
class NothingIsNone(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> Any:
        return super().tail(limit, org=org) or None


@caught_by("test_colour_is_declared_and_true")
class EventsInDisguise(EventModel):
    def append(self, event: Event) -> Any:
        return asyncio.sleep(0, super().append(event))


# ── approvals ───────────────────────────────────────────────────────────────────────────────────────────────

OPEN, APPROVED, DECLINED, EXPIRED = ApprovalState


@caught_by(
    "test_appr_04_spent_for_one_key_and_repeatable_for_that_key", "test_appr_04_of_many_at_once_one_key_is_served"
)
class SpentAgainAndAgain(ApprovalModel):
    def spend(self, subject: str, key: str) -> bool:
        found = self.by_subject(subject)
        if found is None or found.state is not APPROVED:
            return False
        self.requests[subject] = found._replace(spent_on=found.spent_on or key)
        return True


@caught_by("test_appr_04_of_many_at_once_one_key_is_served")
class ReadsThenSpends(ApprovalModel):
    def spend(self, subject: str, key: str) -> bool:
        found = self.by_subject(subject)
        if found is None or found.state is not APPROVED or found.spent_on not in ("", key):
            return False
        _another_thread_runs()
        self.requests[subject] = found._replace(spent_on=key)
        return True


@caught_by("test_appr_04_spent_for_one_key_and_repeatable_for_that_key")
class SpentOnceAndForAll(ApprovalModel):
    """A crashed run cannot go on."""

    def spend(self, subject: str, key: str) -> bool:
        found = self.by_subject(subject)
        return (found is None or not found.spent_on) and super().spend(subject, key)


@caught_by("test_appr_04_a_used_request_stays_usable_for_its_key")
class UsedRequestsExpire(ApprovalModel):
    def over(self, request: ApprovalRequest) -> bool:
        return bool(self.time() >= request.expires_at)


@caught_by("test_appr_04_keys_are_told_apart_byte_by_byte")
class SpendFoldsCase(ApprovalModel):
    def spend(self, subject: str, key: str) -> bool:
        return super().spend(subject, key.casefold())


@caught_by("test_appr_01_only_an_approved_request_is_spent", "test_unknown_names_are_none")
class SpendsWhatNobodyApproved(ApprovalModel):
    def spend(self, subject: str, key: str) -> bool:
        found = self.by_subject(subject)
        return found is None or found.state is OPEN or super().spend(subject, key)


@caught_by("test_appr_01_only_an_approved_request_is_spent")
class RefusedSpendsLeaveTraces(ApprovalModel):
    def spend(self, subject: str, key: str) -> bool:
        answer = super().spend(subject, key)
        if not answer and subject in self.requests:
            self.requests[subject] = self.requests[subject]._replace(spent_on=key)
        return answer


@caught_by(
    "test_appr_l1_a_request_expires_exactly_when_its_time_is_over",
    "test_appr_01_what_is_expired_cannot_be_decided",
    "test_an_expired_request_is_replaced",
    "test_appr_01_just_in_time_and_just_too_late",
    "test_an_approved_request_that_was_not_used_in_time_is_over",
)
class RequestsNeverExpire(ApprovalModel):
    def over(self, request: ApprovalRequest) -> bool:
        return False


@caught_by(
    "test_appr_l1_a_request_expires_exactly_when_its_time_is_over", "test_appr_01_just_in_time_and_just_too_late"
)
class ApprovalBoundaryOneTooLate(ApprovalModel):
    def over(self, request: ApprovalRequest) -> bool:
        return bool(self.time() > request.expires_at and not request.spent_on)


@caught_by("test_appr_05_a_decision_is_final")
class TheLastDecisionCounts(ApprovalModel):
    def decide(self, token: str, state: ApprovalState) -> ApprovalRequest | None:
        found = self.by_token(token)
        if found is None or found.state is EXPIRED:
            return found
        made = self.requests[found.subject] = found._replace(state=state)
        return made


@caught_by("test_appr_05_of_many_decisions_at_once_one_wins")
class ReadsThenDecides(ApprovalModel):
    def decide(self, token: str, state: ApprovalState) -> ApprovalRequest | None:
        found = self.by_token(token)
        _another_thread_runs()
        if found is not None and found.state is OPEN:
            found = self.requests[found.subject] = found._replace(state=state)
        return found


@caught_by("test_decide_answers_with_the_request_as_it_is_afterwards")
class DecideAnswersWithTheOldState(ApprovalModel):
    def decide(self, token: str, state: ApprovalState) -> ApprovalRequest | None:
        before = self.by_token(token)
        super().decide(token, state)
        return before


@caught_by("test_appr_06_a_delivery_again_finds_the_request_it_made")
class EachDeliveryAsksAnew(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        self.requests.pop(request.subject, None)
        return super().open(request, lifetime)


@caught_by("test_appr_06_a_delivery_again_finds_the_request_it_made")
class ShowingAgainLengthensItsLife(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        made = super().open(request, lifetime)
        longer = self.requests[request.subject] = made._replace(expires_at=self.time() + lifetime)
        return longer


@caught_by("test_appr_06_of_many_who_open_at_once_all_see_one_request")
class ReadsThenOpens(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        known = self.by_subject(request.subject)
        _another_thread_runs()
        if known is not None and known.state is not EXPIRED:
            return known
        made = request._replace(expires_at=self.time() + lifetime, state=OPEN, spent_on="")
        self.requests[request.subject] = made
        return made


@caught_by("test_a_declined_request_stays_until_its_time_is_over")
class AsksAgainWhoSaidNo(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        known = self.by_subject(request.subject)
        if known is not None and known.state is DECLINED:
            del self.requests[request.subject]
        return super().open(request, lifetime)


@caught_by("test_open_ignores_state_and_use_that_it_is_given")
class TrustsWhatItIsGiven(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        super().open(request, lifetime)
        made = self.requests[request.subject]
        made = self.requests[request.subject] = made._replace(state=request.state, spent_on=request.spent_on)
        return made


@caught_by("test_an_expired_request_is_replaced")
class OldButtonsPressTheNewRequest(ApprovalModel):
    """Tokens lead to a subject, and an old one still does."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.tokens: dict[str, str] = {}

    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        self.tokens[request.token] = request.subject
        return super().open(request, lifetime)

    def by_token(self, token: str) -> ApprovalRequest | None:
        return self.by_subject(self.tokens.get(token, ""))


@caught_by("test_tokens_are_told_apart_byte_by_byte")
class TokensFoldCase(ApprovalModel):
    def by_token(self, token: str) -> ApprovalRequest | None:
        return self.shown(next((r for r in self.requests.values() if r.token.casefold() == token.casefold()), None))


@caught_by("test_a_payload_that_must_not_be_stored_stays_none")
class PayloadNoneIsEmpty(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        return super().open(request._replace(payload=request.payload or b""), lifetime)


@caught_by("test_subjects_are_apart")
class SubjectsFoldCase(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        return super().open(request._replace(subject=request.subject.casefold()), lifetime)

    def by_subject(self, subject: str) -> ApprovalRequest | None:
        return super().by_subject(subject.casefold())


@caught_by("test_purge_deletes_what_has_been_over_for_a_day")
class PurgesAtOnce(ApprovalModel):
    def purge(self, limit: int = 1000) -> int:
        gone = [s for s, r in self.requests.items() if self.time() >= r.expires_at][:limit]
        for subject in gone:
            del self.requests[subject]
        return len(gone)


@caught_by("test_purge_stops_at_its_limit")
class PurgesAllRequests(ApprovalModel):
    def purge(self, limit: int = 1000) -> int:
        return super().purge(1000)


@caught_by("test_an_opened_request_is_found_both_ways", "test_hard_strings_come_back_as_they_are")
class ForgetsThePerson(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        return super().open(request._replace(person=""), lifetime)


@caught_by("test_colour_is_declared_and_true")
class ApprovalsWithoutColour(ApprovalModel):
    colour = "blue"


@caught_by("test_purge_leaves_a_request_that_was_opened_anew")
class PurgesByTheFirstEnd(ApprovalModel):
    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.ends: dict[str, float] = {}

    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        made = super().open(request, lifetime)
        self.ends.setdefault(request.subject, made.expires_at)
        return made

    def purge(self, limit: int = 1000) -> int:
        gone = [s for s, end in self.ends.items() if self.time() >= end + 86400.0][:limit]
        return sum(self.requests.pop(subject, None) is not None for subject in gone)


@caught_by("test_expires_at_is_the_end_by_the_stores_clock")
class ShowsOneEndForAll(ApprovalModel):
    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        return super().open(request, lifetime)._replace(expires_at=self.time() + 900.0)


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────


@caught_by("test_buckets_are_apart", "test_rate_06_buckets_go_with_their_limits")
class IgnoresTheBucket(LimitModel):
    """Orgs and users share one counter."""

    def of(self, limit: Limit, bucket: str) -> list[tuple[float, str]]:
        return super().of(limit, "")


@caught_by("test_tags_are_apart")
class FoldsTags(LimitModel):
    def of(self, limit: Limit, bucket: str) -> list[tuple[float, str]]:
        return super().of(limit._replace(tag=limit.tag.casefold()), bucket)


@caught_by("test_tag_and_bucket_cannot_run_into_each_other")
class JoinsTagAndBucket(LimitModel):
    """As the keys of the ``limits`` package are joined."""

    def of(self, limit: Limit, bucket: str) -> list[tuple[float, str]]:
        return self.calls.setdefault((f"{limit.tag}|{bucket}", ""), [])


@caught_by("test_rate_03_a_refusal_consumes_nothing", "test_rate_06_all_or_nothing_whichever_is_full")
class ChargesOnRefusal(LimitModel):
    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        answer = super().reserve(limits, buckets, token)
        if not answer.granted:
            for limit, bucket in zip(limits, buckets, strict=True):
                self.of(limit, bucket).append((self.time(), token))
        return answer


@caught_by("test_rate_03_refusals_do_not_lengthen_the_wait")
class RefusalsStartTheWindowAnew(LimitModel):
    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        answer = super().reserve(limits, buckets, token)
        self.refusals = getattr(self, "refusals", 0) + (not answer.granted)
        return answer if answer.granted else answer._replace(retry_after=answer.retry_after + self.refusals)


@caught_by("test_rate_06_all_or_nothing_whichever_is_full")
class TakesOneByOne(LimitModel):
    """Each limit in turn, until one refuses."""

    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        answer = Reservation(True, None, 0.0, (self.time(), token))
        for limit, bucket in zip(limits, buckets, strict=True):
            one = super().reserve((limit,), (bucket,), token)
            if not one.granted:
                return one
            answer = one
        return answer


@caught_by("test_rate_06_a_granted_call_counts_in_each")
class CountsInTheFirst(LimitModel):
    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        answer = self.test(limits, buckets)
        return super().reserve(limits[:1], buckets[:1], token) if answer.granted else answer


@caught_by("test_rate_01_admits_as_many_as_declared")
class OneTooMany(LimitModel):
    def wait(self, limit: Limit, bucket: str) -> float:
        return super().wait(limit._replace(amount=limit.amount + 1), bucket)


@caught_by("test_rate_04_with_several_full_the_longest_wait_is_named")
class NamesTheFirstThatIsFull(LimitModel):
    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        for limit, bucket in zip(limits, buckets, strict=True):
            answer = super().test((limit,), (bucket,))
            if not answer.granted:
                return answer
        return Reservation(True)


@caught_by("test_rate_04_retry_after_is_exact")
class SaysOneWindow(LimitModel):
    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        answer = super().test(limits, buckets)
        return answer if answer.limit is None else answer._replace(retry_after=answer.limit.window)


@caught_by("test_rate_04_retry_after_is_exact")
class SaysToComeTooEarly(LimitModel):
    """By the rounding of a weighted window: at that moment it is still full."""

    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        answer = super().test(limits, buckets)
        if answer.limit is None or answer.limit.strategy != "sliding-window-counter":
            return answer
        return answer._replace(retry_after=answer.retry_after - 0.001)


@caught_by("test_rate_01_moving_window_holds_over_every_window")
class MovingWindowIsFixed(LimitModel):
    def wait(self, limit: Limit, bucket: str) -> float:
        moving = limit.strategy == "moving-window"
        return super().wait(limit._replace(strategy="fixed-window") if moving else limit, bucket)


@caught_by("test_rate_01_sliding_window_counter_weighs_the_window_before")
class SlidingWindowIsFixed(LimitModel):
    def wait(self, limit: Limit, bucket: str) -> float:
        sliding = limit.strategy == "sliding-window-counter"
        return super().wait(limit._replace(strategy="fixed-window") if sliding else limit, bucket)


@caught_by("test_rate_01_fixed_window_is_full_until_its_end", "test_rate_02_after_two_idle_windows_everything_is_free")
class CountsForEver(LimitModel):
    def wait(self, limit: Limit, bucket: str) -> float:
        held = len(self.of(limit, bucket))
        return limit.window if held >= limit.amount else super().wait(limit, bucket)


@caught_by("test_rate_02_a_lone_caller_within_the_rate_is_never_refused")
class ForgetsTheOldestLate(LimitModel):
    def wait(self, limit: Limit, bucket: str) -> float:
        if limit.strategy == "moving-window":
            limit = limit._replace(window=limit.window * 3)
        return super().wait(limit, bucket)


@caught_by("test_test_counts_nothing", "test_test_says_what_reserve_says")
class TestingCounts(LimitModel):
    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        answer = super().test(limits, buckets)
        if answer.granted:
            for limit, bucket in zip(limits, buckets, strict=True):
                self.of(limit, bucket).append((self.time(), "test"))
        return answer

    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        with self.lock:
            answer = LimitModel.test(self, limits, buckets)
            if not answer.granted:
                return answer
            for limit, bucket in zip(limits, buckets, strict=True):
                self.of(limit, bucket).append((self.time(), token))
            return Reservation(True, None, 0.0, (self.time(), token))


@caught_by("test_refund_takes_a_reservation_back_entirely", "test_rate_05_many_refunds_at_once_are_exact")
class RefundForgetsOneLimit(LimitModel):
    def refund(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        cut = slice(0, max(1, len(limits) - 1))
        super().refund(limits[cut], buckets[cut], reservation)


@caught_by("test_refund_takes_one_call_back_and_not_another")
class RefundEmptiesTheBucket(LimitModel):
    def refund(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        for limit, bucket in zip(limits, buckets, strict=True):
            self.of(limit, bucket).clear()


@caught_by("test_refund_of_an_old_window_gives_the_new_one_nothing")
class RefundTakesTheNewest(LimitModel):
    """The counter of now goes down, whenever the call was."""

    def refund(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        for limit, bucket in zip(limits, buckets, strict=True):
            if calls := self.of(limit, bucket):
                calls.pop()


@caught_by("test_refund_after_time_has_passed")
class RefundOnlyAtOnce(LimitModel):
    def refund(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        if self.time() - reservation.token[0] < 1.0:
            super().refund(limits, buckets, reservation)


@caught_by("test_release_keeps_the_counts", "test_release_frees_the_slots")
class ReleaseForgetsTheCounts(LimitModel):
    def release(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        self.refund(limits, buckets, reservation)


@caught_by("test_release_frees_the_slots", "test_cap_released_twice_frees_one_slot")
class ReleaseDoesNothing(LimitModel):
    def release(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        pass


@caught_by("test_cap_a_late_release_frees_nobody_elses_slot", "test_cap_released_twice_frees_one_slot")
class CapsAreNumbers(LimitModel):
    """A counter of running calls: it does not know whose slot it frees."""

    def release(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Any) -> None:
        for limit, bucket in zip(limits, buckets, strict=True):
            if limit.strategy == "concurrent" and (calls := self.of(limit, bucket)):
                calls.pop()


@caught_by("test_cap_slots_are_leases", "test_cap_says_when_to_ask_again")
class LostSlotsStayLost(LimitModel):
    def wait(self, limit: Limit, bucket: str) -> float:
        if limit.strategy != "concurrent":
            return super().wait(limit, bucket)
        return 1.0 if len(self.of(limit, bucket)) >= limit.amount else 0.0


@caught_by("test_rate_05_many_at_once_are_admitted_as_declared")
class TestsThenTakes(LimitModel):
    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        answer = self.test(limits, buckets)
        _another_thread_runs()
        if not answer.granted:
            return answer
        for limit, bucket in zip(limits, buckets, strict=True):
            self.of(limit, bucket).append((self.time(), token))
        return Reservation(True, None, 0.0, (self.time(), token))


@caught_by("test_colour_is_declared_and_true")
class LimitsInDisguise(LimitModel):
    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Any:
        return asyncio.sleep(0, super().reserve(limits, buckets, token))


@caught_by("test_no_limits_at_all")
class RefusesTheUnlimited(LimitModel):
    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        return super().test(limits, buckets) if limits else Reservation(False, None, 1.0)


__all__ = ["DONE", "EventModel", "known_bad"]
