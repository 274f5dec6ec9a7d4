"""Writing down how a claimed run ended: the one place that finishes, parks, fails and releases claims."""

from __future__ import annotations

import base64
from typing import Any

from botguard.command import Command
from botguard.errors import ConfigurationError, DeadlineExceeded, Rejected, StoreUnavailable
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call
from botguard.pipeline.codec import Codec, encode_error
from botguard.pipeline.trail import event_of, seal
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, RowState
from botguard.ports.spool import Spool
from botguard.ports.storage import COMPLETION_WITH_EVENT

__all__ = ["Settlement"]

_DONE, _APPLIED, _LOST = RowState.DONE, Ack.APPLIED, Ack.LOST  # an enum's member is slow to look up on 3.11


class Settlement:
    """Knows, for one command, what to store for an outcome and what to do when it cannot be stored."""

    def __init__(self, command: Command, codec: Codec | None, spool: Spool | None, atomic: frozenset[str]) -> None:
        self._codec, self._spool = codec, spool  # no codec: the command discards its results
        self._keep = command.keep
        self._final: tuple[type[Exception], ...] = (Rejected, *command.final)
        self._with_event = COMPLETION_WITH_EVENT in atomic

    def is_final(self, error: BaseException | None) -> bool:
        """True for a failure that is stored and replayed: Rejected, and what the command declares ``final``."""
        # A stop by the guard is a TimeoutError too, but final=TimeoutError speaks of what the handler raises.
        return isinstance(error, self._final) and not isinstance(error, DeadlineExceeded)

    def body(self, call: Call, value: Any) -> bytes | None:
        """The result as it is stored; None, with a note on the outcome, where it cannot be."""
        if self._codec is None:
            return None
        try:
            return self._codec.encode(value)
        except Exception:  # noqa: BLE001 - the effect happened: a codec's trouble must not turn it into a failure
            call.note(Reason.RESULT_NOT_STORED, degraded=True)
            return None

    def event(self, call: Call, outcome: Outcome) -> Event | None:
        """The run's event if this storage commits it together with the completion, else None (the record stage's)."""
        seal(call, outcome)
        return event_of(call, outcome) if self._with_event else None

    async def done(self, call: Call, outcome: Outcome) -> None:
        """Store a success. Trouble becomes a note: the effect happened, so the caller gets his value."""
        body = None if self._codec is None else self.body(call, outcome.value)
        seal(call, outcome)
        event = event_of(call, outcome) if self._with_event else None
        await self.finish(call, _DONE, body, event)

    async def failed(self, call: Call, outcome: Outcome) -> None:
        """Store a final failure."""
        error = outcome.error
        outcome.reasons = (Reason.REJECTED,)
        body = encode_error(error) if error is not None else None
        await self.finish(call, RowState.FAILED, body, self.event(call, outcome))

    async def park(self, call: Call, outcome: Outcome) -> None:
        """Say that the effect is unknown; the row waits for reconcile or a person."""
        if Reason.EFFECT_UNKNOWN not in outcome.reasons:
            outcome.reasons = (*outcome.reasons, Reason.EFFECT_UNKNOWN)
        await self.finish(call, RowState.UNKNOWN, None, self.event(call, outcome))

    async def finish(self, call: Call, state: RowState, body: bytes | None, event: Event | None) -> None:
        try:
            ack: Any = call.stores.idempotency.finish(
                call.row_key or "",
                call.claim_id,
                state,
                body,
                self._keep,
                call.attempt,
                event,
            )
            if hasattr(ack, "__await__"):
                ack = await call.bridge(ack)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - a store's bug is not the caller's failure; the effect happened
            ack = await self._once_more(call, state, body, event, error)
            if ack is None:
                self.lost(call, state, body, error)
                return
        call.settled = True
        if ack is _LOST:
            call.note(Reason.LEASE_LOST, degraded=True)
        elif event is not None:
            call.audited = ack is _APPLIED or await self._stored(call, event)

    async def _stored(self, call: Call, event: Event) -> bool:
        """Somebody has settled the row already: this run, whose answer was lost, or whoever reconciled it meanwhile?"""
        try:
            row: Any = call.stores.idempotency.peek(call.row_key or "")
            if hasattr(row, "__await__"):
                row = await call.bridge(row)
        except StoreUnavailable:
            row = None
        if row is None:  # nobody can say
            call.note(Reason.AUDIT_LOST, degraded=True)
            return True
        return bool(row.event_id == event.id)

    async def _once_more(
        self, call: Call, state: RowState, body: bytes | None, event: Event | None, error: Exception
    ) -> Ack | None:
        """If only the answer may have been lost, ask again: the claim id makes the two one. None: the store is down."""
        if not isinstance(error, StoreUnavailable) or not error.maybe_applied:
            return None
        try:
            ack: Any = call.stores.idempotency.finish(
                call.row_key or "",
                call.claim_id,
                state,
                body,
                self._keep,
                call.attempt,
                event,
            )
            return await call.bridge(ack) if hasattr(ack, "__await__") else ack  # type: ignore[no-any-return]
        except StoreUnavailable:
            return None

    def acknowledge(self, call: Call, ack: Ack, event: Event | None) -> None:
        """Draw the consequences of an answer from inside a unit of work."""
        call.settled = True
        if ack is _LOST:
            call.note(Reason.LEASE_LOST, degraded=True)
        elif event is not None:
            call.audited = True

    def lost(self, call: Call, state: RowState, body: bytes | None, error: BaseException) -> None:
        """The store did not take the final state: spool it, and say so beside the value."""
        call.note(Reason.COMPLETION_LOST, degraded=True)
        if self._spool is None:
            return
        record = {
            "kind": "completion",
            "key": call.row_key or "",
            "claim_id": call.claim_id,
            "state": str(state),
            "result": base64.b64encode(body).decode("ascii") if body is not None else None,
            "keep": self._keep,
            "attempts": call.attempt,
            "error": type(error).__name__,
            "at": call.plan.time(),
        }
        try:
            self._spool.write(record)
        except OSError:
            call.note(Reason.AUDIT_LOST, degraded=True)

    async def release(self, call: Call) -> None:
        """Give the key back: no effect happened. If the store does not take it, the lease's end will.

        It is carried to its end though the caller is cancelled meanwhile; an interruption leaves it to be repeated.
        """
        try:
            ack: Any = call.stores.idempotency.release(call.row_key or "", call.claim_id)
            if hasattr(ack, "__await__"):
                await call.plan.runtime.shield(call.bridge(ack))
        except StoreUnavailable:
            call.degraded = True
        call.settled = True

    async def abandon(self, call: Call) -> None:
        """An interruption stopped a running handler of ``external`` effects: nobody can know, so say so."""
        outcome = Outcome(Status.UNKNOWN, None, None, (Reason.CANCELLED,))
        await self.park(call, outcome)
