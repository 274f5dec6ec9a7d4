"""The stages that would act on the handler, as observers of it: they conclude as the real ones do, and do nothing."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from botguard.adoption.report import spelt
from botguard.command import Command
from botguard.options import Mode
from botguard.outcome import Detail, Outcome, Status
from botguard.pipeline.call import Call
from botguard.pipeline.stage import Proceed, Stage
from botguard.ports.limits import LimitStore, Reservation
from botguard.stages.limit import LimitStage
from botguard.stages.retry import RetryStage, retry_state
from botguard.stages.timeout import Timeout

__all__ = ["TURN", "dressed", "handlers_turn"]


class _Turn:
    """Awaited where the handler would be called: it hands control to whoever steps the pipeline, until he sends back
    how the handler ended."""

    def __await__(self) -> Generator[_Turn, Outcome, Outcome]:
        return (yield self)


TURN = _Turn()


async def handlers_turn(call: Call) -> Outcome:
    """The innermost step of an observed pipeline."""
    call.began = True
    return await TURN


def dressed(stages: list[Stage], command: Command, limiter: LimitStore) -> list[Stage]:
    """The stages of a compiled plan, those replaced that would change the handler's run."""
    instead: dict[str, Any] = {"retry": _WouldRetry(command), "timeout": _WouldStop(command), "work": None}
    if command.limits and command.mode("limit") is Mode.ENFORCE:
        instead["limit"] = _WouldCharge(command, None, limiter)
    found = [instead.get(stage.name, stage) for stage in stages]
    return [stage for stage in found if stage is not None]


def _note(call: Call, kind: str, reason: str) -> None:
    call.shadow = (*call.shadow, spelt(kind, reason))


class _WouldCharge(LimitStage):
    """Counts in the observer's own limiter, and says which limits a call is charged to, or which one is full."""

    def __init__(self, command: Command, store: LimitStore | None, local: LimitStore) -> None:
        super().__init__(command, store, local)
        self._charges = tuple(spelt("charged", limit.name) for limit in self._limits if limit not in self._caps)

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """As the real one."""

        async def charged(call: Call) -> Outcome:
            call.shadow = (*call.shadow, *self._charges)
            return await proceed(call)

        outcome = await super().around(charged, call)
        if outcome.status is Status.THROTTLED:
            _note(call, "full", outcome.details[0].message)
        return outcome

    async def _settle(self, call: Call, store: LimitStore, refund: bool, *reserved: Any) -> None:
        if refund:
            call.shadow = tuple([note for note in call.shadow if note not in self._charges])
        await super()._settle(call, store, refund, *reserved)

    def _refused(self, reservation: Reservation) -> Outcome:
        outcome = super()._refused(reservation)
        outcome.details = (Detail("", "full", reservation.limit.name if reservation.limit is not None else ""),)
        return outcome


class _WouldRetry(RetryStage):
    """Says that another attempt would follow, and makes none."""

    async def _again(self, call: Call, proceed: Proceed, outcome: Outcome) -> Outcome:
        if self._would(call, outcome):
            _note(call, "retried", type(outcome.error).__name__)
        return outcome

    def _would(self, call: Call, outcome: Outcome) -> bool:
        state, now = retry_state(call.started), call.plan.runtime.clock.monotonic()
        try:
            wait = self._planned(call, state, outcome, now)
        except Exception:  # noqa: BLE001 - the host's schedule is broken: there would be no further attempt
            return False
        left = call.remaining()
        return wait is not None and (left is None or wait < left)


class _WouldStop(Timeout):
    """Lets a handler run on, and answers as if it had been stopped."""

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """As the real one."""
        clock = call.plan.runtime.clock
        began, left = clock.monotonic(), call.remaining()
        limit = left if self._timeout is None else self._timeout if left is None else min(self._timeout, left)
        outcome = await proceed(call)
        if limit is None or clock.monotonic() - began < limit:
            return outcome
        stopped = self._stopped()
        _note(call, "stopped", stopped.reasons[0])
        return stopped
