"""What type checkers see of botguard. Checked by mypy and pyright in ``test_typing.py``; never run.

Every line that ends in ``# error`` must be an error to both, and no other line may be one.
"""

# ruff: noqa: B018, F841 - expressions and names are here to be looked at

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, assert_type

from pydantic import BaseModel

from botguard import (
    ALLOW_ALL,
    Actor,
    Breaker,
    CommandRegistry,
    Context,
    Denied,
    Detail,
    Guard,
    Invocation,
    Outcome,
    OutcomeError,
    Pending,
    PendingRequest,
    Principal,
    Reason,
    Retry,
    Rule,
    Status,
    Verdict,
    current,
    guarded,
)
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.ports.approvals import ApprovalStore
from botguard.ports.colour import Colour
from botguard.ports.events import Event, EventStore
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, IdempotencyStore, Row, RowState
from botguard.ports.storage import Storage

REGISTRY = CommandRegistry()
ANN = Context(org="acme", actor=Actor("ann", roles=("sales",)), channel="web")
guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL, breakers={"erp": Breaker(fail_max=3)})
durable = Guard(storage=SqliteStorage("shop.db"), access={"sales": {"orders.*"}}, context=lambda: ANN)


class Order(BaseModel):
    order_id: str


# -- the decorated handler keeps its exact type -----------------------------------------------------------------------


@guard.command("sync")
def sync(payload: Order, note: str = "", *, urgent: bool = False) -> int:
    return len(payload.order_id + note) + urgent


@guarded("awaited", registry=REGISTRY)
async def awaited(payload: Order) -> list[str]:
    return [payload.order_id]


class Desk:
    @guard.command("method")
    def method(self, payload: Order) -> int:
        return 1

    @guarded("method.awaited")
    async def awaited(self, payload: Order) -> str:
        return payload.order_id

    @staticmethod
    @guard.command("static.below")
    def static_below(payload: Order) -> int:
        return 1

    @guard.command("static.above")
    @staticmethod
    def static_above(payload: Order) -> int:
        return 1

    @classmethod
    @guard.command("class.below")
    def class_below(cls, payload: Order) -> int:
        return 1

    @guard.command("class.above")
    @classmethod
    def class_above(cls, payload: Order) -> int:
        return 1


def plain(payload: Order, note: str = "", *, urgent: bool = False) -> int:
    return 1


order = Order(order_id="A")
desk = Desk()

assert_type(sync(order), int)
assert_type(sync(order, "n", urgent=True), int)
assert_type(guard.command("x")(plain)(order), int)
assert_type(desk.method(order), int)
assert_type(Desk.method(desk, order), int)
assert_type(Desk.static_below(order), int)
assert_type(Desk.static_above(order), int)
assert_type(desk.static_above(order), int)
assert_type(Desk.class_below(order), int)
assert_type(Desk.class_above(order), int)

sync("A")  # error
sync(order, 3)  # error
sync(order, "n", True)  # error
sync(order, bogus=1)  # error
sync()  # error
desk.method("A")  # error
desk.method()  # error
Desk.static_above("A")  # error
Desk.static_below(order, order)  # error
Desk.class_above("A")  # error
number: str = sync(order)  # error

handler: Callable[[Order], int] = sync
later: Callable[[Order], Coroutine[Any, Any, list[str]]] = awaited
wrong: Callable[[str], int] = sync  # error
wrong_colour: Callable[[Order], list[str]] = awaited  # error


async def colours() -> None:
    assert_type(await awaited(order), list[str])
    assert_type(await desk.awaited(order), str)
    await sync(order)  # error
    text: str = awaited(order)  # error
    assert_type(await guard.run_async("awaited", {}, context=ANN), Outcome)
    assert_type(await guard.explain_async("awaited", {}), list[Verdict])


# -- options ----------------------------------------------------------------------------------------------------------

guard.command("a", permission="p", effects="external", key=lambda p: (p.order_id,), deadline=None)(plain)
guard.command("b", retry=Retry(before_effect=(OSError,), attempts=4), limits=["5/minute per user"], risk="low")(plain)
guard.command("c", bind=lambda *args, **kwargs: ({}, ANN), modes={"policy": "shadow"}, request=Order)(plain)
guard.command("d", final=(ValueError,), checks=[lambda invocation: None], timeout=3, public=True)(plain)

guard.command("e", permision="p")(plain)  # error
guard.command("f", retry=3)(plain)  # error
guard.command("g", deadline="10")(plain)  # error
guard.command("h", public="yes")(plain)  # error
guard.command("i", limits=5)(plain)  # error
guard.command("j", effects=None)(plain)  # error
guard.command()(plain)  # error
guard.command(plain)  # error
guard.command("k")(3)  # error
guarded("l", effect="read")(plain)  # error
guarded("m", registry="default")(plain)  # error
Guard(access=ALLOW_ALL, storge=MemoryStorage())  # error
Guard(storage="shop.db", access=ALLOW_ALL)  # error
Context("acme", None)  # error
Context(org="acme")  # error
Actor(7)  # error
Retry(attempts="3")  # error
Breaker(3)  # error
Rule(commands="*", when=lambda invocation: invocation.bogus, deny="x")  # error

# -- calling ----------------------------------------------------------------------------------------------------------

outcome = guard.run("sync", {"order_id": "A"}, context=ANN)
assert_type(outcome, Outcome)
assert_type(outcome.status, Status)
assert_type(outcome.value, Any)
assert_type(outcome.error, BaseException | None)
assert_type(outcome.reasons, tuple[Reason, ...])
assert_type(outcome.details, tuple[Detail, ...])
assert_type(outcome.retry_after, float | None)
assert_type(outcome.attempts, int)
assert_type(outcome.duration, float)
assert_type(outcome.replayed, bool)
assert_type(outcome.degraded, bool)
assert_type(outcome.confirmation, PendingRequest | None)
assert_type(outcome.event_id, str)
assert_type(outcome.sentry_event_id, str)
assert_type(outcome.ok, bool)
assert_type(outcome.unwrap(), Any)
assert_type(outcome.problem(), dict[str, Any])
assert_type(outcome.message("de"), str)
assert_type(guard.run(sync, order, context=ANN), Outcome)
assert_type(guard.explain("sync", {}), list[Verdict])
assert_type(guard.confirm("token", context=ANN), Outcome)
assert_type(guard.purge(), int)

outcome.state  # error
outcome.status.succeeded  # error
outcome.retry_after + 1  # error
outcome.confirmation.token  # error
guard.run("sync", context="acme")  # error
guard.run(3)  # error
guard.confirm("token")  # error

with guard.acting(ANN) as acting:
    assert_type(acting, Context)
    assert_type(current(), Invocation)
    assert_type(current().attempt, int)
    assert_type(current().actor, Actor)
    assert_type(current().principal, Principal)
    assert_type(current().remaining, float | None)
    current().attempt = 2  # error

try:
    sync(order)
except Denied as denied:
    assert_type(denied.outcome, Outcome)
except Pending as pending:
    assert_type(pending.confirmation, PendingRequest)
except OutcomeError as refused:
    assert_type(refused.retry_after, float | None)


@guard.check("orders.*", stage="consistency")
def stock(invocation: Invocation) -> str | None:
    return None


assert_type(stock(current()), str | None)

# -- a host's own stores ----------------------------------------------------------------------------------------------


class SyncClaims:
    """Every method is plain."""

    colour: Colour = "sync"

    def peek(self, key: str) -> Row | None:
        return None

    def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        return ClaimAnswer(True, 1, None)

    def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None = None,
    ) -> Ack:
        return Ack.APPLIED

    def release(self, key: str, claim_id: str) -> Ack:
        return Ack.APPLIED

    def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        return Ack.APPLIED

    def purge(self, limit: int = 1000) -> int:
        return 0


class AsyncClaims:
    """Every method is awaited."""

    colour: Colour = "async"

    async def peek(self, key: str) -> Row | None:
        return None

    async def claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        return ClaimAnswer(True, 1, None)

    async def finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None = None,
    ) -> Ack:
        return Ack.APPLIED

    async def release(self, key: str, claim_id: str) -> Ack:
        return Ack.APPLIED

    async def extend(self, key: str, claim_id: str, lease: float) -> Ack:
        return Ack.APPLIED

    async def purge(self, limit: int = 1000) -> int:
        return 0


class Mixed(SyncClaims):
    """A method may also hand over an awaitable of another kind."""

    def peek(self, key: str) -> Any:
        return None


class WithoutExtend:
    colour: Colour = "sync"
    peek, claim, finish = SyncClaims.peek, SyncClaims.claim, SyncClaims.finish
    release, purge = SyncClaims.release, SyncClaims.purge


class WithoutColour:
    peek, claim, finish, extend = SyncClaims.peek, SyncClaims.claim, SyncClaims.finish, SyncClaims.extend
    release, purge = SyncClaims.release, SyncClaims.purge


class WrongColour(WithoutColour):
    colour: str = "green"


class WrongReturn(WithoutColour):
    colour: Colour = "sync"

    def finish(self, *args: Any, **kwargs: Any) -> bool:  # type: ignore[override]
        return True


class WrongAwaitable(WithoutColour):
    colour: Colour = "async"

    async def purge(self, limit: int = 1000) -> str:  # type: ignore[override]
        return "3"


class WrongParameter(WithoutColour):
    colour: Colour = "sync"

    def release(self, key: int, claim_id: str) -> Ack:  # type: ignore[override]
        return Ack.APPLIED


fine: IdempotencyStore = SyncClaims()
fine_awaited: IdempotencyStore = AsyncClaims()
fine_mixed: IdempotencyStore = Mixed()
no_extend: IdempotencyStore = WithoutExtend()  # error
no_colour: IdempotencyStore = WithoutColour()  # error
wrong_word: IdempotencyStore = WrongColour()  # error
wrong_return: IdempotencyStore = WrongReturn()  # error
wrong_awaitable: IdempotencyStore = WrongAwaitable()  # error
wrong_parameter: IdempotencyStore = WrongParameter()  # error
not_events: EventStore = SyncClaims()  # error


async def either(store: IdempotencyStore) -> None:
    assert_type(store.purge(), int | Awaitable[int])
    assert_type(store.peek("k"), Row | Awaitable[Row | None] | None)


memory: Storage = MemoryStorage()
sqlite: Storage = SqliteStorage("shop.db")
claims: IdempotencyStore = MemoryStorage().idempotency
events: EventStore = MemoryStorage().events
approvals: ApprovalStore = MemoryStorage().approvals
not_storage: Storage = MemoryStorage().events  # error


async def find(org: str, actor_id: str) -> Principal | None:
    return None


Guard(storage=MemoryStorage(), access=ALLOW_ALL, directory=find)
