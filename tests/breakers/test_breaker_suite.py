"""The stores against the suite of their port, and the suite against stores that are known to be bad."""

from __future__ import annotations

import unittest
from typing import Any

import pytest

from adapters.redis.test_redis_conformance import OnRedis
from botguard.adapters.memory import MemoryBreakers
from botguard.adapters.redis import RedisBreakers
from botguard.testing import BreakerStoreSuite
from botguard.testing.promises import PROMISES
from breakers.bad_breakers import KNOWN_BAD


class TestMemoryBreakers(BreakerStoreSuite):
    capabilities = frozenset({"reopen"})

    def make_store(self) -> Any:
        return MemoryBreakers(self.clock)

    def reopen(self, store: Any) -> Any:
        return store


class TestRedisBreakers(OnRedis, BreakerStoreSuite):
    kind = RedisBreakers


class TestAsyncRedisBreakers(OnRedis, BreakerStoreSuite):
    kind, colour = RedisBreakers, "async"


CHECKS = [name for name in dir(BreakerStoreSuite) if name.startswith("test_")]
#: What only a store that waits, has two handles or can be cut off is asked.
ELSEWHERE = {
    "test_idem_18_a_probe_that_is_cancelled_can_be_given_back",
    "test_idem_18_an_opening_that_is_cancelled_is_done_or_not",
    "test_idem_19_a_breaker_that_is_opened_while_the_store_is_cut_off",
    "test_break_02_many_who_open_at_once_open_it_once",
}


def verdict(store: type[Any], test: str) -> str:
    """'' if the test passes, else what it says."""

    class Here(TestMemoryBreakers):
        threads = 8
        patience = 5.0

        def make_store(self) -> Any:
            return store(self.clock)

    suite = Here()
    try:
        getattr(suite, test)()
    except unittest.SkipTest as skipped:
        return f"skipped: {skipped}"
    except Exception as error:  # a bad store may break in any way
        return f"{type(error).__name__}: {error}"
    finally:
        suite.teardown_method()
    return ""


#: How often a race is begun until it must have shown; nearly every time it shows in the first few.
CHANCES = 500


@pytest.mark.parametrize(
    ("store", "test"), [(store, test) for store, tests in KNOWN_BAD.items() for test in tests], ids=str
)
def test_a_bad_store_fails_the_test_that_was_made_for_it(store: type[Any], test: str) -> None:
    for _ in range(CHANCES if "many" in test else 1):
        said = verdict(store, test)
        assert not said.startswith("skipped")
        if said:
            return
    pytest.fail("the store passed")


def test_every_test_has_caught_something() -> None:
    assert {test for tests in KNOWN_BAD.values() for test in tests} | ELSEWHERE >= set(CHECKS)


def test_every_test_names_its_promise() -> None:
    for name in CHECKS:
        promise, colon, sentence = (getattr(BreakerStoreSuite, name).__doc__ or "").partition(": ")
        assert colon, name
        assert sentence, name
        assert promise in PROMISES, name
