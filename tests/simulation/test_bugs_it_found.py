"""What the simulation has found in the core, each told once more: by its schedule, or directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from botguard import ALLOW_ALL, Actor, Context, Guard, Happened, Status
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.testing import FakeClock
from botguard.testing.simulation import TransactionalMemory
from botguard.testing.simulation.commands import SimulatedCommand
from botguard.testing.simulation.decisions import Script
from botguard.testing.simulation.healing import heal
from botguard.testing.simulation.scenario import Delivery
from botguard.testing.simulation.world import Stage, World

ANN = Context(org="acme", actor=Actor("ann"))
BOB = Context(org="acme", actor=Actor("bob"))


def play(command: str, *marks: str) -> World:
    """One delivery by a schedule; whatever it breaks is raised."""
    stage = Stage(TransactionalMemory, [command], None)
    (declared,) = stage.commands
    assert isinstance(declared, SimulatedCommand)
    world = World(stage, Script(marks), {})
    try:
        world.play("a", Delivery(command=declared, org="acme", actor="ann", order="A-17", amount=1))
        while world.checker.broken is None and world.loop.turn():
            pass
        if world.checker.broken is None:
            heal(world)
        assert world.checker.broken is None, world.checker.broken
    finally:
        world.close()
    return world


def turn_at(command: str, point: str) -> int:
    """At which turn of a calm delivery this point is reached."""
    stage = Stage(TransactionalMemory, [command], None)
    world = World(stage, Script(), {})
    world.loop.story = []
    try:
        world.play("a", Delivery(command=stage.commands[0], org="acme", actor="ann", order="A-17", amount=1))
        while world.loop.turn():
            pass
    finally:
        world.close()
    return next(number for number, line in enumerate(world.loop.story, 1) if line.endswith(point))


def outcomes(world: World) -> list[Any]:
    return [run.outcome for process in world.processes for run in process.runs if run.outcome is not None]


# ── time-outs around the end of a unit of work ───────────────────────────────────────────────────────────────────


def test_a_time_out_while_a_failed_attempt_is_rolled_back_leaves_no_transaction_open() -> None:
    answer = turn_at("transactional", "answer")
    # The attempt fails, and its time is over while the rollback is on its way.
    world = play("transactional", f"a{answer}!garbled", f"a{answer + 1}!stall:12")
    assert world.writer is None


def test_a_time_out_that_meets_a_commit_is_no_failure() -> None:
    commit = turn_at("transactional", "unit.commit")
    # Committed; then the answer takes longer than the deadline.
    world = play("transactional", f"a{commit}!gap", f"a{commit + 1}!stall:12")
    assert outcomes(world)[0].status is Status.SUCCEEDED


def test_a_time_out_while_a_lost_commit_is_looked_up_is_no_failure() -> None:
    commit = turn_at("transactional", "unit.commit")
    world = play("transactional", f"a{commit}!lost", f"a{commit + 1}!stall:12")
    assert outcomes(world)[0].status is Status.SUCCEEDED


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_whose_row_was_reconciled_meanwhile_still_has_its_event() -> None:
    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    slow, other = (Guard(storage=storage, access=ALLOW_ALL, clock=clock) for _ in range(2))

    @other.command("orders.pay", key="{id}", reconcile=lambda key: Happened("paid"))
    def found(payload: dict[str, Any]) -> str:
        raise AssertionError("it is known to have happened")

    @slow.command("orders.pay", key="{id}")
    def pay(payload: dict[str, Any]) -> str:
        clock.advance(1000.0)  # past the lease
        assert other.run("orders.pay", payload, context=ANN).value == "paid"
        raise OSError("no answer")

    assert slow.run("orders.pay", {"id": 1}, context=ANN).status is Status.FAILED
    kinds = [(event.kind, event.status) for event in storage.events.tail()]
    assert ("run", "failed") in kinds
    assert ("reconciled", "succeeded") in kinds


# ── consent ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["memory", "sqlite"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    clock = FakeClock()
    memory = request.param == "memory"
    storage: Any = MemoryStorage(clock=clock) if memory else SqliteStorage(tmp_path / "bot.db", clock=clock)
    guard = Guard(storage=storage, access=ALLOW_ALL, clock=clock)
    done: list[Any] = []

    @guard.command("orders.refund", key="{id}", risk="high", before_effect=LookupError)
    def refund(payload: dict[str, Any]) -> str:
        if payload["id"] == "away" and not done:
            done.append("tried")
            raise LookupError("nothing has happened yet")
        done.append(payload["id"])
        return "refunded"

    yield guard, clock, done
    if not memory:
        storage.close()


def test_one_persons_yes_is_not_anothers(desk: Any) -> None:
    guard, _, done = desk
    asked = guard.run("orders.refund", {"id": "away"}, context=ANN)
    guard.confirm(asked.confirmation.token, context=ANN)  # approved, and released: it may be run again
    outcome = guard.run("orders.refund", {"id": "away"}, context=BOB)
    assert outcome.status is Status.PENDING
    assert outcome.confirmation.token != asked.confirmation.token
    assert done == ["tried"]
    assert guard.run("orders.refund", {"id": "away"}, context=ANN).value == "refunded"


def test_an_old_yes_does_not_serve_once_the_result_has_expired(desk: Any) -> None:
    guard, clock, done = desk
    asked = guard.run("orders.refund", {"id": "A-17"}, context=ANN)
    assert guard.confirm(asked.confirmation.token, context=ANN).value == "refunded"
    assert guard.run("orders.refund", {"id": "A-17"}, context=ANN).replayed
    clock.advance(8 * 86400.0)  # past `keep`, and nobody has purged
    again = guard.run("orders.refund", {"id": "A-17"}, context=ANN)
    assert again.status is Status.PENDING
    assert guard.confirm(asked.confirmation.token, context=ANN).status is Status.DENIED
    assert guard.confirm(again.confirmation.token, context=ANN).value == "refunded"
    assert done == ["A-17", "A-17"]
