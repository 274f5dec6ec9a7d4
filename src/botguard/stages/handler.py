"""handler: the host's function, called in the frame that also catches what it raises."""

from __future__ import annotations

import copy
from typing import Any, Protocol

from botguard.errors import Rejected
from botguard.invocation import running
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, details_of

__all__ = ["Arrange", "Handler"]

_SUCCEEDED = Status.SUCCEEDED
_NO_NAMES: dict[str, Any] = {}


class Arrange(Protocol):
    """Puts the validated payload in the place where the handler expects it."""

    def __call__(self, call: Call, payload: Any, /) -> tuple[tuple[Any, ...], dict[str, Any]]: ...


class Handler:
    """The innermost step. An error becomes an outcome here, so that even StopIteration survives unchanged."""

    name = "handler"

    def __init__(self, function: Any, arrange: Arrange, is_async: bool, attempts: int, flat: bool, plain: bool) -> None:
        #: A call by name hands the payload over as the one positional argument.
        self._plain = plain
        self._function, self._arrange, self._async = function, arrange, is_async
        # What one attempt does to the payload must not reach the next one; a single attempt needs no copy.
        self._pristine = attempts > 1
        self._flat = flat

    async def __call__(self, call: Call) -> Outcome:
        """Run the handler once."""
        payload = call.payload
        if self._pristine:
            try:
                payload = self._fresh(call)
            except Exception as error:  # noqa: BLE001 - a host's type that cannot be copied: nothing has begun
                return Outcome(Status.FAILED, None, error, (Reason.HANDLER_ERROR,))
        args, kwargs = ((payload,), _NO_NAMES) if self._plain and call.args is None else self._arrange(call, payload)
        call.began = True
        token = running.set(call)
        try:
            value = self._function(*args, **kwargs)
            if self._async:
                value = await value
            elif hasattr(value, "__await__"):
                value = await call.bridge(value)
        except Exception as error:  # noqa: BLE001 - any error of the handler is an outcome, unchanged
            reason = Reason.REJECTED if isinstance(error, Rejected) else Reason.HANDLER_ERROR
            return Outcome(Status.FAILED, None, error, (reason,), details_of(error))
        finally:
            running.reset(token)
        return Outcome(_SUCCEEDED, value)

    def _fresh(self, call: Call) -> Any:
        """The payload as it was validated, whatever an earlier attempt did to it."""
        payload = call.payload
        if not self._flat:
            return copy.deepcopy(payload)  # the call keeps the original, no attempt ever sees it
        if call.attempt <= 1:
            call.pristine = payload.__dict__.copy()
            return payload
        fresh = payload.model_copy()
        fresh.__dict__.update(call.pristine)
        return fresh
