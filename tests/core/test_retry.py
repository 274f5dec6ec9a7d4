"""Section 4: one intent, one claim, several attempts, one deadline, and allowances that nesting does not multiply."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import tenacity
from pydantic import BaseModel

import botguard
from botguard import ALLOW_ALL, Breaker, ConfigurationError, Guard, Outcome, Rejected, Retry, Status
from botguard.adapters.memory import MemoryStorage
from botguard.ports.idempotency import RowState
from botguard.testing import FakeClock
from core.support import Boom, Desk, Order, ctx, on_loop, reasons

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


class Busy(Exception):
    def __init__(self, retry_after: Any = None) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


def desk_with(*ends: Any, async_: bool = False, guard: dict[str, Any] | None = None, **options: Any) -> Desk:
    """A desk whose n-th attempt ends as told; values are returned, errors raised."""
    desk = Desk(async_=async_, **(guard or {}))
    options.setdefault("effects", "idempotent")
    options.setdefault("retry", Retry(on=(Boom, Busy), attempts=4, wait=tenacity.wait_fixed(2)))
    desk.command(**options)
    rest = list(ends)

    def then(order: Order) -> Any:
        end = rest.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    desk.then = then
    return desk


@ASYNC
def test_attempts_until_it_succeeds(async_: bool) -> None:
    desk = desk_with(Boom(1), Boom(2), "third", async_=async_)
    outcome = desk.run()
    assert (outcome.value, outcome.attempts) == ("third", 3)
    assert desk.clock.naps == [2.0, 2.0]
    assert (desk.last().attempts, len(desk.events())) == (3, 1)
    assert desk.guard.metrics.totals()["orders.create"]["retries"] == 2


@ASYNC
def test_the_last_error_is_the_callers(async_: bool) -> None:
    errors = [Boom(n) for n in range(4)]
    desk = desk_with(*errors, async_=async_)
    outcome = desk.run()
    assert (outcome.status, outcome.error, outcome.attempts) == (Status.FAILED, errors[3], 4)
    assert desk.row() is None


def test_an_error_that_is_not_declared_ends_it() -> None:
    desk = desk_with(Boom(), KeyError("x"), "never")
    outcome = desk.run()
    assert (type(outcome.error), outcome.attempts) == (KeyError, 2)


@pytest.mark.parametrize("error", [Rejected("no"), KeyError("declared final")])
def test_a_final_error_is_never_tried_again(error: Exception) -> None:
    desk = desk_with(error, "never", retry=Retry(on=(Exception,), attempts=4), final=KeyError)
    outcome = desk.run()
    assert (outcome.error, outcome.attempts) == (error, 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_what_is_no_exception_is_never_tried_again(error: BaseException) -> None:
    desk = desk_with(error, "never", retry=Retry(on=(Exception,), attempts=4))
    with pytest.raises(type(error)):
        desk.run()
    assert desk.effects == ["A1"]


def test_cancellation_is_never_tried_again() -> None:
    desk = desk_with(asyncio.CancelledError(), "never", async_=True, retry=Retry(on=(Exception,), attempts=4))

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx())

    on_loop(desk.clock, main())
    assert desk.effects == ["A1"]


def test_one_claim_for_all_attempts() -> None:
    desk = desk_with(Boom(), Boom(), "third")
    claims: list[str] = []
    claim = desk.storage.idempotency.claim

    def counted(request: Any, event: Any = None) -> Any:
        claims.append(request.claim_id)
        return claim(request, event)

    desk.storage.idempotency.claim = counted
    desk.run()
    assert len(claims) == 1


def test_the_handler_sees_its_attempt_and_its_time() -> None:
    desk = desk_with(deadline=60.0)
    seen: list[tuple[int, float | None]] = []

    def then(order: Order) -> None:
        seen.append((botguard.current().attempt, botguard.current().remaining))
        raise Boom

    desk.then = then
    desk.run()
    assert seen == [(1, 60.0), (2, 58.0), (3, 56.0), (4, 54.0)]


# ── external ────────────────────────────────────────────────────────────────────────────────────────────────


def test_external_is_tried_again_only_before_its_effect() -> None:
    desk = desk_with(
        ConnectionRefusedError(), Busy(), "third", effects="external", retry=Retry(before_effect=Busy, attempts=4)
    )
    assert desk.run().value == "third"
    desk = desk_with(
        ConnectionRefusedError(), Boom(), "never", effects="external", retry=Retry(before_effect=Busy, attempts=4)
    )
    outcome = desk.run()
    assert (outcome.attempts, reasons(outcome)) == (2, ["handler_error", "effect_unknown"])
    row = desk.row()
    assert row is not None
    assert row.state is RowState.UNKNOWN


def test_external_that_never_began_gives_the_key_back() -> None:
    desk = desk_with(*[Busy()] * 4, effects="external", retry=Retry(before_effect=Busy, attempts=4))
    assert desk.run().attempts == 4
    assert desk.row() is None


# ── tenacity's objects ──────────────────────────────────────────────────────────────────────────────────────


def test_tenacity_decides_about_the_waits() -> None:
    retry = Retry(on=Boom, attempts=5, wait=tenacity.wait_incrementing(start=1, increment=2))
    desk = desk_with(*[Boom()] * 5, retry=retry)
    desk.run()
    assert desk.clock.naps == [1, 3, 5, 7]


def test_a_chain_of_waits_and_their_sum() -> None:
    wait = tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(9)) + tenacity.wait_fixed(0.5)
    desk = desk_with(*[Boom()] * 4, retry=Retry(on=Boom, attempts=4, wait=wait))
    desk.run()
    assert desk.clock.naps == [1.5, 9.5, 9.5]


def test_waits_see_the_error_that_was_raised() -> None:
    seen: list[BaseException | None] = []

    def wait(state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        seen.append(state.outcome.exception())
        return float(state.attempt_number)

    errors = [Boom(n) for n in range(3)]
    desk = desk_with(*errors, retry=Retry(on=Boom, attempts=3, wait=wait))
    desk.run()
    assert seen == errors[:2]
    assert desk.clock.naps == [1.0, 2.0]


@pytest.mark.parametrize(
    ("stop", "attempts"),
    [
        (tenacity.stop_after_attempt(2), 2),
        (tenacity.stop_after_delay(5), 4),
        (tenacity.stop_before_delay(5), 3),
        (tenacity.stop_never, 9),
        (tenacity.stop_after_attempt(7) | tenacity.stop_after_delay(3), 3),
    ],
)
def test_tenacity_decides_when_to_stop(stop: Any, attempts: int) -> None:
    retry = Retry(on=Boom, attempts=9, wait=tenacity.wait_fixed(2), stop=stop)
    desk = desk_with(*[Boom()] * 9, retry=retry)
    assert desk.run().attempts == attempts


def test_the_usual_wait_is_exponential_with_full_jitter() -> None:
    for _ in range(20):
        desk = desk_with(*[Boom()] * 9, retry=Retry(on=Boom, attempts=9), deadline=None)
        desk.run()
        assert len(desk.clock.naps) == 8
        assert all(0 <= nap <= min(10.0, 0.1 * 2**n) for n, nap in enumerate(desk.clock.naps))


def test_a_first_attempt_that_succeeds_builds_nothing_of_tenacity() -> None:
    def wait(state: Any) -> float:
        raise AssertionError

    assert desk_with("first", retry=Retry(on=Boom, wait=wait)).run().value == "first"


# ── Retry-After and the deadline ────────────────────────────────────────────────────────────────────────────


@ASYNC
def test_retry_after_counts(async_: bool) -> None:
    desk = desk_with(Busy(7.5), Busy(0.5), "third", async_=async_)
    assert desk.run().value == "third"
    assert desk.clock.naps == [7.5, 2.0]  # the longer of the two waits


@pytest.mark.parametrize("odd", [None, "7", True, float("nan"), float("inf"), -5])
def test_an_odd_retry_after(odd: Any) -> None:
    desk = desk_with(Busy(odd), "second", deadline=60.0)
    outcome = desk.run()
    if odd == float("inf"):
        assert (outcome.attempts, reasons(outcome)[-1]) == (1, "retry_does_not_fit")
    else:
        assert (outcome.value, desk.clock.naps) == ("second", [2.0])


@ASYNC
def test_a_wait_that_does_not_fit_ends_it_now(async_: bool) -> None:
    desk = desk_with(Busy(60.0), "never", async_=async_, deadline=30.0)
    outcome = desk.run()
    assert (outcome.status, outcome.attempts) == (Status.FAILED, 1)
    assert reasons(outcome) == ["handler_error", "retry_does_not_fit"]
    assert desk.clock.naps == []


def test_a_wait_that_ends_exactly_at_the_deadline_does_not_fit() -> None:
    desk = desk_with(Boom(), Boom(), "never", deadline=4.0)
    outcome = desk.run()
    assert (outcome.attempts, desk.clock.naps) == (2, [2.0])


def test_one_deadline_for_all_attempts() -> None:
    desk = desk_with(async_=True, deadline=10.0, timeout=None)

    async def slow() -> None:
        await asyncio.sleep(4.0)
        raise Boom

    desk.then = lambda order: slow()
    outcome = desk.run()
    assert outcome.attempts == 2  # 4 + 2 + 4, cut at 10
    assert reasons(outcome)[0] == "deadline_exceeded"
    assert outcome.duration == pytest.approx(10.0)


def test_each_attempt_has_its_own_timeout() -> None:
    retry = Retry(on=TimeoutError, attempts=3, wait=tenacity.wait_fixed(1))
    desk = desk_with(async_=True, deadline=100.0, timeout=5.0, retry=retry)

    async def hang() -> None:
        await asyncio.sleep(1000.0)

    desk.then = lambda order: hang()
    outcome = desk.run()
    assert outcome.attempts == 3
    assert outcome.duration == pytest.approx(5 + 1 + 5 + 1 + 5)


def test_a_timeout_longer_than_what_is_left_is_cut() -> None:
    desk = desk_with(async_=True, deadline=10.0, timeout=50.0)

    async def hang() -> None:
        await asyncio.sleep(1000.0)

    desk.then = lambda order: hang()
    assert desk.run().duration == pytest.approx(10.0)


def test_no_deadline() -> None:
    desk = desk_with(Busy(1e6), "second", deadline=None)
    assert desk.run().value == "second"


@pytest.mark.parametrize("seconds", [1e300, float("inf"), 3e9])
def test_a_wait_that_no_clock_can_sleep_does_not_fit(seconds: float) -> None:
    desk = desk_with(Busy(seconds), "never", deadline=None)
    outcome = desk.run()
    assert (outcome.attempts, reasons(outcome)[-1], desk.clock.naps) == (1, "retry_does_not_fit", [])


@pytest.mark.parametrize("seconds", [-5, float("nan"), float("-inf")])
def test_a_wait_below_nothing_is_none(seconds: float) -> None:
    desk = desk_with(Boom(), "second", retry=Retry(on=Boom, attempts=2, wait=lambda state: seconds))
    assert desk.run().value == "second"
    assert desk.clock.naps == [0.0]


@pytest.mark.parametrize(
    "broken", [{"wait": lambda state: 1 / 0}, {"wait": lambda state: None}, {"stop": lambda state: 1 / 0}]
)
def test_a_schedule_that_breaks_ends_with_the_attempts_own_error(broken: Any) -> None:
    error = Boom()
    desk = desk_with(error, "never", retry=Retry(on=Boom, attempts=2, **broken))
    outcome = desk.run()
    assert (outcome.status, outcome.error, outcome.attempts) == (Status.FAILED, error, 1)
    assert desk.row() is None
    assert "Retry raised" in error.__notes__[0]


def test_a_wait_that_does_not_fit_takes_nothing_of_the_shared_allowance() -> None:
    guard, _, calls = nested(
        {**THREE, "deadline": 100.0},
        {"retry": Retry(on=Boom, attempts=3, wait=tenacity.wait_fixed(50)), "deadline": 10.0},
    )
    guard.run("outer.call", {"order_id": "A1"}, context=ctx())
    assert calls == ["outer", "inner"] * 3


# ── payloads ────────────────────────────────────────────────────────────────────────────────────────────────


class Cart(BaseModel):
    cart_id: str
    items: list[str] = []
    note: str = ""


class Flat(BaseModel):
    cart_id: str
    note: str = ""
    count: int = 0


@pytest.mark.parametrize("how", ["nested", "flat", "dict"])
@ASYNC
def test_what_one_attempt_does_to_the_payload_the_next_one_does_not_see(how: str, async_: bool) -> None:
    clock = FakeClock()
    guard = Guard(storage=MemoryStorage(clock=clock), access=ALLOW_ALL, clock=clock)
    seen: list[Any] = []

    def attempt(cart: Any) -> str:
        if how == "dict":
            seen.append((list(cart["items"]), cart["note"]))
            cart["items"].append("dirt")
            cart["note"] = "dirt"
        elif how == "nested":
            seen.append((list(cart.items), cart.note))
            cart.items.append("dirt")
            cart.note = "dirt"
        else:
            seen.append((cart.count, cart.note))
            cart.count, cart.note = 9, "dirt"
        if len(seen) < 3:
            raise Boom
        return "done"

    model: Any = {"dict": dict, "nested": Cart, "flat": Flat}[how]
    options: Any = {
        "effects": "idempotent", "key": lambda p: "k", "retry": Retry(on=Boom, attempts=3, wait=tenacity.wait_none()),
    }  # fmt: skip
    if async_:

        async def carry_async(payload: Any) -> str:
            return attempt(payload)

        carry: Any = carry_async
    else:

        def carry_sync(payload: Any) -> str:
            return attempt(payload)

        carry = carry_sync
    carry.__annotations__["payload"] = model
    guard.command("carts.carry", **options)(carry)
    raw = {"cart_id": "1", "items": ["a"], "note": "n", "count": 1}
    if how == "nested":
        raw.pop("count")
    if how == "flat":
        raw.pop("items")
    run = guard.run_async("carts.carry", raw, context=ctx()) if async_ else None
    outcome = on_loop(clock, run) if run is not None else guard.run("carts.carry", raw, context=ctx())
    assert outcome.value == "done"
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    assert guard_fingerprint_is_of_what_was_validated(guard, raw, clock, async_)


def guard_fingerprint_is_of_what_was_validated(guard: Guard, raw: Any, clock: FakeClock, async_: bool) -> bool:
    again = (
        on_loop(clock, guard.run_async("carts.carry", raw, context=ctx()))
        if async_
        else guard.run("carts.carry", raw, context=ctx())
    )
    return again.replayed


# ── nesting ─────────────────────────────────────────────────────────────────────────────────────────────────


def nested(outer: dict[str, Any], inner: dict[str, Any]) -> tuple[Guard, FakeClock, list[str]]:
    clock = FakeClock()
    guard = Guard(storage=MemoryStorage(clock=clock), access=ALLOW_ALL, clock=clock)
    calls: list[str] = []

    @guard.command("inner.call", key="{order_id}", effects="idempotent", **inner)
    def inner_call(order: Order) -> str:
        calls.append("inner")
        raise Boom

    @guard.command("outer.call", key="{order_id}", effects="idempotent", **outer)
    def outer_call(order: Order) -> str:
        calls.append("outer")
        return str(inner_call(order))

    return guard, clock, calls


THREE = {"retry": Retry(on=Boom, attempts=3, wait=tenacity.wait_fixed(1))}


def test_nested_retries_add_up_instead_of_multiplying() -> None:
    guard, _, calls = nested(THREE, THREE)
    outcome = guard.run("outer.call", {"order_id": "A1"}, context=ctx())
    assert outcome.status is Status.FAILED
    # Two repetitions in all, wherever they are spent; not 3 × 3 calls.
    assert len(calls) <= 2 + 2 + 2
    assert calls.count("inner") <= 3 + 2


def test_a_caller_without_retries_does_not_take_them_from_the_called() -> None:
    guard, _, calls = nested({}, THREE)
    guard.run("outer.call", {"order_id": "A1"}, context=ctx())
    assert calls == ["outer", "inner", "inner", "inner"]


def test_a_called_command_inherits_the_shorter_deadline() -> None:
    guard, clock, calls = nested({"deadline": 2.5}, {**THREE, "deadline": 100.0})
    guard.run("outer.call", {"order_id": "A1"}, context=ctx())
    assert calls == ["outer", "inner", "inner", "inner"]
    guard, clock, calls = nested({"deadline": 1.5}, {**THREE, "deadline": 100.0})
    guard.run("outer.call", {"order_id": "A1"}, context=ctx())
    assert calls == ["outer", "inner", "inner"]
    assert clock.naps == [1.0]


def test_a_call_after_a_nested_one_starts_afresh() -> None:
    guard, _, calls = nested(THREE, THREE)
    guard.run("outer.call", {"order_id": "A1"}, context=ctx())
    calls.clear()
    guard.run("inner.call", {"order_id": "B1"}, context=ctx())
    assert calls == ["inner"] * 3


# ── the breaker inside ──────────────────────────────────────────────────────────────────────────────────────


@ASYNC
def test_open_on_the_second_attempt_ends_with_the_firsts_outcome(async_: bool) -> None:
    first = Boom("the first")
    desk = desk_with(first, "never", async_=async_, guard={"breakers": {"erp": Breaker(fail_max=1)}}, breaker="erp")
    outcome = desk.run()
    assert (outcome.status, outcome.error, outcome.attempts) == (Status.FAILED, first, 1)
    assert reasons(outcome) == ["handler_error", "breaker_opened"]
    assert desk.effects == ["A1"]
    assert desk.row() is None


def test_open_on_the_second_attempt_of_external_keeps_what_the_first_means() -> None:
    desk = desk_with(
        Busy(), "never", guard={"breakers": {"erp": Breaker(fail_max=1)}}, breaker="erp", effects="external",
        retry=Retry(before_effect=Busy, attempts=3),
    )  # fmt: skip
    outcome = desk.run()
    assert (outcome.attempts, reasons(outcome)) == (1, ["handler_error", "breaker_opened"])
    assert desk.row() is None  # declared to come before the effect


# ── wiring ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(on=BaseException),  # type: ignore[arg-type]
        lambda: Retry(on=(KeyboardInterrupt,)),  # type: ignore[arg-type]
        lambda: Retry(on=asyncio.CancelledError),  # type: ignore[arg-type]
        lambda: Retry(on="Boom"),  # type: ignore[arg-type]
        lambda: Retry(before_effect=(Boom, 1)),  # type: ignore[arg-type]
        lambda: Retry(attempts=0),
        lambda: Retry(attempts=True),
        lambda: Retry(attempts=2.5),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="BG11[01]"):
        make()


def test_outcome_types() -> None:
    assert isinstance(desk_with("x").run(), Outcome)
