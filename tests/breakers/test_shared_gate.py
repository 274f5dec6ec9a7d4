"""The gate that follows a store: who looks, and which answers count."""

from __future__ import annotations

from typing import Any

import pytest

from botguard import Breaker
from botguard.ports.breakers import BreakerView
from botguard.stages.breaker import SharedGate
from botguard.testing import FakeClock

NEVER = BreakerView("closed")


def gate(**options: Any) -> tuple[SharedGate, FakeClock]:
    clock = FakeClock()
    return SharedGate("erp", Breaker(**{"fail_max": 1, **options}), clock), clock


def followed(*views: BreakerView, **options: Any) -> tuple[SharedGate, FakeClock]:
    made, clock = gate(**options)
    for view in views:
        assert made.follow(view, clock.monotonic()) is None
    return made, clock


def test_one_caller_looks_early_and_the_others_trust_the_last_answer() -> None:
    made, clock = followed(NEVER, refresh=1.0)
    clock.advance(0.4)
    assert made.fresh(clock.monotonic())
    assert not made.due(clock.monotonic())
    clock.advance(0.2)
    assert [made.due(clock.monotonic()) for _ in range(3)] == [True, False, False]


def test_nobody_decides_by_an_answer_that_is_older_than_the_refresh() -> None:
    made, clock = followed(NEVER, refresh=1.0)
    clock.advance(1.0)
    assert [made.due(clock.monotonic()) for _ in range(3)] == [True] * 3


def test_a_looker_that_never_comes_back_holds_up_nobody() -> None:
    made, clock = followed(NEVER, refresh=1.0)
    clock.advance(0.9)
    assert made.due(clock.monotonic())
    clock.advance(0.1)
    assert made.due(clock.monotonic())


def test_an_answer_is_as_old_as_its_question() -> None:
    made, clock = gate(refresh=1.0)
    clock.advance(5.0)
    made.follow(NEVER, clock.monotonic() - 0.9)
    clock.advance(0.2)
    assert [made.due(clock.monotonic()) for _ in range(2)] == [True, True]


def test_while_the_store_is_down_one_caller_looks_in_a_refresh() -> None:
    made, clock = followed(NEVER, refresh=1.0)
    made.leave()
    assert not made.fresh(clock.monotonic())
    clock.advance(1.0)
    assert [made.due(clock.monotonic()) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("late", [BreakerView("open", 5, 30.0), BreakerView("half-open", 6), BreakerView("closed", 4)])
def test_an_answer_that_was_overtaken_changes_nothing(late: BreakerView) -> None:
    made, clock = followed(BreakerView("open", 5, 30.0), BreakerView("closed", 7))
    made.follow(late, clock.monotonic())
    assert (made.state, made.shared_era) == ("closed", 7)
    made, clock = followed(BreakerView("open", 8, 30.0))
    assert made.follow(late, clock.monotonic()) is None
    assert (made.state, made.shared_era) == ("open", 8)


def test_a_probe_of_its_own_has_no_say_once_the_store_is_back() -> None:
    half_open = BreakerView("half-open", 6)
    made, clock = followed(half_open)
    made.leave()
    own: Any = made.enter()
    assert own[1] > 0
    made.follow(half_open, clock.monotonic())
    made.ok(own)
    assert made.state == "half-open"
    assert made.enter() is None, "the store grants the probes again"


def test_what_it_knows_better_is_to_be_told() -> None:
    made, clock = followed(BreakerView("closed", 3), reset_after=30.0)
    permit: Any = made.enter()
    assert made.fail(permit) == 3
    clock.advance(10.0)
    assert made.follow(BreakerView("closed", 3), clock.monotonic()) == pytest.approx(20.0)
    assert made.follow(NEVER, clock.monotonic()) == pytest.approx(20.0), "it has forgotten"
    assert made.follow(BreakerView("closed", 9), clock.monotonic()) is None, "others have probed meanwhile"
    assert made.state == "closed"


def test_only_the_failure_that_opens_it_is_told() -> None:
    made, _ = followed(BreakerView("closed", 3), fail_max=2)
    permits: Any = [made.enter() for _ in range(4)]
    assert [made.fail(permit) for permit in permits] == [None, 3, None, None]


def test_look_asks_nobody_and_takes_nothing() -> None:
    made, clock = followed(BreakerView("open", 5, 30.0))
    assert made.look() == pytest.approx(30.0)
    clock.advance(30.0)
    assert made.look() is None
    assert made.enter() is None
    made.leave()
    assert made.look() is None
    assert made.state == "open"
