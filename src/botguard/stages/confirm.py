"""confirm: what the rules oblige a person to say yes to, asked once per intent and bound to exactly what was shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from botguard.command import Command
from botguard.errors import StoreUnavailable
from botguard.messages.catalogue import phrase
from botguard.options import Mode, Risk
from botguard.outcome import Outcome, PendingRequest, Reason, Status
from botguard.pipeline.call import Call, closed, refusal
from botguard.pipeline.canonical import canonical, digest
from botguard.pipeline.compose import note_shadow
from botguard.pipeline.identity import Identity
from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.colour import MaybeAwaitable
from botguard.ports.policy import Obligation

__all__ = ["Confirm"]

#: Looks whether the command's breaker would let a call through; takes no probe. None: it would; else seconds to wait.
BreakerLook = Callable[[], float | None]
#: The validated payload as JSON, or None where it holds secrets and must not be stored.
Dump = Callable[[Any], bytes | None]


class Confirm:
    """Discharges the obligations gathered so far, or makes the outcome pending."""

    name = "confirm"
    #: Its shadow must not ask anybody, so it writes its own note.
    shadows_itself = True

    def __init__(self, command: Command, identity: Identity, dump: Dump, breaker: BreakerLook | None) -> None:
        self._command, self._identity, self._dump, self._breaker = command, identity, dump, breaker
        self._shadow = command.mode("confirm") is Mode.SHADOW
        self._by_risk = Obligation("confirm", "", "risk") if command.risk is Risk.HIGH else None

    def check(self, call: Call) -> MaybeAwaitable[Outcome | None]:
        """Go on if nothing is asked, or if the answer is there and fits."""
        if not call.obligations and self._by_risk is None:
            return None
        if self._shadow:
            note_shadow(call, self.name, refusal(Status.PENDING, Reason.CONFIRMATION_REQUIRED))
            return None
        return self._required(call)

    async def _required(self, call: Call) -> Outcome | None:
        try:
            return await self._discharge(call, self._asked(call))
        except StoreUnavailable as error:
            outcome = refusal(Status.UNAVAILABLE, Reason.STORE_UNAVAILABLE)
            outcome.error = error
            return outcome

    def _asked(self, call: Call) -> tuple[Obligation, ...]:
        return (*call.obligations, self._by_risk) if self._by_risk is not None else call.obligations

    async def _discharge(self, call: Call, asked: tuple[Obligation, ...]) -> Outcome | None:
        if not call.fingerprint:  # a read: it has no claim, but its confirmation needs a name too
            unnamed = self._identity(call)
            if unnamed is not None:
                return unnamed
        if self._breaker is not None:
            wait = self._breaker()
            if wait is not None:  # nobody is asked for what cannot be done anyway
                return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=wait)
        try:
            targets = self._targets(call)
        except Exception as error:  # noqa: BLE001 - targets that cannot be told cannot be confirmed
            return closed(error)
        subject = digest(call.row_key or "", call.fingerprint.hex(), call.person, targets)
        request = call.resume
        if request is None:
            request = await self._open(call, subject, asked)
        elif request.subject != subject or request.person != call.person:
            return refusal(Status.DENIED, Reason.CONFIRMATION_INVALID)
        elif request.state is ApprovalState.OPEN:  # the answer arrives now, after everything was checked again
            decided: Any = call.stores.approvals.decide(request.token, ApprovalState.APPROVED)
            if hasattr(decided, "__await__"):
                decided = await call.bridge(decided)
            request = decided or request
        if request.state is not ApprovalState.APPROVED:
            return self._waiting(request)
        spent: Any = call.stores.approvals.spend(subject, call.row_key or "")
        if hasattr(spent, "__await__"):
            spent = await call.bridge(spent)
        return None if spent else refusal(Status.DENIED, Reason.CONFIRMATION_EXPIRED)

    def _targets(self, call: Call) -> str:
        """The declared targets with their versions: a changed target is a new request."""
        return canonical(self._command.targets(call.payload)) if self._command.targets is not None else ""

    async def _open(self, call: Call, subject: str, asked: tuple[Obligation, ...]) -> ApprovalRequest:
        context = call.context
        token = call.plan.runtime.new_secret()
        wanted = ApprovalRequest(
            subject=subject,
            token=token,
            org=context.org,
            command=self._command.name,
            key=call.row_key or "",
            fingerprint=call.fingerprint,
            person=call.person,
            actor=context.actor.id if context.actor is not None else "",
            channel=context.channel,
            delivery=context.delivery,
            text=self._text(call, asked),
            reasons=",".join(dict.fromkeys(o.code or "confirmation_required" for o in asked)),
            payload=self._dump(call.payload),
            expires_at=0.0,
        )
        request: Any = call.stores.approvals.open(wanted, self._command.confirm_within)
        if hasattr(request, "__await__"):
            request = await call.bridge(request)
        call.reshown = request.token != token
        return request  # type: ignore[no-any-return]

    def _text(self, call: Call, asked: tuple[Obligation, ...]) -> str:
        own = [o.text for o in asked if o.text]
        if own:
            return "\n".join(dict.fromkeys(own))
        data = call.payload if isinstance(call.payload, dict) else getattr(call.payload, "__dict__", {})
        shown = ", ".join(f"{name.replace('_', ' ')}: {value!s:.80}" for name, value in data.items())
        label = self._command.name.replace(".", " ").replace("_", " ")
        what = f"{label} ({shown})" if shown else label
        return phrase("please_confirm", call.context.locale).format(what=what)

    @staticmethod
    def _waiting(request: ApprovalRequest) -> Outcome:
        if request.state is ApprovalState.DECLINED:
            return refusal(Status.DENIED, Reason.CONFIRMATION_DECLINED)
        if request.state is ApprovalState.EXPIRED:
            return refusal(Status.DENIED, Reason.CONFIRMATION_EXPIRED)
        outcome = refusal(Status.PENDING, Reason.CONFIRMATION_REQUIRED)
        outcome.confirmation = PendingRequest(
            token=request.token,
            text=request.text,
            command=request.command,
            reasons=tuple(request.reasons.split(",")),
            expires_at=dt.datetime.fromtimestamp(request.expires_at, dt.UTC),
        )
        return outcome

    async def preview(self, call: Call) -> Outcome | None:
        """Pending if something would be asked; asks nobody."""
        if not self._asked(call):
            return None
        if self._breaker is not None and (wait := self._breaker()) is not None:
            return refusal(Status.UNAVAILABLE, Reason.BREAKER_OPEN, retry_after=wait)
        return refusal(Status.PENDING, Reason.CONFIRMATION_REQUIRED)

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"risk": str(self._command.risk), "confirm_within": self._command.confirm_within}
