"""Claim stores that are wrong about release, purge and events."""

from __future__ import annotations

import math
import time
from typing import Any

from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.testing.models.claims import CLAIMED, FAILED, UNKNOWN, ClaimModel, Entry
from known_bad.register import caught_by


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
