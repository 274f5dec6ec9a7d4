"""More and longer random histories than an ordinary run plays, by other seeds."""

from __future__ import annotations

from typing import Any

import pytest

from botguard.testing import StoreSuite
from conformance import test_conformance

SUITES = [
    suite
    for suite in vars(test_conformance).values()
    if isinstance(suite, type)
    and issubclass(suite, StoreSuite)
    and hasattr(suite, "test_idem_03_random_histories_are_the_models")
    and suite.__module__ == test_conformance.__name__
]


def test_there_is_something_to_soak() -> None:
    assert len(SUITES) == 12


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_soak(suite: Any, seed: int) -> None:
    made = suite()
    made.examples, made.steps, made.seed = 400, 50, seed
    try:
        made.test_idem_03_random_histories_are_the_models()
    finally:
        made.teardown_method()
