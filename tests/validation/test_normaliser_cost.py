"""What reading a field costs, counted in lines of Python that run: the same on every machine, however busy.

``python -m benchmarks --only normalisers`` prints the microseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from benchmarks.case_normalisers import HOSTILE, normalisers

NORMALISERS = normalisers()
#: Lines for hostile input. One for each of its 16,000 signs would be beyond it; the e-mail library takes most of it.
BOUND = 10_000


def lines_of(read: Callable[[Any], object], text: str) -> int:
    """How many lines of Python a reading runs, in our code and in the libraries that it asks."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read(text)
    except ValidationError:
        pass
    finally:
        sys.settrace(before)
    return count


def reader(name: str) -> Callable[[Any], object]:
    annotation, sent, meant = NORMALISERS[name]
    read: Callable[[Any], object] = TypeAdapter(annotation).validate_python
    assert read(sent) == meant
    for text in HOSTILE:  # what is loaded or compiled when it is first needed is not counted
        lines_of(read, text)
    return read


@pytest.mark.parametrize("name", NORMALISERS)
def test_ordinary_input_is_read_in_few_steps(name: str) -> None:
    read = reader(name)
    assert 0 < lines_of(read, NORMALISERS[name][1]) <= 800  # most of a telephone number's are phonenumbers' own


@pytest.mark.parametrize("name", NORMALISERS)
def test_hostile_input_is_bounded_however_long(name: str) -> None:
    read = reader(name)
    for text in HOSTILE:
        for times in (1, 4, 100):
            assert lines_of(read, text * times) <= BOUND, (text[:20], times)


def test_the_count_sees_a_loop_over_what_was_sent() -> None:
    def careless(text: str) -> str:
        kept = ""
        for sign in text:
            kept += sign
        return kept

    assert lines_of(careless, HOSTILE[0]) > BOUND
