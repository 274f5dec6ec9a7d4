"""A guard and callers for the tests of this folder."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
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


@contextmanager
def refused(code: str, *words: str) -> Iterator[pytest.ExceptionInfo[ConfigurationError]]:
    """The block must raise a ConfigurationError of that code, which tells all it has to, these words among it."""
    with pytest.raises(ConfigurationError) as found:
        yield found
    error = found.value
    assert error.code == code, error
    tells_all(error)
    for word in words:
        assert word in str(error), (word, str(error))


def tells_all(error: ConfigurationError) -> None:
    """A stable code, what is wrong, and what to do; all of it in the text that a developer reads."""
    assert re.fullmatch(r"BG\d{3}", error.code)
    assert error.what, error
    assert error.fix, f"{error} says no fix"
    text = str(error)
    assert text.startswith(f"[{error.code}] ")
    for part in (error.what, error.where, error.why, error.fix):
        assert part.rstrip(".")[1:] in text  # the reason begins a sentence there
    assert "Fix: " in text
