"""Claim stores that are wrong about how a claim ends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, RowState
from botguard.testing.models.claims import CLAIMED, SETTLED, UNKNOWN, ClaimModel, Entry
from known_bad.register import another_thread_runs, caught_by


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
        another_thread_runs()
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
