"""Refunds, releases and slots."""

from __future__ import annotations

from botguard.testing.suites.checks import equal, must
from botguard.testing.suites.limits.words import ALL, RATES, LimitWords

__all__ = ["Returning"]


class Returning(LimitWords):
    """What is given back."""

    def test_refund_takes_a_reservation_back_entirely(self) -> None:
        """REFUND: a refund takes a reservation back from every limit."""
        limits = tuple(self.limit(strategy, 2) for strategy in ALL)
        for _ in range(10):
            reserved = self.reserve(*limits)
            must(reserved.granted, "REFUND", "what was refunded before is free again, in every limit")
            self.refund(reserved, *limits)
        for limit in limits:
            equal(self.room(limit), 2, "REFUND", f"room of {limit.name} after ten calls that were refunded")

    def test_refund_takes_one_call_back_and_not_another(self) -> None:
        """REFUND: a refund gives one call back, not two."""
        for strategy in ALL:
            limit = self.limit(strategy, 3)
            taken = self.fill(limit)
            self.refund(taken[1], limit)
            must(self.reserve(limit).granted, "REFUND", f"one call of {strategy} was given back")
            must(not self.reserve(limit).granted, "REFUND", f"one call of {strategy}, not two")

    def test_refund_after_time_has_passed(self) -> None:
        """REFUND: a call from 20 s before is given back too."""
        for strategy in ALL:
            limit = self.limit(strategy, 2, 60.0, tag=f"later-{strategy}")
            self._to_window_start(limit)
            self.reserve(limit)
            reserved = self.reserve(limit)
            self.elapse(20.0)
            must(not self.reserve(limit).granted, "RATE-01", f"{strategy} is full")
            self.refund(reserved, limit)
            must(self.reserve(limit).granted, "REFUND", f"a call of {strategy} from 20 s before was given back")
            must(not self.reserve(limit).granted, "REFUND", f"and no more than that of {strategy}")

    def test_refund_of_an_old_window_gives_the_new_one_nothing(self) -> None:
        """REFUND: a refund of an old window gives the new one nothing."""
        for strategy in RATES:
            limit = self.limit(strategy, 2, 60.0, tag=f"old-{strategy}")
            self._to_window_start(limit)
            old = self.reserve(limit)
            self.elapse(180.0)
            self.fill(limit)
            self.refund(old, limit)
            must(
                not self.reserve(limit).granted,
                "REFUND",
                f"{strategy}: that call's window is over, and this one is full",
            )

    def test_release_keeps_the_counts(self) -> None:
        """PORT: a finished call still counts."""
        for strategy in RATES:
            limit = self.limit(strategy, 2)
            for _ in range(2):
                self.release(self.reserve(limit), limit)
            must(not self.reserve(limit).granted, "PORT", f"a finished call still counts in {strategy}")

    def test_release_frees_the_slots(self) -> None:
        """CAP: a finished call's slot is free."""
        cap, rate = self.limit("concurrent", 1), self.limit("fixed-window", 5)
        for n in range(5):
            reserved = self.reserve(rate, cap)
            must(reserved.granted, "CAP", f"call {n}: the one before has ended")
            must(not self.reserve(cap).granted, "RATE-01", "one at a time")
            self.release(reserved, rate, cap)
        refused = self.reserve(rate, cap)
        must(not refused.granted, "PORT", "five calls still count")
        equal(refused.limit, rate, "PORT", "the limit that refuses")

    def test_cap_slots_are_leases(self) -> None:
        """CAP: a lost call's slot comes back when its lease ends, and not before."""
        cap = self.limit("concurrent", 2, 30.0)
        self.reserve(cap)
        self.elapse(10.0)
        self.reserve(cap)
        self.elapse(20.0 - self.hair)
        must(not self.reserve(cap).granted, "CAP", "both slots are held")
        self.elapse(self.hair)
        must(self.reserve(cap).granted, "CAP", "the first lost call's slot comes back when its lease ends")
        must(not self.reserve(cap).granted, "CAP", "the second one's does not yet")

    def test_cap_a_late_release_frees_nobody_elses_slot(self) -> None:
        """CAP: a late release frees nobody else's slot."""
        cap = self.limit("concurrent", 1, 30.0)
        lost = self.reserve(cap)
        self.elapse(30.0)
        must(self.reserve(cap).granted, "CAP", "the lost call's lease is over")
        self.release(lost, cap)
        self.refund(lost, cap)
        must(not self.reserve(cap).granted, "CAP", "the slot belongs to another call by now")

    def test_cap_released_twice_frees_one_slot(self) -> None:
        """CAP: released twice, one slot is free."""
        cap = self.limit("concurrent", 2)
        first = self.reserve(cap)
        self.reserve(cap)
        self.release(first, cap)
        self.release(first, cap)
        must(self.reserve(cap).granted, "CAP", "one slot was freed")
        must(not self.reserve(cap).granted, "CAP", "and not two")

    def test_cap_says_when_to_ask_again(self) -> None:
        """RATE-04: a full cap says when to ask again, within the lease."""
        cap = self.limit("concurrent", 1, 30.0)
        self.reserve(cap)
        self.elapse(29.5)
        refused = self.reserve(cap)
        must(0 < refused.retry_after <= 30.0, "RATE-04", f"a wait within the lease, not {refused.retry_after}")
        self.elapse(max(refused.retry_after, 0.5))
        must(self.reserve(cap).granted, "CAP", "the lease is over")
