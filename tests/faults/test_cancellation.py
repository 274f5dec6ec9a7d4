"""Cancelled at every await, once and twice: nothing is lost, nothing happens twice, and the cancellation goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from faultkit import (
    ALL_OVER,
    ALLOWED,
    COMMAND,
    FLAVOURS,
    STORES,
    Broken,
    Scene,
    chosen_point,
    context,
    hold,
    key_of,
    refused,
)

from botguard import Outcome, Status
from botguard.pipeline.settle import Settlement
from botguard.ports.idempotency import RowState
from botguard.runtime import AsyncRuntime
from botguard.stages.breaker import BreakerGate
from botguard.stages.complete import Complete
from botguard.stages.limit import LimitStage
from botguard.stages.record import Record
from botguard.testing import CancelAt, FakeClock, FaultyStorage, suspend

EFFECTS = ("external", "idempotent")

#: Final states of the key that a cancelled call may leave once its handler has begun; None: the key is free.
LEFT: dict[tuple[str, str], set[str | None]] = {
    ("external", "ok"): {"done", "unknown"},
    ("external", "retried"): {"done", "unknown"},
    ("external", "before_effect"): {None, "unknown"},
    ("external", "rejected"): {"failed", "unknown"},
    ("external", "error"): {"unknown"},
    ("idempotent", "ok"): {"done", "claimed"},
    ("idempotent", "retried"): {"done", "claimed"},
    ("idempotent", "before_effect"): {None, "claimed"},
    ("idempotent", "rejected"): {"failed", "claimed"},
    ("idempotent", "error"): {None, "claimed"},
}


class Scan:
    """One command over one store, cancelled again and again."""

    def __init__(self, folder: Path, store: str, effects: str, flavour: str, *, waiting: bool = True) -> None:
        self.clock = FakeClock()
        self.inner = STORES[store](self.clock, folder)
        self.hooks = [suspend] if waiting else []
        self.effects, self.flavour = effects, flavour
        self.runs = 0
        self.left: Counter[str] = Counter()

    def run(self) -> None:
        try:
            asyncio.run(self._all())
        finally:
            getattr(self.inner, "close", lambda: None)()

    async def _all(self) -> None:
        chosen = chosen_point()
        if chosen is not None:
            await self._point(chosen)
            return
        for first in count(1):
            run = await self._point((first,))
            if not run.delivered:
                break
            for second in range(first + 1, run.awaits + 1):
                await self._point((first, second))

    async def _point(self, at: tuple[int, ...]) -> CancelAt[Outcome]:
        self.runs += 1
        order, user = f"x{self.runs}", f"u{self.runs}"
        scene = Scene(FaultyStorage(self.inner, *self.hooks), self.clock, self.effects, self.flavour, colour="async")
        scene.half_open()
        if self.flavour == "no_probe":  # another call takes the only probe between our claim and our attempt
            admit, scene.breaker.admit = scene.breaker.admit, lambda: 1.0
        run = CancelAt(scene.run_async(order, user), *at)
        try:
            ended: Any = await run
        except asyncio.CancelledError:
            ended = None
        if self.flavour == "no_probe":
            scene.breaker.admit = admit
        hold(await self._broken(scene, run, ended, order, user), *at)
        return run

    async def _broken(
        self, scene: Scene, run: CancelAt[Outcome], ended: Outcome | None, order: str, user: str
    ) -> list[str]:
        broken = []
        view: Any = scene.storage.for_async()
        await view.idempotency.release("nothing", "nobody")  # behind everything that is still on its way
        row = await view.idempotency.peek(key_of(order))
        state = str(row.state) if row is not None else None
        began, happened = scene.began.count(order), scene.effects_of(order)
        if bool(run.delivered) != (ended is None):
            broken.append(f"cancelled {run.delivered} times, but it ended as {ended}")
        if run.delivered:
            self.left[f"{'began' if began else 'not begun'}, {state}"] += 1
            if not began and row is not None:
                broken.append(f"the handler never began, but the key is {state}")
            if began and state not in LEFT[self.effects, self.flavour]:
                broken.append(f"the handler began, and the key is {state}")
            if state == "claimed" and row.lease_left <= 0:
                broken.append("claimed without a lease")
        if state == "done" and not happened:
            broken.append("done without its effect")
        if self.effects == "external" and happened and state not in ("done", "unknown"):
            broken.append(f"an effect, and the key is {state}")
        events = [e for e in await view.events.tail(50) if e.actor == user and e.kind == "run"]
        if len(events) != 1:
            broken.append(f"{len(events)} terminal events: {[e.status for e in events]}")
        counted = sum(scene.guard.metrics.totals()[COMMAND]["statuses"].values())
        if counted != 1:
            broken.append(f"counted {counted} times")
        broken += await self._allowance(scene, user, order, charged=bool(began))
        self.clock.advance(ALL_OVER)
        broken += await self._redelivery(scene, order, user, happened, state)
        return broken

    async def _allowance(self, scene: Scene, user: str, order: str, *, charged: bool) -> list[str]:
        """A call whose handler never began was not charged; its slot and its probe are free in any case."""
        self.clock.advance(31)  # the breaker may be open by right, but then it admits a probe
        made = 0
        while made <= ALLOWED:
            outcome = await scene.run_async(f"after-{order}-{made}", user)
            if outcome.status is not Status.SUCCEEDED:
                if not refused(outcome, Status.THROTTLED, "rate_limited"):
                    return [f"call {made + 1} after it: {outcome!r}"]
                break
            made += 1
        if self.flavour == "denied":  # whether the denial was finished, and stays charged, depends on the point
            return [] if made in (ALLOWED, ALLOWED - 1) else [f"{made} calls are left"]
        return [] if made == ALLOWED - charged else [f"{made} calls are left, began={charged}"]

    async def _redelivery(self, scene: Scene, order: str, user: str, happened: int, state: str | None) -> list[str]:
        """Delivered again after every lease is over: the key is usable, or visibly unknown."""
        if self.flavour not in ("ok", "retried"):
            return []
        outcome = await scene.run_async(order, user)
        effects = scene.effects_of(order)
        if state == "unknown":
            fits = outcome.status is Status.UNKNOWN and effects == happened
        elif state == "done":
            fits = outcome.replayed and effects == happened == 1
        else:
            fits = outcome.status is Status.SUCCEEDED and not outcome.replayed and effects == happened + 1
        return [] if fits else [f"redelivered after {state}: {outcome!r}, {effects} effects"]


#: Stores whose every call suspends, and SQLite as it is, which suspends only where it writes.
CASES = [
    *[("memory", True, "external", flavour) for flavour in FLAVOURS],
    *[("loose", True, "external", flavour) for flavour in FLAVOURS],
    *[(store, True, effects, f) for store in ("shared", "sqlite") for effects in EFFECTS for f in FLAVOURS],
    *[("sqlite", False, effects, flavour) for effects in EFFECTS for flavour in ("ok", "before_effect", "no_probe")],
]


@pytest.mark.parametrize(("store", "waiting", "effects", "flavour"), CASES)
def test_cancelled_at_every_await_once_and_twice(
    tmp_path: Path, store: str, waiting: bool, effects: str, flavour: str
) -> None:
    scan = Scan(tmp_path, store, effects, flavour, waiting=waiting)
    scan.run()
    if chosen_point() is None:
        reached = {place.split(",")[0] for place in scan.left}
        wanted = {"not begun"} if flavour in ("denied", "no_probe") else {"began", "not begun"}
        assert reached == wanted, f"vacuous: {scan.left}"
        assert scan.runs > 10


# ── each check finds the bug that it is there for ────────────────────────────────────────────────────────────────


async def _no_shield(self: Any, work: Awaitable[Any]) -> Any:
    return await work


async def _nothing(*_: Any) -> None:
    return None


_around = Complete.around


async def _swallowed(*given: Any) -> Outcome:
    try:
        return await _around(*given)
    except asyncio.CancelledError:
        return Outcome(Status.CANCELLED)


async def _released(self: Complete, call: Any) -> None:
    await self._settlement.release(call)


async def _done_at_once(self: Any, call: Any) -> None:
    await call.stores.idempotency.finish(call.row_key, call.claim_id, RowState.DONE, b"cN", 60.0, 1)


PLANTED = {
    "nothing is shielded": (AsyncRuntime, "shield", _no_shield, "ok"),
    "nothing is shielded, and the handler gave the key back": (AsyncRuntime, "shield", _no_shield, "before_effect"),
    "the key is not given back": (Settlement, "release", _nothing, "no_probe"),
    "probes are not given back": (BreakerGate, "ignored", lambda *_: None, "ok"),
    "slots are not given back": (LimitStage, "_settle", _nothing, "ok"),
    "no event of what was cancelled": (Record, "_interrupted", _nothing, "denied"),
    "cancellation ends here": (Complete, "around", _swallowed, "ok"),
    "a running effect is forgotten": (Complete, "_interrupted", _released, "ok"),
    "a running effect is taken for done": (Settlement, "abandon", _done_at_once, "ok"),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    where, name, instead, flavour = PLANTED[bug]
    monkeypatch.setattr(where, name, instead)
    with pytest.raises(Broken, match="reproduce: BOTGUARD_FAULT_AT="):
        Scan(tmp_path, "shared", "external", flavour).run()


# ── people who answer, and callers who join ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("effects", ["external", "idempotent"])
@pytest.mark.parametrize("store", ["shared", "sqlite"])
def test_a_confirmed_call_cancelled_at_every_await(tmp_path: Path, store: str, effects: str) -> None:
    """The answer is spent on its own call alone: it goes on after a cancellation, and makes one effect."""
    clock = FakeClock()
    inner = STORES[store](clock, tmp_path)
    reached: Counter[str] = Counter()

    async def point(number: int, at: tuple[int, ...]) -> CancelAt[Outcome]:
        order, asker = f"o{number}", context(f"u{number}")
        scene = Scene(FaultyStorage(inner, suspend), clock, effects, colour="async", risk="high")
        asked = await scene.run_async(order, f"u{number}")
        assert asked.confirmation is not None
        token = asked.confirmation.token
        run = CancelAt(scene.guard.confirm_async(token, context=asker), *at)
        try:
            await run
        except asyncio.CancelledError:
            assert run.delivered
        broken = []
        began, happened = scene.began.count(order), scene.effects_of(order)
        reached["began" if began else "not begun"] += bool(run.delivered)
        again = await scene.guard.confirm_async(token, context=asker)
        if again.status is Status.IN_FLIGHT and began:  # idempotent: its lease decides when it may run again
            clock.advance(ALL_OVER)
            again = await scene.guard.confirm_async(token, context=asker)
        fits = again.status is Status.SUCCEEDED or (again.status is Status.UNKNOWN and began)
        most = 2 if effects == "idempotent" and happened else 1
        if not fits or not happened <= scene.effects_of(order) <= most or (again.ok and not scene.effects_of(order)):
            broken.append(f"confirmed again: {again!r}, {scene.effects_of(order)} effects")
        hold(broken, *at)
        return run

    async def scan() -> None:
        numbers = count(1)
        for first in count(1):
            run = await point(next(numbers), (first,))
            if not run.delivered:
                return
            for second in range(first + 1, run.awaits + 1):
                await point(next(numbers), (first, second))

    if (chosen := chosen_point()) is not None:
        asyncio.run(point(1, chosen))
    else:
        asyncio.run(scan())
        assert reached["began"] > 3, f"vacuous: {reached}"
        assert reached["not begun"] > 3, f"vacuous: {reached}"
    getattr(inner, "close", lambda: None)()


@pytest.mark.parametrize("in_flight", ["join", "wait"])
def test_a_caller_who_waits_for_its_twin_cancelled_at_every_await(tmp_path: Path, in_flight: str) -> None:
    """The twin goes on, whoever waits for it is charged for nothing, and later callers get its result."""
    clock = FakeClock()
    inner = STORES["shared"](clock, tmp_path)

    async def point(at: int) -> CancelAt[Outcome]:
        order, user = f"o{at}", f"u{at}"
        limits = [f"{ALLOWED}/hour per user"]
        options = {"limits": limits, "in_flight": in_flight, "wait": 5.0}
        scene = Scene(FaultyStorage(inner, suspend), clock, "external", colour="async", **options)
        scene.gate, scene.entered = asyncio.Event(), asyncio.Event()
        first = asyncio.ensure_future(scene.run_async(order, user))
        await scene.entered.wait()
        opener = asyncio.ensure_future(_after_some_turns(scene.gate))
        run = CancelAt(scene.run_async(order, user), at)
        try:
            joined: Any = await run
        except asyncio.CancelledError:
            joined = None
        await opener
        made, scene.gate = await first, None
        again = await scene.run_async(order, user)
        left = 0
        while (await scene.run_async(f"after-{order}-{left}", user)).ok:
            left += 1
        broken = []
        if not made.ok or made.replayed or scene.effects_of(order) != 1:
            broken.append(f"the twin got {made!r}")
        if joined is not None and not (joined.status is Status.IN_FLIGHT or joined.replayed):
            broken.append(f"the joined call got {joined!r}")
        if not again.replayed or left != ALLOWED - 1:
            broken.append(f"later: {again!r}, {left} calls are left")
        hold(broken, at)
        return run

    async def scan() -> None:
        for at in count(1):
            run = await point(at)
            if not run.delivered:
                assert at > 3, "vacuous"
                return

    asyncio.run(point(chosen[0]) if (chosen := chosen_point()) is not None else scan())


async def _after_some_turns(gate: asyncio.Event) -> None:
    for _ in range(300):
        await asyncio.sleep(0)
    gate.set()


def test_counted_refusals_are_not_lost_with_the_caller_who_writes_them_down(tmp_path: Path) -> None:
    """Refusals beyond the first few a minute become one summary each; a later caller's run stores it."""

    async def written(*at: int) -> tuple[CancelAt[Outcome], list[int]]:
        clock = FakeClock()
        inner = STORES["loose"](clock, tmp_path)
        scene = Scene(FaultyStorage(inner, suspend), clock, "external", "denied", colour="async", limits=[])
        for user in ("u1", "u2", "u3"):
            for number in range(8):
                assert (await scene.run_async(f"x{number}", user)).status is Status.DENIED
        clock.advance(61)
        run = CancelAt(scene.run_async("x8", "u4"), *at)
        try:
            await run
        except asyncio.CancelledError:
            await scene.run_async("x9", "u4")
        return run, sorted(event.count for event in inner.events.tail() if event.kind == "refusals")

    async def scan() -> None:
        for at in count(1):
            run, counts = await written(at)
            hold([f"summaries of {counts} refusals"] if counts != [3, 3, 3] else [], at)
            if not run.delivered:
                assert at > 8, "vacuous"
                return

    asyncio.run(scan())
