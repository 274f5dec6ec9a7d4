"""Names in annotations: of type checkers only, of later lines, of the function or class around the handler."""

from __future__ import annotations

import gc
import inspect
import sys
import types
import weakref
from typing import Any

import pytest
from pydantic import BaseModel

from botguard import CommandRegistry, Guard, Status, guarded
from wrapping import handlers
from wrapping.handlers import Order
from wrapping.setting import ANN, make_guard, refused, run


def test_a_name_for_type_checkers_stays_a_string_and_spoils_nothing_else(handlers_guard: Guard) -> None:
    parameters = inspect.signature(handlers.for_checkers).parameters
    assert parameters["session"].annotation == "Session | None"
    assert parameters["payload"].annotation is Order
    assert handlers.for_checkers.__annotations__["at"] == handlers.dt.date | None
    assert handlers.for_checkers.__annotations__["return"] == "Session | None"
    assert handlers_guard.run("for_checkers", {"order_id": "A"}, context=ANN).ok


def test_later_models_are_found_at_the_first_call() -> None:
    registry = CommandRegistry()
    module = types.ModuleType("wrapping_written_later")
    module.__dict__["registry"] = registry
    sys.modules[module.__name__] = module
    source = """
from __future__ import annotations
from botguard import guarded

@guarded("later", registry=registry)
def handle(payload: Later, note: str = "") -> Later:
    return payload.number + 1
"""
    try:
        exec(compile(source, "later.py", "exec"), module.__dict__)
        handle = module.handle
        guard = make_guard(registry=registry)
        assert inspect.signature(handle).parameters["payload"].annotation == "Later"

        # Called too soon it says what is missing, and works once it is there.
        with guard.acting(ANN), refused("BG136", "'Later'", "handle"):
            handle({"number": "1"})
        exec("from pydantic import BaseModel\nclass Later(BaseModel):\n    number: int", module.__dict__)
        with guard.acting(ANN):
            assert handle({"number": "1"}) == 2
        assert guard.run("later", {"number": "x"}, context=ANN).status is Status.INVALID

        # From now on everybody sees the type.
        assert inspect.signature(handle).parameters["payload"].annotation is module.Later
        assert handle.__annotations__ == {"payload": module.Later, "note": str, "return": module.Later}
    finally:
        del sys.modules[module.__name__]


def test_later_models_in_the_same_module(handlers_guard: Guard) -> None:
    with handlers_guard.acting(ANN):
        assert handlers.early({"number": "7"}) == 7
        assert run(handlers.early_awaited({"number": "7"})) == 7
        assert handlers.early_lines({"lines": [{"amount": "2"}, {"amount": 3}]}) == 5
        assert handlers.half_known({"lines": [{"amount": "2"}, {"amount": 3}]}) == 5
    assert handlers_guard.run("early", {"number": "x"}, context=ANN).status is Status.INVALID
    assert handlers_guard.run("half_known", {"lines": [{"amount": "x"}]}, context=ANN).status is Status.INVALID
    assert inspect.signature(handlers.early).parameters["payload"].annotation is handlers.Later


@pytest.mark.parametrize("way", ["call", "run", "explain", "describe"])
def test_a_payload_whose_type_is_never_found(way: str) -> None:
    registry = CommandRegistry()

    @guarded("never", registry=registry)
    def never(payload: Session) -> None:  # noqa: F821 - that is the point
        raise AssertionError

    guard = make_guard(registry=registry)
    with refused("BG136", "'Session'", "TYPE_CHECKING"), guard.acting(ANN):
        if way == "call":
            never({})
        elif way == "run":
            guard.run("never", {})
        elif way == "explain":
            guard.explain("never", {})
        else:
            guard.describe()


def test_a_model_with_a_field_whose_type_is_never_found(guard: Guard) -> None:
    class Incomplete(BaseModel):
        lines: list[Nowhere]  # noqa: F821 - that is the point

    @guard.command("incomplete")
    def handle(payload: Incomplete) -> None:
        raise AssertionError

    with refused("BG136", "Incomplete", "model_rebuild"):
        guard.run("incomplete", {}, context=ANN)


def test_request_needs_no_annotation(guard: Guard) -> None:
    @guard.command("request", request=Order)
    def handle(payload: Session) -> str:  # noqa: F821 - that is the point
        return payload.order_id

    assert guard.run("request", {"order_id": "A"}, context=ANN).value == "A"


def test_models_of_the_function_around(guard: Guard) -> None:
    class Local(BaseModel):
        number: int

    @guard.command("local")
    def handle(payload: Local) -> int:
        return payload.number

    @guard.command("local.awaited")
    async def handle_later(payload: Local) -> int:
        return payload.number

    assert guard.run("local", {"number": "1"}, context=ANN).value == 1
    assert run(guard.run_async("local.awaited", {"number": "1"}, context=ANN)).value == 1
    assert guard.run("local", {"number": "x"}, context=ANN).status is Status.INVALID
    assert handle.__annotations__["payload"] is Local


def test_models_of_the_function_around_a_class(guard: Guard) -> None:
    class Local(BaseModel):
        number: int

    class Desk:
        class Own(BaseModel):
            text: str

        @guard.command("local.method")
        def handle(self, payload: Local) -> int:
            return payload.number

        @guard.command("local.static")
        @staticmethod
        def static(payload: Own) -> str:
            return payload.text

        class Inner:
            @guard.command("local.inner")
            def handle(self, payload: Local) -> int:
                return payload.number

    with guard.acting(ANN):
        assert Desk().handle({"number": "1"}) == 1
        assert Desk.static({"text": "a"}) == "a"
        assert Desk.Inner().handle({"number": "2"}) == 2


def test_guarded_sees_local_models_as_the_guard_does() -> None:
    registry = CommandRegistry()

    class Local(BaseModel):
        number: int

    @guarded("local.guarded", registry=registry)
    def handle(payload: Local) -> int:
        return payload.number

    assert make_guard(registry=registry).run("local.guarded", {"number": "1"}, context=ANN).value == 1


def test_functions_that_name_themselves_what_comes_later_or_super(guard: Guard) -> None:
    """Such closure cells are empty while the decorator runs."""

    @guard.command("itself", effects="read")
    def count(payload: Order) -> int:
        return 1 if payload.quantity == 1 else 1 + count(Order(order_id="A", quantity=payload.quantity - 1))

    @guard.command("helped")
    def helped(payload: Order) -> str:
        return helper(payload)

    def helper(payload: Order) -> str:
        return payload.order_id

    class Base:
        def handle(self, payload: Order) -> str:
            return payload.order_id

    class Derived(Base):
        @guard.command("super")
        def handle(self, payload: Order) -> str:
            return super().handle(payload) + __class__.__name__  # type: ignore[name-defined]

    with guard.acting(ANN):
        assert count(Order(order_id="A", quantity=3)) == 3
        assert helped({"order_id": "A"}) == "A"
        assert Derived().handle({"order_id": "A"}) == "ADerived"


def test_frames_are_not_kept_alive(guard: Guard) -> None:
    class Big:
        pass

    def make() -> tuple[Any, Any]:
        big = Big()

        class Local(BaseModel):
            number: int

        @guard.command("frames")
        def handle(payload: Local) -> int:
            return payload.number

        return handle, weakref.ref(big)

    handle, big = make()
    gc.collect()
    assert big() is None
    with guard.acting(ANN):
        assert handle({"number": 1}) == 1
