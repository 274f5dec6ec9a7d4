"""Celery tasks above ours; and ours above what a framework has made already, which is refused."""

from __future__ import annotations

import functools
from typing import Any

import celery
import click
import pytest
from pydantic import BaseModel

from botguard import Actor, CommandRegistry, Context, Denied, Guard, InvalidPayload, Rejected, current, guarded
from wrapping.setting import ANN, make_guard, refused

REGISTRY = CommandRegistry()
app = celery.Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
app.conf.task_always_eager = True
app.conf.task_store_eager_result = False

ran: list[Any] = []


class Order(BaseModel):
    sku: str
    quantity: int


class Receipt(BaseModel):
    total: int


def of_task() -> Context | None:
    """A worker's calls come from the system, one intent for each task id."""
    task = celery.current_task
    if not task:
        return None
    return Context(org="acme", actor=Actor("worker", kind="system"), channel="scheduler", delivery=task.request.id)


@pytest.fixture(scope="module", autouse=True)
def guard() -> Guard:
    return make_guard(registry=REGISTRY, context=of_task)


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


@app.task
@guarded("task.create", registry=REGISTRY)
def create(payload: Order, note: str = "none") -> list[Any]:
    """Create an order."""
    ran.append(payload)
    return [payload.sku, payload.quantity, note, current().actor.id, current().context.delivery]


@app.task(bind=True, max_retries=2)
@guarded("task.bound", registry=REGISTRY, effects="idempotent")
def bound(self: celery.Task, payload: Order) -> list[Any]:
    """Gets the task itself; asks the broker for another try."""
    ran.append(self.request.retries)
    if self.request.retries < payload.quantity:
        raise self.retry(countdown=0)
    return [payload.sku, self.name, self.request.retries]


@app.task(pydantic=True)
@guarded("task.pydantic", registry=REGISTRY)
def typed(payload: Order) -> Receipt:
    """Celery reads and writes the models."""
    assert isinstance(payload, Order)
    return Receipt(total=payload.quantity)


@app.task(throws=(Rejected,))
@guarded("task.rejects", registry=REGISTRY)
def rejects(payload: Order) -> None:
    """A business refusal."""
    raise Rejected("Out of stock.", "out_of_stock")


@app.task(bind=True)
@guarded("task.method", registry=REGISTRY, bind=lambda task, *args, **kwargs: ({"args": list(args), **kwargs}, None))
def legacy(self: celery.Task, *args: int, **kwargs: int) -> list[Any]:
    """Any arguments."""
    return [current().payload, self.name]


ORDER = {"sku": "tea", "quantity": "4"}


def test_celery_runs_a_guarded_task() -> None:
    result = create.apply(args=[ORDER], kwargs={"note": "n"}, task_id="t1")
    assert result.get() == ["tea", 4, "n", "worker", "t1"]
    assert create.delay(ORDER).get()[:3] == ["tea", 4, "none"]
    assert ran == [Order(sku="tea", quantity=4)] * 2


def test_celery_delivers_twice_and_it_happens_once() -> None:
    answers = [create.apply(args=[ORDER], task_id="t2").get() for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(ran) == 1


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((ORDER, "n", 3), {}), ((ORDER,), {"bogus": 1}), ((), {"order": ORDER})]
)
def test_celery_checks_arguments_when_a_task_is_published(guard: Guard, args: Any, kwargs: Any) -> None:
    """Not when a worker runs it: by then nobody is there to be told."""
    events = len(guard.storage.events)
    with pytest.raises(TypeError):
        create.delay(*args, **kwargs)
    with pytest.raises(TypeError):
        bound.delay(*args, **kwargs)
    assert ran == []
    assert len(guard.storage.events) == events


def test_celery_bound_tasks_and_their_retries() -> None:
    """Celery's own Retry passes through the guard unchanged, and the next delivery runs again."""
    assert bound.apply(args=[{"sku": "tea", "quantity": 2}], task_id="t3").get() == ["tea", bound.name, 2]
    assert ran == [0, 1, 2]


def test_celery_pydantic_tasks() -> None:
    assert typed.delay({"sku": "tea", "quantity": 4}).get() == {"total": 4}


def test_celery_gets_the_handlers_own_error() -> None:
    result = rejects.apply(args=[ORDER], task_id="t4")
    assert isinstance(result.result, Rejected)
    assert result.result.code == "out_of_stock"
    assert isinstance(create.apply(args=[{"sku": "tea"}]).result, InvalidPayload)


def test_celery_any_arguments_with_bind() -> None:
    assert legacy.apply(args=[1, 2], kwargs={"x": 3}).get() == [{"args": [1, 2], "x": 3}, legacy.name]


def test_celery_sees_the_handlers_face() -> None:
    assert create.name == f"{__name__}.create"
    assert create.__doc__ == "Create an order."
    assert create.run.__wrapped__.__code__.co_filename == __file__


def test_a_task_called_directly_needs_a_context(guard: Guard) -> None:
    with guard.acting(ANN):
        assert create(ORDER)[3] == "ann"
    with pytest.raises(Denied):
        create.run(ORDER)


# -- ours above what a framework has made -----------------------------------------------------------------------------


def handler(payload: dict[str, Any]) -> None:
    raise AssertionError


class Caller:
    def __call__(self, payload: dict[str, Any]) -> None:
        raise AssertionError

    def method(self, payload: dict[str, Any]) -> None:
        raise AssertionError


MADE = {
    "celery task": lambda: app.task(name="made")(handler),
    "celery task, evaluated": lambda: app.tasks[app.task(name="made.now", lazy=False)(handler).name],
    "click command": lambda: click.command()(handler),
    "lru_cache": lambda: functools.lru_cache(handler),
    "singledispatch method": lambda: functools.singledispatchmethod(handler),
    "partial": lambda: functools.partial(handler),
    "property": lambda: property(handler),
    "class": lambda: Caller,
    "callable object": Caller,
    "bound method": lambda: Caller().method,
    "builtin": lambda: print,
    "staticmethod of a task": lambda: staticmethod(app.task(name="made.static")(handler)),
}


@pytest.mark.parametrize("what", MADE)
def test_ours_above_a_frameworks_object_is_refused(guard: Guard, what: str) -> None:
    with refused("BG135", "above ours", "made.command"):
        guard.command("made.command")(MADE[what]())
    with refused("BG135", "above ours"):
        guarded("made.command", registry=CommandRegistry())(MADE[what]())
    assert "made.command" not in REGISTRY


def test_generators_are_refused(guard: Guard) -> None:
    def lines(payload: dict[str, Any]) -> Any:
        yield payload

    async def later(payload: dict[str, Any]) -> Any:
        yield payload

    class Desk:
        def method(self, payload: dict[str, Any]) -> Any:
            yield from payload

    for generator in (lines, later, Desk.method, staticmethod(lines), classmethod(later)):
        with refused("BG134", "return a list"):
            guard.command("generator")(generator)
    assert "generator" not in REGISTRY
