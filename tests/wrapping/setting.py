"""A guard and callers for the tests of this folder."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from botguard import ALLOW_ALL, Actor, ConfigurationError, Context, Guard
from botguard.adapters.memory import MemoryStorage
from botguard.testing import FakeClock

T = TypeVar("T")

ANN = Context(org="acme", actor=Actor("ann", roles=("sales",)), channel="web")
BEN = Context(org="acme", actor=Actor("ben", roles=("sales",)), channel="telegram")
CLEO = Context(org="acme", actor=Actor("cleo"), channel="slack")


def make_guard(**options: Any) -> Guard:
    """A guard on memory whose clock moves only when somebody sleeps on it."""
    clock = options.pop("clock", None) or FakeClock()
    options.setdefault("storage", MemoryStorage(clock=clock))
    options.setdefault("access", ALLOW_ALL)
    return Guard(clock=clock, **options)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """A coroutine on a loop of its own."""
    return asyncio.run(coroutine)


class Refused:
    """``with refused("BG135", "above ours") as found:`` - a ConfigurationError of that code that tells all it has to."""

    def __init__(self, code: str, *words: str) -> None:
        self.code, self.words = code, words
        self.error: ConfigurationError | None = None

    def __enter__(self) -> Refused:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None:
            pytest.fail(f"no ConfigurationError {self.code} was raised")
        if not isinstance(error, ConfigurationError):
            return False
        self.error = error
        tells_all(error)
        assert error.code == self.code, error
        for word in self.words:
            assert word in str(error), (word, str(error))
        return True


refused = Refused


def tells_all(error: ConfigurationError) -> None:
    """A stable code, what is wrong, and what to do; all of it in the text that a developer reads."""
    assert re.fullmatch(r"BG\d{3}", error.code)
    assert error.what, error
    assert error.fix, f"{error} says no fix"
    text = str(error)
    assert text.startswith(f"[{error.code}] ")
    for part in (error.what, error.where, error.why, error.fix):
        assert part.rstrip(".") in text
    assert "Fix: " in text
