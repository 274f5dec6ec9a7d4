"""A desk with one guarded command, in either colour, on a clock that stands still; and a loop that lives on that clock."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel

from botguard import Actor, Context, Guard, Outcome
from botguard.adapters.memory import MemoryStorage
from botguard.outcome import Status
from botguard.ports.events import Event
from botguard.ports.idempotency import Row
from botguard.testing import FakeClock

T = TypeVar("T")

ACCESS = {"sales": {"orders.*"}, "audit": {"orders.show"}}


class Order(BaseModel):
    order_id: str
    amount: int = 1


class Boom(Exception):
    """A handler's own error."""


def ctx(actor: str | None = "u1", org: str = "acme", roles: tuple[str, ...] = ("sales",), **other: Any) -> Context:
    person = other.pop("person", None)
    who = None if actor is None else Actor(actor, roles=roles, person=person)
    return Context(org=org, actor=who, **other)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is a FakeClock's: where it would wait, the clock jumps. So a time-out of a minute takes no time."""

    def __init__(self, clock: FakeClock) -> None:
        self._fake = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        return self._fake.monotonic()


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._fake = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else 1.0)
        if not ready and timeout is not None and timeout > 0:
            self._fake.advance(timeout)
        return ready


def on_loop(clock: FakeClock, main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)


class Desk:
    """A guard with one command. ``then`` is what its handler does after it has been counted in ``effects``.

    ``async_`` makes the handler async; ``run`` and ``call`` work for both.
    """

    def __init__(
        self, *, async_: bool = False, storage: Any = None, clock: FakeClock | None = None, **guard: Any
    ) -> None:
        self.clock = clock or FakeClock()
        self.storage = storage if storage is not None else MemoryStorage(clock=self.clock)
        self.async_ = async_
        guard.setdefault("access", ACCESS)
        self.guard = Guard(storage=self.storage, clock=self.clock, **guard)
        self.effects: list[str] = []
        self.then: Callable[[Order], Any] = lambda order: f"created {order.order_id}"
        self.handler: Any = None
        self.name = ""

    def command(self, name: str = "orders.create", **options: Any) -> Desk:
        options.setdefault("key", "{order_id}")
        declare = self.guard.command(name, **options)
        self.name = name
        if self.async_:

            @declare
            async def handle_async(payload: Order) -> Any:
                self.effects.append(payload.order_id)
                value = self.then(payload)
                return await value if hasattr(value, "__await__") else value

            self.handler = handle_async
        else:

            @declare
            def handle(payload: Order) -> Any:
                self.effects.append(payload.order_id)
                return self.then(payload)

            self.handler = handle
        return self

    def fails(self, error: BaseException) -> Desk:
        def then(order: Order) -> Any:
            raise error

        self.then = then
        return self

    def works(self) -> Desk:
        self.then = lambda order: f"created {order.order_id}"
        return self

    def run(self, order: Any = "A1", context: Context | None = None, **context_fields: Any) -> Outcome:
        payload = {"order_id": order} if isinstance(order, str) else order
        context = context or ctx(**context_fields)
        if self.async_:
            return on_loop(self.clock, self.guard.run_async(self.name, payload, context=context))
        return self.guard.run(self.name, payload, context=context)

    def call(self, order: str = "A1", context: Context | None = None, **context_fields: Any) -> Any:
        """The handler itself: a value, or what it raises."""

        async def wait() -> Any:
            return await self.handler(Order(order_id=order))

        with self.guard.acting(context or ctx(**context_fields)):
            return on_loop(self.clock, wait()) if self.async_ else self.handler(Order(order_id=order))

    def confirm(self, outcome: Outcome, context: Context | None = None, **other: Any) -> Outcome:
        assert outcome.confirmation is not None, outcome
        token, context = outcome.confirmation.token, context or ctx()
        if self.async_:
            return on_loop(self.clock, self.guard.confirm_async(token, context=context, **other))
        return self.guard.confirm(token, context=context, **other)

    def events(self) -> list[Event]:
        return list(self.storage.events.tail(10_000))

    def last(self) -> Event:
        return self.events()[-1]

    def row(self) -> Row | None:
        """The row of the key that was named last; None if it is absent, or if no call came as far as a key."""
        named = [event.key for event in self.events() if event.key]
        return self.storage.idempotency.peek(named[-1]) if named else None

    def rows(self) -> int:
        """How many keys are stored at all."""
        return len(self.storage.idempotency)


def statuses(*outcomes: Outcome) -> list[str]:
    return [str(outcome.status) for outcome in outcomes]


def reasons(outcome: Outcome) -> list[str]:
    return [str(reason) for reason in outcome.reasons]


def together(*functions: Callable[[], T]) -> list[T]:
    """Call functions at the same moment, a thread each."""
    answers: list[Any] = [None] * len(functions)
    errors: list[BaseException] = []
    start = threading.Barrier(len(functions))

    def act(n: int) -> None:
        try:
            start.wait(30)
            answers[n] = functions[n]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=(n,), daemon=True) for n in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a call hangs"
    if errors:
        raise errors[0]
    return answers


OK, FAILED = Status.SUCCEEDED, Status.FAILED
