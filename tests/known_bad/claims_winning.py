"""Claim stores that let the wrong one win."""

from __future__ import annotations

import asyncio
from typing import Any

from botguard.ports.events import Event
from botguard.ports.idempotency import ClaimAnswer, ClaimRequest
from botguard.testing.models.claims import CLAIMED, ClaimModel, Entry
from known_bad.register import another_thread_runs, caught_by


@caught_by(
    "test_idem_02_second_claim_of_a_key_loses_and_sees_the_first",
    "test_idem_05_a_lost_claim_changes_nothing",
    "test_idem_02_many_at_once_have_one_winner",
)
class EverybodyWins(ClaimModel):
    def may_take(self, row: Entry, request: ClaimRequest) -> bool:
        return True


@caught_by(
    "test_idem_02_many_at_once_have_one_winner",
    "test_idem_01_at_most_one_owner_at_any_time",
    "test_idem_03_what_many_do_at_once_is_as_if_done_one_by_one",
)
class ReadsThenInserts(ClaimModel):
    """SELECT, then INSERT, in two steps."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        row = self.live(request.key)
        another_thread_runs()
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
        another_thread_runs()
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
