"""A suite that passes everything is worth nothing: every known-bad store is caught by the tests that are named for it."""

from __future__ import annotations

import re
import unittest
from typing import Any

import pytest

from botguard.ports.idempotency import Ack, RowState
from botguard.testing.models import ApprovalModel, ClaimModel, EventModel, LimitModel
from botguard.testing.promises import PROMISES
from known_bad import (
    approvals,
    claims_leases,
    claims_purging,
    claims_settling,
    claims_winning,
    events,
    good,
    limits,
)
from known_bad.harness import HISTORIES, SUITES, checks_of, failing, is_by_chance, on, suite_of, verdict
from known_bad.table import KNOWN_BAD, PAGE, fault, read

MODELS = (ClaimModel, EventModel, ApprovalModel, LimitModel)
GOOD = (*MODELS, *(getattr(good, name) for name in good.__all__))
TABLE = read()


def named(store: type[Any]) -> str:
    return store.__name__


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("store", KNOWN_BAD, ids=named)
def test_exactly_these_tests_fail(store: type[Any]) -> None:
    meant, others = TABLE[store.__name__]
    assert meant == set(KNOWN_BAD[store])
    assert failing(store) == {test for test in meant if not is_by_chance(test)} | others, (
        f"{store.__name__}; if that is right, write the table anew: PYTHONPATH=tests python -m known_bad"
    )


@pytest.mark.parametrize(
    ("store", "test"),
    [(store, test) for store, tests in KNOWN_BAD.items() for test in tests if is_by_chance(test)],
    ids=lambda value: value if isinstance(value, str) else named(value),
)
def test_what_is_wrong_by_chance_shows_within_a_few_chances(store: type[Any], test: str) -> None:
    said = next((said for _ in range(20) if (said := verdict(store, test))), "")
    assert said, f"{store.__name__} passed {test}"
    assert not said.startswith("skipped")


def test_every_store_is_on_the_page_with_its_fault() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.count("|") == 5]
    for store in KNOWN_BAD:
        assert any(row.startswith(f"| {store.__name__} | {fault(store)} |") for row in rows), store
    assert len(TABLE) == len(KNOWN_BAD)


def test_there_are_enough_for_each_port() -> None:
    for suite in SUITES.values():
        assert sum(suite_of(store) is suite for store in KNOWN_BAD) >= 10


@pytest.mark.parametrize("suite", SUITES.values(), ids=named)
def test_every_test_of_a_suite_has_caught_something(suite: type[Any]) -> None:
    caught = {test for store, tests in KNOWN_BAD.items() if suite_of(store) is suite for test in tests}
    assert caught <= set(checks_of(suite))
    idle = set(checks_of(suite)) - caught - {HISTORIES}
    assert idle == set(), "tests that no known-bad store fails; add one, or drop the test"


# ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("store", GOOD, ids=named)
def test_good_stores_pass(store: type[Any]) -> None:
    tests = [test for test in checks_of(suite_of(store)) if test != HISTORIES]
    said = {test: verdict(store, test) for test in tests}
    assert {test: text for test, text in said.items() if text and not text.startswith("skipped")} == {}


@pytest.mark.parametrize("store", [*MODELS, good.AsyncClaims], ids=named)
def test_models_pass_random_histories(store: type[Any]) -> None:
    assert verdict(store, HISTORIES) == ""


# ── random histories ─────────────────────────────────────────────────────────────────────────────────────────────────

#: Stores that differ from their models in one rare situation each.
IN_HISTORIES = [
    claims_leases.BoundaryOneTooLate,
    claims_leases.TakesOverAnyPayload,
    claims_leases.FencesRestart,
    claims_leases.TakeoverKeepsTheFence,
    claims_leases.IgnoresTakeover,
    claims_leases.AnybodyExtends,
    claims_settling.CompletesTwice,
    claims_settling.ForgetsWhoseClaimItIs,
    claims_settling.LeavesTheOldResult,
    claims_settling.UnknownIsFinal,
    claims_purging.PurgesTheUnknown,
    claims_purging.EventsOfLosers,
    approvals.SpentAgainAndAgain,
    approvals.TheLastDecisionCounts,
    approvals.ApprovalBoundaryOneTooLate,
    approvals.OldButtonsPressTheNewRequest,
    approvals.AsksAgainWhoSaidNo,
    limits.TakesOneByOne,
    limits.RefundForgetsOneLimit,
    limits.RefundTakesTheNewest,
    limits.CapsAreNumbers,
    limits.SlidingWindowIsFixed,
    limits.ReleaseForgetsTheCounts,
    events.SortsByTime,
    events.ShowsEveryOrg,
]


@pytest.mark.parametrize("store", IN_HISTORIES, ids=named)
def test_histories_find_it_and_tell_the_shortest(store: type[Any]) -> None:
    said = verdict(store, HISTORIES)
    error, promise, _ = said.split(": ", 2)
    assert error == "AssertionError"
    assert promise in PROMISES
    assert "The shortest history that shows it:\n   1. " in said
    assert said.count("\n") <= 10, said


def test_a_history_is_told_in_the_words_of_the_port() -> None:
    lines = verdict(claims_winning.EverybodyWins, HISTORIES).splitlines()
    assert lines[0].startswith(
        "AssertionError: IDEM-01: the key is claimed, and its lease runs, so the claim must not win"
    )
    assert lines[1] == "The shortest history that shows it:"
    assert re.fullmatch(r"   1\. claim k\d as c\d+ for 10 s.* +-> won, fence 1", lines[2])
    assert re.fullmatch(r"   2\. claim k\d as c\d+ for 10 s.* +-> won, fence 2", lines[3])
    assert lines[4] == "Here plays the same histories every time: run this test again to see it again."
    assert len(lines) == 5


def test_an_async_store_is_told_of_as_well() -> None:
    class ForgetsToRelease(good.AsyncClaims):
        def apply(self, name: str, *args: Any, **kwargs: Any) -> Any:
            return Ack.APPLIED if name == "release" else super().apply(name, *args, **kwargs)

    said = verdict(ForgetsToRelease, HISTORIES)
    assert re.search(r"\d\. release k\d as \w+ +-> applied", said), said


def test_an_error_of_the_driver_belongs_to_the_history() -> None:
    class ColumnTooShort(ClaimModel):
        def finish(self, key: str, claim_id: str, state: RowState, result: bytes | None, *rest: Any) -> Ack:
            if result == b"late":
                raise OSError("value too long for type character varying(3)")
            return super().finish(key, claim_id, state, result, *rest)

    said = verdict(ColumnTooShort, HISTORIES)
    assert said.startswith(
        "AssertionError: PORT: finish raised OSError: value too long for type character varying(3)\n"
    )
    assert "result b'late', keep 20 s -> OSError: value too long" in said


def test_a_history_that_goes_well_the_second_time_is_called_a_race() -> None:
    class WrongOnce(ClaimModel):
        times = 0

        def release(self, key: str, claim_id: str) -> Ack:
            answer = super().release(key, claim_id)
            type(self).times += answer is Ack.APPLIED
            return Ack.LOST if self.times == 5 and answer is Ack.APPLIED else answer

    said = verdict(WrongOnce, HISTORIES)
    assert "Played once more, the same history went well: a race, or rows that outlive fresh_store.\n" in said


def test_the_same_seed_plays_the_same_histories() -> None:
    said = [verdict(claims_leases.BoundaryOneTooLate, HISTORIES, seed=seed) for seed in (7, 7)]
    assert said[0] == said[1]
    assert said[0].endswith("Set seed = 7 on Here to see it again.")


def test_a_run_that_came_to_nothing_is_vacuous() -> None:
    said = verdict(ClaimModel, HISTORIES, examples=1, steps=2)
    assert said.startswith("Vacuous: IDEM-03: VACUOUS, nothing was shown: 1 histories of 2 steps never came to: ")
    assert "takeover" in said


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("store", MODELS, ids=named)
def test_soak_models(store: type[Any], seed: int) -> None:
    assert verdict(store, HISTORIES, examples=400, steps=50, seed=seed) == ""


# ── what a failure says ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_message_names_the_promise() -> None:
    said = verdict(claims_purging.ReleaseDeletesDone, "test_idem_13_only_a_claimed_row_is_released")
    assert said.startswith("AssertionError: IDEM-13: ")


@pytest.mark.parametrize("suite", SUITES.values(), ids=named)
def test_every_test_names_its_promise(suite: type[Any]) -> None:
    for name in checks_of(suite):
        promise, colon, sentence = (getattr(suite, name).__doc__ or "").partition(": ")
        assert colon, name
        assert promise in PROMISES, name
        assert sentence.endswith("."), name


def test_promises_that_are_raised_are_listed() -> None:
    for store, tests in KNOWN_BAD.items():
        said = "" if is_by_chance(tests[0]) else verdict(store, tests[0])
        if said.startswith("AssertionError: "):
            assert said.split(": ")[1] in PROMISES, (store, said)


@pytest.mark.parametrize("suite", SUITES.values(), ids=named)
def test_a_suite_without_a_store_says_what_to_write(suite: type[Any]) -> None:
    with pytest.raises(NotImplementedError, match=r"must define make_store\(self\)"):
        _ = suite().store


def test_unittest_runs_a_suite_too() -> None:
    class Case(type(on(ClaimModel)), unittest.TestCase):  # type: ignore[misc]
        def make_store(self) -> Any:
            return ClaimModel(self.clock)

    result = unittest.TestResult()
    unittest.TestSuite(
        [Case("test_idem_02_claim_of_an_absent_key_wins"), Case("test_idem_12_another_handle_sees_what_was_answered")]
    ).run(result)
    assert (result.testsRun, result.errors, result.failures, len(result.skipped)) == (2, [], [], 1)


def test_a_store_that_forgets_to_await_is_told_apart_from_one_that_waits() -> None:
    said = verdict(limits.LimitsInDisguise, "test_colour_is_declared_and_true")
    assert said == "AssertionError: COLOUR: reserve returned an awaitable, but the store's colour is 'any'"
