"""The suite of :class:`botguard.ports.limits.LimitStore`.

RATE-01 never more than declared, 02 no false denial, 03 a refusal consumes nothing, 04 ``retry_after`` is exact, 05 atomic,
06 all or nothing; REFUND: a reservation is taken back exactly; CAP: slots are leases.
"""

from __future__ import annotations

from typing import Any

from botguard.ports.limits import Limit, Reservation
from botguard.testing.suites.base import HARD_STRINGS, StoreSuite, equal, must, settled

__all__ = ["LimitStoreSuite"]

RATES = ("fixed-window", "moving-window", "sliding-window-counter")
ALL = (*RATES, "concurrent")


class LimitStoreSuite(StoreSuite):
    """Holds a limit store to its port.

    Attributes:
        slack: seconds by which ``retry_after`` may be longer than needed; it is never shorter.
    """

    slack: float = 0.005
    _tokens = 0

    # -- small words ----------------------------------------------------------------------

    @staticmethod
    def limit(strategy: str, amount: int, window: float = 60.0, tag: str = "") -> Limit:
        """A limit of its own, unless two are given one tag."""
        name = tag or f"{strategy}-{amount}-{window}"
        return Limit(name, amount, window, strategy, "user", name)

    def reserve(self, *limits: Limit, bucket: str = "b") -> Reservation:
        """Reserve one call in the same bucket of each limit."""
        self._tokens += 1
        answer: Reservation = self.ask(self.store.reserve, limits, (bucket,) * len(limits), f"token-{self._tokens}")
        self._sound(answer, limits)
        return answer

    @staticmethod
    def _sound(answer: Reservation, limits: tuple[Limit, ...]) -> None:
        if answer.granted:
            must(
                answer.limit is None and answer.retry_after == 0.0,
                "PORT",
                "a granted call names no limit and no wait",
            )
        else:
            must(answer.limit in limits, "PORT", "a refusal names the limit that refused")
            must(
                answer.retry_after > 0.0,
                "RATE-04",
                f"a refusal says when to come back, not {answer.retry_after}",
            )

    def preview(self, *limits: Limit, bucket: str = "b") -> Reservation:
        """What reserve would say."""
        answer: Reservation = self.ask(self.store.test, limits, (bucket,) * len(limits))
        self._sound(answer, limits)
        return answer

    def refund(self, reservation: Reservation, *limits: Limit, bucket: str = "b") -> None:
        """Take a reservation back."""
        self.ask(self.store.refund, limits, (bucket,) * len(limits), reservation)

    def release(self, reservation: Reservation, *limits: Limit, bucket: str = "b") -> None:
        """Free its slots."""
        self.ask(self.store.release, limits, (bucket,) * len(limits), reservation)

    def room(self, limit: Limit, *, bucket: str = "b", most: int = 50) -> int:
        """How many calls a limit still admits; takes nothing for good."""
        taken: list[Reservation] = []
        while len(taken) < most and (reserved := self.reserve(limit, bucket=bucket)).granted:
            taken.append(reserved)
        for reserved in taken:
            self.refund(reserved, limit, bucket=bucket)
        return len(taken)

    def fill(self, limit: Limit, *, bucket: str = "b") -> list[Reservation]:
        """Use a limit up."""
        taken = []
        while (reserved := self.reserve(limit, bucket=bucket)).granted:
            taken.append(reserved)
            must(len(taken) <= limit.amount, "RATE-01", f"more than {limit.amount} calls were admitted")
        return taken

    # -- amounts --------------------------------------------------------------------------

    def test_colour_is_declared_and_true(self) -> None:
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        must(
            isinstance(self.reserve(self.limit("fixed-window", 1)), Reservation),
            "PORT",
            "reserve answers a Reservation",
        )

    def test_no_limits_at_all(self) -> None:
        reserved = self.reserve()
        must(reserved.granted, "RATE-02", "nothing limits the call")
        self.release(reserved)
        self.refund(reserved)

    def test_rate_01_admits_as_many_as_declared(self) -> None:
        for strategy in ALL:
            for amount in (1, 2, 7):
                limit = self.limit(strategy, amount)
                equal(len(self.fill(limit)), amount, "RATE-01", f"calls that {amount} {strategy} admits at once")

    def test_rate_03_a_refusal_consumes_nothing(self) -> None:
        for strategy in ALL:
            limit = self.limit(strategy, 3)
            taken = self.fill(limit)
            for _ in range(20):
                must(not self.reserve(limit).granted, "RATE-01", f"{strategy} is full")
            self.refund(taken[0], limit)
            must(self.reserve(limit).granted, "RATE-03", f"twenty refusals have taken nothing of {strategy}")
            must(not self.reserve(limit).granted, "RATE-01", f"{strategy} is full again")

    def test_rate_03_refusals_do_not_lengthen_the_wait(self) -> None:
        for strategy in ALL:
            limit = self.limit(strategy, 2, tag=f"wait-{strategy}")
            self.fill(limit)
            first = self.reserve(limit).retry_after
            for _ in range(20):
                self.reserve(limit)
            must(
                self.reserve(limit).retry_after <= first,
                "RATE-03",
                f"refusals lengthened the wait of {strategy}",
            )

    def test_buckets_are_apart(self) -> None:
        for strategy in ALL:
            limit = self.limit(strategy, 1)
            for bucket in HARD_STRINGS:
                must(
                    self.reserve(limit, bucket=bucket).granted,
                    "IDEM-09",
                    f"nobody called in bucket {bucket!r} yet",
                )
            for bucket in HARD_STRINGS:
                must(not self.reserve(limit, bucket=bucket).granted, "RATE-01", f"bucket {bucket!r} is full")

    def test_tags_are_apart(self) -> None:
        for strategy in ALL:
            tags = [strategy + end for end in ("", " ", "|", "-", "%", "s", "S")]
            limits = [self.limit(strategy, 1, tag=tag) for tag in (*tags, strategy.upper(), strategy[:-1])]
            for limit in limits:
                must(
                    self.reserve(limit).granted,
                    "IDEM-09",
                    f"nobody called under tag {limit.tag!r} of {strategy} yet",
                )

    def test_tag_and_bucket_cannot_run_into_each_other(self) -> None:
        for strategy in ALL:
            one, other = self.limit(strategy, 1, tag=f"{strategy}|a"), self.limit(strategy, 1, tag=strategy)
            must(self.reserve(one, bucket="b").granted, "RATE-02", "the first call")
            must(
                self.reserve(other, bucket="a|b").granted,
                "IDEM-09",
                "tag t|a, bucket b is not tag t, bucket a|b",
            )

    # -- windows --------------------------------------------------------------------------

    def test_rate_04_retry_after_is_exact(self) -> None:
        for strategy in RATES:
            for amount, window, gap in ((1, 60.0, 0.0), (3, 60.0, 7.0), (5, 8.0, 1.25), (2, 3600.0, 900.0)):
                limit = self.limit(strategy, amount, window, tag=f"{strategy}-{amount}-{window}-{gap}")
                # What came long before the full moment must not matter, and what came shortly before must.
                for _ in range(3):
                    self._fill_slowly(limit, gap)
                    wait = self.reserve(limit).retry_after
                    self._exact(limit, wait, f"{amount} per {window} s {strategy}, filled every {gap} s")

    def _fill_slowly(self, limit: Limit, gap: float) -> None:
        for _ in range(10 * limit.amount):
            if not self.reserve(limit).granted:
                return
            self.elapse(gap)
        raise AssertionError(f"RATE-01: {limit.name} never was full")

    def _exact(self, limit: Limit, wait: float, what: str) -> None:
        must(wait <= 2 * limit.window + self.slack, "RATE-04", f"{what}: {wait} s is longer than two windows")
        early = min(wait, 2 * self.slack + self.tick)
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

    def test_rate_02_after_two_idle_windows_everything_is_free(self) -> None:
        for strategy in RATES:
            limit = self.limit(strategy, 4)
            self.fill(limit)
            self.elapse(120.0 + self.tick)
            equal(self.room(limit), 4, "RATE-02", f"calls that an idle {strategy} admits")

    def test_rate_02_a_lone_caller_within_the_rate_is_never_refused(self) -> None:
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
        limit = self.limit("sliding-window-counter", 8, 64.0)
        self._to_window_start(limit)
        equal(len(self.fill(limit)), 8, "RATE-01", "calls in the first window")
        self.elapse(64.0 + 16.0)
        equal(self.room(limit), 2, "RATE-01", "a quarter into the next window, 6 of the 8 still weigh")
        self.elapse(32.0)
        equal(self.room(limit), 6, "RATE-01", "three quarters into it, 2 of the 8 still weigh")

    def _to_window_start(self, limit: Limit) -> None:
        """Go to where a window of the store begins: a fixed window of the same length ends there."""
        probe = self.limit("fixed-window", 1, limit.window, tag="probe")
        self.reserve(probe)
        self.elapse(self.reserve(probe).retry_after)

    def test_rate_01_fixed_window_is_full_until_its_end(self) -> None:
        limit = self.limit("fixed-window", 2, 60.0)
        self._to_window_start(limit)
        self.elapse(20.0)
        self.fill(limit)
        wait = self.reserve(limit).retry_after
        must(wait <= 60.0 + self.slack, "RATE-04", f"a window of 60 s ends within 60 s, not in {wait} s")
        self.elapse(wait)
        equal(self.room(limit), 2, "RATE-01", "calls that the next window admits")

    # -- several limits -------------------------------------------------------------------

    def test_rate_06_all_or_nothing_whichever_is_full(self) -> None:
        for strategy in ALL:
            for place in (0, 1, 2):
                limits = [self.limit(strategy, 5, tag=f"{strategy}-{place}-{n}") for n in range(3)]
                full = limits[place] = self.limit(strategy, 1, tag=f"{strategy}-{place}-full")
                must(self.reserve(full).granted, "RATE-02", "the first call")
                for _ in range(3):
                    refused = self.reserve(*limits)
                    must(not refused.granted, "RATE-01", f"limit {place} is full")
                    equal(refused.limit, full, "PORT", "the limit that refused")
                for n, limit in enumerate(limits):
                    if n != place:
                        equal(
                            self.room(limit),
                            5,
                            "RATE-06",
                            f"{strategy}: room of limit {n} after refusals by limit {place}",
                        )

    def test_rate_06_a_granted_call_counts_in_each(self) -> None:
        limits = tuple(self.limit(strategy, 3) for strategy in ALL)
        must(self.reserve(*limits).granted, "RATE-02", "the first call")
        for limit in limits:
            equal(self.room(limit), 2, "RATE-06", f"room of {limit.name} after one call in all of them")

    def test_rate_06_buckets_go_with_their_limits(self) -> None:
        user, org = self.limit("fixed-window", 2, tag="user"), self.limit("fixed-window", 3, tag="org")
        store = self.store
        answer = None
        for n, (bucket, granted) in enumerate((("u1", True), ("u1", True), ("u1", False), ("u2", True), ("u3", False))):
            answer = self.ask(store.reserve, (user, org), (bucket, "acme"), f"t{n}")
            equal(answer.granted, granted, "RATE-06", f"call {n}, by {bucket}: 2 per user, 3 per org")
        must(answer is not None and answer.limit == org, "PORT", "it names the limit that refused the last one")

    def test_rate_04_with_several_full_the_longest_wait_is_named(self) -> None:
        short, long = self.limit("fixed-window", 1, 10.0), self.limit("moving-window", 1, 100.0)
        must(self.reserve(short, long).granted, "RATE-02", "the first call")
        refused = self.reserve(short, long)
        equal(refused.limit, long, "RATE-04", "the limit that holds longest")
        self.elapse(refused.retry_after)
        must(self.reserve(short, long).granted, "RATE-04", "after the wait that was named, nothing refuses")

    # -- test -----------------------------------------------------------------------------

    def test_test_counts_nothing(self) -> None:
        for strategy in ALL:
            limit = self.limit(strategy, 2)
            for _ in range(20):
                must(self.preview(limit).granted, "RATE-02", f"{strategy} is empty")
            equal(self.room(limit), 2, "RATE-03", f"room of {strategy} after twenty tests")

    def test_test_says_what_reserve_says(self) -> None:
        for strategy in ALL:
            one, other = self.limit(strategy, 1), self.limit(strategy, 2)
            for _ in range(3):
                tested, reserved = self.preview(one, other), self.reserve(one, other)
                equal(tested.granted, reserved.granted, "PORT", f"{strategy}: test and reserve agree")
                equal(tested.limit, reserved.limit, "PORT", f"{strategy}: on the limit that refuses")
                must(
                    abs(tested.retry_after - reserved.retry_after) <= self.tick,
                    "PORT",
                    f"{strategy}: and on the wait",
                )

    # -- refund and release ---------------------------------------------------------------

    def test_refund_takes_a_reservation_back_entirely(self) -> None:
        limits = tuple(self.limit(strategy, 2) for strategy in ALL)
        for _ in range(10):
            reserved = self.reserve(*limits)
            must(reserved.granted, "REFUND", "what was refunded before is free again, in every limit")
            self.refund(reserved, *limits)
        for limit in limits:
            equal(self.room(limit), 2, "REFUND", f"room of {limit.name} after ten calls that were refunded")

    def test_refund_takes_one_call_back_and_not_another(self) -> None:
        for strategy in ALL:
            limit = self.limit(strategy, 3)
            taken = self.fill(limit)
            self.refund(taken[1], limit)
            must(self.reserve(limit).granted, "REFUND", f"one call of {strategy} was given back")
            must(not self.reserve(limit).granted, "REFUND", f"one call of {strategy}, not two")

    def test_refund_after_time_has_passed(self) -> None:
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
        for strategy in RATES:
            limit = self.limit(strategy, 2)
            for _ in range(2):
                self.release(self.reserve(limit), limit)
            must(not self.reserve(limit).granted, "PORT", f"a finished call still counts in {strategy}")

    def test_release_frees_the_slots(self) -> None:
        cap, rate = self.limit("concurrent", 1), self.limit("fixed-window", 5)
        for n in range(5):
            reserved = self.reserve(rate, cap)
            must(reserved.granted, "CAP", f"call {n}: the one before has ended")
            must(not self.reserve(cap).granted, "RATE-01", "one at a time")
            self.release(reserved, rate, cap)
        refused = self.reserve(rate, cap)
        must(not refused.granted, "PORT", "five calls still count")
        equal(refused.limit, rate, "PORT", "the limit that refuses")

    # -- caps -----------------------------------------------------------------------------

    def test_cap_slots_are_leases(self) -> None:
        cap = self.limit("concurrent", 2, 30.0)
        self.reserve(cap)
        self.elapse(10.0)
        self.reserve(cap)
        self.elapse(20.0 - self.tick)
        must(not self.reserve(cap).granted, "CAP", "both slots are held")
        self.elapse(self.tick)
        must(self.reserve(cap).granted, "CAP", "the first lost call's slot comes back when its lease ends")
        must(not self.reserve(cap).granted, "CAP", "the second one's does not yet")

    def test_cap_a_late_release_frees_nobody_elses_slot(self) -> None:
        cap = self.limit("concurrent", 1, 30.0)
        lost = self.reserve(cap)
        self.elapse(30.0)
        must(self.reserve(cap).granted, "CAP", "the lost call's lease is over")
        self.release(lost, cap)
        self.refund(lost, cap)
        must(not self.reserve(cap).granted, "CAP", "the slot belongs to another call by now")

    def test_cap_released_twice_frees_one_slot(self) -> None:
        cap = self.limit("concurrent", 2)
        first = self.reserve(cap)
        self.reserve(cap)
        self.release(first, cap)
        self.release(first, cap)
        must(self.reserve(cap).granted, "CAP", "one slot was freed")
        must(not self.reserve(cap).granted, "CAP", "and not two")

    def test_cap_says_when_to_ask_again(self) -> None:
        cap = self.limit("concurrent", 1, 30.0)
        self.reserve(cap)
        self.elapse(29.5)
        refused = self.reserve(cap)
        must(0 < refused.retry_after <= 30.0, "RATE-04", f"a wait within the lease, not {refused.retry_after}")
        self.elapse(max(refused.retry_after, 0.5))
        must(self.reserve(cap).granted, "CAP", "the lease is over")

    # -- many at once ---------------------------------------------------------------------

    def _together(self, work: Any, count: int) -> list[Any]:
        def actor(n: int) -> Any:
            async def run() -> Any:
                return await work(n)

            return run

        return self.together(self.store, [actor(n) for n in range(count)])

    def test_rate_05_many_at_once_are_admitted_as_declared(self) -> None:
        store = self.store
        for strategy in ALL:
            for turn in range(3):
                limits = (
                    self.limit(strategy, 100, tag=f"w{turn}{strategy}"),
                    self.limit(strategy, 5, tag=f"n{turn}{strategy}"),
                )

                async def caller(n: int, limits: Any = limits) -> bool:
                    answer = await settled(store.reserve(limits, ("b", "b"), f"many-{n}"))
                    return bool(answer.granted)

                admitted = sum(self._together(caller, self.threads))
                equal(admitted, 5, "RATE-05", f"of {self.threads} at once, admitted by 5 {strategy}")
                equal(
                    self.room(limits[0], most=100),
                    95,
                    "RATE-06",
                    f"room of the wide {strategy} limit beside it",
                )

    def test_rate_05_many_refunds_at_once_are_exact(self) -> None:
        store = self.store
        limits = tuple(self.limit(strategy, 3) for strategy in ALL)

        async def caller(n: int) -> int:
            granted = 0
            for turn in range(10):
                reserved = await settled(store.reserve(limits, ("b",) * 4, f"many-{n}-{turn}"))
                if reserved.granted:
                    granted += 1
                    await settled(store.refund(limits, ("b",) * 4, reserved))
            return granted

        granted = sum(self._together(caller, min(8, self.threads)))
        must(granted >= 10, "RATE-02", "refunded calls make room for others")
        for limit in limits:
            equal(self.room(limit), 3, "REFUND", f"room of {limit.name} after all were refunded")

    # -- other handles --------------------------------------------------------------------

    def test_another_handle_counts_the_same_calls(self) -> None:
        self.needs("reopen")
        limits = tuple(self.limit(strategy, 2) for strategy in ALL)
        reserved = self.reserve(*limits)
        other = self.reopen(self.store)
        try:
            for limit in limits:
                answer = self.ask(other.reserve, (limit,), ("b",), f"other-{limit.name}")
                must(answer.granted, "RATE-05", f"{limit.name} has room for a second call")
                answer = self.ask(other.reserve, (limit,), ("b",), f"third-{limit.name}")
                must(not answer.granted, "RATE-05", f"{limit.name} is full, whoever filled it")
            self.ask(other.refund, limits, ("b",) * 4, reserved)
            for limit in limits:
                must(self.reserve(limit).granted, "REFUND", f"{limit.name}: another handle can refund")
        finally:
            self.close_store(other)
