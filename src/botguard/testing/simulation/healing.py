"""The end of every schedule: faults stop, everything comes to its end within a deadline, and nothing is missing."""

from __future__ import annotations

from collections import Counter
from typing import Any

from botguard.outcome import Status
from botguard.ports.idempotency import RowState
from botguard.testing.simulation.decisions import Script
from botguard.testing.simulation.loop import Wait, ask
from botguard.testing.simulation.runs import Run

__all__ = ["heal"]

#: Steps, and seconds of virtual time, within which everything must have come to its end.
_TURNS, _DEADLINE = 3000, 2 * 86400.0
_TRIES = 4


def heal(world: Any) -> None:
    """Stop the faults, let everybody finish, ask for what is unsettled once more, and look at what is left."""
    checker = world.checker
    world.fall(0.0)
    world.loop.decider = Script()
    _drain(world)
    if checker.broken is None:
        for process in world.processes:
            process.empty_spool()
        _settle(world)
    if checker.broken is None:
        _close_breakers(world)
    if checker.broken is None:
        _look(world)


def _drain(world: Any) -> None:
    """Run until everybody has come to his end."""
    loop, checker = world.loop, world.checker
    turns, end = loop.turns + _TURNS, loop.now + _DEADLINE
    while loop.busy and checker.broken is None:
        if not loop.turn() or loop.turns > turns or loop.now > end:
            stuck = ", ".join(f"{task.name} at {task.at}" for task in loop.tasks if not task.done)
            checker.fail("9", f"the faults have stopped, and this never ends: {stuck}")


def _settle(world: Any) -> None:
    """Whoever crashed with a claim asks again when its lease is over. Then the key must be settled, free or parked."""
    rows = world.checker.rows
    left = [(key, known.owner) for key, known in rows.known.items() if known.state is RowState.CLAIMED]
    for key, owner in left:
        if world.checker.broken is None:
            redelivery = _Redelivery(key, owner)
            world.play(f"z{_letters(len(world.loop.tasks))}", redelivery)
            _drain(world)
            known = rows.known.get(key)
            if known is None or known.state is not RowState.CLAIMED:
                continue
            if (
                redelivery.refused
            ):  # a gate says no before the claim is reached: what sweeps abandoned claims must park it
                world.checker.see("left to recovery")
            else:
                world.checker.fail("9", f"the key of {owner} is claimed for ever")


def _letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


class _Redelivery:
    """The channel delivers what had no answer once more, to a caller who may still call."""

    def __init__(self, key: str, run: Run) -> None:
        self._key, self._run = key, run
        #: A gate refused it.
        self.refused = False

    async def play(self, world: Any) -> None:
        """See :class:`botguard.testing.simulation.scenario.Role`."""
        known = world.checker.rows.known[self._key]
        await ask(Wait(world.loop.now + max(known.until - world.clock.time(), 0.0) + 1.0))
        for _ in range(_TRIES):
            run = world.run_of(self._run.command, self._run.context, self._run.raw)
            outcome = await world.call(world.processes[0], run)
            known = world.checker.rows.known.get(self._key)
            if known is None or known.state is not RowState.CLAIMED:
                return
            if outcome.status is Status.DENIED or outcome.status is Status.PENDING:
                self.refused = True
                return
            await ask(Wait(world.loop.now + (outcome.retry_after or 61.0)))


def _close_breakers(world: Any) -> None:
    """An open breaker lets a probe through when its time is over, and a good one closes it."""
    for process in world.processes:
        for name, gate in process.guard.breakers.items():
            command = next((command for command in world.stage.commands if command.breaker == name), None)
            if gate.state == "closed" or command is None or command.confirmed:
                continue
            world.checker.see("breaker open at the end")
            world.play(f"z{_letters(len(world.loop.tasks))}", _Probe(process, command))
            _drain(world)
            if gate.state != "closed":
                world.checker.fail("9", f"the breaker of process {process.name} is {gate.state} for ever")


class _Probe:
    """A new call of the breaker's command, and another if the first comes too early."""

    def __init__(self, process: Any, command: Any) -> None:
        self._process, self._command = process, command

    async def play(self, world: Any) -> None:
        """See :class:`botguard.testing.simulation.scenario.Role`."""
        for number in range(_TRIES):
            await ask(Wait(world.loop.now + 100.0))
            raw = {"order": f"probe-{self._process.name}-{number}", "amount": 1}
            outcome = await world.call(self._process, world.run_of(self._command, world.context("acme", "ann"), raw))
            if outcome.status is Status.SUCCEEDED:
                return


def _look(world: Any) -> None:
    """The store holds what it must hold, and the world outside fits it."""
    checker = world.checker
    for key, intent in world.keys.items():
        checker.idempotency_peek_at(key)
        done = [run for run in world.outside.effects.get(intent, ()) if run.epoch == checker.epoch(key)]
        if done and done[0].effects_are("external") and checker.rows.known.get(key) is None:
            checker.fail("2", f"the effect of {done[0]} happened, and its key is free")
    stored = {event.id for event in world.ask(world.storage.events.tail(10_000))}
    if stored != checker.trail:
        missing, foreign = len(checker.trail - stored), len(stored - checker.trail)
        checker.fail("8", f"the trail lacks {missing} events that were acknowledged and holds {foreign} that were not")
    if world.stage.works:
        _compare_ledger(world)


def _compare_ledger(world: Any) -> None:
    unit = world.ask(world.storage.work.begin())
    written = Counter(world.ledger.read(unit.handle))
    world.ask(unit.rollback())
    expected = Counter(
        run.number for runs in world.outside.effects.values() for run in runs if run.effects_are("transactional")
    )
    if written != expected:
        world.checker.fail(
            "2", f"effects {sorted(written.elements())} are committed, not {sorted(expected.elements())}"
        )
