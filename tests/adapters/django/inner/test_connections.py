"""Connections that die, threads, event loops, and the server's own clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, connections, transaction

from adapters.django.inner.site import cut, empty, without_database
from botguard import ALLOW_ALL, Actor, ConfigurationError, Context, Guard, Reason, Status
from botguard.adapters.django import DjangoStorage, places
from botguard.adapters.django.models import Claim, Event
from botguard.ports.idempotency import Ack, ClaimRequest, RowState
from botguard.testing.suites.idempotency.words import event

ANN = Context(org="acme", actor=Actor("ann"), channel="web")


def shop(alias: str) -> tuple[Guard, list[str]]:
    guard, calls = Guard(storage=DjangoStorage(alias), access=ALLOW_ALL), []

    @guard.command("orders.send", key="{sku}")
    def send(payload: dict[str, Any]) -> str:
        calls.append(payload["sku"])
        return "sent"

    @guard.command("orders.book", key="{sku}", effects="transactional")
    def book(payload: dict[str, Any]) -> str:
        calls.append(payload["sku"])
        return "booked"

    @guard.command("orders.later", key="{sku}")
    async def later(payload: dict[str, Any]) -> str:
        calls.append(payload["sku"])
        await asyncio.sleep(0)
        return "sent later"

    return guard, calls


@pytest.fixture
def postgresql(made: Callable[[str], str]) -> Iterator[str]:
    empty(made("postgresql"))
    yield "postgresql"
    places.forget_side_connections()
    connections.close_all()


# ── connections that die ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bot_goes_on_after_its_connection_died(postgresql: str) -> None:
    """Nobody ends a request in a bot: the storage itself has to notice."""
    guard, calls = shop(postgresql)
    assert guard.run("orders.send", {"sku": "a"}, context=ANN).ok
    cut(postgresql)
    outcome = guard.run("orders.send", {"sku": "b"}, context=ANN)
    assert (outcome.status, outcome.degraded) == (Status.SUCCEEDED, False)
    cut(postgresql)
    assert guard.run("orders.book", {"sku": "c"}, context=ANN).ok
    assert calls == ["a", "b", "c"]
    assert Event.objects.using(postgresql).count() == 3


def test_a_claim_whose_connection_died_is_asked_again_and_runs_once(postgresql: str) -> None:
    """Without a look before it, the claim itself meets the dead connection: its answer is lost, or it never arrived."""
    guard, calls = shop(postgresql)
    storage: Any = guard.storage
    real, asked = storage.idempotency.claim, []

    def claim(*args: Any) -> Any:
        asked.append(args)
        if len(asked) == 1:
            cut(postgresql)
        return real(*args)

    storage.idempotency.claim = claim
    assert guard.run("orders.send", {"sku": "a"}, context=ANN).ok
    assert (calls, len(asked)) == (["a"], 2)


def test_a_connection_that_was_idle_is_asked_first(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guard, _ = shop(postgresql)
    guard.run("nothing.like_it", {}, context=ANN)
    cut(postgresql)
    now = places.time.monotonic() + 3600
    monkeypatch.setattr(places.time, "monotonic", lambda: now)
    assert guard.run("nothing.like_it", {}, context=ANN).degraded is False  # its event is written, at the first try


def test_while_the_server_is_away_calls_are_refused_and_then_go_on(postgresql: str) -> None:
    guard, calls = shop(postgresql)
    with without_database(postgresql):
        refused = guard.run("orders.send", {"sku": "a"}, context=ANN)
        assert (refused.status, refused.reasons[0]) == (Status.UNAVAILABLE, Reason.STORE_UNAVAILABLE)
        assert guard.run("orders.book", {"sku": "a"}, context=ANN).status is Status.UNAVAILABLE
    assert calls == []
    assert guard.run("orders.send", {"sku": "a"}, context=ANN).ok


def test_a_connection_that_dies_inside_a_unit_leaves_nothing(postgresql: str) -> None:
    guard, _ = shop(postgresql)

    @guard.command("orders.cut", key="{sku}", effects="transactional")
    def cut_off(payload: dict[str, Any]) -> str:
        if payload["cut"]:
            cut(postgresql)
        return "booked"

    assert guard.run("orders.cut", {"sku": "a", "cut": True}, context=ANN).status is Status.FAILED
    assert not connections[postgresql].in_atomic_block
    assert [*Claim.objects.using(postgresql).values_list("state", flat=True)] == ["released"]
    assert guard.run("orders.cut", {"sku": "a", "cut": False}, context=ANN).ok


def test_what_is_beside_a_request_is_closed_with_it(postgresql: str) -> None:
    guard, _ = shop(postgresql)
    with transaction.atomic(using=postgresql):
        assert guard.run("orders.send", {"sku": "a"}, context=ANN).ok
    (side,) = places._sides.by_alias.values()
    assert side.connection is not None
    places.close_side_connections()  # CONN_MAX_AGE is 0: as Django does with its own
    assert side.connection is None


def test_a_look_that_meets_a_dead_connection_is_taken_again(postgresql: str) -> None:
    storage: Any = DjangoStorage(postgresql)
    assert storage.events.tail() == []
    cut(postgresql)
    assert storage.events.tail() == []
    cut(postgresql)
    assert storage.approvals.by_token("unknown") is None


# ── one commit ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_that_cannot_be_stored_takes_its_claim_or_completion_with_it(alias: str) -> None:
    storage: Any = DjangoStorage(alias)
    claims, request = storage.idempotency, ClaimRequest("k", "o", "c", "c1", "p", b"f", "1", 60.0, True)
    refused: Any = event(1)._replace(status=None)
    with pytest.raises(IntegrityError):
        claims.claim(request, refused)
    assert claims.peek("k") is None
    assert claims.claim(request, event(2)).won
    with pytest.raises(IntegrityError):
        claims.finish("k", "c1", RowState.DONE, b"r", 60.0, 1, refused)
    assert claims.peek("k").state is RowState.CLAIMED
    assert claims.finish("k", "c1", RowState.DONE, b"r", 60.0, 1, event(3)) is Ack.APPLIED
    assert [one.id for one in storage.events.tail()] == ["event-2", "event-3"]


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["orders.send", "orders.book"])
def test_of_many_threads_one_runs(alias: str, name: str) -> None:
    guard, calls = shop(alias)
    start, outcomes = threading.Barrier(6), []

    def act() -> None:
        start.wait()
        try:
            outcomes.append(guard.run(name, {"sku": "tea"}, context=ANN))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=act) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert calls == ["tea"]
    assert {(o.status, o.replayed) for o in outcomes} <= {
        (Status.SUCCEEDED, False), (Status.SUCCEEDED, True), (Status.IN_FLIGHT, False),
    }  # fmt: skip
    assert [o.replayed for o in outcomes if o.ok].count(False) == 1


def test_a_twin_waits_for_a_claim_that_is_part_of_an_open_transaction(postgresql: str) -> None:
    """Only the unique key decides: the second caller cannot know yet whether there will be a first one."""
    guard, calls = shop(postgresql)
    answers: list[Any] = []

    def twin() -> None:
        try:
            answers.append(guard.run("orders.book", {"sku": "tea"}, context=ANN))
        finally:
            connections.close_all()

    thread = threading.Thread(target=twin)
    with transaction.atomic(using=postgresql):
        assert guard.run("orders.book", {"sku": "tea"}, context=ANN).ok
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(30)
    assert calls == ["tea"]
    assert answers[0].replayed


def test_fences_rise_for_a_claim_that_had_to_wait_too(alias: str) -> None:
    """Its row's number was chosen before it waited, while others came and went."""
    if alias == "default":
        pytest.skip("SQLite has one writer: nothing waits in the middle of an INSERT")
    storage = DjangoStorage(alias)
    inside: Any = storage.for_transactional().idempotency
    outside: Any = storage.idempotency
    request, answers = ClaimRequest("k", "o", "c", "c1", "p", b"f", "1", 60.0, True), []

    def wait() -> None:
        try:
            answers.append(outside.claim(request._replace(claim_id="c2")))
        finally:
            connections.close_all()

    thread = threading.Thread(target=wait)
    with transaction.atomic(using=alias):
        first = inside.claim(request).fence
        inside.release("k", "c1")
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        second = inside.claim(request._replace(claim_id="c3")).fence
        inside.release("k", "c3")
    thread.join(30)
    assert answers[0].won
    assert first < second < answers[0].fence


# ── event loops ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_async_handlers_use_the_same_rows(alias: str) -> None:
    guard, calls = shop(alias)

    async def main() -> list[Any]:
        try:
            first = await guard.run_async("orders.later", {"sku": "a"}, context=ANN)
            many = await asyncio.gather(*[guard.run_async("orders.later", {"sku": "b"}, context=ANN) for _ in range(5)])
            by_thread = await sync_to_async(guard.run)("orders.send", {"sku": "c"}, context=ANN)
            return [first, *many, by_thread]
        finally:
            await sync_to_async(connections.close_all)()

    first, *many, by_thread = asyncio.run(main())
    assert (first.value, by_thread.value) == ("sent later", "sent")
    assert sorted(calls) == ["a", "b", "c"]
    assert [o.replayed for o in many if o.ok].count(False) == 1
    assert Claim.objects.using(alias).filter(state="done").count() == 3


def test_a_call_that_is_cancelled_gives_its_key_back(alias: str) -> None:
    guard, _ = shop(alias)

    async def main() -> None:
        try:
            for turns in range(1, 12):
                task = asyncio.ensure_future(guard.run_async("orders.later", {"sku": str(turns)}, context=ANN))
                for _ in range(turns):
                    await asyncio.sleep(0.0005)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        finally:
            await sync_to_async(connections.close_all)()

    asyncio.run(main())
    left = dict(Claim.objects.using(alias).values_list("state", "key"))
    assert "claimed" not in left  # released where the handler never began; else done, or unknown and visible


def test_transactional_and_async_is_refused_where_it_is_wired(alias: str) -> None:
    guard, _ = shop(alias)
    with pytest.raises(ConfigurationError, match="BG160"):

        @guard.command("orders.wrong", effects="transactional")
        async def wrong(payload: dict[str, Any]) -> str:
            return ""


def test_a_blocking_call_in_a_loops_thread_is_a_wiring_error(alias: str) -> None:
    guard, calls = shop(alias)

    async def main() -> None:
        guard.run("orders.send", {"sku": "a"}, context=ANN)

    with pytest.raises(ConfigurationError, match="BG161"):
        asyncio.run(main())
    assert calls == []


# ── the server's clock ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_servers_clock_judges_leases_and_lifetimes(alias: str) -> None:
    claims: Any = DjangoStorage(alias).idempotency
    request = ClaimRequest("k", "o", "c", "c1", "p", b"f", "1", 60.0, True)
    assert claims.claim(request).won
    left = claims.peek("k").lease_left
    assert 55 < left <= 60
    assert not claims.claim(request._replace(claim_id="c2")).won
    age(alias, 61)
    assert claims.peek("k").lease_left < 0
    assert claims.claim(request._replace(claim_id="c2")).won
    claims.finish("k", "c2", RowState.DONE, b"r", 100.0, 1)
    assert claims.peek("k").result == b"r"
    age(alias, 101)
    assert claims.peek("k") is None
    assert claims.overdue(10) == 1
    assert claims.purge() == 1


def age(alias: str, seconds: float) -> None:
    """Make the rows so much older."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "UPDATE botguard_claims SET lease_until = lease_until - %s, expires_at = expires_at - %s",
            [int(seconds * 1e6)] * 2,
        )
