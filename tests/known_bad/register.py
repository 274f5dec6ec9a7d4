"""The table of known-bad stores: each with the tests that must fail on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["KNOWN_BAD", "another_thread_runs", "caught_by"]

#: Store -> the names of the tests that it was made for, the first of them above all.
KNOWN_BAD: dict[type[Any], tuple[str, ...]] = {}


def caught_by(*tests: str) -> Callable[[type[Any]], type[Any]]:
    """Enter a store into the table."""

    def enter(store: type[Any]) -> type[Any]:
        KNOWN_BAD[store] = tests
        return store

    return enter


_here = threading.Barrier(2)


def another_thread_runs() -> None:
    """Until another thread stands at the same place, so that the race is no matter of luck; a moment at most."""
    if threading.active_count() == 1:
        return
    try:
        _here.wait(0.005)
    except threading.BrokenBarrierError:
        _here.reset()
