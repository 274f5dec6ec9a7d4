"""Where a direct call finds its Context: bind, acting, the running call, Guard(context=); else it is denied."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from botguard import Actor, BotguardError, ConfigurationError, Context, Denied, Guard, Reason, Status, current
from wrapping.setting import ANN, BEN, CLEO, make_guard, refused, run, tells_all


def who(guard: Guard, name: str = "who", **options: Any) -> Any:
    """A handler that says who calls it."""

    def handle(payload: dict[str, Any] | None = None) -> str:
        return current().actor.id

    return guard.command(name, **options)(handle)


# -- the order of the sources -----------------------------------------------------------------------------------------


def test_bind_then_acting_then_the_guards_own() -> None:
    guard = make_guard(context=lambda: CLEO)
    plain, bound = who(guard), who(guard, "bound", bind=lambda payload: (payload, ANN))

    assert (plain({}), bound({})) == ("cleo", "ann")
    with guard.acting(BEN):
        assert (plain({}), bound({})) == ("ben", "ann")
    assert plain({}) == "cleo"


def test_run_takes_its_context_before_all_others() -> None:
    guard = make_guard(context=lambda: CLEO)
    who(guard)

    assert guard.run("who", {}).value == "cleo"
    with guard.acting(BEN):
        assert guard.run("who", {}).value == "ben"
        assert guard.run("who", {}, context=ANN).value == "ann"


def test_a_nested_call_inherits_and_the_guards_own_comes_after() -> None:
    guard = make_guard(context=lambda: CLEO)
    inner = who(guard)

    @guard.command("outer")
    def outer(payload: dict[str, Any]) -> list[str]:
        with guard.acting(BEN):
            other = inner({})
        return [current().actor.id, inner({}), other, guard.run("who", {}).value]

    assert guard.run("outer", {}, context=ANN).value == ["ann", "ann", "ben", "ann"]


def test_what_a_handler_calls_runs_as_its_caller_not_as_a_block_around_it() -> None:
    """A worker acts as the system and runs a user's command: what that calls must not become the system's."""
    guard = make_guard(access={"system": {"*"}, "sales": {"orders.*"}})
    system = Context(org="acme", actor=Actor("worker", roles=("system",), kind="system"))
    closed = who(guard, "books.close")

    @guard.command("orders.create")
    def create(payload: dict[str, Any]) -> str:
        return closed({})

    @guard.command("orders.bound", bind=lambda payload: (payload, ANN))
    def bound(payload: dict[str, Any]) -> str:
        return closed({})

    with guard.acting(system):
        assert closed({}) == "worker"
        outcome = guard.run("orders.create", {}, context=ANN)
        assert isinstance(outcome.error, Denied)
        assert outcome.error.outcome.reasons == (Reason.MISSING_PERMISSION,)
        with pytest.raises(Denied):
            bound({})


def test_acting_blocks_nest_and_end() -> None:
    guard = make_guard()
    handle = who(guard)
    with guard.acting(ANN) as given:
        assert given is ANN
        with guard.acting(BEN):
            assert handle({}) == "ben"
        assert handle({}) == "ann"
        with pytest.raises(RuntimeError), guard.acting(BEN):
            raise RuntimeError
        assert handle({}) == "ann"
    with pytest.raises(Denied):
        handle({})


# -- nobody -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolver", [None, lambda: None])
def test_a_call_without_context_is_denied_and_told_how(resolver: Any) -> None:
    guard = make_guard(context=resolver)
    handle = who(guard)

    with pytest.raises(Denied) as found:
        handle({})

    assert found.value.outcome.reasons == (Reason.NO_CONTEXT,)
    cause = found.value.__cause__
    assert isinstance(cause, ConfigurationError)
    assert cause.code == "BG173"
    tells_all(cause)
    for way in ("guard.acting", "bind=", "Guard(context="):
        assert way in cause.fix
    outcome = guard.run("who", {})
    assert (outcome.status, outcome.reasons) == (Status.DENIED, (Reason.NO_CONTEXT,))
    assert outcome.error.code == "BG173"
    assert "BG173" not in outcome.message()


def test_a_context_without_actor_is_denied() -> None:
    guard = make_guard()
    handle = who(guard)
    with guard.acting(Context(org="acme", actor=None)), pytest.raises(Denied) as found:
        handle({})
    assert found.value.outcome.reasons == (Reason.NO_ACTOR,)


@pytest.mark.parametrize("wrong", [{"org": "acme"}, "acme", Actor("ann"), object()])
def test_what_is_no_context_is_refused(wrong: Any) -> None:
    guard = make_guard()
    handle = who(guard)
    with refused("BG123", "Context("):
        guard.run("who", {}, context=wrong)
    with refused("BG123"):
        run(guard.run_async("who", {}, context=wrong))
    with refused("BG123"):
        guard.explain("who", {}, context=wrong)
    with refused("BG123"), guard.acting(wrong):
        handle({})
    with refused("BG123"):
        guard.confirm("token", context=wrong)
    with refused("BG123"):
        guard.decline("token", context=wrong)
    lost = make_guard(context=lambda: wrong)
    with refused("BG123", "Guard(context="):
        who(lost)({})


@pytest.mark.parametrize("call", ["confirm", "decline", "acting"])
def test_where_a_context_is_needed_none_is_none(call: str) -> None:
    guard = make_guard()
    with refused("BG123"):
        if call == "acting":
            with guard.acting(None):
                pass
        else:
            getattr(guard, call)("token", context=None)


def test_the_guards_own_resolver_is_a_plain_function() -> None:
    async def resolve() -> Context:
        return ANN

    with refused("BG174", "async def"):
        make_guard(context=resolve)
    with refused("BG174", "not a function"):
        make_guard(context=ANN)


def test_what_the_resolver_raises_is_the_callers() -> None:
    def resolve() -> Context:
        raise LookupError("no request")

    with pytest.raises(LookupError, match="no request"):
        who(make_guard(context=resolve))({})


# -- threads and tasks ------------------------------------------------------------------------------------------------


def test_to_thread_takes_the_context_along_and_a_bare_thread_does_not() -> None:
    guard = make_guard()
    handle = who(guard)

    async def main() -> list[str]:
        with guard.acting(ANN):
            return [await asyncio.to_thread(handle, {}), await asyncio.get_running_loop().run_in_executor(None, ask)]

    def ask() -> str:
        try:
            return handle({})
        except Denied as error:
            return str(error.outcome.reasons[0])

    assert run(main()) == ["ann", "no_context"]


def test_tasks_keep_apart() -> None:
    guard = make_guard()

    @guard.command("who.awaited")
    async def handle(payload: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        return current().actor.id

    async def one(context: Context) -> list[str]:
        with guard.acting(context):
            await asyncio.sleep(0)
            return [await handle({}), await handle({})]

    async def main() -> list[list[str]]:
        return await asyncio.gather(*(one(context) for context in (ANN, BEN, CLEO)))

    assert run(main()) == [["ann"] * 2, ["ben"] * 2, ["cleo"] * 2]


def test_threads_keep_apart() -> None:
    guard = make_guard()
    handle, meet = who(guard), threading.Barrier(3)

    def one(context: Context) -> str:
        with guard.acting(context):
            meet.wait(5)
            return handle({})

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(one, (ANN, BEN, CLEO))) == ["ann", "ben", "cleo"]


def test_run_async_of_a_sync_handler_runs_in_a_thread_as_the_caller() -> None:
    guard = make_guard(context=lambda: CLEO)
    inner = who(guard)

    @guard.command("outer")
    def outer(payload: dict[str, Any]) -> list[Any]:
        return [current().actor.id, inner({}), threading.get_ident()]

    @guard.command("outermost")
    async def outermost(payload: dict[str, Any]) -> list[Any]:
        return (await guard.run_async("outer", {})).value

    async def main() -> None:
        me = threading.get_ident()
        with guard.acting(BEN):
            actor, nested, thread = (await guard.run_async("outer", {})).value
        assert (actor, nested) == ("ben", "ben")
        assert thread != me
        assert (await guard.run_async("outer", {}, context=ANN)).value[:2] == ["ann", "ann"]
        assert (await guard.run_async("outermost", {}, context=ANN)).value[:2] == ["ann", "ann"]
        assert (await guard.run_async("outer", {})).value[:2] == ["cleo", "cleo"]

    run(main())


#: A host's own, such as the request that its logging speaks of.
REQUEST: ContextVar[str] = ContextVar("request", default="none")


def test_run_async_of_a_sync_handler_sees_the_hosts_context_variables() -> None:
    guard = make_guard()

    @guard.command("sees")
    def sees(payload: dict[str, Any]) -> str:
        seen = REQUEST.get()
        REQUEST.set("changed in the thread")
        return seen

    async def main() -> None:
        REQUEST.set("r-17")
        assert (await guard.run_async("sees", {}, context=ANN)).value == "r-17"
        assert REQUEST.get() == "r-17", "the thread works on a copy"

    run(main())
    REQUEST.set("r-18")
    assert guard.run("sees", {}, context=ANN).value == "r-18"
    assert REQUEST.get() == "changed in the thread", "a plain call is the caller's own context"


def test_current_outside_a_handler() -> None:
    guard = make_guard()
    handle = who(guard)
    with pytest.raises(BotguardError, match="outside a guarded handler"):
        current()
    with guard.acting(ANN):
        handle({})
    with pytest.raises(BotguardError):
        current()


def test_current_is_the_innermost_call_also_after_an_error() -> None:
    guard = make_guard()

    @guard.command("inner")
    def inner(payload: dict[str, Any]) -> None:
        raise ValueError(current().command)

    @guard.command("outer")
    def outer(payload: dict[str, Any]) -> str:
        with pytest.raises(ValueError, match="inner"):
            inner({})
        return current().command

    assert guard.run("outer", {}, context=ANN).value == "outer"


def test_a_context_is_copied_with_its_calls() -> None:
    """What a host starts inside a handler, with its context variables, still runs for the same caller."""
    guard = make_guard()
    inner = who(guard)
    kept: list[Any] = []

    @guard.command("starts")
    def starts(payload: dict[str, Any]) -> None:
        kept.append(copy_context())

    guard.run("starts", {}, context=ANN)
    assert kept[0].run(inner, {}) == "ann"
