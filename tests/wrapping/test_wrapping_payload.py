"""Which parameter is the payload, and how it gets there: in a direct call, by name, and through ``bind=``."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Annotated, Any

import pydantic
import pydantic.dataclasses
import pytest
from pydantic import BaseModel, RootModel

from botguard import Actor, Context, Denied, Guard, InvalidPayload, Status, current
from wrapping import handlers
from wrapping.handlers import Order
from wrapping.setting import ANN, CLEO, refused, run

ORDER = Order(order_id="A-17", quantity=2)
DAY = dt.date(2026, 1, 2)


class Customer(BaseModel):
    name: str


@dataclasses.dataclass
class Plain:
    order_id: str


@pydantic.dataclasses.dataclass
class Checked:
    order_id: str


# -- direct calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "seen"),
    [
        ((ORDER, DAY), {}, ["A-17", DAY, "none", [], False, {}]),
        ((ORDER,), {"at": DAY}, ["A-17", DAY, "none", [], False, {}]),
        ((), {"at": DAY, "payload": {"order_id": "B"}}, ["B", DAY, "none", [], False, {}]),
        ((ORDER, DAY, "n", "t1", "t2"), {"urgent": True, "x": 1}, ["A-17", DAY, "n", ["t1", "t2"], True, {"x": 1}]),
    ],
)
def test_what_stands_beside_the_payload_arrives_as_it_was(
    handlers_guard: Guard, args: Any, kwargs: Any, seen: Any
) -> None:
    with handlers_guard.acting(ANN):
        assert handlers.many(*args, **kwargs) == seen


def test_keyword_only_payload(handlers_guard: Guard) -> None:
    with handlers_guard.acting(ANN):
        assert handlers.by_name(1, payload={"order_id": "A"}) == [1, "A", 2]
        assert handlers.by_name(second=3, payload=ORDER, first=1) == [1, "A-17", 3]
        assert handlers.after_star(order={"order_id": "A"}) == [[], "A"]
        # More positional arguments than the payload has parameters before it must not be taken for it.
        assert handlers.after_star("x", "y", "z", order={"order_id": "A"}) == [["x", "y", "z"], "A"]


def test_payload_with_a_default(handlers_guard: Guard) -> None:
    with handlers_guard.acting(ANN):
        assert handlers.second() == ["none", "default", "Order"]
        assert handlers.second("n") == ["n", "default", "Order"]
        assert handlers.second("n", {"order_id": "A"}) == ["n", "A", "Order"]
        assert handlers.second(payload={"order_id": "A"}) == ["none", "A", "Order"]


def test_positional_only_payload(handlers_guard: Guard) -> None:
    with handlers_guard.acting(ANN):
        assert handlers.by_place() == ["none", "default", "Order"]
        assert handlers.by_place("n") == ["n", "default", "Order"]
        assert handlers.by_place("n", {"order_id": "A"}) == ["n", "A", "Order"]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((ORDER, 2), {}),
        ((ORDER,), {"payload": ORDER}),
        ((ORDER,), {"bogus": 1}),
        ((), {"order": ORDER}),
        ((), {"payload": ORDER, "bogus": 1}),
    ],
)
def test_arguments_that_cannot_be_passed_are_a_type_error_before_anything_happens(
    handlers_guard: Guard, args: Any, kwargs: Any
) -> None:
    """Inside the pipeline the mistake would cost a claim, and leave its key ``unknown`` for ever."""
    before = len(handlers_guard.storage.events)
    with handlers_guard.acting(ANN):
        with pytest.raises(TypeError, match=r"^plain\(\) "):
            handlers.plain(*args, **kwargs)
        with pytest.raises(TypeError):
            handlers.plain.__wrapped__(*args, **kwargs)
        with pytest.raises(TypeError, match=r"^awaited\(\) "):
            run(handlers.awaited(*args, **kwargs))
    assert len(handlers_guard.storage.events) == before


def test_arguments_of_a_bound_handler_are_checked_too(guard: Guard) -> None:
    ran = []

    @guard.command("bound", bind=lambda *args, **kwargs: ({}, ANN))
    def bound(ctx: dict[str, Any]) -> None:
        ran.append(ctx)

    with pytest.raises(TypeError, match="unexpected keyword argument 'bogus'"):
        bound({}, bogus=1)
    assert not ran
    assert len(guard.storage.events) == 0


def test_the_handler_gets_the_normalised_payload_in_its_own_place(guard: Guard) -> None:
    @guard.command("normalise")
    def normalise(session: object, payload: Order, *rest: int) -> list[Any]:
        return [session, payload, rest, current().payload is payload]

    session = object()
    with guard.acting(ANN):
        assert normalise(session, {"order_id": "A", "quantity": "3"}, 1, 2) == [
            session,
            Order(order_id="A", quantity=3),
            (1, 2),
            True,
        ]


# -- by name ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ("plain", "A x 3"),
        ("no_payload", "pong"),
        ("second", ["none", "A", "Order"]),
        ("by_place", ["none", "A", "Order"]),
        ("after_star", [[], "A"]),
        ("desk.static_above", "A"),
        ("desk.static_below", "A"),
        ("below", "A"),
    ],
)
def test_run_by_name_puts_the_payload_in_its_place(handlers_guard: Guard, command: str, value: Any) -> None:
    payload = None if command == "no_payload" else {"order_id": "A", "quantity": "3"}
    assert handlers_guard.run(command, payload, context=ANN).unwrap() == value


def test_run_accepts_the_function_and_the_model(handlers_guard: Guard) -> None:
    assert handlers_guard.run(handlers.plain, ORDER, context=ANN).value == "A-17 x 2"
    assert run(handlers_guard.run_async(handlers.awaited, ORDER, context=ANN)).value == "A-17 x 2"


@pytest.mark.parametrize("command", ["many", "by_name", "desk.method", "desk.class_above", "desk.class_below"])
def test_what_needs_more_than_its_payload_cannot_be_run_by_name(handlers_guard: Guard, command: str) -> None:
    with refused("BG137", command):
        handlers_guard.run(command, {"order_id": "A"}, context=ANN)


# -- which parameter it is --------------------------------------------------------------------------------------------


def test_the_model_is_the_payload_whatever_its_name_and_place(guard: Guard) -> None:
    @guard.command("model.second")
    def handle(session: object, order: Order) -> str:
        return order.order_id

    with guard.acting(ANN):
        assert handle(object(), {"order_id": "A"}) == "A"


def test_annotated_model(guard: Guard) -> None:
    """As FastAPI writes a body: it is validated, not passed on as it came."""

    @guard.command("model.annotated")
    def handle(order: Annotated[Order, "a framework's own mark"]) -> str:
        return f"{order.order_id} {order.quantity + 1}"

    assert guard.run("model.annotated", {"order_id": "A", "quantity": "3"}, context=ANN).value == "A 4"
    assert guard.run("model.annotated", {"quantity": "3"}, context=ANN).status is Status.INVALID


def test_two_models_need_request(guard: Guard) -> None:
    def handle(order: Order, customer: Annotated[Customer, "injected"], other: Customer) -> str:
        return f"{order.order_id} {customer.name}"

    def injected(order: Annotated[Order, "body"], customer: Annotated[Customer, "injected"]) -> str:
        return f"{order.order_id} {customer.name}"

    for function in (handle, injected):
        with refused("BG133", "order", "customer"):
            guard.command(f"two.{function.__name__}")(function)
        guarded = guard.command(f"two.{function.__name__}", request=Order)(function)
        extra = {"other": Customer(name="x")} if function is handle else {}
        with guard.acting(ANN):
            assert guarded(order={"order_id": "A"}, customer=Customer(name="Ann"), **extra) == "A Ann"


def test_payload_by_its_name(guard: Guard) -> None:
    @guard.command("named")
    def handle(session: object, payload: dict[str, Any], customer: Annotated[Customer, "injected"]) -> Any:
        return payload["x"]

    with guard.acting(ANN):
        assert handle(object(), {"x": 1}, Customer(name="Ann")) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: None,
        lambda *args: None,
        lambda **kwargs: None,
        lambda *args, **kwargs: None,
    ],
)
def test_no_plain_payload_is_refused(guard: Guard, function: Any) -> None:
    """An empty payload in its stead would give all calls one fingerprint."""
    with refused("BG133", "bind=lambda"):
        guard.command("unclear")(function)
    guard.command("unclear", bind=lambda *args, **kwargs: ({}, ANN))(function)


def annotated_by(annotation: Any) -> Any:
    def handle(payload):
        raise AssertionError

    handle.__annotations__["payload"] = annotation
    return handle


@pytest.mark.parametrize(
    "annotation",
    [Plain, Checked, Order | None, list[Order], dict[str, Order], Annotated[Plain, "x"], list[Checked], type[Order]],
)
def test_a_payload_that_only_looks_validated_is_refused(guard: Guard, annotation: Any) -> None:
    with refused("BG139", "payload", "request="):
        guard.command("looks")(annotated_by(annotation))
    guard.command("looks", request=Order)(annotated_by(annotation))


@pytest.mark.parametrize("annotation", [dict, dict[str, Any], Any, object, str, int | None, list[int]])
def test_plain_data_passes_within_bounds(guard: Guard, annotation: Any) -> None:
    def handle(payload):
        return payload

    handle.__annotations__["payload"] = annotation
    guard.command("plain_data")(handle)
    assert guard.run("plain_data", {"a": [1, "b"]}, context=ANN).value == {"a": [1, "b"]}
    assert guard.run("plain_data", {"a": float("nan")}, context=ANN).status is Status.INVALID
    assert guard.run("plain_data", {"a": object()}, context=ANN).status is Status.INVALID


def test_root_model_for_lists(guard: Guard) -> None:
    class Orders(RootModel[list[Order]]):
        pass

    @guard.command("lists")
    def handle(payload: Orders) -> int:
        return sum(order.quantity for order in payload.root)

    assert guard.run("lists", [{"order_id": "A", "quantity": "2"}, {"order_id": "B"}], context=ANN).value == 3
    assert guard.run("lists", [{"order_id": 1}], context=ANN).status is Status.INVALID


# -- legacy handlers that take a dict ---------------------------------------------------------------------------------


def test_a_dict_taking_handler_without_bind(guard: Guard) -> None:
    @guard.command("legacy.dict")
    def approve(ctx: dict) -> dict:
        ctx["touched"] = True
        return {"approved": ctx["order_id"]}

    with guard.acting(ANN):
        assert approve({"order_id": "A"}) == {"approved": "A"}
    assert guard.run("legacy.dict", {"order_id": "A"}, context=ANN).value == {"approved": "A"}


def test_a_dict_taking_handler_with_a_request_model_gets_a_dict(guard: Guard) -> None:
    @guard.command("legacy.request", request=Order)
    def approve(ctx: dict) -> dict:
        assert type(ctx) is dict
        return {"approved": ctx["order_id"], "quantity": ctx["quantity"]}

    with guard.acting(ANN):
        assert approve({"order_id": "A", "quantity": "3"}) == {"approved": "A", "quantity": 3}
        assert approve(ORDER) == {"approved": "A-17", "quantity": 2}
        with pytest.raises(InvalidPayload):
            approve({"quantity": 3})


def test_bind_reads_the_handlers_own_arguments_and_leaves_them_alone(guard: Guard) -> None:
    def read(ctx: dict[str, Any]) -> tuple[dict[str, Any], Context]:
        return ctx["data"], Context(org=ctx["company"], actor=Actor(ctx["user"]["id"]), channel="web")

    @guard.command("legacy.bind", bind=read, request=Order, key=lambda order: order.order_id)
    def approve(ctx: dict) -> dict:
        ctx["seen"] = current().actor.id
        return {"approved": ctx["data"]["quantity"], "by": current().actor.id, "validated": current().payload.quantity}

    ctx = {"data": {"order_id": "A", "quantity": "3"}, "company": "acme", "user": {"id": "ann"}, "db": object()}

    assert approve(ctx) == {"approved": "3", "by": "ann", "validated": 3}
    assert ctx["seen"] == "ann", "the handler works on its caller's own dict"
    with pytest.raises(InvalidPayload):
        approve({**ctx, "data": {"quantity": 3}})


def test_bind_takes_any_arguments(guard: Guard) -> None:
    @guard.command("legacy.many", bind=lambda *args, **kwargs: ({"order_id": kwargs["order"]}, args[0]), request=Order)
    def approve(who: Context, *rest: int, **options: str) -> list[Any]:
        return [who.actor.id, list(rest), options, current().payload.order_id]

    assert approve(ANN, 1, 2, order="A", note="n") == ["ann", [1, 2], {"order": "A", "note": "n"}, "A"]


def test_bind_on_methods_and_coroutines(guard: Guard) -> None:
    class Desk:
        @guard.command("bind.method", bind=lambda self, ctx: (ctx["data"], self.context))
        def approve(self, ctx: dict) -> str:
            return current().payload["id"] + current().actor.id

        @guard.command("bind.awaited", bind=lambda self, ctx: (ctx["data"], self.context))
        async def approve_later(self, ctx: dict) -> str:
            return current().payload["id"] + current().actor.id

    desk = Desk()
    desk.context = CLEO
    assert desk.approve({"data": {"id": "A"}}) == "Acleo"
    assert run(desk.approve_later({"data": {"id": "A"}})) == "Acleo"


def test_a_bound_handler_run_by_name_gets_the_payload_as_its_one_argument(guard: Guard) -> None:
    @guard.command("bind.name", bind=lambda ctx: (ctx, ANN), request=Order)
    def approve(ctx: dict) -> int:
        assert type(ctx) is dict
        return ctx["quantity"]

    @guard.command("bind.model", bind=lambda *, order: (order, ANN), request=Order)
    def by_keyword(*, order: Order) -> int:
        return order.quantity

    assert guard.run("bind.name", {"order_id": "A", "quantity": "3"}, context=ANN).unwrap() == 3
    assert guard.run("bind.model", {"order_id": "A", "quantity": "3"}, context=ANN).unwrap() == 3


@pytest.mark.parametrize(
    "said",
    [{"a": 1, "b": 2}, "ab", [{}, ANN], ({},), ({}, ANN, 3), None],
    ids=["a dict of two", "a text of two", "a list", "payload only", "three", "nothing"],
)
def test_what_bind_returns_is_checked(guard: Guard, said: Any) -> None:
    ran = []

    @guard.command("bind.wrong", bind=lambda ctx: said)
    def handle(ctx: dict[str, Any]) -> None:
        ran.append(ctx)

    with refused("BG119", "bind.wrong", "(payload, context)"):
        handle({})
    assert not ran


def test_the_context_from_bind_is_checked(guard: Guard) -> None:
    handle = guard.command("bind.who", bind=lambda ctx: ({}, {"org": "acme"}))(lambda ctx: None)
    with refused("BG123"):
        handle({})


def test_what_bind_raises_is_the_callers(guard: Guard) -> None:
    handle = guard.command("bind.raises", bind=lambda ctx: ctx["missing"])(lambda ctx: None)
    with pytest.raises(KeyError, match="missing"):
        handle({})


def test_a_bind_without_context_falls_back_to_who_acts(guard: Guard) -> None:
    handle = guard.command("bind.half", bind=lambda ctx: (ctx, None))(lambda ctx: current().actor.id)
    with pytest.raises(Denied):
        handle({})
    with guard.acting(CLEO):
        assert handle({}) == "cleo"
