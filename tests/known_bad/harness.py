"""Runs single tests of a suite on single stores, and says what came of it."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botguard.testing import ApprovalStoreSuite, EventStoreSuite, IdempotencyStoreSuite, LimitStoreSuite

SUITES: dict[str, type[Any]] = {
    "open": ApprovalStoreSuite,
    "append": EventStoreSuite,
    "claim": IdempotencyStoreSuite,
    "reserve": LimitStoreSuite,
}
#: Tests in which chance has a part: who runs when. They are given some chances, and count for no exact result.
_CHANCE = ("many", "at_once", "while_others", "at_any_time", "two_handles", "rivals")
HISTORIES = "test_idem_03_random_histories_are_the_models"


def suite_of(store: type[Any]) -> type[Any]:
    model = getattr(store, "model", store)
    return next(suite for method, suite in SUITES.items() if hasattr(model, method))


def checks_of(suite: type[Any]) -> list[str]:
    return [name for name in dir(suite) if name.startswith("test_")]


def is_by_chance(test: str) -> bool:
    return any(word in test for word in _CHANCE)


def on(store: type[Any]) -> Any:
    """An instance of the suite, as pytest would make one for each test."""
    claimed = {"events"} if suite_of(store) is IdempotencyStoreSuite else set()
    claimed |= {"reopen"} if hasattr(store, "handle") else set()
    claimed |= {"outage"} if hasattr(store, "cut") else set()

    class Here(suite_of(store)):  # type: ignore[misc]
        capabilities = frozenset(claimed)
        threads = 8
        patience = 2.0

        def make_store(self) -> Any:
            return store(self.clock)

        def events_of(self, store: Any) -> Any:
            return getattr(store, "trail", store)

        def reopen(self, store: Any) -> Any:
            return store.handle()

        @contextmanager
        def outage(self, store: Any) -> Iterator[None]:
            store.cut = True
            yield
            store.cut = False

    return Here()


def verdict(store: type[Any], test: str, **attributes: Any) -> str:
    """'' if the test passes, else what it says."""
    suite = on(store)
    vars(suite).update(attributes)
    try:
        getattr(suite, test)()
    except unittest.SkipTest as skipped:
        return f"skipped: {skipped}"
    except Exception as error:  # a bad store may break in any way
        return f"{type(error).__name__}: {error}"
    finally:
        suite.teardown_method()
    return ""


def failing(store: type[Any]) -> set[str]:
    """The tests that fail for sure: without those by chance, and without the random histories."""
    tests = [test for test in checks_of(suite_of(store)) if not is_by_chance(test) and test != HISTORIES]
    return {test for test in tests if (said := verdict(store, test)) and not said.startswith("skipped")}
