"""context, consistency, predict and visibility: the host's own functions about the business state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botguard.errors import ConfigurationError
from botguard.outcome import Detail, Outcome, Reason, Status
from botguard.pipeline.call import Call, closed, refusal
from botguard.ports.colour import MaybeAwaitable
from botguard.ports.policy import Obligation

__all__ = ["Checks"]

_REASONS = {
    "visibility": Reason.NOT_VISIBLE,
    "context": Reason.CONTEXT_REFUSED,
    "consistency": Reason.CONSISTENCY_REFUSED,
    "predict": Reason.PREDICTION_REFUSED,
}


class Checks:
    """All checks of one stage. Every one is asked, so that a person learns everything that is wrong at once."""

    def __init__(self, stage: str, functions: tuple[Callable[..., Any], ...]) -> None:
        self.name = stage
        self._functions = functions
        self._reason = _REASONS[stage]

    def check(self, call: Call) -> MaybeAwaitable[Outcome | None]:
        """Refused with all particulars, or None with obligations gathered."""
        invocation = call.view or call.invocation()
        found: list[Any] = []
        for function in self._functions:
            try:
                said = function(invocation)
            except ConfigurationError:
                raise
            except Exception as error:  # noqa: BLE001 - a check that cannot answer is not a yes
                said = closed(error)
            if said is not None:
                found.append((function, said))
        return self._weigh(call, found) if found else None

    def _weigh(self, call: Call, found: list[Any]) -> MaybeAwaitable[Outcome | None]:
        if any(hasattr(said, "__await__") for _, said in found):
            return self._awaited(call, found)
        details: tuple[Detail, ...] = ()
        for function, said in found:
            if isinstance(said, Outcome):
                return said
            details += self._read(call, said, function)
        return refusal(Status.DENIED, self._reason, details) if details else None

    async def _awaited(self, call: Call, found: list[Any]) -> Outcome | None:
        """One after the other, in order: what they ask is often one connection."""
        answers = []
        for n, (function, said) in enumerate(found):
            try:
                answer = await call.bridge(said) if hasattr(said, "__await__") else said
            except Exception as error:
                if isinstance(error, ConfigurationError):
                    _close(found[n + 1 :])
                    raise
                answer = closed(error)
            except BaseException:
                _close(found[n + 1 :])
                raise
            if answer is not None:
                answers.append((function, answer))
        return self._weigh(call, answers)  # type: ignore[return-value]  # nothing is left to await

    def _read(self, call: Call, said: Any, function: Callable[..., Any]) -> tuple[Detail, ...]:
        if isinstance(said, Obligation):
            call.obligations = (*call.obligations, said)
            return ()
        if isinstance(said, Detail):
            return (said,)
        if isinstance(said, str) and said:
            return (Detail("", said, said.replace("_", " ").replace(".", " ").capitalize() + "."),)
        if isinstance(said, list):
            return tuple(detail for item in said for detail in self._read(call, item, function))
        raise ConfigurationError(
            "BG116",
            f"the check {getattr(function, '__qualname__', function)!s} returned {said!r:.60}",
            where=call.plan.command.name,
            why="a check that answers with something else could be taken for a yes",
            fix="return None when all is well, else a code, a Detail, a list of them, or Ask(...)",
        )

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"checks": [getattr(function, "__qualname__", repr(function)) for function in self._functions]}


def _close(unanswered: list[Any]) -> None:
    """Coroutines that will not be awaited any more, closed without a warning."""
    for _, said in unanswered:
        if hasattr(said, "close"):
            said.close()
