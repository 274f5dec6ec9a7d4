"""One process of the host: a guard over the shared store, and everything that is lost when it dies."""

from __future__ import annotations

from typing import Any

from botguard.errors import StoreUnavailable
from botguard.guard import Guard
from botguard.housekeeping import apply_spool
from botguard.invocation import Principal
from botguard.limiter import LocalLimiter
from botguard.options import Breaker
from botguard.pipeline.meeting import Twins
from botguard.pipeline.refusals import RefusalBudget, RefusalLog
from botguard.policies.rules import Rule
from botguard.ports.idempotency import Ack
from botguard.ports.storage import Storage
from botguard.stages.breaker import BreakerGate
from botguard.testing.simulation.commands import BREAKER, UNLUCKY, SimulatedCommand
from botguard.testing.simulation.loop import Dropped
from botguard.testing.simulation.ports import LocalLimits, SimulatedStorage, point
from botguard.testing.simulation.runs import Run
from botguard.testing.simulation.runtime import EPOCH, SimulatedRuntime

__all__ = ["Process"]

_REFUSALS = 1000


class _Clock:
    """Its clocks; the wall clock may be wrong, and nothing may depend on it."""

    def __init__(self) -> None:
        self.loop: Any = None
        self.skew = 0.0

    def time(self) -> float:
        now: float = self.loop.now
        return EPOCH + now + self.skew

    def monotonic(self) -> float:
        now: float = self.loop.now
        return now


class _Guard(Guard):
    """A guard on a runtime of its own, whose memory can be lost."""

    def __init__(self, process: Process, storage: SimulatedStorage) -> None:
        super().__init__(
            storage=storage,
            access={"clerk": {"*"}},
            directory=process.look_up,
            policies=[Rule(when=lambda invocation: invocation.payload.amount == UNLUCKY, deny="unlucky")],
            breakers={BREAKER: Breaker(fail_max=1, reset_after=1.0)},  # open and half-open again within a schedule
            clock=process.clock,
            spool=process.spool,
            refusals_per_minute=_REFUSALS,
            secret=storage.fingerprint_key,
        )
        self._parts.runtimes = (self._parts.runtimes[0], process.runtime)
        self._parts.limiter = process.limiter  # type: ignore[assignment]

    def forget(self, clock: _Clock) -> None:
        """As after a start: breakers, refusals, twins. Compiling all commands anew would take milliseconds."""
        parts = self._parts
        for gate in parts.breakers.values():
            type(gate).__init__(gate, gate.name, gate.options, clock)
        Twins.__init__(parts.twins)
        RefusalLog.__init__(parts.refusals)
        RefusalBudget.__init__(parts.budget, _REFUSALS)

    @property
    def breakers(self) -> dict[str, BreakerGate]:
        """Its breakers by name."""
        return self._parts.breakers


class _Spool:
    """A file on local disk: it outlives the process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.records: list[dict[str, Any]] = []

    def write(self, record: dict[str, Any]) -> None:
        if self._process.world.loop.dropping:
            raise Dropped
        self.records.append(record)

    def drain(self) -> Any:
        for record in list(self.records):
            yield record, lambda record=record: self.records.remove(record)


class Process:
    """Made once, and used in one schedule after another: ``join`` makes it a new one."""

    def __init__(
        self, name: str, like: Storage, commands: tuple[SimulatedCommand, ...], *, shared_limits: bool
    ) -> None:
        self.name = name
        self.world: Any = None
        self.life = 0
        self.clock, self.spool, self.limiter = _Clock(), _Spool(self), LocalLimits(self)
        self.runtime = SimulatedRuntime(name, self.clock)
        self.storage = SimulatedStorage(self, like, shared_limits=shared_limits)
        #: Guarded calls of its present life.
        self.runs: list[Run] = []
        self.guard = _Guard(self, self.storage)
        for command in commands:
            command.declare(self)

    def join(self, world: Any, skew: float) -> None:
        """Take part in a schedule, as if it had just been started for the first time."""
        self.world, self.clock.loop, self.runtime.loop = world, world.loop, world.loop
        self.clock.skew, self.life = skew, 0
        self.spool.records.clear()
        self._start()

    def _start(self) -> None:
        self.runs = []
        self.runtime.begin(self.life)
        self.limiter.store = LocalLimiter(self.clock)
        self.guard.forget(self.clock)

    def died(self) -> None:
        """It was killed: its connections are cut, its memory is gone, and it is started again."""
        checker = self.world.checker
        checker.see("crash")
        checker.died(self)
        unit = self.world.writer
        if unit is not None and unit.process is self:
            checker.see("crash inside a unit of work")
            checker.unit_rollback(unit)
        self.life += 1
        self._start()

    async def look_up(self, org: str, actor: str) -> Principal | None:
        """The directory."""
        fault = await point(self, "directory")
        if not self.world.up or (fault is not None and fault.kind == "down"):
            raise OSError("the directory is down")
        principal: Principal | None = self.world.outside.people.get((org, actor))
        run: Run = self.world.loop.current.run
        run.principal = principal
        return principal

    async def sweep(self) -> None:
        """Keep house: what a host's timer does."""
        for store in (self.storage.idempotency, self.storage.approvals):
            try:
                await store.purge()
            except StoreUnavailable:
                continue
        await point(self, "gap")
        if self.world.up and self.world.writer is None:
            self.empty_spool()

    def empty_spool(self) -> None:
        """Write to the store what it had not taken."""
        if self.spool.records:
            apply_spool(_Bare(self.world), self.spool)  # type: ignore[arg-type]


class _Bare:
    """As much of the storage as ``apply_spool`` asks, without points: it runs in a thread of its own, if anywhere."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.idempotency = self

    def finish(self, *settled: Any) -> Ack:
        world = self._world
        ack: Ack = world.ask(world.storage.idempotency.finish(*settled))
        world.checker.spooled(*settled[:5], ack)
        return ack
