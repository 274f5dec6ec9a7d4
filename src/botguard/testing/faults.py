"""Faults on purpose, at exactly one place: around the n-th call of a store, or at the n-th await of a task.

Random faults find the easy bugs; a fault at *every* point finds the others. Wrap a storage, repeat one call with the
fault a step further each time, and check after each run what must always hold::

    for n in count(1):
        fault = unavailable_at(n, "after")
        guard = build_guard(FaultyStorage(MemoryStorage(), fault))
        check(guard.run("orders.create", payload, context=context))
        if fault.fired is None:  # the run has fewer calls: every one of them was hit
            break

The wrapper works on any :class:`~botguard.ports.storage.Storage`, the host's own included.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Generator
from fnmatch import fnmatchcase
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

from botguard.errors import StoreUnavailable
from botguard.ports.approvals import ApprovalStore
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.events import EventStore
from botguard.ports.idempotency import IdempotencyStore
from botguard.ports.limits import LimitStore
from botguard.ports.storage import Storage
from botguard.ports.work import Unit, UnitOfWork

__all__ = [
    "CancelAt",
    "Fault",
    "FaultyStorage",
    "Hook",
    "Moment",
    "Outage",
    "When",
    "interrupt_at",
    "kill_at",
    "suspend",
    "unavailable_at",
]

_T = TypeVar("_T")

When = Literal["before", "after"]


class Moment(NamedTuple):
    """A store is about to be called, or has just answered.

    Args:
        number: of the call, from 1, in the order in which the calls of one FaultyStorage begin.
        name: port and method: ``idempotency.claim``, ``limits.reserve``, ``work.begin``, ``unit.commit`` …
        when: ``before`` (nothing has happened yet) or ``after`` (it is done, and the answer is on its way). A call
            that raises has no after.
    """

    number: int
    name: str
    when: When

    def __str__(self) -> str:
        return f"{self.when} call {self.number}, {self.name}"


#: Told of every moment. What it raises, the caller of the store gets. An ``async def`` one is awaited.
Hook = Callable[[Moment], MaybeAwaitable[None]]


class Fault:
    """A hook that does something once, at the n-th call; see :func:`unavailable_at` and its siblings.

    Args:
        act: what to do there, such as raising.
        call: which of the calls that ``only`` matches, from 1.
        when: before or after that call.
        only: a pattern of names, such as ``idempotency.*``.
    """

    def __init__(self, act: Callable[[Moment], None], call: int, when: When = "before", *, only: str = "*") -> None:
        self._act, self._call, self._when, self._only = act, call, when, only
        self._lock = threading.Lock()
        self._seen = self._number = 0
        #: Where it happened; None if there was no such call.
        self.fired: Moment | None = None

    def __call__(self, moment: Moment) -> None:
        """See :data:`Hook`."""
        if not fnmatchcase(moment.name, self._only):
            return
        with self._lock:
            if moment.when == "before":
                self._seen += 1
                if self._seen == self._call:
                    self._number = moment.number
            if self.fired is not None or moment.number != self._number or moment.when != self._when:
                return
            self.fired = moment
        self._act(moment)

    def __repr__(self) -> str:
        only = "" if self._only == "*" else f" of {self._only}"
        return f"<{self._when} call {self._call}{only}, {'fired' if self.fired else 'not reached'}>"


def _refuse(moment: Moment) -> None:
    raise StoreUnavailable(f"a fault on purpose {moment}", maybe_applied=moment.when == "after")


def unavailable_at(call: int, when: When = "before", *, only: str = "*") -> Fault:
    """The store fails once. Before: nothing was applied. After: it was, but the answer is lost (``maybe_applied``)."""
    return Fault(_refuse, call, when, only=only)


def interrupt_at(
    call: int, when: When = "before", error: type[BaseException] = KeyboardInterrupt, *, only: str = "*"
) -> Fault:
    """An interruption from outside arrives while the store works: Ctrl-C, SystemExit, cancellation."""

    def interrupt(moment: Moment) -> None:
        raise error(f"on purpose {moment}")

    return Fault(interrupt, call, when, only=only)


def kill_at(call: int, when: When = "before", *, only: str = "*") -> Fault:
    """This process is killed (SIGKILL): no ``finally`` runs, no buffer is flushed. Use it in a child of the test."""

    def kill(_: Moment) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return Fault(kill, call, when, only=only)


class Outage:
    """A hook with which every call that a pattern matches fails, before it does anything, until ``end()``.

    Args:
        only: patterns of names; none: all calls.
    """

    def __init__(self, *only: str) -> None:
        self._only = only or ("*",)
        self._on = True
        #: How many calls failed.
        self.refused = 0

    def __call__(self, moment: Moment) -> None:
        """See :data:`Hook`."""
        if self._on and moment.when == "before" and any(fnmatchcase(moment.name, p) for p in self._only):
            self.refused += 1
            _refuse(moment)

    def begin(self) -> None:
        """The store goes down again."""
        self._on = True

    def end(self) -> None:
        """The store is back."""
        self._on = False


async def suspend(_: Moment) -> None:
    """A hook that lets other tasks run before and after every call: memory then waits as a distant store does."""
    await asyncio.sleep(0)


class FaultyStorage:
    """A storage that tells hooks of every call of its ports, and hands on what they raise.

    It has the colour of the storage, except that an ``async def`` hook makes every method one to await: then it is
    ``async``, for async handlers only. Whatever is no port method (``close()``, a host's own) is the storage's.

    Two promises of the ports are kept whatever the hooks do: a transaction whose ``begin`` was not answered is rolled
    back, as when its connection is lost, and ``rollback`` raises no Exception.

    Args:
        storage: the one to wrap.
        hooks: told in this order; see :data:`Hook`.
    """

    def __init__(self, storage: Storage, *hooks: Hook) -> None:
        self._over(storage, _Probe(hooks))

    def _over(self, storage: Storage, probe: _Probe) -> FaultyStorage:
        self._storage, self._probe = storage, probe
        self._for_async: FaultyStorage | None = None
        self.colour: Colour = "async" if probe.waits else storage.colour
        self.atomic, self.fingerprint_key = storage.atomic, storage.fingerprint_key
        self.idempotency: IdempotencyStore = _port(storage.idempotency, "idempotency", IdempotencyStore, probe)
        self.events: EventStore = _port(storage.events, "events", EventStore, probe)
        self.approvals: ApprovalStore = _port(storage.approvals, "approvals", ApprovalStore, probe)
        self.limits: LimitStore | None = _port(storage.limits, "limits", LimitStore, probe)
        self.work: UnitOfWork | None = _Work(storage.work, probe) if storage.work is not None else None
        return self

    @property
    def calls(self) -> list[str]:
        """The names of all calls so far, in the order in which they began, ``for_async()``'s and ``joined()``'s too."""
        return list(self._probe.calls)

    def for_async(self) -> FaultyStorage | None:
        """The storage's own form for async handlers, with the same hooks and numbers; None if it has none."""
        storage = self._storage.for_async()
        if storage is self._storage:
            return self
        if self._for_async is None and storage is not None:
            self._for_async = self._beside(storage)
        return self._for_async

    def joined(self, session: Any) -> FaultyStorage:
        """The stores inside the host's transaction, with the same hooks and numbers."""
        return self._beside(self._storage.joined(session))

    def _beside(self, storage: Storage) -> FaultyStorage:
        return FaultyStorage.__new__(FaultyStorage)._over(storage, self._probe)  # noqa: SLF001 - one of us

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._storage, name)


class _Probe:
    """Numbers the calls and tells the hooks."""

    def __init__(self, hooks: tuple[Hook, ...]) -> None:
        self._hooks = hooks
        self._lock = threading.Lock()
        self.calls: list[str] = []
        self.waits = any(_is_async(hook) for hook in hooks)

    def _begin(self, name: str) -> int:
        with self._lock:
            self.calls.append(name)
            return len(self.calls)

    def _tell(self, moment: Moment) -> None:
        for hook in self._hooks:
            said = hook(moment)
            if said is not None:
                if inspect.iscoroutine(said):
                    said.close()
                raise TypeError(f"{hook!r} returned {type(said).__name__}: a hook that waits must be `async def`")

    async def _tell_waiting(self, moment: Moment) -> None:
        for hook in self._hooks:
            said = hook(moment)
            if said is not None:
                await said

    def around(
        self, name: str, call: Callable[..., Any], waits: bool, undo: Callable[[Any], Any] | None = None
    ) -> Callable[..., Any]:
        """``call`` with the hooks around it. ``undo`` takes back an answer that nobody will get."""

        @functools.wraps(call)
        def plain(*args: Any, **kwargs: Any) -> Any:
            number = self._begin(name)
            self._tell(Moment(number, name, "before"))
            answer = call(*args, **kwargs)
            try:
                self._tell(Moment(number, name, "after"))
            except BaseException:
                if undo is not None:
                    undo(answer)
                raise
            return answer

        @functools.wraps(call)
        async def waiting(*args: Any, **kwargs: Any) -> Any:
            number = self._begin(name)
            await self._tell_waiting(Moment(number, name, "before"))
            answer = await _settled(call(*args, **kwargs))
            try:
                await self._tell_waiting(Moment(number, name, "after"))
            except BaseException:
                if undo is not None:
                    await _settled(undo(answer))
                raise
            return answer

        return waiting if waits else plain

    def quietly(self, name: str, call: Callable[[], Any], waits: bool) -> Callable[[], Any]:
        """The same for a method that never raises: what is down fails, and that is all."""

        def plain() -> None:
            number = self._begin(name)
            try:
                self._tell(Moment(number, name, "before"))
            except Exception:  # noqa: BLE001, S110 - the port's promise
                pass
            call()
            try:
                self._tell(Moment(number, name, "after"))
            except Exception:  # noqa: BLE001, S110 - the port's promise
                pass

        async def waiting() -> None:
            number = self._begin(name)
            try:
                await self._tell_waiting(Moment(number, name, "before"))
            except Exception:  # noqa: BLE001, S110 - the port's promise
                pass
            await _settled(call())
            try:
                await self._tell_waiting(Moment(number, name, "after"))
            except Exception:  # noqa: BLE001, S110 - the port's promise
                pass

        return waiting if waits else plain


def _is_async(hook: Any) -> bool:
    called = getattr(hook, "__call__", None)  # noqa: B004 - asked for its colour, not whether it can be called
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(called)


async def _settled(answer: Any) -> Any:
    return await answer if hasattr(answer, "__await__") else answer


class _Port:
    """One port: every method of its Protocol tells the hooks."""

    def __init__(self, port: Any, label: str, protocol: type[Any], probe: _Probe) -> None:
        self._port = port
        waits = probe.waits or port.colour == "async"
        self.colour: Colour = "async" if waits else port.colour
        for name, member in vars(protocol).items():
            if inspect.isfunction(member) and not name.startswith("_"):
                setattr(self, name, probe.around(f"{label}.{name}", getattr(port, name), waits))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._port, name)


def _port(port: Any, label: str, protocol: type[Any], probe: _Probe) -> Any:
    return _Port(port, label, protocol, probe) if port is not None else None


class _Work:
    """Transactions: their beginning, and whatever is done to each of them."""

    def __init__(self, work: UnitOfWork, probe: _Probe) -> None:
        waits = probe.waits or work.colour == "async"
        self.colour: Colour = "async" if waits else work.colour
        begin = probe.around("work.begin", work.begin, waits, undo=lambda unit: unit.rollback())

        def plain() -> Any:
            return _Unit(begin(), probe, waits)

        async def waiting() -> Any:
            return _Unit(await begin(), probe, waits)

        self.begin: Callable[[], MaybeAwaitable[Unit]] = waiting if waits else plain


class _Unit:
    """One transaction."""

    def __init__(self, unit: Unit, probe: _Probe, waits: bool) -> None:
        self.handle = unit.handle
        self.finish = probe.around("unit.finish", unit.finish, waits)
        self.commit = probe.around("unit.commit", unit.commit, waits)
        self.rollback = probe.quietly("unit.rollback", unit.rollback, waits)


class CancelAt(Generic[_T]):
    """Awaits a coroutine in a task of its own, which is cancelled while it is suspended for the n-th time.

    With several numbers it is cancelled again while it cleans up. Count up until a run ends with ``delivered`` at 0:
    then every await of the call was hit::

        run = CancelAt(guard.run_async("orders.create", payload, context=context), 3, 5)
        await run                    # raises CancelledError, unless the coroutine swallows it
        run.awaits, run.delivered    # how often it was suspended, how many of the cancellations it got

    Args:
        coroutine: what to run.
        awaits: at which of its suspensions to cancel, from 1.
    """

    def __init__(self, coroutine: Awaitable[_T], *awaits: int) -> None:
        self._coroutine, self._at = coroutine, frozenset(awaits)
        #: How often it was suspended.
        self.awaits = 0
        #: How many cancellations it got.
        self.delivered = 0

    def __await__(self) -> Generator[Any, None, _T]:
        return asyncio.ensure_future(_Steps(self._steps)).__await__()

    def _steps(self) -> Generator[Any, None, _T]:
        steps = cast("Generator[Any, None, _T]", self._coroutine.__await__())
        error: BaseException | None = None
        while True:
            try:
                waited_for = next(steps) if error is None else steps.throw(error)
            except StopIteration as stop:
                return cast("_T", stop.value)
            self.awaits += 1
            task = asyncio.current_task()
            if self.awaits in self._at and task is not None:
                self.delivered += 1
                task.cancel()  # it is running: the cancellation arrives where it is suspended, which is next
            try:
                yield waited_for
                error = None
            except BaseException as thrown:  # noqa: BLE001 - handed on to the coroutine
                error = thrown


class _Steps(Awaitable[_T]):
    def __init__(self, steps: Callable[[], Generator[Any, None, _T]]) -> None:
        self._make = steps

    def __await__(self) -> Generator[Any, None, _T]:
        return self._make()
