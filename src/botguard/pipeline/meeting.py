"""Meeting a row that stands already: replay it, refuse, or wait for the twin that runs."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.errors import StoreUnavailable
from botguard.options import InFlight
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, details_of, refusal
from botguard.pipeline.codec import Codec, decode_error
from botguard.pipeline.stage import Gate
from botguard.ports.idempotency import Row, RowState

__all__ = ["Meeting", "Twins"]

# An enum's member is slow to look up on 3.11.
_SUCCEEDED = Status.SUCCEEDED
_CLAIMED, _DONE, _FAILED = RowState.CLAIMED, RowState.DONE, RowState.FAILED
#: Seconds between looks at a running twin; it doubles up to a second.
_FIRST_LOOK = 0.02
#: Says that the twin is gone without a result.
_GONE = Outcome(Status.CANCELLED)


class Twins:
    """Runs of this process by key, so that a joining caller wakes when the first one ends."""

    def __init__(self) -> None:
        self._signals: dict[str, Any] = {}

    def begin(self, key: str, signal: Any) -> None:
        """A claim was won; ``end`` must follow."""
        self._signals[key] = signal

    def end(self, key: str) -> None:
        """The run is over; wake who joined."""
        signal = self._signals.pop(key, None)
        if signal is not None:
            signal.set()

    def get(self, key: str) -> Any:
        """The signal of a running twin in this process, or None."""
        return self._signals.get(key)


class Meeting:
    """Decides what a caller gets whose key is taken. Read-only: nothing is charged, prompted or sent on."""

    def __init__(self, command: Command, codec: Codec | None, visibility: Gate | None, twins: Twins) -> None:
        self._command, self._codec, self._visibility, self.twins = command, codec, visibility, twins
        self._to_org, self._version = command.replay_to == "org", command.version

    async def look(self, call: Call, *, wait: bool = True) -> Outcome | None:
        """Peek at the key: an outcome if it is settled or running, None if this caller may try to claim it.

        ``wait`` False: a dry run, which does not wait for a running twin whatever the command declares.
        """
        try:
            row: Any = call.stores.idempotency.peek(call.row_key or "")
            if hasattr(row, "__await__"):
                row = await call.bridge(row)
        except StoreUnavailable:
            return None  # the claim asks again, and decides by the command's effects what that means
        return None if row is None else await self.meet(call, row, wait=wait)

    async def _peek(self, call: Call) -> Row | None:
        try:
            row: Any = call.stores.idempotency.peek(call.row_key or "")
            if hasattr(row, "__await__"):
                row = await call.bridge(row)
        except StoreUnavailable:
            return None
        return row  # type: ignore[no-any-return]

    async def meet(self, call: Call, row: Row, *, wait: bool = True) -> Outcome | None:
        """What this row means to this caller; None if it is abandoned or unknown, which only a claim may judge."""
        state = row.state
        same_person = row.person == call.person or self._to_org
        # Only fingerprints of one schema version can be compared.
        if not same_person or (row.fingerprint != call.fingerprint and row.version == self._version):
            return refusal(Status.CONFLICT, Reason.KEY_REUSED)
        if state is _DONE or state is _FAILED:
            if self._visibility is None:
                return self._stored(row)
            return await self.replay(call, row)
        if state is _CLAIMED and row.lease_left > 0:
            return await self._running(call, row, wait)
        return None

    async def replay(self, call: Call, row: Row) -> Outcome:
        """The stored outcome of the first run, after the command's visibility checks."""
        if self._visibility is not None:
            said: Any = self._visibility.check(call)
            hidden: Outcome | None = await said if hasattr(said, "__await__") else said
            if hidden is not None:
                return hidden
        return self._stored(row)

    def _stored(self, row: Row) -> Outcome:
        outcome = self._outcome(row)
        outcome.replayed = True
        outcome.attempts = row.attempts
        return outcome

    def _outcome(self, row: Row) -> Outcome:
        if row.state is _FAILED:
            error = decode_error(row.result or b'{"kind":"Exception","text":""}', self._command.final)
            return Outcome(Status.FAILED, None, error, (Reason.REJECTED,), details_of(error))
        if row.result is None or self._codec is None:
            return Outcome(_SUCCEEDED, None, None, (Reason.RESULT_UNAVAILABLE,))
        try:
            return Outcome(_SUCCEEDED, self._codec.decode(row.result))
        except Exception:  # noqa: BLE001 - done is done: whatever the codec says, it never runs again for that
            return Outcome(_SUCCEEDED, None, None, (Reason.RESULT_UNAVAILABLE,))

    async def _running(self, call: Call, row: Row, wait: bool) -> Outcome | None:
        if wait and self._command.in_flight is not InFlight.REJECT:
            waited = await self._wait(call)
            if waited is not None:
                return None if waited is _GONE else waited
        return refusal(Status.IN_FLIGHT, Reason.RUNNING, retry_after=max(0.1, min(row.lease_left, 1.0)))

    async def _wait(self, call: Call) -> Outcome | None:
        runtime = call.plan.runtime
        end = runtime.clock.monotonic() + self._command.wait
        if call.deadline_at is not None:
            end = min(end, call.deadline_at)
        pause = _FIRST_LOOK
        while (left := end - runtime.clock.monotonic()) > 0:
            twin = self.twins.get(call.row_key or "") if self._command.in_flight is InFlight.JOIN else None
            nap: Any = twin.wait(min(left, 1.0)) if twin is not None else runtime.sleep(min(pause, left))
            if hasattr(nap, "__await__"):
                await call.bridge(nap)
            pause = min(pause * 2, 1.0)
            row = await self._peek(call)
            if row is None:
                return _GONE  # the first run gave the key back: this caller may try
            if row.state is not RowState.CLAIMED or row.lease_left <= 0:
                return await self.meet(call, row) or _GONE
        return None
