"""What a handler raises is what its caller gets; and guarded calls inside guarded calls."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from pathlib import Path
from typing import Any

import pytest

import botguard
from botguard import (
    Denied,
    Guard,
    Reason,
    Rejected,
    Retry,
    Status,
    StoreUnavailable,
    Unavailable,
    current,
)
from botguard.adapters.sqlite import SqliteStorage
from botguard.runtime import SystemClock
from botguard.testing import FakeClock
from wrapping.setting import ANN, make_guard, run


class Grouped(ExceptionGroup):
    pass


ERRORS = [
    ValueError("wrong"),
    Rejected("Out of stock.", "out_of_stock"),
    StopIteration(3),
    StopAsyncIteration(),
    TimeoutError("the host's own"),
    TimeoutError(),
    Grouped("two", [ValueError(1), KeyError(2)]),
    Denied(botguard.Outcome(Status.DENIED)),
    StoreUnavailable("the host's own store"),
    AssertionError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_handlers_error_is_the_same_object(guard: Guard, error: Exception) -> None:
    @guard.command("fails")
    def fails(payload: dict[str, Any]) -> None:
        raise error

    with guard.acting(ANN), pytest.raises(type(error)) as found:
        fails({})
    assert found.value is error
    outcome = guard.run("fails", {}, context=ANN)
    assert outcome.status is Status.FAILED
    assert outcome.error is error
    with pytest.raises(type(error)) as again:
        outcome.unwrap()
    assert again.value is error


@pytest.mark.parametrize(
    "error", [e for e in ERRORS if not isinstance(e, StopIteration)], ids=lambda e: type(e).__name__
)
def test_the_awaited_handlers_error_is_the_same_object(guard: Guard, error: Exception) -> None:
    @guard.command("fails")
    async def fails(payload: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        with guard.acting(ANN), pytest.raises(type(error)) as found:
            await fails({})
        assert found.value is error
        assert (await guard.run_async("fails", {}, context=ANN)).error is error

    run(main())


def test_a_stop_iteration_of_a_coroutine_is_what_python_makes_of_it(guard: Guard) -> None:
    @guard.command("fails")
    async def fails(payload: dict[str, Any]) -> None:
        raise StopIteration(3)

    async def main() -> None:
        with guard.acting(ANN), pytest.raises(RuntimeError, match="StopIteration") as found:
            await fails({})
        assert isinstance(found.value.__cause__, StopIteration)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await fails.__wrapped__({})

    run(main())


@pytest.mark.parametrize("error", [StopIteration(3), ValueError("x")], ids=["StopIteration", "ValueError"])
def test_a_sync_handlers_error_through_run_async(guard: Guard, error: Exception) -> None:
    @guard.command("fails")
    def fails(payload: dict[str, Any]) -> None:
        raise error

    assert run(guard.run_async("fails", {}, context=ANN)).error is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=lambda e: type(e).__name__)
def test_what_is_no_exception_passes_through(guard: Guard, error: BaseException) -> None:
    @guard.command("stops")
    def stops(payload: dict[str, Any]) -> None:
        raise error

    with guard.acting(ANN), pytest.raises(type(error)) as found:
        stops({})
    assert found.value is error
    with pytest.raises(type(error)):
        guard.run("stops", {}, context=ANN)


def test_the_traceback_is_short_and_ends_in_the_handler(guard: Guard) -> None:
    """The caller's line, four of ours, the handler's; whatever the number of stages."""

    def deeper() -> None:
        raise ValueError("wrong")

    @guard.command("fails", limits=["5/minute per user"], checks=[lambda invocation: None], risk="low")
    def fails(payload: dict[str, Any]) -> None:
        deeper()

    with guard.acting(ANN), pytest.raises(ValueError, match="wrong") as found:
        fails({})

    frames = traceback.extract_tb(found.value.__traceback__)
    ours = [f"{Path(f.filename).name}:{f.name}" for f in frames if "botguard" in Path(f.filename).parts]
    assert [frame.name for frame in frames if frame.filename == __file__] == [
        "test_the_traceback_is_short_and_ends_in_the_handler",
        "fails",
        "deeper",
    ]
    assert len(ours) <= 4, ours
    assert found.value.__context__ is None
    assert found.value.__cause__ is None


def test_an_awaited_traceback_is_short_too(guard: Guard) -> None:
    @guard.command("fails")
    async def fails(payload: dict[str, Any]) -> None:
        raise ValueError("wrong")

    async def main() -> None:
        with guard.acting(ANN):
            await fails({})

    with pytest.raises(ValueError, match="wrong") as found:
        run(main())
    frames = traceback.extract_tb(found.value.__traceback__)
    assert len([f for f in frames if "botguard" in Path(f.filename).parts]) <= 4
    assert found.value.__context__ is None


def test_a_refusals_traceback_is_short(guard: Guard) -> None:
    handle = guard.command("closed", checks=[lambda invocation: "closed"])(lambda payload: None)
    with guard.acting(ANN), pytest.raises(Denied) as found:
        handle({})
    frames = traceback.extract_tb(found.value.__traceback__)
    assert len(frames) <= 4


def test_an_error_is_not_raised_twice_into_one_traceback(guard: Guard) -> None:
    """The same exception object may be raised by many runs; its traceback must not grow with each ``unwrap``."""
    error = ValueError("wrong")

    @guard.command("fails", effects="idempotent")
    def fails(payload: dict[str, Any]) -> None:
        raise error.with_traceback(None)

    lengths = []
    for _ in range(5):
        with guard.acting(ANN), pytest.raises(ValueError, match="wrong"):
            fails({})
        lengths.append(len(traceback.extract_tb(error.__traceback__)))
    assert len(set(lengths)) == 1


def test_nothing_of_a_finished_call_is_kept(guard: Guard) -> None:
    class Big:
        pass

    @guard.command("big", result="discard")
    def handle(big: Big, payload: dict[str, Any]) -> Big:
        return big

    big = Big()
    seen = weakref.ref(big)
    with guard.acting(ANN):
        handle(big, {})
        with pytest.raises(TypeError):
            handle(big)
    del big
    gc.collect()
    assert seen() is None


# -- calls inside calls -----------------------------------------------------------------------------------------------


def test_nested_calls_share_the_retry_allowance() -> None:
    """Two loops of three attempts are at most 1 + 2 + 2 runs of the inner handler, never nine."""
    guard = make_guard()
    runs: dict[str, int] = {"inner": 0, "outer": 0}

    @guard.command("inner", effects="idempotent", retry=Retry(on=(OSError,), attempts=3))
    def inner(payload: dict[str, Any]) -> None:
        runs["inner"] += 1
        raise OSError("down")

    @guard.command("outer", effects="idempotent", retry=Retry(on=(OSError,), attempts=3))
    def outer(payload: dict[str, Any]) -> None:
        runs["outer"] += 1
        inner({})

    with guard.acting(ANN), pytest.raises(OSError, match="down"):
        outer({})
    assert runs["inner"] == 3, "the outer run has two retries, and the inner call has used them"
    assert runs["outer"] == 1


def test_nested_awaited_calls_share_it_too() -> None:
    guard = make_guard()
    runs = []

    @guard.command("inner", effects="idempotent", retry=Retry(on=(OSError,), attempts=3))
    async def inner(payload: dict[str, Any]) -> None:
        runs.append(1)
        raise OSError("down")

    @guard.command("middle", effects="idempotent")
    async def middle(payload: dict[str, Any]) -> None:
        await inner({})

    @guard.command("outer", effects="idempotent", retry=Retry(on=(OSError,), attempts=4))
    async def outer(payload: dict[str, Any]) -> None:
        await middle({})

    async def main() -> None:
        with guard.acting(ANN), pytest.raises(OSError, match="down"):
            await outer({})

    run(main())
    assert len(runs) == 4, "one first run, and the three retries of the outer loop, wherever they are spent"


def test_a_call_inside_one_that_does_not_retry_keeps_its_own_retries() -> None:
    guard = make_guard()
    runs = []

    @guard.command("inner", effects="idempotent", retry=Retry(on=(OSError,), attempts=3))
    def inner(payload: dict[str, Any]) -> None:
        runs.append(1)
        raise OSError("down")

    @guard.command("outer", effects="idempotent")
    def outer(payload: dict[str, Any]) -> None:
        inner({})

    with guard.acting(ANN), pytest.raises(OSError, match="down"):
        outer({})
    assert len(runs) == 3


def test_nested_calls_inherit_the_earlier_deadline() -> None:
    clock = FakeClock()
    guard = make_guard(clock=clock)
    left: dict[str, float | None] = {}

    def note(name: str) -> Any:
        def handle(payload: dict[str, Any]) -> None:
            left[name] = current().remaining

        return handle

    patient = guard.command("patient", deadline=100)(note("patient"))
    endless = guard.command("endless", deadline=None)(note("endless"))
    hasty = guard.command("hasty", deadline=2)(note("hasty"))

    @guard.command("outer", deadline=10)
    def outer(payload: dict[str, Any]) -> None:
        clock.advance(4)
        patient({})
        endless({})
        hasty({})
        guard.run("patient", {})
        left["outer"] = current().remaining

    guard.run("outer", {}, context=ANN)
    assert left == {"patient": 6.0, "endless": 6.0, "hasty": 2.0, "outer": 6.0}
    guard.run("patient", {}, context=ANN)
    assert left["patient"] == 100.0


def test_a_nested_awaited_call_is_stopped_by_the_outer_deadline() -> None:
    guard = make_guard(clock=SystemClock())
    stopped = []

    @guard.command("inner", deadline=60)
    async def inner(payload: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    @guard.command("outer", deadline=0.05)
    async def outer(payload: dict[str, Any]) -> None:
        await inner({})

    outcome = run(guard.run_async("outer", {}, context=ANN))
    assert outcome.reasons[0] is Reason.DEADLINE_EXCEEDED
    assert stopped == [True]


def test_external_inside_an_open_unit_of_work_is_refused(tmp_path: Path) -> None:
    """Its claim and its effect would outlive a rollback of the transaction around it."""
    storage = SqliteStorage(tmp_path / "shop.db")
    guard = Guard(storage=storage, access=botguard.ALLOW_ALL)
    ran: list[str] = []

    def handler(name: str) -> Any:
        def handle(payload: dict[str, Any]) -> str:
            ran.append(name)
            return name

        return handle

    send = guard.command("mail.send", effects="external")(handler("mail"))
    look = guard.command("stock.show", effects="read")(handler("look"))
    book = guard.command("stock.book", effects="transactional")(handler("book"))
    refusals: list[Any] = []

    @guard.command("orders.create", effects="transactional")
    def create(payload: dict[str, Any]) -> list[str]:
        current().work.execute("create table if not exists orders (id text)")
        current().work.execute("insert into orders values ('A')")
        try:
            send({})
        except Unavailable as error:
            refusals.append(error)
        return [look({}), book({})]

    try:
        with guard.acting(ANN):
            assert create({}) == ["look", "book"]
            assert ran == ["look", "book"]
            (error,) = refusals
            assert error.outcome.reasons[0] is Reason.HOST_TRANSACTION_OPEN
            assert isinstance(error.__cause__, StoreUnavailable)
            assert "after the transactional command has returned" in str(error.__cause__)
            assert send({}) == "mail", "outside it runs"
    finally:
        close = getattr(storage, "close", None)
        if close is not None:
            close()


def test_a_nested_call_is_a_call_of_its_own(guard: Guard) -> None:
    """Its own event, its own outcome; what it refuses is an exception in the outer handler."""
    inner = guard.command("inner", checks=[lambda invocation: "closed"])(lambda payload: None)

    @guard.command("outer")
    def outer(payload: dict[str, Any]) -> str:
        try:
            inner({})
        except Denied as error:
            return error.outcome.details[0].code
        raise AssertionError

    assert guard.run("outer", {}, context=ANN).value == "closed"
    assert [(e.command, e.status) for e in guard.storage.events.tail()] == [("inner", "denied"), ("outer", "succeeded")]
