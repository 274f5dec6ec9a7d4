"""A guarded handler cannot be told apart: signature, name, docstring, annotations, colour, pickling, methods."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import functools
import inspect
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pytest

from botguard import Denied, Guard, InvalidPayload
from wrapping import handlers
from wrapping.handlers import BackDesk, Desk, Order
from wrapping.setting import ANN, run

ORDER = Order(order_id="A-17", quantity=2)

#: Qualified name -> the function that callers reach by it.
FUNCTIONS = {
    "plain": handlers.plain,
    "awaited": handlers.awaited,
    "many": handlers.many,
    "by_name": handlers.by_name,
    "after_star": handlers.after_star,
    "by_place": handlers.by_place,
    "no_payload": handlers.no_payload,
    "Desk.method": Desk.method,
    "Desk.awaited": Desk.awaited,
    "Desk.class_above": Desk.__dict__["class_above"].__func__,
    "Desk.class_below": Desk.__dict__["class_below"].__func__,
    "Desk.static_above": Desk.static_above,
    "Desk.static_below": Desk.static_below,
    "Desk.static_awaited": Desk.static_awaited,
    "BackDesk.overridden": BackDesk.overridden,
}
ASYNC = {"awaited", "Desk.awaited", "Desk.static_awaited"}

pytestmark = pytest.mark.usefixtures("handlers_guard")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_metadata_is_the_handlers_own(name: str) -> None:
    function = FUNCTIONS[name]
    raw = function.__wrapped__

    assert type(function) is types.FunctionType
    assert raw is not function
    assert raw.__code__.co_filename == handlers.__file__
    assert function.__name__ == name.rpartition(".")[2]
    assert function.__qualname__ == name
    assert function.__module__ == handlers.__name__
    assert function.__doc__ == raw.__doc__
    assert function.__doc__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature_has_the_same_parameters_and_real_types(name: str) -> None:
    function = FUNCTIONS[name]

    assert inspect.signature(function) == inspect.signature(function.__wrapped__, eval_str=True)
    assert list(inspect.signature(function).parameters) == list(inspect.signature(function.__wrapped__).parameters)


def test_annotations_are_types_and_no_strings() -> None:
    assert handlers.many.__annotations__ == {
        "payload": Order,
        "at": dt.date,
        "note": Annotated[str, "free text"],
        "tags": str,
        "urgent": bool,
        "more": int,
        "return": list[Any],
    }
    assert get_type_hints(handlers.plain) == {"payload": Order, "return": str}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_colour_is_kept(name: str) -> None:
    function = FUNCTIONS[name]

    assert inspect.iscoroutinefunction(function) is (name in ASYNC)
    assert not inspect.isasyncgenfunction(function)
    assert not inspect.isgeneratorfunction(function)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if not n.startswith("Desk.class")])
@pytest.mark.parametrize("protocol", [4, 5])
def test_pickles_by_reference(name: str, protocol: int) -> None:
    function = FUNCTIONS[name]

    assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.deepcopy(function) is function


def test_bound_methods_pickle_with_their_object(handlers_guard: Guard) -> None:
    method, of_class = pickle.loads(pickle.dumps((Desk("front").method, BackDesk.class_above)))

    with handlers_guard.acting(ANN):
        assert method(ORDER) == ["front", "A-17", 0]
        assert of_class(ORDER) == ["BackDesk", "A-17"]


def test_pickled_in_one_process_and_guarded_in_the_next(tmp_path: Path) -> None:
    """The other process imports the handlers, binds them to its own guard, and gets the same function."""
    (tmp_path / "function").write_bytes(pickle.dumps(handlers.plain))
    script = """
import pathlib, pickle, sys
from wrapping import handlers
from wrapping.setting import ANN, make_guard
guard = make_guard(registry=handlers.REGISTRY)
function = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
assert function is handlers.plain
with guard.acting(ANN):
    print(function({"order_id": "A-17"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "function")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(handlers.__file__).parents[1])},
    )
    assert (done.returncode, done.stdout) == (0, "A-17 x 1\n"), done.stderr


def test_functions(handlers_guard: Guard) -> None:
    with handlers_guard.acting(ANN):
        assert handlers.plain(ORDER) == "A-17 x 2"
        assert handlers.plain(payload=ORDER) == "A-17 x 2"
        assert handlers.plain({"order_id": "A-17", "quantity": "2"}) == "A-17 x 2"
        assert handlers.no_payload() == "pong"
        with pytest.raises(InvalidPayload):
            handlers.plain({"order_id": "A-17", "quantity": "many"})


def test_awaited_functions(handlers_guard: Guard) -> None:
    async def main() -> None:
        with handlers_guard.acting(ANN):
            coroutine = handlers.awaited(ORDER)
            assert inspect.iscoroutine(coroutine)
            assert await coroutine == "A-17 x 2"
            assert await asyncio.gather(handlers.awaited(ORDER), handlers.awaited(payload=ORDER)) == ["A-17 x 2"] * 2
            with pytest.raises(InvalidPayload):
                await handlers.awaited({"quantity": 1})

    run(main())


def test_methods_of_every_kind(handlers_guard: Guard) -> None:
    desk = BackDesk("back")
    with handlers_guard.acting(ANN):
        assert desk.method(ORDER, 7) == ["back", "A-17", 7]
        assert desk.method(extra=7, payload=ORDER) == ["back", "A-17", 7]
        assert Desk.method(desk, ORDER) == ["back", "A-17", 0]
        assert Desk.method(self=desk, payload=ORDER) == ["back", "A-17", 0]
        assert run(desk.awaited(ORDER)) == ["back", "A-17"]
        for method in (BackDesk.class_above, BackDesk.class_below, desk.class_above, desk.class_below):
            assert method(ORDER) == ["BackDesk", "A-17"]
        assert Desk.class_above(payload={"order_id": "A-17"}) == ["Desk", "A-17"]
        for static in (Desk.static_above, Desk.static_below, desk.static_above, desk.static_below):
            assert static(ORDER) == "A-17"
        assert run(Desk.static_awaited(ORDER)) == "A-17"
        assert desk.overridden(ORDER) == ["back", "desk", "A-17"]


def test_methods_are_guarded_too(handlers_guard: Guard) -> None:
    desk = Desk("front")
    for method in (desk.method, desk.class_above, desk.class_below, desk.static_above, desk.static_below):
        with pytest.raises(Denied):
            method(ORDER)
        with handlers_guard.acting(ANN), pytest.raises(InvalidPayload):
            method({"quantity": 1})


def test_kinds_of_methods_stay_what_they_are() -> None:
    assert isinstance(Desk.__dict__["class_above"], classmethod)
    assert isinstance(Desk.__dict__["static_above"], staticmethod)
    assert inspect.ismethod(Desk("x").method)


def test_plain_decorators_below_ours(handlers_guard: Guard) -> None:
    """Their module is not where the annotations were written."""
    before = handlers.below.__wrapped__.calls
    with handlers_guard.acting(ANN):
        assert handlers.below({"order_id": "A-17"}) == "A-17"
    assert handlers.below.__wrapped__.calls == before + 1
    assert handlers.below.__annotations__ == {"payload": Order, "return": str}
    assert handlers.below.tag == "tagged"


def test_plain_decorators_above_ours(handlers_guard: Guard) -> None:
    with handlers_guard.acting(ANN):
        assert handlers.above({"order_id": "A-17"}) == "A-17"
    assert handlers.above.calls == 1
    assert handlers_guard.run(handlers.above, {"order_id": "A-17"}, context=ANN).value == "A-17"
    assert get_type_hints(handlers.above) == {"payload": Order, "return": str}


def test_lru_cache_above_ours_asks_the_guard_once(guard: Guard) -> None:
    seen = []

    @functools.lru_cache
    @guard.command("cached", effects="read")
    def cached(payload: str) -> str:
        seen.append(payload)
        return payload.upper()

    with guard.acting(ANN):
        assert [cached("a"), cached("a"), cached("b")] == ["A", "A", "B"]
    assert seen == ["a", "b"]
    assert cached.cache_info().hits == 1


def test_partial_and_singledispatch_of_a_guarded_function(handlers_guard: Guard) -> None:
    with handlers_guard.acting(ANN):
        assert functools.partial(handlers.many, at=dt.date(2026, 1, 2))(ORDER, urgent=True) == [
            "A-17",
            dt.date(2026, 1, 2),
            "none",
            [],
            True,
            {},
        ]


def test_each_part_of_the_face_is_found_by_the_tools_that_look(handlers_guard: Guard) -> None:
    assert inspect.unwrap(handlers.plain) is handlers.plain.__wrapped__
    assert inspect.getsource(handlers.plain).startswith('@guarded("plain"')
    assert inspect.getfullargspec(handlers.many).args == ["payload", "at", "note"]
    assert inspect.getfullargspec(handlers.many).annotations["payload"] is Order
