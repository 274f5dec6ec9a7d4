"""SharedBreakerStage: as BreakerStage, with a store through which processes share that a dependency is down.

The store is asked once in a while, when the breaker opens, and for probes: never for a run of a closed breaker whose last
look is young enough. Where it does not answer, the process's own breaker decides (semantics, section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botguard.command import Command
from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.settle import Settlement
from botguard.pipeline.stage import Proceed
from botguard.ports.breakers import BreakerStore, BreakerView, ProbeResult
from botguard.stages.breaker.shared_gate import SharedGate, Ticket
from botguard.stages.breaker.stage import BreakerStage

__all__ = ["SharedBreakerStage"]


class SharedBreakerStage(BreakerStage):
    """Stands where BreakerStage stands."""

    def __init__(self, command: Command, gate: SharedGate, settlement: Settlement, store: BreakerStore) -> None:
        super().__init__(command, gate, settlement)
        self._shared, self._store = gate, store

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Admit, run, settle as ok, failed or ignored."""
        gate, monotonic = self._shared, call.plan.monotonic
        permit: Any = gate.enter() if gate.fresh(monotonic()) else await self._after_a_look(call)
        if permit is None:
            permit = await self._probe(call)
        if type(permit) is float:
            return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=permit)
        began = monotonic() if self._slow is not None else 0.0
        try:
            outcome = await proceed(call)
        except BaseException:
            await self._settle(call, permit, "ignored")
            raise
        slow = self._slow is not None and monotonic() - began > self._slow
        try:
            await self._settle(call, permit, self._result(outcome, slow))
        except BaseException:
            call.committed = outcome  # interrupted, but the attempt has ended, and how is known
            raise
        return outcome

    def _result(self, outcome: Outcome, slow: bool) -> ProbeResult:
        if outcome.status is Status.SUCCEEDED:
            return "failed" if slow else "ok"
        return "ignored" if outcome.status is not Status.FAILED or self._ignored(outcome) else "failed"

    # -- admission ------------------------------------------------------------------------------------------------

    async def _after_a_look(self, call: Call) -> tuple[int, int] | float | None:
        gate = self._shared
        if gate.due(call.plan.monotonic()):
            await self._look(call)
        if gate.alone:
            call.note(Reason.LOCAL_BREAKER, degraded=True)
        return gate.enter()

    async def _look(self, call: Call) -> None:
        asked = call.plan.monotonic()
        try:
            view = await self._answer(call, self._store.look, self._shared.name)
        except StoreUnavailable:
            self._shared.leave()
            return
        await self._follow(call, view, asked)

    async def _probe(self, call: Call) -> tuple[int, int] | Ticket | float:
        gate, options = self._shared, self._shared.options
        probe, asked = call.plan.new_id(), call.plan.monotonic()
        try:
            view = await self._ask(
                call, self._store.admit, gate.name, gate.shared_era, probe, options.probes, options.probe_timeout
            )
        except StoreUnavailable:
            self._leave(call)
        except BaseException:
            # Interrupted while the answer was on its way: the probe may have been granted.
            await self._tell(call, self._store.settle, gate.shared_era, probe, "ignored", options.probes, 0.0)
            raise
        else:
            await self._follow(call, view, asked)
            if view.granted:
                return gate.take(view, probe)
        permit = gate.enter()
        return permit if permit is not None else 0.05

    # -- settlement -----------------------------------------------------------------------------------------------

    async def _settle(self, call: Call, permit: Any, result: ProbeResult) -> None:
        gate, options = self._shared, self._shared.options
        if type(permit) is Ticket:
            told = await self._tell(
                call, self._store.settle, permit.era, permit.probe, result, options.probes, options.reset_after
            )
            self._settle_here(permit.local, "ignored" if told else result)
        elif result == "failed":
            opened = gate.fail(permit)
            if opened is not None and not gate.alone:
                await self._tell(call, self._store.open, opened, options.reset_after)
        else:
            self._settle_here(permit, result)

    def _settle_here(self, permit: tuple[int, int], result: ProbeResult) -> None:
        gate = self._shared
        if result == "ok":
            gate.ok(permit)
        elif result == "failed":
            gate.failed(permit)
        else:
            gate.ignored(permit)

    # -- the store ------------------------------------------------------------------------------------------------

    async def _follow(self, call: Call, view: BreakerView, asked: float) -> None:
        gate = self._shared
        seconds = gate.follow(view, asked)
        if seconds is not None:
            await self._tell(call, self._store.open, gate.shared_era, seconds)

    async def _tell(self, call: Call, method: Callable[..., Any], *args: Any) -> bool:
        """False if the store does not take it: then this process's own breaker goes on alone."""
        asked = call.plan.monotonic()
        try:
            view = await self._ask(call, method, self._shared.name, *args)
        except StoreUnavailable:
            self._leave(call)
            return False
        self._shared.follow(view, asked)
        return True

    def _leave(self, call: Call) -> None:
        self._shared.leave()
        call.note(Reason.LOCAL_BREAKER, degraded=True)

    async def _ask(self, call: Call, method: Callable[..., Any], *args: Any) -> BreakerView:
        try:
            return await self._answer(call, method, *args)
        except StoreUnavailable as error:
            if not error.maybe_applied:
                raise
        return await self._answer(call, method, *args)  # the answer was lost; to say it again changes nothing more

    @staticmethod
    async def _answer(call: Call, method: Callable[..., Any], *args: Any) -> BreakerView:
        """The store's answer; waited for to its end though the caller is cancelled meanwhile, so that none is lost."""
        try:
            answer: Any = method(*args)
            if hasattr(answer, "__await__"):
                answer = await call.plan.runtime.shield(call.bridge(answer))
            return answer  # type: ignore[no-any-return]
        except (StoreUnavailable, ConfigurationError):
            raise
        except Exception as error:
            # Whatever is wrong with it: a handler that has run must not fail for it, and a breaker there must be.
            raise StoreUnavailable(f"the breaker store failed: {error!r}") from error

    # -- looking --------------------------------------------------------------------------------------------------

    async def preview(self, call: Call) -> Outcome | None:
        """Unavailable if it would be refused now; the store is looked at, and nothing is taken."""
        if self._shared.due(call.plan.monotonic()):
            await self._look(call)
        return await super().preview(call)

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {**super().describe(), "shared": True, "refresh": self._shared.options.refresh}
