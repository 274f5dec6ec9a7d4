"""A store that fails, before or after every call of it: the table of semantics, section 5, row by row."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from faultkit import ALL_OVER, COMMAND, FLAVOURS, STORES, Broken, Scene, chosen_point, context, hold, key_of

from botguard import Happened, NotHappened, Outcome, Reason, Rejected, Retry, Status, StoreUnavailable
from botguard.pipeline.settle import Settlement
from botguard.stages import record
from botguard.stages.claim import Claim
from botguard.stages.complete import Complete
from botguard.stages.limit import LimitStage
from botguard.stages.work import Work
from botguard.testing import CancelAt, FakeClock, FaultyStorage, Outage, suspend, unavailable_at

#: Everything that may stand beside an outcome because a store was down.
NOTES = {
    Reason.LOCAL_LIMITS,
    Reason.CLAIM_SKIPPED,
    Reason.COMPLETION_LOST,
    Reason.AUDIT_LOST,
}


@dataclass(frozen=True)
class Expected:
    """What a fault at one place must lead to."""

    status: Status
    notes: frozenset[Reason] = frozenset()
    ran: bool = True
    row: str | None = "done"
    events: int = 1
    spooled: int = 0


def expected(name: str, when: str, seen: int, options: dict[str, Any], effects: str) -> Expected:
    """For a call that would succeed. ``seen``: how many calls of this name there were, this one included."""
    fine = Expected(Status.SUCCEEDED)
    closed = Expected(Status.UNAVAILABLE, frozenset({Reason.STORE_UNAVAILABLE}), ran=False, row=None)
    before = when == "before"
    match name:
        case "idempotency.peek" | "limits.release" | "limits.refund" | "unit.rollback":
            return fine  # the claim asks again; counters run out by themselves, and slots are leases
        case "limits.reserve":
            return closed if options.get("critical") else replace(fine, notes=frozenset({Reason.LOCAL_LIMITS}))
        case "idempotency.claim" if not before:
            return fine  # the same claim id asks again, and wins
        case "idempotency.claim" if effects == "idempotent" and not options.get("must_audit"):
            return replace(fine, notes=frozenset({Reason.CLAIM_SKIPPED}), row=None)
        case "idempotency.claim" | "work.begin" if seen == 1:
            return closed
        case "unit.finish" | "work.begin":
            return Expected(Status.FAILED, frozenset({Reason.STORE_UNAVAILABLE}), row=None)
        case "unit.commit":
            return Expected(Status.FAILED, frozenset({Reason.STORE_UNAVAILABLE}), row=None) if before else fine
        case "idempotency.finish":
            lost = replace(fine, notes=frozenset({Reason.COMPLETION_LOST}), row="claimed", spooled=1)
            return lost if before else fine
        case "events.append" if options.get("must_audit") and seen == 1:
            return closed
        case "events.append":
            return replace(fine, notes=frozenset({Reason.AUDIT_LOST}), events=0 if before else 1)
    raise AssertionError(f"no row for {name}")


class Scan:
    """One command over one store that fails at every call of it."""

    def __init__(
        self, folder: Path, store: str, effects: str, flavour: str, *, colour: str = "sync", **options: Any
    ) -> None:
        self.clock = FakeClock()
        self.inner = STORES[store](self.clock, folder)
        self.effects, self.flavour, self.colour, self.options = effects, flavour, colour, options
        self.runs = 0
        self.hit: Counter[str] = Counter()

    def run(self) -> None:
        try:
            asyncio.run(self._all())
        finally:
            getattr(self.inner, "close", lambda: None)()

    async def _all(self) -> None:
        undisturbed, _ = await self._call()
        chosen = chosen_point()
        if chosen is not None:
            await self._point(undisturbed, *chosen)
            return
        for call in count(1):
            if not any([await self._point(undisturbed, call, after) for after in (0, 1)]):
                break

    async def _call(self, *hooks: Any) -> tuple[Outcome, Scene]:
        self.runs += 1
        waiting = [suspend] if self.colour == "async" else []
        storage = FaultyStorage(self.inner, *waiting, *hooks)
        scene = Scene(storage, self.clock, self.effects, self.flavour, colour=self.colour, **self.options)
        scene.half_open()
        if self.flavour == "no_probe":
            admit, scene.breaker.admit = scene.breaker.admit, lambda: 1.0
        outcome = await self._run(scene, f"x{self.runs}", f"u{self.runs}")
        if self.flavour == "no_probe":
            scene.breaker.admit = admit
        return outcome, scene

    async def _run(self, scene: Scene, order: str, user: str) -> Outcome:
        return scene.run(order, user) if self.colour == "sync" else await scene.run_async(order, user)

    async def _point(self, undisturbed: Outcome, call: int, after: int) -> bool:
        when = "after" if after else "before"
        fault = unavailable_at(call, when)  # type: ignore[arg-type]
        try:
            outcome, scene = await self._call(fault)
        except Exception as error:
            hold([f"run() raised {error!r}"], call, after, story=str(fault.fired))
            raise
        if fault.fired is None:
            return False
        name = fault.fired.name
        self.hit[f"{when} {name}"] += 1
        order, user = f"x{self.runs}", f"u{self.runs}"
        row = self.inner.idempotency.peek(key_of(order))
        state = str(row.state) if row is not None else None
        events = [e for e in self.inner.events.tail(50) if e.actor == user and e.kind == "run"]
        if self.flavour in ("ok", "retried"):
            seen = scene.storage.calls[: fault.fired.number].count(name)
            want = expected(name, when, seen, self.options, self.effects)
            broken = self._differs(want, outcome, scene, order, state, len(events))
        else:
            broken = self._misjudged(undisturbed, outcome, scene, order)
            if len(events) != 1 and name != "events.append":
                broken.append(f"{len(events)} terminal events: {[(e.status, e.reasons) for e in events]}")
        broken += await self._healed(scene, order, user, state)
        hold(broken, call, after, story=str(fault.fired))
        return True

    def _differs(
        self, want: Expected, outcome: Outcome, scene: Scene, order: str, state: str | None, events: int
    ) -> list[str]:
        notes = frozenset(outcome.reasons)
        effects = scene.effects_of(order)
        should = int(want.ran and want.status is Status.SUCCEEDED)
        found = {
            "status": (want.status, outcome.status),
            "reasons": (want.notes, notes),
            "handler ran": (want.ran, order in scene.began),
            "effects": (should, effects),
            "key": (want.row, state),
            "terminal events": (want.events, events),
            "spooled": (want.spooled, len(scene.spool.records)),
            "degraded": (bool(want.notes & NOTES), outcome.degraded),
            "value": (f"made {order}" if should else None, outcome.value),
        }
        return [f"{name} is {is_!r}, not {be!r}" for name, (be, is_) in found.items() if be != is_]

    def _misjudged(self, undisturbed: Outcome, outcome: Outcome, scene: Scene, order: str) -> list[str]:
        """The outcome is what it would have been, with a note at most; or the call was refused before the handler."""
        if outcome.status is Status.UNAVAILABLE and order not in scene.began:
            return []
        broken = []
        if outcome.status is not undisturbed.status or type(outcome.error) is not type(undisturbed.error):
            broken.append(f"{outcome!r} instead of {undisturbed!r}")
        strange = set(outcome.reasons) - set(undisturbed.reasons) - NOTES
        # A claim that was skipped cannot be settled: the handler's error stays the handler's.
        if strange and Reason.CLAIM_SKIPPED not in outcome.reasons:
            broken.append(f"strange reasons: {strange}")
        return broken

    async def _healed(self, scene: Scene, order: str, user: str, state: str | None) -> list[str]:
        """The store is back and every lease is over: the key is usable, or visibly unknown."""
        self.clock.advance(ALL_OVER)
        if self.flavour not in ("ok", "retried"):
            return []
        before = scene.effects_of(order)
        outcome = await self._run(scene, order, user)
        effects = scene.effects_of(order) - before
        if state == "done":
            fits = outcome.replayed and outcome.value == f"made {order}" and not effects
        elif state == "claimed" and self.effects == "external":
            fits = outcome.status is Status.UNKNOWN and not effects
        else:
            fits = outcome.status is Status.SUCCEEDED and not outcome.replayed and effects == 1
        return [] if fits else [f"redelivered after {state}: {outcome!r}, {effects} effects more"]


def _cases() -> list[Any]:
    cases = []
    for store in STORES:
        for effects in ("external", "idempotent", "transactional"):
            for colour in ("sync", "async"):
                if effects == "transactional" and (store != "sqlite" or colour == "async"):
                    continue
                cases += [(store, effects, colour, flavour, {}) for flavour in FLAVOURS]
                cases.append((store, effects, colour, "ok", {"must_audit": True}))
                cases.append((store, effects, colour, "ok", {"critical": True}))
    return [pytest.param(*case, id="-".join([*case[:4], *case[4]])) for case in cases]


@pytest.mark.parametrize(("store", "effects", "colour", "flavour", "options"), _cases())
def test_unavailable_at_every_call(
    tmp_path: Path, store: str, effects: str, colour: str, flavour: str, options: dict[str, Any]
) -> None:
    scan = Scan(tmp_path, store, effects, flavour, colour=colour, **options)
    scan.run()
    if chosen_point() is None:
        assert len(scan.hit) >= (4 if store == "memory" else 6), f"vacuous: {scan.hit}"


# ── each row of the table has a bug that breaks it ───────────────────────────────────────────────────────────────


async def _nothing(*_: Any) -> None:
    return None


def _open(self: Claim, call: Any, error: StoreUnavailable) -> None:
    call.claim_id = ""


def _shut(self: Claim, call: Any, error: StoreUnavailable) -> Outcome:
    return Outcome(Status.UNAVAILABLE, None, error, (Reason.STORE_UNAVAILABLE,))


async def _believed(self: Work, call: Any) -> bool:
    return False


def _unspooled(self: Settlement, call: Any, *_: Any) -> None:
    call.note(Reason.COMPLETION_LOST, degraded=True)


def _raised(outcome: Outcome) -> None:
    raise StoreUnavailable("the event could not be written")


async def _not_asked_again(*_: Any) -> None:
    return None


async def _denied(self: Complete, call: Any, outcome: Outcome) -> None:
    outcome.status = Status.UNKNOWN


PLANTED = {
    "the claim is open for external effects": (Claim, "_without_store", _open, "external", "ok"),
    "the claim is closed for idempotent effects": (Claim, "_without_store", _shut, "idempotent", "ok"),
    "a lost answer of COMMIT is not looked up": (Work, "_committed", _believed, "transactional", "ok"),
    "a lost completion is not spooled": (Settlement, "lost", _unspooled, "external", "ok"),
    "a lost answer of finish is not asked for": (Settlement, "_once_more", _not_asked_again, "external", "ok"),
    "a lost event is another outcome": (record, "_lose", _raised, "external", "denied"),
    "slots are given back outside of the net": (LimitStage, "_settle", lambda self, call, store, refund, *of:
        _wait(store.refund(*of) if refund else store.release(*of)), "external", "ok"),
}  # fmt: skip


async def _wait(_: Any) -> None:
    return None


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    where, name, instead, effects, flavour = PLANTED[bug]
    monkeypatch.setattr(where, name, instead)
    with pytest.raises(Broken, match="reproduce: BOTGUARD_FAULT_AT="):
        Scan(tmp_path, "sqlite", effects, flavour).run()


# ── a part that is down for the whole run ────────────────────────────────────────────────────────────────────────

#: Store, effects, what is down, options, the status, its reasons, and whether the handler may run.
DOWN: list[tuple[str, str, str, dict[str, Any], str, str, bool]] = [
    ("shared", "external", "*", {}, "unavailable", "store_unavailable local_limits audit_lost", False),
    ("shared", "idempotent", "*", {}, "succeeded", "claim_skipped local_limits audit_lost", True),
    ("memory", "idempotent", "*", {"must_audit": True}, "unavailable", "store_unavailable audit_lost", False),
    ("shared", "idempotent", "*", {"critical": True}, "unavailable", "store_unavailable audit_lost", False),
    ("shared", "read", "*", {}, "succeeded", "local_limits audit_lost", True),
    ("sqlite", "transactional", "*", {}, "unavailable", "store_unavailable local_limits audit_lost", False),
    ("sqlite", "transactional", "work.*", {}, "unavailable", "store_unavailable", False),
    ("shared", "external", "idempotency.*", {}, "unavailable", "store_unavailable", False),
    ("shared", "external", "limits.*", {}, "succeeded", "local_limits", True),
    ("shared", "external", "limits.*", {"critical": True}, "unavailable", "store_unavailable", False),
    ("loose", "external", "events.*", {}, "succeeded", "audit_lost", True),
    ("loose", "external", "events.*", {"must_audit": True}, "unavailable", "store_unavailable audit_lost", False),
    ("loose", "idempotent", "events.*", {"must_audit": True}, "unavailable", "store_unavailable audit_lost", False),
    ("shared", "external", "approvals.*", {}, "succeeded", "", True),
    ("shared", "external", "approvals.*", {"risk": "high"}, "unavailable", "store_unavailable", False),
    ("shared", "idempotent", "approvals.*", {"risk": "high"}, "unavailable", "store_unavailable", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("colour", "store", "effects", "down", "options", "status", "reasons", "ran"),
    [(colour, *row) for row in DOWN for colour in ("sync", "async") if (colour, row[1]) != ("async", "transactional")],
)
def test_a_part_that_is_down(
    tmp_path: Path,
    colour: str,
    store: str,
    effects: str,
    down: str,
    options: dict[str, Any],
    status: str,
    reasons: str,
    ran: bool,
) -> None:
    clock = FakeClock()
    inner = STORES[store](clock, tmp_path)
    outage = Outage(down)
    hooks = [outage, suspend] if colour == "async" else [outage]
    scene = Scene(FaultyStorage(inner, *hooks), clock, effects, colour=colour, **options)

    def run() -> Outcome:
        return asyncio.run(scene.run_async("o1")) if colour == "async" else scene.run("o1")

    outcome = run()
    assert (outcome.status, set(outcome.reasons)) == (status, set(reasons.split())), outcome
    assert outcome.degraded == bool(set(outcome.reasons) & NOTES), outcome
    assert scene.effects_of("o1") == (1 if ran else 0)
    assert outage.refused or "approvals" in down
    outage.end()
    clock.advance(ALL_OVER)
    again = run()
    wanted = Status.PENDING if "risk" in options else Status.SUCCEEDED
    assert again.status is wanted, f"usable again as soon as the store is back: {again!r}"
    assert not again.degraded
    getattr(inner, "close", lambda: None)()


# ── two faults in one run ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("second", ["before", "after"])
@pytest.mark.parametrize(("store", "effects"), [("loose", "external"), ("sqlite", "transactional")])
def test_a_claim_whose_answer_is_lost_twice_is_given_back(
    tmp_path: Path, store: str, effects: str, second: Any
) -> None:
    clock = FakeClock()
    inner = STORES[store](clock, tmp_path)
    faults = [
        unavailable_at(1, "after", only="idempotency.claim"),
        unavailable_at(2, second, only="idempotency.claim"),
    ]
    scene = Scene(FaultyStorage(inner, *faults), clock, effects)
    outcome = scene.run("o1")
    assert (outcome.status, scene.began) == (Status.UNAVAILABLE, [])
    assert inner.idempotency.peek(key_of("o1")) is None, "the key is free: the handler never ran"
    assert scene.run("o1").status is Status.SUCCEEDED
    getattr(inner, "close", lambda: None)()


def test_a_started_event_is_stored_though_the_first_claim_was_lost(tmp_path: Path) -> None:
    """must_audit promises the event before the effect, also if the claim had to be asked for twice."""
    for store in ("shared", "loose", "sqlite"):
        for when in ("before", "after"):
            clock = FakeClock()
            (tmp_path / f"{store}-{when}").mkdir()
            inner = STORES[store](clock, tmp_path / f"{store}-{when}")
            fault = unavailable_at(1, when, only="idempotency.claim")  # type: ignore[arg-type]
            scene = Scene(FaultyStorage(inner, fault), clock, "external", must_audit=True)
            if when == "before":  # a store that does not know whether it was applied says that it may have been
                fault._act = lambda _: (_ for _ in ()).throw(StoreUnavailable("cut off", maybe_applied=True))
            assert scene.run("o1").status is Status.SUCCEEDED
            kinds = [event.kind for event in inner.events.tail()]
            assert kinds == ["started", "run"], f"{store}, {when}: {kinds}"
            getattr(inner, "close", lambda: None)()


@pytest.mark.parametrize("retried", [False, True])
def test_a_commit_that_arrived_is_never_done_again(tmp_path: Path, retried: bool) -> None:
    """The answer of COMMIT is lost, and so is the look-up: nobody knows, until the key is asked for again."""
    clock = FakeClock()
    inner = STORES["sqlite"](clock, tmp_path)
    faults = [
        unavailable_at(1, "after", only="unit.commit"),
        unavailable_at(2, "before", only="idempotency.peek"),
    ]
    options = {"retry": Retry(on=(StoreUnavailable,), attempts=3)} if retried else {}
    scene = Scene(FaultyStorage(inner, *faults), clock, "transactional", **options)
    outcome = scene.run("o1")
    assert all(fault.fired for fault in faults)
    assert scene.effects_of("o1") == 1
    if retried:  # the second attempt finds that the first one's commit did arrive
        assert (outcome.status, outcome.value) == (Status.SUCCEEDED, "made o1")
    else:
        assert outcome.status is Status.FAILED
        assert Reason.EFFECT_UNKNOWN in outcome.reasons
    again = scene.run("o1")
    assert (again.replayed, again.value, scene.effects_of("o1")) == (True, "made o1", 1)
    inner.close()


def test_a_final_failure_is_replayed_though_its_answer_was_lost(tmp_path: Path) -> None:
    for store in STORES:
        clock = FakeClock()
        inner = STORES[store](clock, tmp_path)
        fault = unavailable_at(1, "after", only="idempotency.finish")
        scene = Scene(FaultyStorage(inner, fault), clock, "external", "rejected")
        first, again = scene.run("x1"), scene.run("x1")
        assert fault.fired
        assert isinstance(first.error, Rejected)
        assert isinstance(again.error, Rejected)
        assert (first.degraded, again.replayed, scene.began) == (False, True, ["x1"])
        getattr(inner, "close", lambda: None)()


# ── confirmations ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("store", ["shared", "sqlite"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["open", "by_token", "decide", "spend"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_approvals_that_fail_are_closed(tmp_path: Path, store: str, name: str, when: Any, colour: str) -> None:
    clock = FakeClock()
    inner = STORES[store](clock, tmp_path)
    fault = unavailable_at(1, when, only=f"approvals.{name}")
    hooks = [fault, suspend] if colour == "async" else [fault]
    scene = Scene(FaultyStorage(inner, *hooks), clock, "external", colour=colour, risk="high")

    def run() -> Outcome:
        return asyncio.run(scene.run_async("o1")) if colour == "async" else scene.run("o1")

    def confirm(token: str) -> Outcome:
        asker = context("u1")
        if colour == "async":
            return asyncio.run(scene.guard.confirm_async(token, context=asker))
        return scene.guard.confirm(token, context=asker)

    first = run()
    if name == "open":
        assert (first.status, fault.fired is not None) == (Status.UNAVAILABLE, True)
        first = run()
    assert first.confirmation is not None
    answered = confirm(first.confirmation.token)
    if name != "open":
        assert (answered.status, fault.fired is not None) == (Status.UNAVAILABLE, True)
        assert scene.began == []
        answered = confirm(first.confirmation.token)
    assert answered.status is Status.SUCCEEDED
    assert confirm(first.confirmation.token).replayed
    assert (scene.effects_of("o1"), COMMAND in scene.guard.metrics.totals()) == (1, True)
    getattr(inner, "close", lambda: None)()


def test_declining_while_the_store_is_down_is_an_outcome_too() -> None:
    clock = FakeClock()
    outage = Outage("approvals.*")
    scene = Scene(FaultyStorage(STORES["memory"](clock, Path()), outage), clock, "external", risk="high")
    assert scene.guard.decline("token", context=context("u1")).status is Status.UNAVAILABLE
    assert asyncio.run(scene.guard.decline_async("token", context=context("u1"))).status is Status.UNAVAILABLE


# ── an unknown effect that is asked about ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ending", ["unavailable", "cancelled"])
@pytest.mark.parametrize("happened", [True, False])
@pytest.mark.parametrize("store", ["shared", "loose", "sqlite"])
def test_reconciling_while_the_store_fails(tmp_path: Path, store: str, happened: bool, ending: str) -> None:
    """Whatever breaks while an unknown effect is settled: there is one effect in the end, and its result."""
    clock = FakeClock()
    inner = STORES[store](clock, tmp_path)
    numbers = count(1)
    seen: Counter[str] = Counter()

    world: list[str] = []

    async def point(at: int, when: Any) -> bool:
        order, user = f"x{next(numbers)}", f"u{next(numbers)}"

        async def answer(key: str) -> Any:
            await asyncio.sleep(0)
            return Happened(f"made {order}") if order in world else NotHappened()

        broke = Scene(FaultyStorage(inner, suspend), clock, "external", "error", colour="async")
        assert (await broke.run_async(order, user)).status is Status.FAILED
        if happened:
            world.append(order)
        fault = unavailable_at(at, when)
        hooks = [suspend, fault] if ending == "unavailable" else [suspend]
        scene = Scene(FaultyStorage(inner, *hooks), clock, "external", colour="async", reconcile=answer)
        scene.happened = world
        run = CancelAt(scene.run_async(order, user), *([at] if ending == "cancelled" else []))
        try:
            seen[(await run).status] += 1
        except asyncio.CancelledError:
            seen["cancelled"] += 1
        clock.advance(ALL_OVER)
        again = await scene.run_async(order, user)
        if not again.ok or again.value != f"made {order}" or world.count(order) != 1:
            hold([f"afterwards: {again!r}, {world.count(order)} effects"], at, int(when == "after"))
        return bool(run.delivered) if ending == "cancelled" else fault.fired is not None

    async def scan() -> None:
        for at in count(1):
            reached = [await point(at, when) for when in ("before", "after")]
            if not any(reached):
                return

    asyncio.run(scan())
    assert seen["cancelled" if ending == "cancelled" else "unavailable"], f"vacuous: {seen}"
    assert seen["succeeded"], f"vacuous: {seen}"
    getattr(inner, "close", lambda: None)()
