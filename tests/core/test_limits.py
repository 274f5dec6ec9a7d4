"""Limits of a guard: reserved together or not at all, charged to nobody who was refused, refunded exactly."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from botguard import Check, ConfigurationError, Outcome, Rejected, Status
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.errors import StoreUnavailable
from botguard.limiter import LocalLimiter
from botguard.ports.limits import Limit
from botguard.stages.limit import parse_limit
from botguard.testing import FakeClock
from core.support import Boom, Desk, Order, ctx, on_loop, reasons, statuses, together

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])
OK, THROTTLED = "succeeded", "throttled"


def run_all(desk: Desk, *calls: tuple[str, str] | str) -> list[str]:
    """Statuses of calls, each an order or (order, actor)."""
    pairs = [(call, "u1") if isinstance(call, str) else call for call in calls]
    return statuses(*[desk.run(order, actor=actor) for order, actor in pairs])


@ASYNC
def test_five_a_minute_per_user_and_one_per_org_charge_nobody_for_a_refused_call(async_: bool) -> None:
    desk = Desk(async_=async_).command(limits=["5/minute per user", "1/minute per org fixed-window"])
    assert run_all(desk, ("A1", "u1")) == [OK]
    # Twenty refusals by the org's limit: had each been charged to its user, u1 could not call again this minute.
    assert run_all(desk, *[(f"B{n}", "u1") for n in range(20)]) == [THROTTLED] * 20
    desk.clock.advance(60.0)
    assert run_all(desk, ("C1", "u1")) == [OK]
    for user_calls in range(3):  # 2 of u1's 5 are used; the org admits one a minute, and these are other minutes
        desk.clock.advance(60.0)
        assert run_all(desk, (f"D{user_calls}", "u1")) == [OK]


def test_a_refused_call_is_charged_in_no_limit_whichever_refuses() -> None:
    desk = Desk().command(limits=["2/hour per user fixed-window", "3/hour per org fixed-window"])
    assert run_all(desk, "A1", "A2") == [OK, OK]
    assert run_all(desk, *[f"B{n}" for n in range(10)]) == [THROTTLED] * 10  # by the user's limit
    assert run_all(desk, ("C1", "u2")) == [OK]  # the org still has its third
    assert run_all(desk, *[(f"D{n}", "u2") for n in range(10)]) == [THROTTLED] * 10  # by the org's
    assert run_all(desk, ("E1", "u3")) == [THROTTLED]


def test_a_replay_and_a_conflict_charge_nobody() -> None:
    desk = Desk().command(limits=["2/hour per user", "2/hour per org"])
    assert run_all(desk, "A1", *["A1"] * 10, *[("A1", "u2")] * 5) == [OK] * 11 + ["conflict"] * 5
    assert run_all(desk, "B1", "C1") == [OK, THROTTLED]


def test_losing_twins_charge_nobody() -> None:
    """Sixteen deliveries at once: one runs, and is charged."""
    desk = Desk().command(limits=["2/hour per user"])
    outcomes = together(*[desk.run] * 16)
    assert {outcome.status for outcome in outcomes} <= {Status.SUCCEEDED, Status.IN_FLIGHT, Status.THROTTLED}
    assert desk.effects == ["A1"]
    assert run_all(desk, "B1", "C1") == [OK, THROTTLED]


@pytest.mark.parametrize("error", [Boom(), Rejected("no")])
def test_a_run_that_failed_keeps_its_charge(error: Exception) -> None:
    desk = Desk().command(limits=["1/hour per user"], effects="idempotent").fails(error)
    assert run_all(desk, "A1", "B1") == ["failed", THROTTLED]


def test_a_store_that_is_down_refunds() -> None:
    desk = Desk().command(limits=["1/hour per user"])
    claim = desk.storage.idempotency.claim

    def down(*args: Any) -> Any:
        raise StoreUnavailable("down")

    desk.storage.idempotency.claim = down
    assert run_all(desk, "A1", "A1") == ["unavailable"] * 2
    desk.storage.idempotency.claim = claim
    assert run_all(desk, "A1") == [OK]


def test_cancelled_before_the_handler_refunds_and_after_it_began_does_not() -> None:
    waits: list[Any] = []

    async def check(call: Any) -> None:
        if waits:
            await waits[0].wait()

    desk = Desk(async_=True).command(
        limits=["1/hour per user", "1 concurrent per org"], checks=[check], effects="idempotent"
    )

    async def main(before: bool) -> None:
        event = asyncio.Event()
        waits[:] = [event] if before else []
        desk.then = lambda order: event.wait()
        task = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert bool(desk.effects) != before
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for _ in range(3):
        on_loop(desk.clock, main(before=True))
    on_loop(desk.clock, main(before=False))
    waits.clear()
    desk.works()
    refused = desk.run("B1")
    assert reasons(refused) == ["rate_limited"]  # the rate, not the cap: its slot came back
    assert refused.retry_after is not None
    desk.clock.advance(refused.retry_after)
    assert desk.run("C1").ok


# ── who is counted together ─────────────────────────────────────────────────────────────────────────────────


def test_scopes() -> None:
    desk = Desk().command(limits=["1/hour per user"])
    assert run_all(desk, ("A1", "u1"), ("A2", "u2"), ("A3", "u1")) == [OK, OK, THROTTLED]
    desk = Desk().command(limits=["1/hour per org"])
    assert statuses(desk.run("A1"), desk.run("A2", actor="u2"), desk.run("A3", org="beta")) == [OK, THROTTLED, OK]
    desk = Desk().command(limits=["1/hour per command"])
    assert statuses(desk.run("A1"), desk.run("A2", org="beta", actor="u2")) == [OK, THROTTLED]
    desk = Desk().command(limits=["1/hour per channel"])
    assert statuses(desk.run("A1", channel="web"), desk.run("A2", channel="slack"), desk.run("A3", channel="web")) == [
        OK,
        OK,
        THROTTLED,
    ]


def test_one_person_with_two_accounts_has_one_budget() -> None:
    desk = Desk().command(limits=["1/hour per user"])
    assert desk.run("A1", actor="phone", person="maria").ok
    assert desk.run("A2", actor="laptop", person="maria").status is Status.THROTTLED


def test_orgs_and_users_cannot_run_into_each_other() -> None:
    desk = Desk().command(limits=["1/hour per user"])
    pairs = [("a", "bc"), ("ab", "c"), ("1:a", "bc"), ("1", ":abc"), ("a", "b:c"), ("a|b", "c"), ("a", "|bc")]
    assert statuses(*[desk.run(f"{o}-{u}", org=o, actor=u) for o, u in pairs]) == [OK] * len(pairs)


def test_a_channel_is_no_user() -> None:
    desk = Desk().command(limits=["1/hour per user", "1/hour per channel"])
    assert desk.run("A1", actor="web", channel="api").ok
    assert desk.run("A2", actor="api", channel="web").ok


def test_two_commands_with_the_same_text_count_apart() -> None:
    desk = Desk().command(limits=["1/hour per user"])

    @desk.guard.command("orders.other", key="{order_id}", limits=["1/hour per user"])
    def other(order: Order) -> str:
        return "other"

    assert desk.run().ok
    assert desk.guard.run("orders.other", {"order_id": "A1"}, context=ctx()).ok
    assert desk.guard.run("orders.other", {"order_id": "A2"}, context=ctx()).status is Status.THROTTLED


# ── caps ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cap_admits_so_many_at_once_from_sixteen_threads() -> None:
    desk = Desk().command(limits=["3 concurrent per org"], effects="idempotent")
    inside, go_on, refused = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    def then(order: Order) -> str:
        inside.release()
        assert go_on.wait(30)
        return "done"

    desk.then = then

    def caller(n: int) -> Any:
        def call() -> Outcome:
            outcome = desk.run(f"A{n}")
            if outcome.status is Status.THROTTLED:
                refused.release()
            return outcome

        return call

    def watch() -> None:
        for _ in range(3):
            assert inside.acquire(timeout=30)
        for _ in range(13):
            assert refused.acquire(timeout=30)
        go_on.set()

    outcomes = together(*[caller(n) for n in range(16)], watch)[:16]
    assert sum(outcome.ok for outcome in outcomes) == 3
    assert {tuple(reasons(outcome)) for outcome in outcomes if not outcome.ok} == {("concurrency_limited",)}
    desk.works()
    assert desk.run("B1").ok  # all slots are free again


@pytest.mark.parametrize("error", [Boom(), Rejected("no"), KeyboardInterrupt()])
def test_a_cap_comes_back_however_the_call_ends(error: BaseException) -> None:
    desk = Desk().command(limits=["1 concurrent per user"], effects="idempotent")
    for n in range(3):
        desk.fails(error)
        try:
            assert desk.run(f"A{n}").status is Status.FAILED
        except KeyboardInterrupt:
            pass
    assert desk.works().run("B1").ok


@pytest.mark.parametrize("end", ["denied", "pending", "conflict", "replayed"])
def test_a_cap_comes_back_from_a_call_that_never_ran(end: str) -> None:
    says = ["no"] if end == "denied" else []
    risk = {"risk": "high"} if end == "pending" else {}
    desk = Desk().command(
        limits=["1 concurrent per org"], checks=[Check(lambda call: says[0] if says else None)], **risk
    )
    for _ in range(3):
        outcome = desk.run("A1", actor="u2" if end == "conflict" and desk.effects else "u1")
        assert outcome.status is not Status.THROTTLED
    says.clear()
    assert desk.run("B1").status in (Status.SUCCEEDED, Status.PENDING)


def test_caps_are_leases() -> None:
    """A call whose thread is gone frees its slot when deadline and grace are over."""
    desk = Desk().command(limits=["1 concurrent per org"], deadline=20.0, grace=10.0, effects="idempotent")
    inner: list[Outcome] = []

    def then(order: Order) -> str:
        desk.then = lambda order: "inner"
        for step in (29.0, 1.0):
            desk.clock.advance(step)
            inner.append(desk.run("B1"))
        return "outer"

    desk.then = then
    assert desk.run("A1").ok
    assert statuses(*inner) == [THROTTLED, OK]
    # The late end of the first one frees nobody else's slot.
    assert desk.run("C1").ok


# ── when to come back ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
@pytest.mark.parametrize(("amount", "gap"), [(1, 0.0), (3, 4.0), (5, 1.0), (7, 0.5)])
def test_retry_after_is_exact(strategy: str, amount: int, gap: float) -> None:
    """Refused just before, admitted at it: a test with a FakeClock that waits as told must not be refused again."""
    desk = Desk().command(limits=[f"{amount}/minute per user {strategy}"], key=None)
    for _ in range(5):
        while (outcome := desk.run()).ok:
            desk.clock.advance(gap)
        assert outcome.retry_after is not None
        early = min(outcome.retry_after / 2, 0.01)
        desk.clock.advance(outcome.retry_after - early)
        assert desk.run().status is Status.THROTTLED
        desk.clock.advance(early)
        assert desk.run().ok, f"refused after the {outcome.retry_after} s that it asked for"


def test_with_several_limits_the_longest_wait_counts() -> None:
    desk = Desk().command(limits=["1/minute per user fixed-window", "1/hour per org fixed-window"], key=None)
    desk.run()
    outcome = desk.run()
    assert outcome.retry_after == pytest.approx(3600.0)
    assert "1 h" in outcome.message() or "60 min" in outcome.message()


# ── shared limits ───────────────────────────────────────────────────────────────────────────────────────────


class Shared(LocalLimiter):
    """Stands for a shared store that can be down, at any of its methods."""

    colour = "any"
    down: frozenset[str] = frozenset()

    def _check(self, method: str) -> None:
        if method in self.down:
            raise StoreUnavailable("the limit store is down")

    def reserve(self, *args: Any) -> Any:
        self._check("reserve")
        return super().reserve(*args)

    def test(self, *args: Any) -> Any:
        self._check("test")
        return super().test(*args)

    def refund(self, *args: Any) -> Any:
        self._check("refund")
        return super().refund(*args)

    def release(self, *args: Any) -> Any:
        self._check("release")
        return super().release(*args)


def shared_desk(async_: bool = False, **options: Any) -> tuple[Desk, Shared]:
    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    limits = Shared(clock)
    storage.limits = limits  # type: ignore[assignment]
    return Desk(async_=async_, storage=storage, clock=clock).command(**options), limits


@ASYNC
def test_a_shared_store_that_is_down_falls_back_to_the_local_limiter(async_: bool) -> None:
    desk, limits = shared_desk(async_, limits=["2/hour per user"], key=None)
    limits.down = frozenset({"reserve"})
    outcomes = [desk.run() for _ in range(3)]
    assert statuses(*outcomes) == [OK, OK, THROTTLED]
    assert [(reasons(outcome), outcome.degraded) for outcome in outcomes[:2]] == [(["local_limits"], True)] * 2
    assert desk.events()[0].degraded


@ASYNC
def test_a_critical_command_is_closed_instead(async_: bool) -> None:
    desk, limits = shared_desk(async_, limits=["2/hour per user"], critical=True)
    limits.down = frozenset({"reserve"})
    outcome = desk.run()
    assert (outcome.status, reasons(outcome)) == (Status.UNAVAILABLE, ["store_unavailable"])
    assert desk.effects == []


@ASYNC
@pytest.mark.parametrize("method", ["release", "refund"])
def test_a_store_that_goes_down_before_it_is_paid_back_changes_no_outcome(method: str, async_: bool) -> None:
    desk, limits = shared_desk(
        async_, limits=["9/hour per user", "2 concurrent per org"], risk="high", effects="idempotent"
    )
    asked = desk.run()
    limits.down = frozenset({method})
    again = desk.run()  # shown again: refunded
    assert again.status is Status.PENDING
    done = desk.confirm(asked)  # run: its cap is released
    assert (done.value, desk.effects) == ("created A1", ["A1"])
    assert (done.degraded, again.degraded) == (False, False), "nobody got less than asked: the counter heals itself"


def test_shared_limits_on_sqlite_hold_across_guards(tmp_path: Path) -> None:
    clock = FakeClock()
    stores = [
        SqliteStorage(tmp_path / "limits.db", clock=clock, synchronous="NORMAL", shared_limits=True) for _ in range(2)
    ]
    desks = [Desk(storage=store, clock=clock).command(limits=["3/hour per user"], key=None) for store in stores]
    assert statuses(*[desks[n % 2].run() for n in range(5)]) == [OK] * 3 + [THROTTLED] * 2
    local = [Desk(clock=clock).command(limits=["3/hour per user"], key=None) for _ in range(2)]
    assert statuses(*[local[n % 2].run() for n in range(5)]) == [OK] * 5
    for store in stores:
        store.close()


# ── what may be declared ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "amount", "window", "strategy", "scope"),
    [
        ("5/minute per user", 5, 60.0, "sliding-window-counter", "user"),
        ("100 per 1 hour per org moving-window", 100, 3600.0, "moving-window", "org"),
        ("10 per 2 minutes per command fixed-window", 10, 120.0, "fixed-window", "command"),
        ("1/second per channel", 1, 1.0, "sliding-window-counter", "channel"),
        ("3 concurrent per user", 3, 90.0, "concurrent", "user"),
    ],
)
def test_the_notation(text: str, amount: int, window: float, strategy: str, scope: str) -> None:
    limit = parse_limit(text, "c", 90.0)
    assert limit[:5] == (text, amount, window, strategy, scope)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5/minute",
        "5/minute per planet",
        "often per user",
        "0/minute per user",
        "0 concurrent per user",
        "-1/minute per user",
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="BG115"):
        Desk().command(limits=[text])


def test_a_single_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="list of strings"):
        Desk().command(limits="5/minute per user")


# ── bounded memory ──────────────────────────────────────────────────────────────────────────────────────────


def size(value: Any) -> int:
    """Entries in all containers that hang on an object of the limiter."""
    found = 0
    for slot in getattr(type(value), "__slots__", ()):
        one = getattr(value, slot)
        if isinstance(one, dict):
            found += len(one)
        elif isinstance(one, list):
            found += sum(len(each) for each in one if isinstance(each, dict))
    return found


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
@pytest.mark.parametrize("regular", [False, True], ids=["strangers", "strangers and one who never stops"])
def test_names_are_forgotten_within_a_few_windows(strategy: str, regular: bool) -> None:
    clock = FakeClock()
    limiter = LocalLimiter(clock)
    limit = Limit("l", 5, 10.0, strategy, "user", "l")
    for n in range(5000):  # 10 new names a window
        clock.advance(1.0)
        limiter.reserve((limit,), (f"stranger-{n}",), "")
        if regular and n % 3 == 0:
            limiter.reserve((limit,), ("regular",), "")
    assert size(limiter._states["l"]) < 100


def test_slots_of_lost_calls_are_forgotten() -> None:
    clock = FakeClock()
    limiter = LocalLimiter(clock)
    limit = Limit("l", 2, 10.0, "concurrent", "user", "l")
    for n in range(5000):  # each of them is lost
        clock.advance(1.0)
        limiter.reserve((limit,), (f"user-{n}",), f"t{n}")
    assert size(limiter._states["l"]) < 100


def test_a_burst_of_names_is_forgotten_without_a_pause() -> None:
    clock = FakeClock()
    limiter = LocalLimiter(clock)
    limit = Limit("l", 50, 10.0, "sliding-window-counter", "user", "l")
    for n in range(20_000):
        limiter.reserve((limit,), (f"name-{n}",), "")
    for _ in range(12_000):
        clock.advance(0.5)
        limiter.reserve((limit,), ("later",), "")
    assert size(limiter._states["l"]) < 100
