"""A suite that passes everything is worth nothing: every known-bad store is caught by the tests that are named for it."""

from __future__ import annotations

import unittest
from typing import Any

import pytest

from botguard.testing import (
    ApprovalStoreSuite,
    EventStoreSuite,
    FakeClock,
    IdempotencyStoreSuite,
    LimitStoreSuite,
)
from conformance.bad_stores import EventModel, known_bad
from conformance.models import ApprovalModel, ClaimModel, LimitModel

_SUITES: dict[type[Any], type[Any]] = {
    ClaimModel: IdempotencyStoreSuite,
    EventModel: EventStoreSuite,
    ApprovalModel: ApprovalStoreSuite,
    LimitModel: LimitStoreSuite,
}
#: Tests of what plain models cannot get wrong: several handles on the same rows, and what is shown by other tests too.
_NEEDS_HANDLES = "another_handle", "two_handles"


def suite_of(store: type[Any]) -> type[Any]:
    return next(suite for model, suite in _SUITES.items() if issubclass(store, model))


def on(store: type[Any]) -> Any:
    """An instance of the suite, as pytest would make one for each test."""

    class Here(suite_of(store)):  # type: ignore[misc]
        capabilities = frozenset({"events"})
        threads = 8

        def make_store(self) -> Any:
            self.clock = FakeClock()
            return store(self.clock)

        def advance(self, seconds: float) -> None:
            self.clock.advance(seconds)

        def events_of(self, store: Any) -> Any:
            return store

    return Here()


def checks_of(suite: type[Any]) -> list[str]:
    return [name for name in dir(suite) if name.startswith("test_")]


def verdict(store: type[Any], name: str) -> str:
    """'' if the test passes, else what it says."""
    suite = on(store)
    try:
        getattr(suite, name)()
    except unittest.SkipTest as skipped:
        return f"skipped: {skipped}"
    except Exception as error:  # a bad store may break in any way
        return f"{type(error).__name__}: {error}"
    finally:
        suite.teardown_method()
    return ""


@pytest.mark.parametrize("model", list(_SUITES), ids=lambda model: model.__name__)
def test_the_models_pass(model: type[Any]) -> None:
    said = {name: verdict(model, name) for name in checks_of(_SUITES[model])}
    assert {name: text for name, text in said.items() if text and not text.startswith("skipped")} == {}


@pytest.mark.parametrize(("store", "name"), [(store, name) for store, names in known_bad for name in names])
def test_known_bad(store: type[Any], name: str) -> None:
    # What is wrong by chance (a race) gets a few chances to show.
    said = next((text for _ in range(20) if (text := verdict(store, name))), "")
    assert said, f"{store.__name__} passed {name}"
    assert not said.startswith("skipped")


def test_there_are_enough() -> None:
    assert len(known_bad) >= 12
    assert {suite_of(store) for store, _ in known_bad} == set(_SUITES.values())


@pytest.mark.parametrize("suite", list(_SUITES.values()), ids=lambda suite: suite.__name__)
def test_every_test_of_a_suite_has_caught_something(suite: type[Any]) -> None:
    caught = {name for store, names in known_bad if suite_of(store) is suite for name in names}
    idle = [n for n in checks_of(suite) if n not in caught and not any(word in n for word in _NEEDS_HANDLES)]
    assert idle == [], "tests that no known-bad store fails; add one, or drop the test"


def test_names_of_tests_exist() -> None:
    for store, names in known_bad:
        assert set(names) <= set(checks_of(suite_of(store))), store


def test_the_message_names_the_promise() -> None:
    said = verdict(
        next(store for store, _ in known_bad if store.__name__ == "ReleaseDeletesDone"),
        "test_idem_13_only_a_claimed_row_is_released",
    )
    assert said.startswith("AssertionError: IDEM-13: ")


@pytest.mark.parametrize("suite", list(_SUITES.values()), ids=lambda suite: suite.__name__)
def test_a_suite_without_a_store_says_what_to_write(suite: type[Any]) -> None:
    with pytest.raises(NotImplementedError, match=r"must define make_store\(self\)"):
        _ = suite().store


def test_unittest_runs_a_suite_too() -> None:
    class Case(type(on(ClaimModel)), unittest.TestCase):  # type: ignore[misc]
        def make_store(self) -> Any:
            self.clock = FakeClock()
            return ClaimModel(self.clock)

    result = unittest.TestResult()
    unittest.TestSuite(
        [Case("test_idem_02_claim_of_an_absent_key_wins"), Case("test_idem_12_another_handle_sees_what_was_answered")]
    ).run(result)
    assert (result.testsRun, result.errors, result.failures, len(result.skipped)) == (2, [], [], 1)
