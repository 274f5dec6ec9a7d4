"""The guard on memory against the pinned stack: every stage on, a replay, a denial; floor and powertools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from limits import aio as limits_aio

from benchmarks.floor import Floor
from benchmarks.guarded import NO_EDGE_BOUND, memory_shop
from benchmarks.harness import Block, Case, Row, Settings, expect, ratio, run_rounds, spread
from benchmarks.orders import USERS, Sent, callers, orders
from benchmarks.peer_stack import AsyncStack, Caller, Stack

CALLS = 2000
ROUNDS = 15
STACK = "hand-written stack"
FULL, REPLAY, DENIAL = "guard, every stage", "guard, replay", "guard, denied by role"


class Subject(Protocol):
    """Anything that is called plainly, counts its effects and keeps a row for each key."""

    effects: int
    rows: dict[Any, Any]

    def create_order(self, caller: Caller, raw: dict[str, Any], /) -> Any: ...


def traffic(number: int) -> tuple[list[Sent], list[Sent]]:
    """One warm-up call by every user, then the timed ones."""
    return orders(f"warm-{number}", USERS), orders(f"run-{number}", CALLS)


# ── sync ────────────────────────────────────────────────────────────────────────────────────────────────────


def by_hand(make: type[Subject]) -> Callable[[int], Block]:
    """Prepares blocks for a subject without a guard."""

    def prepare(number: int) -> Block:
        subject, users, wrong = make(), callers(), 0
        warm, timed = traffic(number)

        def send(sent: list[Sent]) -> None:
            nonlocal wrong
            for user, raw in sent:
                if subject.create_order(users[user], raw) != raw["order_id"]:
                    wrong += 1

        def check() -> None:
            expect("wrong values", wrong, 0)
            expect("effects", subject.effects, USERS + CALLS)
            expect("rows", len(subject.rows), USERS + CALLS)
            if isinstance(subject, Stack):
                expect("counted calls", subject.metrics.succeeded(), USERS + CALLS)

        return Block(calls=CALLS, warm=lambda: send(warm), run=lambda: send(timed), check=check)

    return prepare


def full(number: int) -> Block:
    shop = memory_shop()
    warm, timed = traffic(number)

    def check() -> None:
        expect("effects", shop.effects, USERS + CALLS)
        shop.expect_books({"succeeded": USERS + CALLS}, rows=USERS + CALLS)
        shop.expect_all_stored(warm + timed)

    return Block(calls=CALLS, warm=lambda: shop.send(warm), run=lambda: shop.send(timed), check=check)


def replay(number: int) -> Block:
    shop = memory_shop()
    _, timed = traffic(number)

    def check() -> None:
        expect("effects", shop.effects, CALLS)
        shop.expect_books({"succeeded": 2 * CALLS}, rows=CALLS)
        shop.expect_all_stored(timed)

    return Block(calls=CALLS, warm=lambda: shop.send(timed), run=lambda: shop.send(timed), check=check)


def denial(number: int) -> Block:
    # The edge limiter slows strangers down; with its bound out of reach each call here is a denial by role,
    # and with three calls a user each of them is an event of its own.
    shop = memory_shop(role="clerk", **NO_EDGE_BOUND)
    warm, timed = traffic(number)

    def check() -> None:
        expect("effects", shop.effects, 0)
        shop.expect_books({"denied": USERS + CALLS}, rows=0)

    return Block(
        calls=CALLS,
        warm=lambda: shop.send(warm, "denied"),
        run=lambda: shop.send(timed, "denied"),
        check=check,
    )


def sync_group(settings: Settings) -> list[Row]:
    from benchmarks.powertools import Powertools

    cases = [
        Case(name=STACK, prepare=by_hand(Stack)),
        Case(name=FULL, prepare=full, needs_guard=True),
        Case(name=REPLAY, prepare=replay, needs_guard=True),
        Case(name=DENIAL, prepare=denial, needs_guard=True),
        Case(name="hand-rolled floor", prepare=by_hand(Floor)),
        Case(name="powertools idempotency alone", prepare=by_hand(Powertools)),
    ]
    timings = run_rounds("memory-sync", cases, settings.rounds(ROUNDS), settings)
    bounds = {FULL: 0.35, REPLAY: 0.2, DENIAL: 0.08}
    return [
        Row(
            group="memory, sync",
            case=name,
            cost=spread(timing.cpu).mid,
            of="" if name == STACK else STACK,
            figure=None if name == STACK else ratio(timings, name, STACK),
            bound=bounds.get(name),
        )
        for name, timing in timings.items()
    ]


# ── async ───────────────────────────────────────────────────────────────────────────────────────────────────


class Unswept(limits_aio.storage.MemoryStorage):
    """limits' own storage, never swept.

    The original looks at one key per thread hop, as often as the loop turns, which is most of the async
    stack's cost and differs a lot between machines. A row without it shows what is left of the lead then.
    """

    async def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802  the only place to catch it
        return


def by_hand_async(limit_storage: type[limits_aio.storage.MemoryStorage]) -> Callable[[int], Block]:
    """Prepares blocks for the async stack."""

    def prepare(number: int) -> Block:
        subject, users, wrong = AsyncStack(limit_storage()), callers(), 0
        warm, timed = traffic(number)

        async def send(sent: list[Sent]) -> None:
            nonlocal wrong
            for user, raw in sent:
                if await subject.create_order(users[user], raw) != raw["order_id"]:
                    wrong += 1

        async def run() -> None:
            await send(timed)

        def check() -> None:
            expect("wrong values", wrong, 0)
            expect("effects", subject.effects, USERS + CALLS)
            expect("rows", len(subject.rows), USERS + CALLS)
            expect("counted calls", subject.metrics.succeeded(), USERS + CALLS)

        return Block(calls=CALLS, warm=lambda: send(warm), run=run, check=check)

    return prepare


def full_async(number: int) -> Block:
    shop = memory_shop(asynchronous=True)
    warm, timed = traffic(number)

    async def run() -> None:
        await shop.send_async(timed)

    def check() -> None:
        expect("effects", shop.effects, USERS + CALLS)
        shop.expect_books({"succeeded": USERS + CALLS}, rows=USERS + CALLS)
        asyncio.run(shop.expect_all_stored_async(warm + timed))

    return Block(calls=CALLS, warm=lambda: shop.send_async(warm), run=run, check=check)


def async_group(settings: Settings) -> list[Row]:
    unswept = "the same, its limits never swept"
    cases = [
        Case(name=STACK, prepare=by_hand_async(limits_aio.storage.MemoryStorage)),
        Case(name=unswept, prepare=by_hand_async(Unswept)),
        Case(name=FULL, prepare=full_async, needs_guard=True),
    ]
    timings = run_rounds("memory-async", cases, settings.rounds(ROUNDS), settings)

    def row(case: str, of: str = "", bound: float | None = None) -> Row:
        figure = ratio(timings, case, of) if of else None
        cost = spread(timings[case].cpu).mid
        return Row(group="memory, async", case=case, cost=cost, of=of, figure=figure, bound=bound)

    rows = [row(STACK), row(unswept, STACK)]
    return [*rows, row(FULL, STACK, 0.30), row(FULL, unswept)] if settings.with_guard else rows
