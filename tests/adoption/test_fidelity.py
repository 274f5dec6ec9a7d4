"""All-shadow: a legacy handler behaves as unguarded, in value, exception and what it does to its arguments, whatever the
guard thinks of the call and whatever goes wrong in looking at it."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adoption.support import ACCESS, NAME, Approve, Office, bind, ctx
from botguard import Actor, Breaker, Check, Context, Guard, Principal, Rejected, Retry, Rule, StoreUnavailable
from botguard.adapters.memory import MemoryStorage
from botguard.testing import FakeClock
from core.support import together


class Boom(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even its text can be had")


class Stop(BaseException):
    pass


RAISED: list[Callable[[], BaseException]] = [
    ValueError, Boom, StopIteration, StopAsyncIteration, TimeoutError, ConnectionRefusedError, KeyboardInterrupt, SystemExit,
    GeneratorExit, asyncio.CancelledError, Stop, lambda: Rejected("no"), lambda: ExceptionGroup("two", [ValueError(), KeyError()]),
    lambda: StoreUnavailable("the host's own"), RecursionError, MemoryError,
]  # fmt: skip
VALUES: list[Callable[[dict[str, Any]], Any]] = [
    lambda c: None, lambda c: c, lambda c: c.get("text"), lambda c: object(), lambda c: (n for n in (1, 2)), lambda c: Approve,
    lambda c: {"next": c}, lambda c: 1.5, lambda c: float("nan"), lambda c: b"x" * 100_000, lambda c: open, lambda c: Exception("returned"),
]  # fmt: skip


def mutate(how: str, given: dict[str, Any]) -> None:
    if how == "add":
        given["seen"] = True
    elif how == "clear":
        given.clear()
    elif how == "deep" and isinstance(given.get("lines"), list):
        given["lines"].append({"sku": "tea"})
    elif how == "circle":
        given["self"] = given


def meddle(payload: Any) -> None:
    """A check that writes where it should read."""
    if isinstance(payload, dict):
        payload["meddled"] = True
        for value in payload.values():
            if isinstance(value, list):
                value.append("meddled")


def fail(*_: Any) -> Any:
    raise ZeroDivisionError


def down(*_: Any) -> Any:
    raise StoreUnavailable("down")


class DownEvents:
    colour = "any"

    def append(self, event: Any) -> None:
        raise OSError("the disk is full")

    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Any]:
        return []


def whole(c: dict[str, Any], *more: Any, **named: Any) -> tuple[Any, Context]:
    return c, Context(org="acme", actor=Actor("u1", ("sales",)))


BINDS: list[Any] = [bind, whole, fail, lambda *a, **k: "nonsense", lambda *a, **k: (a, None), None]
#: Guards that say no in every way, break in every way, or let everything pass.
GUARDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"limits": ["1/day per user"]}),
    ({}, {"risk": "high", "effects": "read"}),
    ({}, {"request": Approve, "key": "{order_id}", "effects": "idempotent", "retry": Retry(on=(Exception,))}),
    ({"breakers": {"erp": Breaker(fail_max=1)}}, {"breaker": "erp", "key": lambda p: 1}),
    ({"policies": [Rule(when=fail, deny="no")]}, {}),
    ({"policies": [Rule(when=lambda call: meddle(call.payload), deny="no")]}, {}),
    ({}, {"checks": [fail]}),
    ({}, {"checks": [Check(lambda call: meddle(call.payload), "context"), Check(lambda call: object(), "predict")]}),
    ({"directory": down}, {}),
    ({"directory": lambda org, actor: Principal("p", {"sales"})}, {"key": fail, "timeout": 0.000001}),
    ({"refusals_per_minute": 1}, {"permission": "nobody.has.it"}),
]
CTX = st.fixed_dictionaries(
    {},
    optional={
        "entity_id": st.one_of(st.integers(0, 3), st.text(max_size=3), st.none(), st.just(object())),
        "user": st.sampled_from(["u1", "u2", "", 7]),
        "text": st.text(max_size=5),
        "lines": st.lists(st.integers() | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2), max_size=3),
        "orm": st.just(threading.Lock()),
    },
)


@given(
    calls=st.lists(
        st.tuples(
            CTX,
            st.sampled_from(["", "add", "clear", "deep", "circle"]),
            st.sampled_from([*VALUES, *RAISED]),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    ),
    kind=st.sampled_from(["sync", "async", "method"]),
    which=st.sampled_from(GUARDS),
    binding=st.sampled_from(BINDS),
    lost=st.booleans(),
)
def test_nothing_differs(calls: list[Any], kind: str, which: Any, binding: Any, lost: bool) -> None:
    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    if lost:
        storage.events = DownEvents()  # type: ignore[assignment]
    of_guard, options = which
    guard = Guard(storage=storage, access=ACCESS, clock=clock, **of_guard)
    log: list[Any] = []

    def act(given: dict[str, Any], how: str, then: Callable[..., Any], flag: bool) -> Any:
        log.append((given, threading.get_ident(), asyncio._get_running_loop()))
        mutate(how, given)
        if then in RAISED:
            error = then()
            log.append(error)
            raise error
        value = then(given)
        log.append(value)
        return value

    def sync(given: dict[str, Any], how: str, then: Callable[..., Any], *, flag: bool = False) -> Any:
        return act(given, how, then, flag)

    async def awaited(given: dict[str, Any], how: str, then: Callable[..., Any], *, flag: bool = False) -> Any:
        return act(given, how, then, flag)

    class Host:
        def method(self, given: dict[str, Any], how: str, then: Callable[..., Any], *, flag: bool = False) -> Any:
            return act(given, how, then, flag)

    original: Any = {"sync": sync, "async": awaited, "method": Host().method}[kind]
    if binding is None:
        options = {**options}  # which argument is the payload nobody can say of four: refused at the wiring, so
        binding = lambda c, *a, **k: whole(c)  # noqa: E731
    shadow = guard.shadow({NAME: original}, bind=binding, options={NAME: options})[NAME]
    for said, how, then, flag in calls:
        ends = [end_of(one, snapshot(said), how, then, flag, log) for one in (original, shadow)]
        compare(*ends)
    assert guard.shadow_report().calls == len(calls)


def snapshot(given: dict[str, Any]) -> dict[str, Any]:
    return {k: copy.deepcopy(v) if isinstance(v, list) else v for k, v in given.items()}


def end_of(handler: Any, given: dict[str, Any], how: str, then: Any, flag: bool, log: list[Any]) -> dict[str, Any]:
    log.clear()
    value = error = None
    try:
        value = handler(given, how, then, flag=flag)
        if inspect.iscoroutine(value):
            try:
                value.send(None)
            except StopIteration as stop:
                value = stop.value
    except BaseException as caught:
        value, error = None, caught
    assert len(log) == 2, "the handler is called once"
    assert log[0][0] is given, "with the caller's own object"
    own = error is not None and error is log[1]
    assert value is log[1] or own or isinstance(error.__cause__, StopIteration | StopAsyncIteration)  # type: ignore[union-attr]
    if own:
        assert (getattr(error, "__notes__", None), error.__context__, error.__cause__) == (None, None, None)  # type: ignore[union-attr]
    return {"value": value, "error": error, "own": own, "ctx": given, "place": log[0][1:]}


def compare(unguarded: dict[str, Any], shadowed: dict[str, Any]) -> None:
    assert type(shadowed["error"]) is type(unguarded["error"])
    assert type(shadowed["value"]) is type(unguarded["value"])
    assert shadowed["place"] == unguarded["place"]
    assert repr(shadowed["ctx"]) == repr(unguarded["ctx"])
    if unguarded["own"]:
        inner, outer = frames(unguarded["error"])[1:], frames(shadowed["error"])[1:]
        assert outer[1:] == inner, "one frame of ours, and from there on the host's own lines"
        assert "handlers.py" in outer[0]


def frames(error: BaseException) -> list[str]:
    return [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]


def test_arguments_are_the_callers_own_objects() -> None:
    seen: list[Any] = []

    def handler(*args: Any, **kwargs: Any) -> None:
        seen.extend([*args, *kwargs.values()])

    office = Office(handler=handler, bind=lambda *a, **k: ({}, None))
    one, two, three = {}, object(), []  # type: ignore[var-annotated]
    office.handler(one, two, self=three)
    assert [a is b for a, b in zip(seen, (one, two, three), strict=True)] == [True] * 3


def test_an_error_leaves_nothing_behind() -> None:
    def handler(ctx: dict[str, Any]) -> None:
        raise Boom

    options: dict[str, Any] = {"breaker": "erp", "effects": "idempotent", "retry": Retry(on=(Boom,))}
    office = Office(handler=handler, guard={"breakers": {"erp": Breaker()}}, **options)

    def raised() -> Any:
        try:
            office.handler(ctx())
        except Boom as error:
            return weakref.ref(error)

    gc.collect()
    gc.disable()
    try:
        assert raised()() is None, "something of ours keeps the host's exception alive"
    finally:
        gc.enable()


def test_whoever_keeps_the_error_keeps_nothing_of_ours() -> None:
    def handler(ctx: dict[str, Any]) -> None:
        raise Boom

    office = Office(handler=handler)
    with pytest.raises(Boom) as caught:
        office.handler(ctx())
    look = next(frame.f_locals["look"] for frame, _ in traceback.walk_tb(caught.tb) if "look" in frame.f_locals)
    assert [getattr(look, name) for name in ("_call", "_core", "_token", "verdict")] == [None] * 4


@pytest.mark.parametrize("nested", [False, True], ids=["dict", "list inside"])
def test_a_rule_that_writes_writes_to_a_copy(nested: bool) -> None:
    seen: list[Any] = []

    def check(call: Any) -> None:
        seen.append(call.payload)
        meddle(call.payload)
        if nested:
            call.payload["lines"][0]["deep"] = True

    office = Office(bind=whole, request=None, key=None, checks=[check])
    given = ctx(lines=[{"sku": "tea"}])
    assert office.handler(given) is given
    assert given == ctx(lines=[{"sku": "tea"}])
    assert seen[0]["meddled"]


def test_values_and_arguments_are_let_go_of() -> None:
    class Big:
        pass

    office = Office(handler=lambda c: Big())
    gc.collect()
    gc.disable()
    try:
        big = weakref.ref(office.handler(ctx()))
        assert big() is None
    finally:
        gc.enable()


def test_it_runs_on_the_callers_thread_with_his_context_variables() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    async def handler(ctx: dict[str, Any]) -> str:
        was = variable.get()
        variable.set("by the handler")
        return was

    office = Office(handler=handler)

    async def main() -> tuple[str, str, Any]:
        variable.set("by the caller")
        task = asyncio.current_task()
        return await office.handler(ctx()), variable.get(), task

    assert asyncio.run(main())[:2] == ("by the caller", "by the handler")


def test_recursion_goes_almost_as_deep() -> None:
    def down_to(ctx: dict[str, Any]) -> int:
        return 0 if ctx["n"] == 0 else 1 + office.handler({**ctx, "n": ctx["n"] - 1})

    office = Office(handler=down_to)
    depth = sys.getrecursionlimit() // 4
    assert office.handler(ctx(n=depth)) == depth
    assert office.report.calls == depth + 1


def test_a_recursion_that_ends_in_an_error_ends_in_the_same() -> None:
    def endless(ctx: dict[str, Any]) -> Any:
        return office.handler(ctx)

    office = Office(handler=endless)
    with pytest.raises(RecursionError):
        office.handler(ctx())
    assert office.handler.__wrapped__ is endless  # type: ignore[attr-defined]
    office.says(2)


def test_threads_get_their_own_values() -> None:
    office = Office(limits=["5/minute per user"])
    given = [ctx(n % 7, request=f"req-{n}") for n in range(64)]
    got = together(*[lambda c=c: office.handler(c) for c in given])
    assert all(value is c for value, c in zip(got, given, strict=True))
    assert office.report.calls == 64
    assert office.report.count(kind="charged") == office.report.count(kind="passed") == 5


def test_tasks_get_their_own_values() -> None:
    async def handler(ctx: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return ctx

    office = Office(handler=handler)
    given = [ctx(n % 7) for n in range(64)]

    async def main() -> list[Any]:
        return await asyncio.gather(*[office.handler(c) for c in given])

    assert all(value is c for value, c in zip(asyncio.run(main()), given, strict=True))
    assert office.report.count(kind="passed") == 7
    assert office.report.count(kind="in_flight") == 57


@pytest.mark.parametrize("suspends", [False, True], ids=["plain directory", "directory that suspends"])
def test_a_cancellation_passes_through(suspends: bool) -> None:
    log: list[str] = []

    async def handler(ctx: dict[str, Any]) -> None:
        log.append("begun")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as error:
            log.append(str(error))
            raise

    async def directory(org: str, actor: str) -> Principal:
        await asyncio.sleep(0)
        return Principal("p", {"sales"})

    office = Office(handler=handler, guard={"directory": directory} if suspends else {})

    async def main() -> None:
        task = asyncio.ensure_future(office.handler(ctx()))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task

    asyncio.run(main())
    assert log == ["begun", "enough"]
    assert office.report.count(kind="interrupted") == 1


def test_a_cancellation_while_the_guard_still_looks_comes_before_the_handler() -> None:
    began: list[Any] = []

    async def handler(ctx: dict[str, Any]) -> None:
        began.append(ctx)

    async def directory(org: str, actor: str) -> Principal:
        await asyncio.sleep(3600)
        raise AssertionError

    office = Office(handler=handler, guard={"directory": directory})

    async def main() -> None:
        task = asyncio.ensure_future(office.handler(ctx()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert began == []


def test_an_async_check_with_a_time_out_of_its_own_ends_as_it_would_when_enforced() -> None:
    async def check(call: Any) -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(3600)

    async def handler(ctx: dict[str, Any]) -> Any:
        return ctx

    office = Office(handler=handler, checks=[check])

    async def main() -> None:
        given = ctx()
        assert await office.handler(given) is given

    asyncio.run(main())
    assert dict(office.seen()) == {("unavailable", "store_unavailable"): 1}  # a TimeoutError is an OSError


def test_nothing_suspends_between_an_async_handler_and_its_caller(tmp_path: Any) -> None:
    """A store that must be awaited is written to before the next call, so that no cancellation can take a value away."""
    from botguard.adapters.sqlite import SqliteStorage

    async def handler(ctx: dict[str, Any]) -> str:
        return "value"

    storage = SqliteStorage(tmp_path / "bot.db")
    office = Office(handler=handler, storage=storage)
    coroutine = office.handler(ctx())
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == "value"
    assert office.report.unwritten == 1

    async def main() -> None:
        assert await office.handler(ctx()) == "value"
        assert len(storage.events.tail()) == 1
        await office.guard.flush_async()

    asyncio.run(main())
    assert [(e.kind, e.status, e.replayed) for e in storage.events.tail()] == [
        ("shadow", "succeeded", False), ("shadow", "succeeded", True),
    ]  # fmt: skip
    storage.close()


def test_a_plain_function_may_return_an_awaitable_as_ever() -> None:
    async def work() -> str:
        return "worked"

    office = Office(handler=lambda c: work())
    assert asyncio.run(office.handler(ctx())) == "worked"
    assert dict(office.seen()) == {("not_observed", "BG140"): 1}


def test_it_can_be_awaited_in_another_context_than_it_was_begun_in() -> None:
    import contextvars

    async def handler(ctx: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        return "value"

    office = Office(handler=handler)
    coroutine = office.handler(ctx())
    contextvars.copy_context().run(coroutine.send, None)
    with pytest.raises(StopIteration, match="value"):
        coroutine.send(None)
    assert office.report.count(kind="passed") == 1
