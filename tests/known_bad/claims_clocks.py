"""Claim stores that are wrong about clocks, lost answers and other handles; and others' stores with two handles."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, RowState
from botguard.testing.models.claims import CLAIMED, ClaimModel, Entry
from known_bad.good import SharedApprovals, SharedClaims, SharedEvents, SharedLimits
from known_bad.register import another_thread_runs, caught_by


@caught_by("test_time_passes_when_the_suite_says_so")
class HasAClockOfItsOwn(ClaimModel):
    """It was given a clock, and does not look at it."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.time = lambda: 1_000.0


@caught_by("test_idem_10_leases_hold_while_the_local_clocks_are_changed")
class NaiveDatetimes(ClaimModel):
    """Ends are stored as local time without a zone: one hour of the year is there twice."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        answer = super().claim(request, event)
        self.rows[request.key].until = self.stored(self.rows[request.key].until)
        return answer

    def finish(self, key: str, *args: Any) -> Ack:
        answer = super().finish(key, *args)
        if key in self.rows:
            self.rows[key].until = self.stored(self.rows[key].until)
        return answer

    @staticmethod
    def stored(until: float) -> float:
        if until > 1e11:
            return until
        return datetime.fromisoformat(datetime.fromtimestamp(until).isoformat()).timestamp()  # noqa: DTZ006 - the fault


@caught_by("test_idem_04_fences_rise_though_the_clock_is_set_back")
class FencesAreTimes(ClaimModel):
    """The fence is the time in microseconds, and a little more for those who come at once."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        counts, time = self.fences, self.time
        self.fences = (int(time() * 1e6) + n for n in counts)  # type: ignore[assignment]


@caught_by("test_idem_11_a_clock_that_is_set_back_revives_nobody")
class TheLeaseSaysWhoOwns(ClaimModel):
    """Former owners are kept beside the row, and own it while their lease runs by the clock."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.former: dict[tuple[str, str], float] = {}

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        answer = super().claim(request, event)
        if answer.won:
            self.former[request.key, request.claim_id] = self.time() + request.lease
        return answer

    def mine(self, key: str, claim_id: str) -> Entry | None:
        row = self.rows.get(key)
        runs = self.time() < self.former.get((key, claim_id), 0.0)
        taken = row is not None and row.state is CLAIMED and row.request.claim_id != claim_id
        return row if runs and taken and self.time() < row.until - row.request.lease else super().mine(key, claim_id)


@caught_by("test_idem_17_a_claim_whose_answer_was_lost_is_asked_again")
class TellsEveryTime(ClaimModel):
    """The same claim again is a win again, and one more event."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        row = self.live(request.key)
        again = row is not None and row.request.claim_id == request.claim_id
        answer = super().claim(request, event)
        if again and answer.won:
            self.store(event)
        return answer


@caught_by("test_idem_17_a_finish_whose_answer_was_lost_is_said_again")
class SwallowsTheConflict(ClaimModel):
    """It is so already, and it says that it was done: ON CONFLICT DO NOTHING, and nobody counts rows."""

    def finish(self, *args: Any) -> Ack:
        answer = super().finish(*args)
        return Ack.APPLIED if answer is Ack.ALREADY else answer


@caught_by("test_idem_17_release_and_extend_said_again")
class ExtendsOnce(ClaimModel):
    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        row = self.rows.get(key)
        if row is not None and row.until == self.time() + lease:
            return Ack.LOST  # no row was changed, so it must be somebody else's
        return super().extend(key, claim_id, lease)


@caught_by("test_idem_12_another_handle_sees_what_was_answered")
class CommitsLate(SharedClaims):
    """It answers, and commits with the next call."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.committed: dict[str, Entry] = {}

    def finish(self, *args: Any) -> Ack:
        self.committed = copy.deepcopy(self.rows)
        return super().finish(*args)

    def handle(self) -> Any:
        other = super().handle()
        other.rows = self.committed
        return other


@caught_by("test_idem_02_two_handles_have_one_winner")
class LocksItsOwnHandle(SharedClaims):
    """Reads, then inserts, under a lock that the other process does not have."""

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        with self.lock:
            row = self.live(request.key)
            another_thread_runs()
            if row is not None:
                return super().claim(request, event)
            fence = next(self.fences)
            self.rows[request.key] = Entry(CLAIMED, request, fence, self.time() + request.lease)
            return ClaimAnswer(True, fence, None)

    def handle(self) -> Any:
        other = super().handle()
        other.lock = type(self)(self).lock
        return other


class KeepsToItself:
    """Each handle has rows of its own."""

    def handle(self) -> Any:
        return type(self)(self)


@caught_by("test_another_handle_sees_what_was_appended")
class EventsOfOneProcess(KeepsToItself, SharedEvents):
    time = staticmethod(float)


@caught_by("test_another_handle_sees_requests_and_decisions")
class RequestsOfOneProcess(KeepsToItself, SharedApprovals):
    pass


@caught_by("test_another_handle_counts_the_same_calls")
class CountersOfOneProcess(KeepsToItself, SharedLimits):
    pass


@caught_by("test_idem_05_only_the_owner_of_a_running_claim_extends")
class ExtendsTheSettled(ClaimModel):
    """A heartbeat that comes late brings a finished run back to life."""

    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        row = self.mine(key, claim_id)
        if row is None:
            return Ack.LOST
        row.state, row.until = RowState.CLAIMED, self.time() + lease
        return Ack.APPLIED
