"""Looking at one call: the pipeline is stepped to its handler's turn, and concludes when the handler has ended."""

from __future__ import annotations

from collections.abc import Generator
from contextvars import ContextVar, Token
from functools import partial
from typing import Any, Protocol

from botguard.adoption.report import KIND, spelt
from botguard.adoption.stages import TURN
from botguard.errors import ConfigurationError, Rejected
from botguard.invocation import running
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call
from botguard.pipeline.stage import Proceed
from botguard.pipeline.trail import event_of, seal
from botguard.ports.events import Event

__all__ = ["Look", "UntilTurn", "call_around"]

#: The observed call whose handler is running here, and the enforced call (if any) around it.
_observing: ContextVar[tuple[Call | None, Any]] = ContextVar("botguard_observing", default=(None, None))


def call_around() -> Call | None:
    """The innermost call, observed or enforced, whose handler is running here."""
    observed, around = _observing.get()
    inner: Call | None = running.get()
    return observed if observed is not None and around is inner else inner


class _Keeper(Protocol):
    """What a look needs of its command."""

    def keep(self, event: Event) -> None: ...

    def forget(self, key: str) -> None: ...

    def missed(self, error: Exception) -> None: ...


class Look:
    """One call, looked at: before its handler, and once more when it has ended."""

    __slots__ = ("_call", "_core", "_observed", "_token", "verdict")

    def __init__(self, observed: _Keeper) -> None:
        self._observed = observed
        self._call: Call | None = None
        #: The pipeline, while it waits for its handler's end.
        self._core: Any = None
        self._token: Token[Any] | None = None
        #: How the call would have ended without its handler.
        self.verdict: Outcome | None = None

    def enter(self, call: Call, entry: Proceed) -> Any:
        """The pipeline over this call, not yet begun."""
        self._call, self._core = call, entry(call)
        return self._core

    def paused(self, said: Any) -> None:
        """A synchronous pipeline has suspended: it must be the handler's turn."""
        if said is not TURN:
            self._core.close()
            raise ConfigurationError("BG140", "something waited on an event loop inside a synchronous call")

    def missed(self, error: Exception) -> None:
        """The call could not be looked at."""
        self._call = self._core = self.verdict = None
        self._observed.missed(error)

    def begin(self) -> None:
        """The handler begins: calls inside it are inside this one."""
        if self._call is not None:
            self._token = _observing.set((self._call, running.get()))

    def returned(self, value: Any) -> None:
        """The handler has returned. Nothing of the value is looked at but whether it is one."""
        if self._call is None:
            return
        if self._call.plan.sync and hasattr(type(value), "__await__"):
            core = self._core
            self._leave()
            if core is not None:
                core.close()
            self._observed.missed(ConfigurationError("BG140", "a synchronous handler returned an awaitable"))
        else:
            self._end(Outcome(Status.SUCCEEDED), "")

    def raised(self, error: BaseException) -> None:
        """The handler has raised. The error is not changed, and nothing keeps it."""
        if self._call is None:
            return
        if isinstance(error, Exception):
            reason = Reason.REJECTED if isinstance(error, Rejected) else Reason.HANDLER_ERROR
            self._end(Outcome(Status.FAILED, None, error, (reason,)), type(error).__name__)
        else:
            self._end(None, type(error).__name__)

    def _end(self, outcome: Outcome | None, error: str) -> None:
        """Let the pipeline conclude from the handler's end (None: it was interrupted), and keep what it says."""
        call, core, verdict = self._call, self._core, self.verdict
        assert call is not None
        self._leave()
        try:
            notes: tuple[str, ...] = ()
            if verdict is None:
                verdict = _concluded(core, outcome)
                if verdict is None:
                    notes = (spelt("interrupted", error),)
                    verdict = seal(call, Outcome(Status.UNKNOWN, None, None, (Reason.CANCELLED,)))
                elif Reason.EFFECT_UNKNOWN in verdict.reasons:
                    notes = (spelt("parked", error or "StoreUnavailable"),)
            call.shadow = (*call.shadow, *notes)
            if call.fresh_key:
                self._observed.forget(call.row_key or "")
            self._observed.keep(event_of(call, verdict, KIND))
        except Exception as odd:  # noqa: BLE001 - as in look
            self._observed.missed(odd)

    def _leave(self) -> None:
        if self._token is not None:
            try:
                _observing.reset(self._token)
            except ValueError:  # the host finishes its coroutine in another context than it began it in
                pass
        self._call = self._core = self._token = self.verdict = None


class _Interrupted(BaseException):
    """Thrown into a pipeline whose handler was interrupted; the host's own exception is not passed around."""


def _concluded(core: Any, outcome: Outcome | None) -> Outcome | None:
    """The pipeline's outcome, given its handler's; None if that was interrupted."""
    try:
        core.send(outcome) if outcome is not None else core.throw(_Interrupted())
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    except _Interrupted:
        return None
    core.close()
    raise ConfigurationError("BG140", "an observed pipeline has suspended after its handler")


class UntilTurn:
    """Awaits a pipeline until it is its handler's turn (None) or it has ended (its outcome)."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __await__(self) -> Generator[Any, Any, Outcome | None]:
        core = self._core
        step = partial(core.send, None)
        while True:
            try:
                said = step()
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if said is TURN:
                return None
            try:
                step = partial(core.send, (yield said))
            except BaseException as error:  # noqa: BLE001 - it is the pipeline's to deal with, as for any awaiter
                step = partial(core.throw, error)
