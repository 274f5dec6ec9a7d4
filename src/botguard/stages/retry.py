"""retry: one intent, one claim, several attempts, and only where another attempt is safe (semantics, section 4)."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.errors import DeadlineExceeded, Rejected
from botguard.options import Effects, Retry
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Allowance, Call
from botguard.pipeline.stage import Proceed

__all__ = ["RetryStage", "retry_state"]

#: Nobody waits longer than a year for an attempt, and no clock can sleep for an infinite time.
_LONGEST = 366 * 86400.0
_FAILED = Status.FAILED  # an enum's member is slow to look up on 3.11


class RetryStage:
    """The first attempt pays nothing; tenacity's wait and stop objects decide about the others."""

    name = "retry"

    def __init__(self, command: Command) -> None:
        self._retry: Retry = command.retry or Retry(attempts=1)
        self._retryable = command.retryable
        self._external = command.effects is Effects.EXTERNAL
        self._final: tuple[type[Exception], ...] = (Rejected, *command.final)
        self._more = self._retry.attempts - 1

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Attempt until it succeeds, fails for good, or another attempt does not fit."""
        call.attempt = 1
        parent = call.parent
        if parent is not None and parent.allowance is not None:
            call.allowance = parent.allowance
        elif self._more:
            call.allowance = Allowance(self._more)
        outcome = await proceed(call)
        if outcome.status is not _FAILED or not self._is_retryable(outcome.error):
            return outcome
        return await self._again(call, proceed, outcome)

    def _is_retryable(self, error: BaseException | None) -> bool:
        if isinstance(error, DeadlineExceeded):
            # What the guard stopped may have had its effect, also where the host calls its own time-outs early.
            return not self._external and isinstance(error, self._retryable)
        return isinstance(error, self._retryable) and not isinstance(error, self._final)

    async def _again(self, call: Call, proceed: Proceed, outcome: Outcome) -> Outcome:
        state = retry_state(call.started)
        runtime = call.plan.runtime
        while True:
            wait = self._next_wait(call, state, outcome, runtime.clock.monotonic())
            if wait is None:
                return outcome
            left = call.remaining()
            if wait >= (_LONGEST if left is None else left):
                outcome.reasons = (*outcome.reasons, Reason.RETRY_DOES_NOT_FIT)
                return outcome
            if call.allowance is not None:
                call.allowance.left -= 1
            nap: Any = runtime.sleep(wait)
            if hasattr(nap, "__await__"):
                await call.bridge(nap)
            call.attempt += 1
            again = await proceed(call)
            untried = _untried(again)
            if untried is not None:  # the attempt before it is the answer
                call.attempt -= 1
                outcome.reasons = (*outcome.reasons, untried)
                return outcome
            outcome = again
            if outcome.status is not _FAILED or not self._is_retryable(outcome.error):
                return outcome

    def _next_wait(self, call: Call, state: Any, outcome: Outcome, now: float) -> float | None:
        """Seconds to wait before the next attempt, or None if this was the last."""
        try:
            return self._planned(call, state, outcome, now)
        except Exception as odd:  # noqa: BLE001 - the host's schedule is broken: the attempt's own error is the answer
            if outcome.error is not None:
                outcome.error.add_note(f"There was no further attempt, since wait= or stop= of Retry raised {odd!r}")
            return None

    def _planned(self, call: Call, state: Any, outcome: Outcome, now: float) -> float | None:
        """What the command and its wait and stop objects say; these are the host's and may raise."""
        error, allowance = outcome.error, call.allowance
        if call.attempt >= self._retry.attempts or allowance is None or allowance.left < 1:
            return None
        # The protocol of tenacity's strategies: outcome and times first, then wait, then stop.
        state.attempt_number, state.outcome_timestamp = call.attempt, now
        state.outcome = _failed(call.attempt, error)
        wait = float((self._retry.wait or _default_wait())(state))
        asked = getattr(error, "retry_after", None)
        if isinstance(asked, int | float) and not isinstance(asked, bool):
            wait = max(wait, float(asked))
        wait = wait if wait > 0 else 0.0  # below 0, or not a number
        state.upcoming_sleep = wait
        return None if self._retry.stop is not None and self._retry.stop(state) else wait

    async def preview(self, call: Call) -> Outcome | None:
        """Nothing to say before the run."""
        return None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"attempts": self._retry.attempts, "on": [error.__name__ for error in self._retryable]}


def _untried(outcome: Outcome) -> Reason | None:
    """Why an attempt never reached the handler: the breaker opened meanwhile, or no time was left."""
    if outcome.status is Status.UNAVAILABLE:
        return Reason.BREAKER_OPENED
    return Reason.RETRY_DOES_NOT_FIT if Reason.RETRY_DOES_NOT_FIT in outcome.reasons else None


def retry_state(started: float) -> Any:
    """tenacity's own state object, built only when something has failed."""
    from tenacity import RetryCallState, Retrying

    state = RetryCallState(Retrying(), None, (), {})
    state.start_time = started
    return state


def _failed(attempt: int, error: BaseException | None) -> Any:
    from tenacity import Future

    future = Future(attempt)
    future.set_exception(error)
    return future


def _default_wait() -> Any:
    from tenacity import wait_random_exponential

    return wait_random_exponential(multiplier=0.1, max=10.0)
