"""How many are admitted, and whose calls count together."""

from __future__ import annotations

from botguard.ports.limits import Reservation
from botguard.testing.suites.checks import HARD_STRINGS, equal, must
from botguard.testing.suites.limits.words import ALL, LimitWords

__all__ = ["Amounts"]


class Amounts(LimitWords):
    """What counts, and where."""

    def test_colour_is_declared_and_true(self) -> None:
        """COLOUR: the store says sync, async or any, and answers as it says."""
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        must(
            isinstance(self.reserve(self.limit("fixed-window", 1)), Reservation),
            "PORT",
            "reserve answers a Reservation",
        )

    def test_no_limits_at_all(self) -> None:
        """RATE-02: a call without limits is granted, and can be refunded and released."""
        reserved = self.reserve()
        must(reserved.granted, "RATE-02", "nothing limits the call")
        self.release(reserved)
        self.refund(reserved)

    def test_rate_01_admits_as_many_as_declared(self) -> None:
        """RATE-01: as many are admitted as declared, by every strategy."""
        for strategy in ALL:
            for amount in (1, 2, 7):
                limit = self.limit(strategy, amount)
                equal(len(self.fill(limit)), amount, "RATE-01", f"calls that {amount} {strategy} admits at once")

    def test_rate_03_a_refusal_consumes_nothing(self) -> None:
        """RATE-03: twenty refusals have taken nothing."""
        for strategy in ALL:
            limit = self.limit(strategy, 3)
            taken = self.fill(limit)
            for _ in range(20):
                must(not self.reserve(limit).granted, "RATE-01", f"{strategy} is full")
            self.refund(taken[0], limit)
            must(self.reserve(limit).granted, "RATE-03", f"twenty refusals have taken nothing of {strategy}")
            must(not self.reserve(limit).granted, "RATE-01", f"{strategy} is full again")

    def test_rate_03_refusals_do_not_lengthen_the_wait(self) -> None:
        """RATE-03: refusals do not lengthen the wait."""
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
        """IDEM-09: buckets that differ in one byte are counted apart."""
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
        """IDEM-09: tags that differ in one byte are counted apart."""
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
        """IDEM-09: tag t|a with bucket b is not tag t with bucket a|b."""
        for strategy in ALL:
            one, other = self.limit(strategy, 1, tag=f"{strategy}|a"), self.limit(strategy, 1, tag=strategy)
            must(self.reserve(one, bucket="b").granted, "RATE-02", "the first call")
            must(
                self.reserve(other, bucket="a|b").granted,
                "IDEM-09",
                "tag t|a, bucket b is not tag t, bucket a|b",
            )

    def test_rate_06_all_or_nothing_whichever_is_full(self) -> None:
        """RATE-06: where one limit is full, the others have counted nothing."""
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
        """RATE-06: a granted call counts in each of its limits."""
        limits = tuple(self.limit(strategy, 3) for strategy in ALL)
        must(self.reserve(*limits).granted, "RATE-02", "the first call")
        for limit in limits:
            equal(self.room(limit), 2, "RATE-06", f"room of {limit.name} after one call in all of them")

    def test_rate_06_buckets_go_with_their_limits(self) -> None:
        """RATE-06: each limit counts in the bucket at its place."""
        user, org = self.limit("fixed-window", 2, tag="user"), self.limit("fixed-window", 3, tag="org")
        store = self.store
        answer = None
        for n, (bucket, granted) in enumerate((("u1", True), ("u1", True), ("u1", False), ("u2", True), ("u3", False))):
            answer = self.ask(store.reserve, (user, org), (bucket, "acme"), f"t{n}")
            equal(answer.granted, granted, "RATE-06", f"call {n}, by {bucket}: 2 per user, 3 per org")
        must(answer is not None and answer.limit == org, "PORT", "it names the limit that refused the last one")

    def test_test_counts_nothing(self) -> None:
        """RATE-03: test counts nothing."""
        for strategy in ALL:
            limit = self.limit(strategy, 2)
            for _ in range(20):
                must(self.preview(limit).granted, "RATE-02", f"{strategy} is empty")
            equal(self.room(limit), 2, "RATE-03", f"room of {strategy} after twenty tests")

    def test_test_says_what_reserve_says(self) -> None:
        """PORT: test says what reserve would say."""
        for strategy in ALL:
            one, other = self.limit(strategy, 1), self.limit(strategy, 2)
            for _ in range(3):
                tested, reserved = self.preview(one, other), self.reserve(one, other)
                equal(tested.granted, reserved.granted, "PORT", f"{strategy}: test and reserve agree")
                equal(tested.limit, reserved.limit, "PORT", f"{strategy}: on the limit that refuses")
                must(
                    abs(tested.retry_after - reserved.retry_after) <= self.hair,
                    "PORT",
                    f"{strategy}: and on the wait",
                )
