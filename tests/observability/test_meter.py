"""The counts behind the metrics: complete, of one moment, and never falling."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from botguard.observability.meter import BUCKETS, CommandMeter
from botguard.outcome import Outcome, Reason, Status
from core.support import together


def meter_of(*commands: str) -> CommandMeter:
    meter = CommandMeter()
    for command in commands:
        meter.register(command, "orders")
    return meter


def outcome(status: Status, duration: float = 0.001, **fields: object) -> Outcome:
    made = Outcome(status)
    made.duration = duration
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_every_run_is_counted_by_its_status() -> None:
    meter = meter_of("a.b")
    for status in Status:
        for _ in range(3):
            meter.observe("a.b", outcome(status))
    assert meter.series["a.b"].read().statuses == dict.fromkeys(Status, 3)
    assert meter.series["a.b"].read().runs == 3 * len(Status)


def test_failures_are_the_automations_and_no_business_refusals() -> None:
    meter = meter_of("a.b")
    for status in Status:
        meter.observe("a.b", outcome(status, reasons=(Reason.REJECTED,) if status is Status.FAILED else ()))
    assert meter.series["a.b"].read().failures == 2  # unknown, unavailable
    meter.observe("a.b", outcome(Status.FAILED, reasons=(Reason.HANDLER_ERROR,)))
    assert meter.series["a.b"].read().failures == 3
    assert meter.totals()["a.b"]["statuses"]["failed"] == 2


def test_retries_replays_and_degraded_runs() -> None:
    meter = meter_of("a.b")
    meter.observe("a.b", outcome(Status.SUCCEEDED, attempts=3))
    meter.observe("a.b", outcome(Status.SUCCEEDED, attempts=3, replayed=True))  # the first run's attempts, told again
    meter.observe("a.b", outcome(Status.SUCCEEDED, attempts=1, degraded=True))
    numbers = meter.series["a.b"].read()
    assert (numbers.retries, numbers.replayed, numbers.degraded) == (2, 1, 1)


def test_a_duration_falls_into_the_first_bucket_that_holds_it() -> None:
    meter = meter_of("a.b")
    for bound in BUCKETS:
        meter.observe("a.b", outcome(Status.SUCCEEDED, bound))
    meter.observe("a.b", outcome(Status.FAILED, 2.0001))
    meter.observe("a.b", outcome(Status.FAILED, 1e6))
    numbers = meter.series["a.b"].read()
    expected = [1] * len(BUCKETS) + [1]
    expected[BUCKETS.index(5.0)] += 1
    assert list(numbers.buckets) == expected
    assert numbers.seconds == pytest.approx(sum(BUCKETS) + 2.0001 + 1e6)


def test_much_is_counted_as_well_as_little() -> None:
    meter = meter_of("a.b")
    for n in range(5000):
        meter.observe("a.b", outcome(Status.SUCCEEDED, n / 1000.0))
    numbers = meter.series["a.b"].read()
    assert (numbers.runs, sum(numbers.buckets)) == (5000, 5000)
    assert not any(meter.series["a.b"].fresh.values())


def test_of_one_moment_and_never_falling_while_threads_count() -> None:
    """What a reader sees agrees with itself, and no counter is ever lower than before: Prometheus would take that for a
    restart, and a rate would jump."""
    meter = meter_of("a.b")
    ends = [outcome(Status.SUCCEEDED), outcome(Status.FAILED, reasons=(Reason.REJECTED,)), outcome(Status.UNKNOWN)]
    done = threading.Event()
    seen: list[tuple[int, int]] = []

    def count() -> None:
        for n in range(30_000):
            meter.observe("a.b", ends[n % 3])

    def read() -> None:
        while not done.is_set():
            numbers = meter.series["a.b"].read()
            assert numbers.runs == sum(numbers.buckets)
            assert 0 <= numbers.failures == numbers.statuses[Status.UNKNOWN]
            seen.append((numbers.runs, numbers.failures))

    def count_all() -> None:
        together(count, count)
        done.set()

    together(count_all, read)
    assert seen == sorted(seen)
    assert all(before[1] <= after[1] for before, after in pairwise(seen))
    numbers = meter.series["a.b"].read()
    assert (numbers.runs, numbers.failures) == (60_000, 20_000)


def test_two_meters_add_up() -> None:
    one, other = meter_of("a.b"), meter_of("a.b")
    one.observe("a.b", outcome(Status.SUCCEEDED, 1.0, attempts=2))
    other.observe("a.b", outcome(Status.UNKNOWN, 3.0, degraded=True))
    both = one.series["a.b"].read().plus(other.series["a.b"].read())
    assert (both.runs, both.failures, both.seconds, both.retries, both.degraded) == (2, 1, 4.0, 1, 1)
    assert sum(both.buckets) == 2
