"""The observer: for each call in shadow, what the guard would have said to it, and what it would have done."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from types import FunctionType
from typing import Any

from botguard.adoption.looking import Look, UntilTurn, call_around
from botguard.adoption.report import KIND, MISSED, Tally, spelt
from botguard.adoption.stages import dressed, handlers_turn
from botguard.adoption.stores import ShadowStorage
from botguard.adoption.trail import ShadowTrail
from botguard.command import Command, Declaration
from botguard.errors import ConfigurationError
from botguard.invocation import Context
from botguard.limiter import LocalLimiter
from botguard.observability.meter import CommandMeter
from botguard.options import InFlight
from botguard.pipeline.call import Call
from botguard.pipeline.compose import compose
from botguard.pipeline.meeting import Twins
from botguard.pipeline.refusals import RefusalBudget, RefusalLog
from botguard.pipeline.stage import Proceed
from botguard.plan import Parts, Plan, compile_plan, storage_for
from botguard.ports.events import Event
from botguard.runtime import SyncRuntime
from botguard.stages.breaker import BreakerGate
from botguard.wiring import bound_given
from botguard.wrapping import Shape

__all__ = ["Observed", "Observer"]

#: Bounds of what is copied of a payload; beyond them validation refuses it anyway.
_MAX_DEPTH, _MAX_ITEMS = 16, 10_000


class Observer:
    """What the commands in shadow of one guard share.

    Args:
        parts: the guard's. Who may do what is asked of the same directory, access and rules; what would be consumed or
            stored is private.
        present: finds the Context of a call that brings none, given the call around it.
    """

    def __init__(self, parts: Parts, present: Callable[[Call | None], Context | None]) -> None:
        clock = parts.runtimes[0].clock
        # It never waits, and never suspends after the handler: the same runtime serves both colours.
        runtime = SyncRuntime(clock)
        self.clock, self.present = clock, present
        self.real, self.tally, self.trail = parts, Tally(), ShadowTrail(runtime)
        self.since = clock.time()
        self.left_alone: dict[str, str] = {}
        self._new_id = runtime.new_id
        self.storage = ShadowStorage(clock.monotonic, parts.fingerprint_key)
        private = self.parts = copy.copy(parts)
        private.storage = self.storage
        private.runtimes = (runtime, runtime)
        private.limiter = LocalLimiter(clock)
        # Listeners are the host's: they are told of real trouble only.
        private.breakers = {
            name: BreakerGate(name, replace(gate.options, listeners=()), clock) for name, gate in parts.breakers.items()
        }
        private.spool = None
        private.meter, private.meters = CommandMeter(), ()
        private.refusals, private.budget = RefusalLog(), RefusalBudget(parts.budget.limit)
        private.twins = Twins()

    def note(self, event: Event) -> None:
        """Count an observation, and send it to the trail."""
        self.tally.add(event)
        self.trail.add(event)

    def flush(self) -> None:
        """Write what waits, the present minute's summaries too."""
        self.trail.close_minute()
        self.trail.write(self.real.storage.events)

    async def flush_async(self) -> None:
        """``flush`` for any storage."""
        self.trail.close_minute()
        storage = self.real.storage.for_async() or self.real.storage
        await self.trail.write_async(storage.events, self.real.runtimes[1])

    def missed(self, command: str, error: Exception) -> None:
        """Count a call that could not be looked at."""
        reason = error.code if isinstance(error, ConfigurationError) else type(error).__name__
        self.note(
            Event(
                id=self._new_id(), kind=KIND, at=self.clock.time(), org="", actor="", person="", channel="", command=command,
                status="", reasons="", attempts=0, duration_ms=0.0, success=False, replayed=False, degraded=False, key="",
                shadow=spelt(MISSED, reason), policy_digest="", correlation_id="",
            )
        )  # fmt: skip


class Observed:
    """One command in shadow.

    Raises:
        ConfigurationError: for wiring that enforcing would refuse too.
    """

    def __init__(
        self,
        observer: Observer,
        command: Command,
        function: FunctionType,
        owner: tuple[Any, ...],
        local_names: dict[str, Any],
    ) -> None:
        self.observer, self.name, self._owner = observer, command.name, owner
        shape = Shape(function, local_names, command.request, command.bind)
        # A twin is not waited for, nobody outside is asked about an unknown effect, and no result is looked at.
        watched = replace(command, in_flight=InFlight.REJECT, reconcile=None, result="discard")
        self._declaration = Declaration(watched, function, shape)
        self._plan: Plan | None = None
        self._entry: Proceed = handlers_turn
        self._checks = -1
        if not shape.unresolved:  # else its model is defined later: compile at the first call
            self._ready()

    def _ready(self) -> Plan:
        """The plan, compiled again where a check across commands was added since."""
        parts, checks = self.observer.parts, len(self.observer.parts.checks)
        if self._plan is None or self._checks != checks:
            plan = compile_plan(parts, self._declaration)
            self._events = storage_for(self.observer.real.storage, plan.command, plan.sync).events
            self._runtime = self.observer.real.runtimes[0 if plan.sync else 1]
            stages = dressed(plan.stages, plan.command, parts.limiter)
            # Not the plan's own entry: that one would begin a trace around the host's call.
            self._entry = compose(stages, plan.command.modes, handlers_turn)
            self._plan, self._checks = plan, checks
        return self._plan

    def look(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Look:
        """Ask the stages before the handler. Never raises an Exception."""
        look = Look(self)
        try:
            core = look.enter(self._call(args, kwargs), self._entry)
            try:
                look.paused(core.send(None))
            except StopIteration as stop:
                look.verdict = stop.value
        except Exception as error:  # noqa: BLE001 - the host's call goes on, whatever became of looking at it
            look.missed(error)
        look.begin()
        return look

    async def look_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Look:
        """``look`` for an async handler. It suspends only where a source of the guard's does."""
        look = Look(self)
        try:
            call = self._call(args, kwargs)
            await self.observer.trail.write_async(self._events, self._runtime)
            look.verdict = await UntilTurn(look.enter(call, self._entry))
        except Exception as error:  # noqa: BLE001 - as above
            look.missed(error)
        look.begin()
        return look

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        plan = self._ready()
        parent = call_around()
        shape = plan.shape
        if shape.bind is not None:
            raw, context = bound_given(plan, shape.bind(*args, **kwargs))
        else:
            if not self.fits(args, kwargs):
                raise TypeError("the arguments do not fit the handler")
            raw, context = shape.take((*self._owner, *args), kwargs), None
        if context is None:
            context = self.observer.present(parent)
        return plan.call(_apart(raw), context, None, None, parent)

    def fits(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """True if the handler can be called with these arguments."""
        try:
            self._declaration.shape.require((*self._owner, *args), kwargs)
        except TypeError:
            return False
        return True

    def keep(self, event: Event) -> None:
        """Count an observation; write it if that needs no waiting."""
        self.observer.note(event)
        if self._events.colour != "async":
            self.observer.trail.write(self._events)

    def forget(self, key: str) -> None:
        """Drop a key that was made for one call alone."""
        self.observer.storage.idempotency.forget(key)

    def missed(self, error: Exception) -> None:
        """Count a call that could not be looked at."""
        try:
            self.observer.missed(self.name, error)
        except Exception:  # noqa: BLE001, S110 - out of memory, say: the host's call is what counts
            pass


def _apart(raw: Any) -> Any:
    """Plain dicts and lists copied, so that no validator, check or rule can change the caller's own."""
    left = [_MAX_ITEMS]

    def copied(value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH or left[0] <= 0:
            return value
        if type(value) is dict:
            left[0] -= len(value)
            return {name: copied(item, depth + 1) for name, item in value.items()}
        if type(value) is list:
            left[0] -= len(value)
            return [copied(item, depth + 1) for item in value]
        return value.copy() if type(value) is set else value

    return copied(raw, 0)
