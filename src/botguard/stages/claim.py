"""claim: one atomic statement decides who owns the key; from here on the call is the only one (section 3)."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.options import Effects, InFlight
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.meeting import Meeting
from botguard.pipeline.settle import Settlement
from botguard.pipeline.stage import Proceed
from botguard.pipeline.trail import event_of, seal
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.reconcile import Happened, NotHappened

__all__ = ["Claim"]

_make = tuple.__new__


class Claim:
    """Wins the key or says who has it. Whatever stops the call before its handler began gives the key back."""

    name = "claim"

    def __init__(
        self, command: Command, meeting: Meeting, settlement: Settlement, breaker: Any = None, with_event: bool = False
    ) -> None:
        self._command, self._meeting, self._settlement = command, meeting, settlement
        self._name, self._version = command.name, command.version
        self._takeover = command.effects is not Effects.EXTERNAL
        self._lease = (command.deadline or 3600.0) + command.grace
        self._breaker = breaker
        self._must_audit, self._with_event = command.must_audit, with_event
        self._join = command.in_flight is InFlight.JOIN

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Claim, run the rest, release if the handler never began."""
        if call.parent is not None or (self._breaker is not None and self._breaker() is not None):
            refused = self._impossible(call)
            if refused is not None:
                return refused
        call.claim_id = call.plan.new_id()
        try:
            lost = await self._acquire(call)
        except BaseException:
            # The answer was on its way: the row may bear our claim id. Its handler never ran, so give the key back.
            await self._settlement.release(call)
            raise
        if lost is not None:
            return lost
        try:
            outcome = await self._joinable(call, proceed) if self._join else await proceed(call)
            if not call.began and not call.settled and call.claim_id:
                await self._settlement.release(call)
                if outcome.status is Status.FAILED and Reason.STORE_UNAVAILABLE in outcome.reasons:
                    outcome.status, outcome.retry_after = Status.UNAVAILABLE, 1.0  # nothing ran: no transaction began
        except BaseException:
            if not call.began and not call.settled and call.claim_id:
                await self._settlement.release(call)
            raise
        return outcome

    async def _joinable(self, call: Call, proceed: Proceed) -> Outcome:
        key = call.row_key or ""
        self._meeting.twins.begin(key, call.plan.runtime.signal())
        try:
            return await proceed(call)
        finally:
            self._meeting.twins.end(key)

    def _impossible(self, call: Call) -> Outcome | None:
        parent = call.parent
        if parent is not None and parent.unit is not None and self._command.effects is Effects.EXTERNAL:
            # Its claim and effect would outlive a rollback of the transaction around it.
            outcome = refusal(Status.UNAVAILABLE, Reason.HOST_TRANSACTION_OPEN)
            outcome.error = StoreUnavailable(
                f"{self._command.name} has external effects and was called inside an open unit of work",
                host_transaction=True,
                fix="call it after the transactional command has returned, or enqueue it",
            )
            return outcome
        if self._breaker is not None:
            wait = self._breaker()
            if wait is not None:  # known to be down: do not even write a claim
                return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=wait)
        return None

    async def _acquire(self, call: Call) -> Outcome | None:
        try:
            if self._must_audit:
                answer: Any = await self._audited(call)
            else:
                answer = call.stores.idempotency.claim(self._request(call))
            if hasattr(answer, "__await__"):
                answer = await call.bridge(answer)
            if answer.won:
                call.fence = answer.fence
                return None
            return await self._decide(call, answer)
        except StoreUnavailable as error:
            if not error.maybe_applied or not call.claim_id:
                return self._without_store(call, error)
        return await self._ask_again(call)

    def _request(self, call: Call, supersede: str | None = None) -> ClaimRequest:
        return _make(
            ClaimRequest,
            (
                call.row_key, call.context.org, self._name, call.claim_id, call.person, call.fingerprint,
                self._version, self._lease, self._takeover, supersede,
            ),
        )  # fmt: skip

    async def _ask_again(self, call: Call) -> Outcome | None:
        """The answer was lost. The same claim id wins if the first statement was stored, and if it was not."""
        try:
            answer = await self._ask(call)
            return None if answer.won else await self._decide(call, answer)
        except StoreUnavailable as error:
            if call.claim_id:
                await self._settlement.release(call)  # the first statement may have been stored all the same
            return self._without_store(call, error)

    async def _ask(self, call: Call, supersede: str | None = None) -> ClaimAnswer:
        if self._must_audit:
            return await self._audited(call, supersede)
        answer: Any = call.stores.idempotency.claim(self._request(call, supersede))
        if hasattr(answer, "__await__"):
            answer = await call.bridge(answer)
        if answer.won:
            call.fence = answer.fence
        return answer  # type: ignore[no-any-return]

    async def _audited(self, call: Call, supersede: str | None = None) -> ClaimAnswer:
        """Claim with a ``started`` event: in the same commit, or stored before the handler may begin."""
        started = event_of(call, seal(call, Outcome(Status.IN_FLIGHT)), "started")
        answer = call.stores.idempotency.claim(self._request(call, supersede), started if self._with_event else None)
        if hasattr(answer, "__await__"):
            answer = await call.bridge(answer)
        if answer.won:
            call.fence = answer.fence
            if not self._with_event:
                await self._announce(call, started)
        return answer

    async def _announce(self, call: Call, started: Event) -> None:
        try:
            done: Any = call.stores.events.append(started)
            if hasattr(done, "__await__"):
                await call.bridge(done)
        except StoreUnavailable as error:  # without its event the handler does not begin, so give the key back
            await self._settlement.release(call)
            raise StoreUnavailable(str(error), host_transaction=error.host_transaction) from error

    async def _decide(self, call: Call, answer: ClaimAnswer) -> Outcome | None:
        row = answer.row
        if row is None:  # pragma: no cover - the port forbids it
            raise ConfigurationError(
                "BG118",
                "the store refused a claim without the row that stands in its way",
                where=self._name,
                why="nobody could tell a replay from a conflict",
                fix="mend the store; IdempotencyStoreSuite finds this",
            )
        claim_id, call.claim_id = call.claim_id, ""
        met = await self._meeting.meet(call, row)
        if met is not None:
            return met
        if row.state is RowState.UNKNOWN:
            settled = await self._reconcile(call, row)
            if isinstance(settled, Outcome):
                return settled
            call.claim_id = claim_id
            answer = await self._ask(call, supersede=row.claim_id)
        else:  # the twin gave the key back, or its lease ended, while this caller waited
            call.claim_id = claim_id
            answer = await self._ask(call)
        if answer.won:
            return None
        call.claim_id = ""
        return refusal(Status.IN_FLIGHT, Reason.RUNNING, retry_after=1.0)

    async def _reconcile(self, call: Call, row: Row) -> Outcome | None:
        """Ask the command whether the effect happened. None: it did not, the key may be taken over."""
        unknown = refusal(Status.UNKNOWN, Reason.EFFECT_UNKNOWN)
        if self._command.reconcile is None:
            return unknown
        try:
            found = self._command.reconcile(call.row_key)
            if hasattr(found, "__await__"):
                found = await call.bridge(found)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - who cannot say whether it happened leaves it unknown
            unknown.error = error
            return unknown
        if isinstance(found, NotHappened) or found is NotHappened:
            return None
        if not isinstance(found, Happened):
            return unknown
        body = self._settlement.body(call, found.value)
        outcome = seal(call, Outcome(Status.SUCCEEDED, found.value))
        event = event_of(call, outcome, "reconciled")
        ack: Any = call.stores.idempotency.finish(
            call.row_key or "",
            row.claim_id,
            RowState.DONE,
            body,
            self._command.keep,
            row.attempts,
            event if self._with_event else None,
        )
        if hasattr(ack, "__await__"):
            ack = await call.bridge(ack)
        if ack is Ack.LOST:
            return unknown
        if not self._with_event and ack is Ack.APPLIED:
            await self._noted(call, event)
        outcome.replayed = True
        return outcome

    async def _noted(self, call: Call, event: Event) -> None:
        """Write an event that no commit holds together with its row; what it tells is true without it."""
        try:
            done: Any = call.stores.events.append(event)
            if hasattr(done, "__await__"):
                await call.bridge(done)
        except StoreUnavailable:
            call.note(Reason.AUDIT_LOST, degraded=True)

    def _without_store(self, call: Call, error: StoreUnavailable) -> Outcome | None:
        skips = self._command.effects is Effects.IDEMPOTENT and not self._must_audit and not error.host_transaction
        if skips and call.claim_id:  # without it we do know of a row that stands in the way
            call.claim_id = ""
            call.note(Reason.CLAIM_SKIPPED, degraded=True)
            return None
        reason = Reason.HOST_TRANSACTION_OPEN if error.host_transaction else Reason.STORE_UNAVAILABLE
        outcome = refusal(Status.UNAVAILABLE, reason, retry_after=None if error.host_transaction else 1.0)
        outcome.error = error
        call.claim_id = ""
        return outcome

    async def preview(self, call: Call) -> Outcome | None:
        """Unavailable if the breaker is open; the row was looked at by peek."""
        wait = self._breaker() if self._breaker is not None else None
        return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=wait) if wait is not None else None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"effects": str(self._command.effects), "lease": self._lease, "must_audit": self._must_audit}
