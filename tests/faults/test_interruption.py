"""Ctrl-C, SystemExit and cancellation in a synchronous call: inside every call of a store, and inside the handler."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
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
    Order,
    Scene,
    chosen_point,
    context,
    hold,
    key_of,
    refused,
)

from botguard import Breaker, Guard, Status
from botguard.adapters.memory import MemoryStorage
from botguard.guard import ALLOW_ALL
from botguard.pipeline.settle import Settlement
from botguard.stages.breaker import BreakerGate
from botguard.stages.limit import LimitStage
from botguard.stages.record import Record
from botguard.stages.work import Work
from botguard.testing import FakeClock, Fault, FaultyStorage, interrupt_at

#: Final states of the key once the handler has begun; None: the key is free.
LEFT: dict[str, set[str | None]] = {
    "external": {"done", "failed", "unknown", None},
    "idempotent": {"done", "failed", "claimed", None},
    "transactional": {"done", "failed", "claimed", None},
}


class Scan:
    """One command over one store, interrupted inside every call of it."""

    def __init__(self, folder: Path, store: str, effects: str, flavour: str) -> None:
        self.clock = FakeClock()
        self.inner = STORES[store](self.clock, folder)
        self.effects, self.flavour = effects, flavour
        self.runs = 0
        self.hit: Counter[str] = Counter()

    def run(self) -> None:
        try:
            chosen = chosen_point()
            if chosen is not None:
                self._point(*chosen)
                return
            for call in count(1):
                if not any([self._point(call, 0), self._point(call, 1)]):
                    break
        finally:
            getattr(self.inner, "close", lambda: None)()

    def _point(self, call: int, after: int) -> bool:
        self.runs += 1
        order, user = f"x{self.runs}", f"u{self.runs}"
        error = (KeyboardInterrupt, SystemExit)[self.runs % 2]
        fault = interrupt_at(call, "after" if after else "before", error)
        scene = Scene(FaultyStorage(self.inner, fault), self.clock, self.effects, self.flavour)
        scene.half_open()
        if self.flavour == "no_probe":
            admit, scene.breaker.admit = scene.breaker.admit, lambda: 1.0
        broken = []
        try:
            outcome = scene.run(order, user)
            if fault.fired is not None:
                broken.append(f"{error.__name__} was swallowed: {outcome!r}")
        except error:
            pass
        if self.flavour == "no_probe":
            scene.breaker.admit = admit
        if fault.fired is None:
            return False
        self.hit[f"{fault.fired.when} {fault.fired.name}"] += 1
        broken += self._broken(scene, fault, order, user)
        hold(broken, call, after, story=str(fault.fired))
        return True

    def _broken(self, scene: Scene, fault: Fault, order: str, user: str) -> list[str]:
        assert fault.fired is not None
        where = f"{fault.fired.when} {fault.fired.name}"
        broken = []
        row = self.inner.idempotency.peek(key_of(order))
        state = str(row.state) if row is not None else None
        began, happened = scene.began.count(order), scene.effects_of(order)
        if not began and row is not None:
            broken.append(f"the handler never began, but the key is {state}")
        if began and state not in LEFT[self.effects]:
            broken.append(f"the handler began, and the key is {state}")
        if state == "done" and not happened:
            broken.append("done without its effect")
        if self.effects == "external" and happened and state not in ("done", "unknown"):
            broken.append(f"an effect, and the key is {state}")
        if self.effects == "transactional" and bool(happened) != (state == "done"):
            broken.append(f"{happened} effects, and the key is {state}")
        events = [e for e in self.inner.events.tail(50) if e.actor == user and e.kind == "run"]
        # Whether an event that was on its way arrived nobody can tell, and a second one would be worse than none.
        if len(events) != 1 and not (where == "before events.append" and not events):
            broken.append(f"{len(events)} terminal events: {[e.status for e in events]}")
        counted = sum(scene.guard.metrics.totals()[COMMAND]["statuses"].values())
        if counted != 1:
            broken.append(f"counted {counted} times")
        broken += self._allowance(scene, where, user, order, charged=bool(began))
        self.clock.advance(ALL_OVER)
        return broken + self._redelivery(scene, order, user, happened, state)

    def _allowance(self, scene: Scene, where: str, user: str, order: str, *, charged: bool) -> list[str]:
        self.clock.advance(31)
        if where == "after limits.reserve":
            # The slot's name was on its way. It is a lease, and that is what gives it back.
            self.clock.advance(ALL_OVER)
        made = 0
        while made <= ALLOWED:
            outcome = scene.run(f"after-{order}-{made}", user)
            if outcome.status is not Status.SUCCEEDED:
                if not refused(outcome, Status.THROTTLED, "rate_limited"):
                    return [f"call {made + 1} after it: {outcome!r}"]
                break
            made += 1
        # A count that was on its way back is not taken back twice.
        unsure = self.flavour == "denied" or where == "before limits.refund"
        return [] if made == ALLOWED - charged or (unsure and made == ALLOWED - 1) else [f"{made} calls are left"]

    def _redelivery(self, scene: Scene, order: str, user: str, happened: int, state: str | None) -> list[str]:
        if self.flavour not in ("ok", "retried"):
            return []
        outcome = scene.run(order, user)
        effects = scene.effects_of(order)
        if state == "unknown":
            fits = outcome.status is Status.UNKNOWN and effects == happened
        elif state == "done":
            fits = outcome.replayed and effects == happened == 1
        else:
            fits = outcome.status is Status.SUCCEEDED and not outcome.replayed and effects == happened + 1
        return [] if fits else [f"redelivered after {state}: {outcome!r}, {effects} effects"]


def _cases() -> list[Any]:
    return [
        pytest.param(store, effects, flavour, id=f"{store}-{effects}-{flavour}")
        for store in STORES
        for effects in ("external", "idempotent", "transactional")
        for flavour in FLAVOURS
        if effects != "transactional" or store == "sqlite"
    ]


@pytest.mark.parametrize(("store", "effects", "flavour"), _cases())
def test_interrupted_inside_every_call_of_the_store(tmp_path: Path, store: str, effects: str, flavour: str) -> None:
    scan = Scan(tmp_path, store, effects, flavour)
    scan.run()
    if chosen_point() is None:
        assert len(scan.hit) >= (4 if store == "memory" else 6), f"vacuous: {scan.hit}"
        if effects == "transactional" and flavour == "ok":
            wanted = {
                f"{when} {name}"
                for when in ("before", "after")
                for name in ("idempotency.claim", "work.begin", "unit.finish", "unit.commit", "limits.release")
            }
            assert wanted <= set(scan.hit)


def _nothing(*_: Any) -> Any:
    async def nothing() -> None:
        return None

    return nothing()


async def _kept_open(self: Work, call: Any, unit: Any) -> None:
    self.__dict__.setdefault("leaked", []).append(unit)


PLANTED = {
    "the key is not given back": (Settlement, "release", _nothing, "external", "ok"),
    "probes are not given back": (BreakerGate, "ignored", lambda *_: None, "transactional", "ok"),
    "slots are not given back": (LimitStage, "_settle", _nothing, "external", "ok"),
    "no event of what was interrupted": (Record, "_interrupted", _nothing, "external", "ok"),
    "a commit that arrived is not noticed": (Work, "_find_out", _nothing, "transactional", "ok"),
    "a transaction stays open": (Work, "_rollback", _kept_open, "transactional", "error"),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    where, name, instead, effects, flavour = PLANTED[bug]
    monkeypatch.setattr(where, name, instead)
    with pytest.raises(Broken, match="reproduce: BOTGUARD_FAULT_AT="):
        Scan(tmp_path, "sqlite", effects, flavour).run()


# ── raised by the handler itself ─────────────────────────────────────────────────────────────────────────────────

STOPS = [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit]


class _Stopped:
    """Handlers that stop in the middle of their work, the first time that they are called."""

    def __init__(self, stop: type[BaseException], effects: str) -> None:
        clock = FakeClock()
        self.storage = MemoryStorage(clock=clock)
        breakers = {"erp": Breaker(fail_max=1, reset_after=30)}
        self.guard = Guard(storage=self.storage, access=ALLOW_ALL, breakers=breakers, clock=clock)
        options: Any = {
            "effects": effects,
            "key": lambda payload: (payload.order_id,),
            "breaker": "erp",
            "limits": ["1 concurrent per user"],
        }

        @self.guard.command("sync", **options)
        def sync(payload: Order) -> None:
            if payload.order_id == "x":
                raise stop("from inside")

        @self.guard.command("async", **options)
        async def asynchronous(payload: Order) -> None:
            await asyncio.sleep(0)
            if payload.order_id == "x":
                raise stop("from inside")

        self.sync, self.asynchronous = sync, asynchronous
        gate = self.guard._parts.breakers["erp"]
        gate.failed(gate.admit())
        clock.advance(31)  # half-open: one probe

    def left(self) -> list[str]:
        """States of all keys."""
        return [row[0] for row in self.storage.idempotency._rows.values()]

    def stored(self) -> list[tuple[str, str]]:
        return [(event.status, event.reasons) for event in self.storage.events.tail()]


def _enter(scene: _Stopped, way: str, order_id: str) -> Any:
    """A call that comes in one of the five ways; the async ones return a coroutine."""
    order, asker = Order(order_id=order_id), context("u1")
    if way == "run":
        return scene.guard.run("sync", order, context=asker)
    if way == "direct":
        with scene.guard.acting(asker):
            return scene.sync(order)
    if way == "direct async":

        async def direct() -> None:
            with scene.guard.acting(asker):
                await scene.asynchronous(order)

        return direct()
    return scene.guard.run_async("async" if way == "run_async" else "sync", order, context=asker)


@pytest.mark.parametrize("effects", ["external", "idempotent", "read"])
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("way", ["run", "direct", "run_async", "direct async", "sync under run_async"])
def test_a_handler_that_stops_is_passed_through(stop: type[BaseException], effects: str, way: str) -> None:
    scene = _Stopped(stop, effects)

    def call(order_id: str) -> Any:
        made = _enter(scene, way, order_id)
        return asyncio.run(made) if "async" in way else made

    with pytest.raises(stop):
        call("x")
    assert scene.left() == {"external": ["unknown"], "idempotent": ["claimed"], "read": []}[effects]
    ((status, reasons),) = scene.stored()
    assert (status, "cancelled" in reasons.split(",")) == ("unknown", True)
    call("y")  # the slot and the only probe are free again
    assert scene.stored()[-1][0] == "succeeded"


def test_a_thread_whose_caller_was_cancelled_runs_to_its_end() -> None:
    """run_async of a sync handler: the caller is let go at once, and the run is written down all the same."""
    storage = MemoryStorage(clock=FakeClock())
    guard = Guard(storage=storage, access=ALLOW_ALL)
    entered, leave = threading.Event(), threading.Event()

    @guard.command("slow", effects="external", key=lambda p: (p.order_id,), limits=["1 concurrent per user"])
    def slow(payload: Order) -> str:
        entered.set()
        assert leave.wait(10)
        return "made"

    async def cancel() -> None:
        call = asyncio.ensure_future(guard.run_async("slow", Order(order_id="o1"), context=context("u1")))
        await asyncio.to_thread(entered.wait, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        leave.set()

    asyncio.run(cancel())  # waits for its threads
    assert [event.status for event in storage.events.tail()] == ["succeeded"]
    again = guard.run("slow", Order(order_id="o1"), context=context("u1"))
    assert (again.replayed, again.value) == (True, "made")
    assert guard.run("slow", Order(order_id="o2"), context=context("u1")).ok
