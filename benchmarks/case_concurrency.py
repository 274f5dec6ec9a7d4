"""Sixteen threads through one breaker: a lock held around the handler would make it sixteen times as slow."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.guarded import memory_shop
from benchmarks.harness import Block, Case, Row, Settings, Spread, expect, ratio, run_rounds, spread
from benchmarks.orders import Sent, orders

THREADS = 16
EACH = 25
ROUNDS = 11
NAP = 0.02
UNGUARDED, GUARDED = "bare handler, 16 threads", "guard, 16 threads, one breaker"


def block(send: Any, number: int, check: Any) -> Block:
    """The same pool of threads around anything that takes a list of calls."""
    sent = orders(f"run-{number}", THREADS * (1 + EACH))

    def share_out(calls: list[Sent]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(send, [calls[n::THREADS] for n in range(THREADS)]))

    return Block(
        calls=THREADS * EACH,
        warm=lambda: share_out(sent[:THREADS]),
        run=lambda: share_out(sent[THREADS:]),
        check=lambda: check(sent),
    )


def unguarded(number: int) -> Block:
    slept: list[str] = []

    def send(sent: list[Sent]) -> None:
        for order in sent:
            time.sleep(NAP)
            slept.append(order.raw["order_id"])

    return block(send, number, lambda sent: expect("handlers run", len(slept), len(sent)))


def guarded(number: int) -> Block:
    shop = memory_shop(nap=NAP)

    def check(sent: list[Sent]) -> None:
        expect("handlers run", shop.effects, len(sent))
        shop.expect_books({"succeeded": len(sent)}, rows=len(sent))

    return block(shop.send, number, check)


def group(settings: Settings) -> list[Row]:
    cases = [
        Case(name=UNGUARDED, prepare=unguarded),
        Case(name=GUARDED, prepare=guarded, needs_guard=True),
    ]
    timings = run_rounds("threads", cases, settings.rounds(ROUNDS), settings)
    rows = [Row(group="threads", case=UNGUARDED, cost=spread(timings[UNGUARDED].wall).mid)]
    if settings.with_guard:
        share = ratio(timings, UNGUARDED, GUARDED, "wall")  # time over time, turned round: throughput
        rows.append(
            Row(
                group="threads",
                case=GUARDED,
                cost=spread(timings[GUARDED].wall).mid,
                of=UNGUARDED,
                figure=Spread(*(100 * value for value in share)),
                figure_unit="%",
                bound=95.0,
                at_least=True,
            )
        )
    return rows
