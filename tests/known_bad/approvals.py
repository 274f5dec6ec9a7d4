"""Approval stores that are wrong in one way each."""

from __future__ import annotations

from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.testing.models.approvals import ApprovalModel
from known_bad.register import another_thread_runs, caught_by

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
        another_thread_runs()
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
        another_thread_runs()
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
        another_thread_runs()
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


@caught_by("test_idem_17_whatever_is_said_again_is_so_already")
class TheSameTokenIsTaken(ApprovalModel):
    """Its own button, opened again after a lost answer, is taken for somebody else's."""

    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        if self.by_token(request.token) is not None:
            request = request._replace(token=f"{request.token}-again")
            self.requests.pop(request.subject, None)
        return super().open(request, lifetime)


@caught_by("test_appr_01_only_an_approved_request_is_spent")
class DeclinedIsDecided(ApprovalModel):
    """Anything that is not open any more counts as approved."""

    def spend(self, subject: str, key: str) -> bool:
        found = self.by_subject(subject)
        if found is not None and found.state is DECLINED:
            self.requests[subject] = found._replace(state=APPROVED)
        return super().spend(subject, key)
