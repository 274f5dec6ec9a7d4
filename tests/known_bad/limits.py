"""Limit stores that are wrong in one way each."""

from __future__ import annotations

import asyncio
from typing import Any

from botguard.ports.limits import Limit, Reservation
from botguard.testing.models.limits import LimitModel
from known_bad.register import another_thread_runs, caught_by


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
        another_thread_runs()
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
