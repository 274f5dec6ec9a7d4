"""Memory, SQLite and the local limiter decide alike, step by step, in thousands of random histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from botguard.testing import FakeClock
from conformance import bad_stores
from conformance.machines import ApprovalMachine, ClaimMachine, LimitMachine, Sqlite

#: The same histories every time, so that what was reached is a fact; `make soak` draws others.
USUAL = settings(
    max_examples=100,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SOAK = settings(USUAL, max_examples=400, stateful_step_count=50, derandomize=False, database=None)
#: It stops at the first failure, so that more chances cost nothing where there is something to find.
HUNT = settings(USUAL, max_examples=400, phases=[Phase.generate], print_blob=False, report_multiple_bugs=False)

CLAIM_STATES = (
    "claimed",
    "in flight",
    "replay",
    "settled mismatch",
    "takeover",
    "stale completion",
    "became unknown",
    "met unknown",
    "mismatch of an abandoned claim",
    "superseded",
    "late done",
    "the same claim again",
    "the same claim, settled",
    "claim at the lease's very end",
    "finish applied",
    "finish already",
    "release applied",
    "release lost",
    "extend applied",
    "extend lost",
    "purged",
)
APPROVAL_STATES = (
    "opened",
    "replaced",
    "shown open",
    "shown approved",
    "shown declined",
    "old token",
    "decide open",
    "decide approved",
    "decide expired",
    "spend True",
    "spend False",
    "spend again True",
    "spend again False",
    "at its very end",
    "purged",
)
LIMIT_STATES = (
    "granted",
    "granted by several",
    "refused by fixed-window",
    "refused by moving-window",
    "refused by sliding-window-counter",
    "refused by concurrent",
    "refused by one of several",
    "refund at once",
    "refund later",
    "refund after a lease",
    "release after a lease",
    "came back",
    "window edge",
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sqlite(clock: FakeClock) -> Iterator[Sqlite]:
    opened = Sqlite(clock)
    yield opened
    opened.close()


def machine(base: type[Any], clock: FakeClock, **attributes: Any) -> type[Any]:
    return type(base.__name__, (base,), {"clock": clock, "reached": Counter(), **attributes})


def all_reached(made: type[Any], states: tuple[str, ...], least: int) -> None:
    """Who never reached the rare states has tested nothing."""
    seldom = {state: made.reached[state] for state in states if made.reached[state] < least}
    assert seldom == {}, f"vacuous: {seldom}"


def test_claims(clock: FakeClock, sqlite: Sqlite) -> None:
    made = machine(ClaimMachine, clock, sqlite=sqlite)
    run_state_machine_as_test(made, settings=USUAL)
    all_reached(made, CLAIM_STATES, 3)


def test_approvals(clock: FakeClock, sqlite: Sqlite) -> None:
    made = machine(ApprovalMachine, clock, sqlite=sqlite)
    run_state_machine_as_test(made, settings=USUAL)
    all_reached(made, APPROVAL_STATES, 1)


def test_limits(clock: FakeClock, sqlite: Sqlite) -> None:
    made = machine(LimitMachine, clock, sqlite=sqlite)
    run_state_machine_as_test(made, settings=USUAL)
    all_reached(made, LIMIT_STATES, 3)


@pytest.mark.parametrize(
    "bad",
    [
        bad_stores.BoundaryOneTooLate,
        bad_stores.TakesOverAnyPayload,
        bad_stores.LeavesTheOldResult,
        bad_stores.CompletesTwice,
        bad_stores.ForgetsWhoseClaimItIs,
        bad_stores.FencesRestart,
        bad_stores.UnknownIsFinal,
    ],
)
def test_claims_machine_finds(bad: type[Any], clock: FakeClock) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine(ClaimMachine, clock, bad=bad), settings=HUNT)


@pytest.mark.parametrize(
    "bad",
    [
        bad_stores.TakesOneByOne,
        bad_stores.RefundForgetsOneLimit,
        bad_stores.RefundTakesTheNewest,
        bad_stores.CapsAreNumbers,
        bad_stores.SlidingWindowIsFixed,
        bad_stores.ReleaseForgetsTheCounts,
    ],
)
def test_limits_machine_finds(bad: type[Any], clock: FakeClock) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine(LimitMachine, clock, bad=bad), settings=HUNT)


@pytest.mark.parametrize(
    "bad",
    [
        bad_stores.SpentAgainAndAgain,
        bad_stores.TheLastDecisionCounts,
        bad_stores.ApprovalBoundaryOneTooLate,
        bad_stores.OldButtonsPressTheNewRequest,
        bad_stores.AsksAgainWhoSaidNo,
    ],
)
def test_approvals_machine_finds(bad: type[Any], clock: FakeClock) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine(ApprovalMachine, clock, bad=bad), settings=HUNT)


@pytest.mark.soak
@pytest.mark.parametrize("base", [ClaimMachine, ApprovalMachine, LimitMachine])
@pytest.mark.parametrize("seed", range(20))
def test_soak(base: type[Any], seed: int, clock: FakeClock, sqlite: Sqlite) -> None:
    run_state_machine_as_test(machine(base, clock, sqlite=sqlite), settings=SOAK)
