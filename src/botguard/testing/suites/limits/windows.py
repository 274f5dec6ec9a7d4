"""Windows and waits, at their boundaries."""

from __future__ import annotations

from botguard.ports.limits import Limit
from botguard.testing.suites.checks import equal, must
from botguard.testing.suites.limits.words import RATES, LimitWords

__all__ = ["Windows"]


class Windows(LimitWords):
    """When room comes back."""

    def _fill_slowly(self, limit: Limit, gap: float) -> None:
        for _ in range(10 * limit.amount):
            if not self.reserve(limit).granted:
                return
            self.elapse(gap)
        raise AssertionError(f"RATE-01: {limit.name} never was full")

    def _exact(self, limit: Limit, wait: float, what: str) -> None:
        must(wait <= 2 * limit.window + self.slack, "RATE-04", f"{what}: {wait} s is longer than two windows")
        early = min(wait, 2 * self.slack + self.hair)
        if wait > early:
            self.elapse(wait - early)
            must(
                not self.reserve(limit).granted,
                "RATE-04",
                f"{what}: admitted {early} s before the {wait} s were over",
            )
            self.elapse(early)
        else:
            self.elapse(wait)
        must(self.reserve(limit).granted, "RATE-04", f"{what}: refused after the {wait} s that it asked for")

    def test_rate_04_retry_after_is_exact(self) -> None:
        """RATE-04: refused just before the wait is over, admitted at its end."""
        for strategy in RATES:
            for amount, window, gap in ((1, 60.0, 0.0), (3, 60.0, 7.0), (5, 8.0, 1.25), (2, 3600.0, 900.0)):
                limit = self.limit(strategy, amount, window, tag=f"{strategy}-{amount}-{window}-{gap}")
                # What came long before the full moment must not matter, and what came shortly before must.
                for _ in range(3):
                    self._fill_slowly(limit, gap)
                    wait = self.reserve(limit).retry_after
                    self._exact(limit, wait, f"{amount} per {window} s {strategy}, filled every {gap} s")

    def test_rate_02_after_two_idle_windows_everything_is_free(self) -> None:
        """RATE-02: after two idle windows everything is free."""
        for strategy in RATES:
            limit = self.limit(strategy, 4)
            self.fill(limit)
            self.elapse(120.0 + self.hair)
            equal(self.room(limit), 4, "RATE-02", f"calls that an idle {strategy} admits")

    def test_rate_02_a_lone_caller_within_the_rate_is_never_refused(self) -> None:
        """RATE-02: a lone caller within the rate is never refused."""
        # Half the rate: sliding-window-counter takes the calls of the window before as spread evenly over it.
        for strategy in RATES:
            limit = self.limit(strategy, 4, 60.0, tag=f"lone-{strategy}")
            for n in range(20):
                must(
                    self.reserve(limit).granted,
                    "RATE-02",
                    f"call {n} of one every 30 s, where {strategy} admits 4 a minute",
                )
                self.elapse(30.0)

    def test_rate_01_moving_window_holds_over_every_window(self) -> None:
        """RATE-01: a moving window holds over every window, wherever it begins."""
        limit = self.limit("moving-window", 3, 10.0)
        admitted: list[float] = []
        now = 0.0
        steps = (0, 3, 3, 3, 0.5, 0.5, 3, 0.25, 4, 1, 1, 1, 5, 2.5, 2.5, 0, 10, 0, 0, 0)
        for step in steps:
            now += step
            self.elapse(step)
            recent = [at for at in admitted if at > now - 10.0]
            granted = self.reserve(limit).granted
            equal(
                granted,
                len(recent) < 3,
                "RATE-01",
                f"a call at {now} s, with calls at {recent} in the 10 s before it",
            )
            if granted:
                admitted.append(now)

    def test_rate_01_sliding_window_counter_weighs_the_window_before(self) -> None:
        """RATE-01: a sliding counter weighs the window before by what is left of it."""
        self.needs_a_still_clock()
        limit = self.limit("sliding-window-counter", 8, 64.0)
        self._to_window_start(limit)
        equal(len(self.fill(limit)), 8, "RATE-01", "calls in the first window")
        self.elapse(64.0 + 16.0)
        equal(self.room(limit), 2, "RATE-01", "a quarter into the next window, 6 of the 8 still weigh")
        self.elapse(32.0)
        equal(self.room(limit), 6, "RATE-01", "three quarters into it, 2 of the 8 still weigh")

    def test_rate_01_fixed_window_is_full_until_its_end(self) -> None:
        """RATE-01: a fixed window is full until its end, and free then."""
        limit = self.limit("fixed-window", 2, 60.0)
        self._to_window_start(limit)
        self.elapse(20.0)
        self.fill(limit)
        wait = self.reserve(limit).retry_after
        must(wait <= 60.0 + self.slack, "RATE-04", f"a window of 60 s ends within 60 s, not in {wait} s")
        self.elapse(wait)
        equal(self.room(limit), 2, "RATE-01", "calls that the next window admits")

    def test_rate_04_with_several_full_the_longest_wait_is_named(self) -> None:
        """RATE-04: where several are full, the longest wait is named."""
        short, long = self.limit("fixed-window", 1, 10.0), self.limit("moving-window", 1, 100.0)
        must(self.reserve(short, long).granted, "RATE-02", "the first call")
        refused = self.reserve(short, long)
        equal(refused.limit, long, "RATE-04", "the limit that holds longest")
        self.elapse(refused.retry_after)
        must(self.reserve(short, long).granted, "RATE-04", "after the wait that was named, nothing refuses")
