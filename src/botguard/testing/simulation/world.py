"""One schedule: a store, processes over it, people and a business system outside, and whatever goes wrong."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from inspect import signature
from typing import Any

from botguard.errors import ConfigurationError
from botguard.invocation import Actor, Context
from botguard.limiter import LocalLimiter
from botguard.outcome import Outcome
from botguard.ports.storage import Storage
from botguard.testing.simulation.checker import Checker, Unit
from botguard.testing.simulation.commands import SimulatedCommand, commands_given
from botguard.testing.simulation.faults import Fault
from botguard.testing.simulation.loop import Decider, Enter, Latch, Loop, ProcessDied, Task, Wait, ask
from botguard.testing.simulation.outside import Intent, Ledger, Outside, SqlLedger
from botguard.testing.simulation.process import Process
from botguard.testing.simulation.runs import Run
from botguard.testing.simulation.runtime import StoreClock
from botguard.testing.targets import close, takes_clock

__all__ = ["Stage", "World"]


class Stage:
    """What all schedules of one simulation share: how a store is made, the commands, and the processes.

    Args:
        factory: ``factory(clock)`` returns a storage without rows.
        commands: see :func:`botguard.testing.simulation.commands.commands_given`.
        ledger: how handlers write in a unit of work.
    """

    def __init__(self, factory: Callable[..., Any], commands: Any, ledger: Ledger | None) -> None:
        self.make = _maker(factory)
        self.ledger: Ledger = ledger if ledger is not None else SqlLedger()
        like: Storage = self.make(StoreClock(Loop(_NOBODY)))
        try:
            self.works = like.work is not None
            self.commands: tuple[SimulatedCommand, ...] = commands_given(commands, transactional=self.works)
            # Limits are shared by a store or counted by each process: the second process does what the storage does not.
            shared = like.limits is not None
            self.processes = tuple(
                Process(name, like, self.commands, shared_limits=shared or name == "q") for name in "pq"
            )
        finally:
            close(like)


def _maker(factory: Callable[..., Any]) -> Callable[[Any], Any]:
    """``make(factory, clock)``, which finds out how a factory takes its clock: here once, and not for each seed."""
    if not takes_clock(factory):
        return lambda _: factory()
    named = signature(factory).parameters.get("clock")
    by_name = named is not None and named.kind is not named.POSITIONAL_ONLY
    return (lambda clock: factory(clock=clock)) if by_name else factory


class World:
    """The state of one schedule."""

    def __init__(self, stage: Stage, decider: Decider, seen: dict[str, int]) -> None:
        self.loop = Loop(decider)
        self.loop.befall = self.befall
        self.clock = StoreClock(self.loop)
        self.storage: Any = stage.make(self.clock)
        #: Counters for processes whose storage has none: a second store, as Redis is one.
        self.limits: Any = self.storage.limits if self.storage.limits is not None else LocalLimiter(self.clock)
        self.outside = Outside()
        self.checker = Checker(self, seen)
        self.stage, self.ledger, self.processes = stage, stage.ledger, stage.processes
        #: The unit of work that is open: meanwhile nobody else writes.
        self.writer: Unit | None = None
        self.latch = Latch()
        #: Intents by their keys.
        self.keys: dict[str, Intent] = {}
        self._down_until = 0.0
        self._runs = 0
        #: Deliveries by the name of their task, for the channel to send them again.
        self.cast: dict[str, Any] = {}
        for number, process in enumerate(self.processes):
            process.join(self, skew=(0.0, -7200.0)[number % 2])
        if stage.works:
            self._prepare()

    def _prepare(self) -> None:
        unit = self.ask(self.storage.work.begin())
        self.ledger.prepare(unit.handle)
        self.ask(unit.commit())

    # -- the store ------------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """False during an outage."""
        return self.loop.now >= self._down_until

    def fall(self, seconds: float) -> None:
        """The store and the directory are down for a while."""
        self._down_until = self.loop.now + seconds

    @staticmethod
    def ask(answer: Any) -> Any:
        """The answer of a real port. One that is async may answer so, as long as it waits for nothing."""
        if not hasattr(answer, "__await__"):
            return answer
        steps = answer.__await__()
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
        steps.close()
        raise ConfigurationError(
            "BG232",
            "the storage waits on an event loop",
            where="simulate(storage=…)",
            why="time stands still in a simulation, and so does every loop",
            fix="give a factory of the synchronous storage on the same tables",
        )

    def unlock(self, unit: Unit) -> None:
        """A unit of work is over."""
        if self.writer is unit:
            self.writer = None
            self.loop.open(self.latch)

    # -- what befalls ---------------------------------------------------------------------------------------------

    def befall(self, task: Task, fault: Fault) -> Fault | None:
        """Carry out what strikes a task from outside; what is left concerns the call that it is about to make."""
        kind = fault.kind
        if kind == "stall":
            self.loop.stall(task, self.loop.now + fault.seconds)
            self.checker.see("delay")
        elif kind == "jump":
            self.clock.skew += fault.seconds
            for other in self.loop.tasks:
                if other.run is not None:
                    other.run.leapt = True
            self.checker.see("clock jump")
        elif kind == "twin":
            self._twin(task)
        elif kind == "crash":
            if task.inner is not None:
                self.loop.kill(task.process)
        elif kind == "cancel":
            if task.inner is not None and task.cancel():
                task.error = CancelledError()
        else:
            return fault
        return None

    def _twin(self, task: Task) -> None:
        role = self.cast.get(task.name)
        if role is not None:
            name = task.name + "x"
            while name in self.cast:
                name += "x"
            self.play(name, role.again())
            self.checker.see("duplicate delivery")

    def later(self, run: Run, seconds: float) -> Wait:
        """What a handler has asked for happens later, whatever becomes of the handler. What to wait for."""
        answered = Latch()

        async def happen() -> None:
            await ask(Wait(self.loop.now + seconds))
            self.happen(run)
            self.loop.open(answered)

        name = f"{self.loop.current.name}y"  # type: ignore[union-attr]
        while any(task.name == name for task in self.loop.tasks):
            name += "y"
        self.loop.start(name, happen())
        self.checker.see("late effect")
        return Wait(latch=answered)

    def happen(self, run: Run) -> None:
        """An effect happens outside."""
        if self.outside.apply(run):
            self.checker.effect(run)

    # -- who plays ------------------------------------------------------------------------------------------------

    def play(self, name: str, role: Any) -> None:
        """Put a role on stage."""
        self.cast[name] = role
        self.loop.start(name, role.play(self))

    def run_of(self, command: SimulatedCommand, context: Context, raw: dict[str, Any]) -> Run:
        """A guarded call that is about to be made."""
        self._runs += 1
        return Run(self._runs, command, context, raw, Intent(context.org, command.name, raw["order"]))

    @staticmethod
    def context(org: str, actor: str, channel: str = "web") -> Context:
        """Where a call comes from."""
        return Context(org=org, actor=Actor(actor), channel=channel)

    async def inside(self, process: Process, work: Coroutine[Any, Any, Any], run: Run | None = None) -> Any:
        """Run something inside a process; None if it never answered."""
        task = self.loop.current
        assert task is not None
        task.run = run
        if run is not None:
            process.runs.append(run)
        try:
            answer = await ask(Enter(process, work))
        except ProcessDied:
            return None
        except CancelledError:
            self.checker.see("cancelled")
            return None
        finally:
            task.run = None
        if run is not None:
            assert isinstance(answer, Outcome)
            self.checker.ended(run, answer)
        return answer

    async def call(self, process: Process, run: Run) -> Outcome | None:
        """One delivery of a call to one process."""
        work = process.guard.run_async(run.command.name, run.raw, context=run.context)
        outcome: Outcome | None = await self.inside(process, work, run)
        return outcome

    def close(self) -> None:
        """Leave nothing behind that could still run."""
        self.loop.dropping = True
        for task in self.loop.tasks:
            for side in (task.inner, task.outer):
                try:
                    if side is not None:
                        task.context.run(side.close)
                except BaseException:  # noqa: BLE001, S110 - it was stopped in the middle of a failure
                    pass
        if self.writer is not None:
            self.writer.raw.rollback()
        close(self.storage)


class _Nobody:
    def follow(self, ready: list[Task], current: Task | None) -> Task:
        return ready[0]

    def strike(self, task: Task) -> Fault | None:
        return None


_NOBODY = _Nobody()
