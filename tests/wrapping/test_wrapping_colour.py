"""Sync and async: which ports, checks and handlers go together, found out at wiring, or before anything is stepped."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, ClassVar

import pytest

from botguard import ALLOW_ALL, Check, Guard, Principal, Rule, Status
from botguard.adapters.memory import MemoryStorage
from wrapping.setting import ANN, make_guard, refused, run


def handle(payload: dict[str, Any]) -> str:
    return "done"


async def handle_awaited(payload: dict[str, Any]) -> str:
    return "done"


async def says_nothing(*args: Any) -> None:
    """An async check, reconciler, directory …"""


class CallableCheck:
    """Colour is looked for behind objects, too."""

    async def __call__(self, invocation: Any) -> None: ...


class Forward:
    """A store made of another; subclasses change single methods."""

    colour: ClassVar[str] = "sync"

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def storage_with(claims: Any = None, events: Any = None, approvals: Any = None) -> MemoryStorage:
    """Memory with one part replaced by ``part(original)``."""
    storage = MemoryStorage()
    storage.for_async = lambda: storage
    for name, part in (("idempotency", claims), ("events", events), ("approvals", approvals)):
        if part is not None:
            setattr(storage, name, part(getattr(storage, name)))
    return storage


# -- the handler's colour ---------------------------------------------------------------------------------------------


def test_run_of_an_async_handler(guard: Guard) -> None:
    handler = guard.command("awaited")(handle_awaited)
    for command in ("awaited", handler):
        with refused("BG165", "awaited", "run_async"):
            guard.run(command, {}, context=ANN)
    assert run(guard.run_async(handler, {}, context=ANN)).value == "done"


def test_run_of_an_async_handler_inside_a_loop(guard: Guard) -> None:
    guard.command("awaited")(handle_awaited)

    async def main() -> None:
        with refused("BG165"):
            guard.run("awaited", {}, context=ANN)
        with refused("BG165", "explain_async"):
            guard.explain("awaited", {}, context=ANN)
        assert all(verdict.passes for verdict in await guard.explain_async("awaited", {}, context=ANN))

    run(main())


def test_a_sync_handler_that_returns_an_awaitable_is_refused_before_it_is_stepped(guard: Guard) -> None:
    stepped = []

    async def work(payload: dict[str, Any]) -> None:
        stepped.append(payload)

    @guard.command("hidden")
    def hidden(payload: dict[str, Any]) -> Any:
        return work(payload)

    with guard.acting(ANN), refused("BG140", "hidden", "async def"):
        hidden({})
    assert stepped == []


def test_a_plain_decorator_that_hides_async_def_is_refused_before_it_is_stepped(guard: Guard) -> None:
    stepped = []

    async def work(payload: dict[str, Any]) -> None:
        stepped.append(payload)

    @functools.wraps(work)
    def hiding(payload: dict[str, Any]) -> Any:
        return work(payload)

    hidden = guard.command("hidden")(hiding)
    with guard.acting(ANN), refused("BG140"):
        hidden({})
    assert stepped == []


# -- at decoration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "guard_options"),
    [
        ({"checks": [says_nothing]}, {}),
        ({"checks": [Check(says_nothing, "visibility")]}, {}),
        ({"checks": [Check(says_nothing, "predict")]}, {}),
        ({"checks": [CallableCheck()]}, {}),
        ({"checks": [functools.partial(says_nothing, 1)]}, {}),
        ({"reconcile": says_nothing}, {}),
        ({}, {"directory": says_nothing}),
        ({}, {"directory": CallableCheck()}),
    ],
    ids=["check", "visibility", "predict", "callable", "partial", "reconcile", "directory", "callable directory"],
)
def test_async_parts_of_a_sync_command_are_refused_at_decoration(options: Any, guard_options: Any) -> None:
    guard = make_guard(**guard_options)
    with refused("BG140", "mixed", "async def"):
        guard.command("mixed", **options)(handle)
    assert "mixed" not in guard.registry
    guard.command("mixed", **options)(handle_awaited)
    if "directory" not in guard_options:
        assert run(guard.run_async("mixed", {}, context=ANN)).value == "done"


def test_an_async_check_across_commands_is_refused_and_forgotten(guard: Guard) -> None:
    guard.command("sync.one")(handle)
    guard.command("async.one")(handle_awaited)

    with refused("BG140", "sync.one"):
        guard.check("*")(says_nothing)

    assert guard.run("sync.one", {}, context=ANN).ok
    guard.command("sync.two")(handle)  # the refused check is not in its way
    assert guard.run("sync.two", {}, context=ANN).ok
    guard.check("async.*")(says_nothing)
    assert run(guard.run_async("async.one", {}, context=ANN)).ok
    with refused("BG140"):
        guard.command("async.two")(handle)


class AsyncClaims(Forward):
    colour = "async"

    async def peek(self, key: str) -> Any:
        return self.inner.peek(key)

    async def claim(self, *args: Any) -> Any:
        return self.inner.claim(*args)

    async def finish(self, *args: Any) -> Any:
        return self.inner.finish(*args)

    async def release(self, *args: Any) -> Any:
        return self.inner.release(*args)


class SuspendsUnderContention(Forward):
    """Says that it is plain, and nearly is: only a contested claim waits."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.contested = asyncio.Lock()

    async def claim(self, *args: Any) -> Any:
        async with self.contested:  # suspends only if somebody else is inside
            return self.inner.claim(*args)


class AsyncEvents(Forward):
    colour = "async"

    async def append(self, event: Any) -> None:
        self.inner.append(event)


class AsyncApprovals(Forward):
    async def open(self, *args: Any) -> Any: ...


class Colourless(Forward):
    colour = None


class Blocking(Forward):
    """A plain database driver."""


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"claims": AsyncClaims}, "AsyncClaims"),
        ({"claims": SuspendsUnderContention}, "claim"),
        ({"events": AsyncEvents}, "append"),
        ({"approvals": AsyncApprovals}, "open"),
    ],
    ids=["async", "suspends under contention", "events", "approvals"],
)
def test_async_stores_of_a_sync_command_are_refused_at_decoration(parts: Any, words: str) -> None:
    guard = make_guard(storage=storage_with(**parts))
    with refused("BG140", "sync.one", words, "no event loop"):
        guard.command("sync.one")(handle)
    assert "sync.one" not in guard.registry


def test_async_stores_serve_async_commands() -> None:
    guard = make_guard(storage=storage_with(claims=AsyncClaims, events=AsyncEvents))
    guard.command("awaited")(handle_awaited)
    assert run(guard.run_async("awaited", {}, context=ANN)).value == "done"


def test_blocking_stores_of_an_async_command_are_refused_at_decoration() -> None:
    guard = make_guard(storage=storage_with(claims=Blocking))
    with refused("BG161", "Blocking", "awaited"):
        guard.command("awaited")(handle_awaited)
    guard.command("sync.one")(handle)
    assert guard.run("sync.one", {}, context=ANN).ok


def test_a_store_without_colour_is_refused_at_decoration() -> None:
    guard = make_guard(storage=storage_with(claims=Colourless))
    for handler in (handle, handle_awaited):
        with refused("BG162", "Colourless", "colour: Colour ="):
            guard.command("any")(handler)


def test_a_bound_registry_is_refused_as_a_whole_and_stays_free() -> None:
    """A guard that could not be built has bound nothing: the next one gets all handlers."""
    from botguard import CommandRegistry, guarded

    registry = CommandRegistry()
    first = guarded("first", registry=registry)(handle)
    guarded("second", registry=registry, checks=[says_nothing])(handle_awaited)

    with refused("BG140", "first"):
        make_guard(registry=registry, storage=storage_with(claims=AsyncClaims))
    with refused("BG130"):
        first({})
    with make_guard(registry=registry).acting(ANN):
        assert first({}) == "done"


# -- at run time ------------------------------------------------------------------------------------------------------


class Awaitable:
    """Awaitable, but no coroutine: there is nothing to close, and it must not be stepped either."""

    stepped = 0

    def __await__(self) -> Any:
        type(self).stepped += 1
        yield

    def __bool__(self) -> bool:
        raise AssertionError("an awaitable must not be taken for an answer")


class Policies:
    """A host's own decision point."""

    digest = "v1"

    def __init__(self, decide: Any) -> None:
        self.decide = decide

    def concerns(self, command: str) -> bool:
        return True


class HidesAwaitable(Forward):
    """A plain ``def`` that hands over an awaitable; the port's own colour does not show it."""

    def __init__(self, inner: Any, method: str, made: Any) -> None:
        super().__init__(inner)

        def answer(*args: Any, **kwargs: Any) -> Any:
            return made()

        setattr(self, method, answer)


@pytest.mark.parametrize("made", ["a coroutine", "another awaitable"])
@pytest.mark.parametrize("part", ["peek", "claim", "finish", "directory", "check", "reconcile", "authorizer", "policy"])
def test_an_awaitable_is_refused_before_it_is_stepped(part: str, made: str) -> None:
    """Whether or not it would suspend: what suspends only under contention would pass every test."""
    Awaitable.stepped = 0
    stepped = []

    async def work(*args: Any) -> None:
        stepped.append(args)

    def give(*args: Any) -> Any:
        return work() if made == "a coroutine" else Awaitable()

    guard_options: dict[str, Any] = {}
    options: dict[str, Any] = {"key": lambda payload: payload["key"]}
    if part in ("peek", "claim", "finish"):
        guard_options["storage"] = storage_with(claims=lambda inner: HidesAwaitable(inner, part, give))
    elif part == "directory":
        guard_options["directory"] = give
    elif part == "check":
        options["checks"] = [give]
    elif part == "authorizer":
        guard_options["access"] = type("Access", (), {"permits": lambda self, *args: give()})()
    elif part == "policy":
        guard_options["policies"] = Policies(give)
    elif part == "reconcile":
        options["reconcile"] = give
    guard = make_guard(**guard_options)

    @guard.command("sync.one", **options)
    def handler(payload: dict[str, Any]) -> None:
        if part == "reconcile":
            raise ValueError("nobody knows what became of it")

    if part == "reconcile":
        for key in ("a", "b"):
            assert guard.run("sync.one", {"key": key}, context=ANN).status is Status.FAILED
    with refused("BG140", "sync.one"):
        guard.run("sync.one", {"key": "a"}, context=ANN)
    with guard.acting(ANN), refused("BG140", "sync.one"):
        handler({"key": "b"})
    assert stepped == []
    assert Awaitable.stepped == 0


def test_the_same_awaitables_are_awaited_for_an_async_handler() -> None:
    async def directory(org: str, actor: str) -> Principal:
        await asyncio.sleep(0)
        return Principal(actor, {"sales"})

    class Access:
        async def permits(self, org: str, roles: frozenset[str], permission: str, /) -> bool:
            await asyncio.sleep(0)
            return "sales" in roles

    async def check(invocation: Any) -> str | None:
        await asyncio.sleep(0)
        return "closed" if invocation.payload.get("closed") else None

    guard = make_guard(
        storage=storage_with(claims=AsyncClaims, events=AsyncEvents),
        directory=directory,
        access=Access(),
        policies=[Rule(when=says_nothing, deny="never")],
    )
    guard.command("awaited", checks=[check])(handle_awaited)
    assert run(guard.run_async("awaited", {}, context=ANN)).value == "done"
    assert run(guard.run_async("awaited", {"closed": 1}, context=ANN)).details[0].code == "closed"


class AsyncAccess:
    async def permits(self, org: str, roles: frozenset[str], permission: str, /) -> bool:
        return True


class AsyncWork(Forward):
    async def begin(self) -> Any: ...


@pytest.mark.parametrize("part", ["authorizer", "policies", "rule", "unit of work"])
def test_more_async_parts_of_a_sync_command_are_refused_at_decoration(part: str) -> None:
    storage = storage_with()
    storage.work = AsyncWork(None)
    options: dict[str, dict[str, Any]] = {
        "authorizer": {"access": AsyncAccess()},
        "policies": {"policies": Policies(says_nothing)},
        "rule": {"policies": [Rule(when=says_nothing, deny="never")]},
        "unit of work": {"storage": storage},
    }
    guard = make_guard(**options[part])
    with refused("BG140", "mixed"):
        guard.command("mixed", effects="transactional" if part == "unit of work" else "idempotent")(handle)


def test_one_guard_serves_both_colours() -> None:
    guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL)
    sync, awaited = guard.command("sync.one")(handle), guard.command("awaited")(handle_awaited)

    async def main() -> None:
        with guard.acting(ANN):
            assert await awaited({}) == "done"
            assert sync({}) == "done"
            assert (await guard.run_async(sync, {})).value == "done"
            assert (await guard.run_async(awaited, {})).value == "done"

    run(main())
    with guard.acting(ANN):
        assert sync({}) == "done"
