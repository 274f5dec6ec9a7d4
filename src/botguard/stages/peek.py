"""peek: has this intent been carried out already? Read-only, before anything is charged, asked or sent."""

from __future__ import annotations

from typing import Any

from botguard.command import Command
from botguard.outcome import Outcome, Status
from botguard.pipeline.call import Call
from botguard.pipeline.identity import Identity
from botguard.pipeline.meeting import Meeting
from botguard.pipeline.stage import Proceed

__all__ = ["LookAgain", "Peek"]

_THROTTLED = Status.THROTTLED  # an enum's member is slow to look up on 3.11


class Peek:
    """Names the intent, then looks for its row."""

    name = "peek"

    def __init__(self, command: Command, identity: Identity, meeting: Meeting) -> None:
        self._command, self._identity, self._meeting = command, identity, meeting

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Replay, refuse a running or reused key, or go on."""
        refused = self._identity(call)
        if refused is not None:
            return refused
        if not call.fresh_key:
            met = await self._meeting.look(call)
            if met is not None:
                return met
        outcome = await proceed(call)
        if outcome.status is _THROTTLED and not call.fresh_key:
            return await self._meeting.look(call) or outcome
        return outcome

    async def preview(self, call: Call) -> Outcome | None:
        """The stored outcome, a conflict or a running twin; None if the key is free."""
        refused = self._identity(call)
        if refused is not None or call.fresh_key:
            return refused
        return await self._meeting.look(call, wait=False)

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        key = self._command.key
        name = key if isinstance(key, str) else "function of the payload" if key is not None else "channel delivery"
        return {
            "key": name,
            "in_flight": str(self._command.in_flight),
            "replay_to": self._command.replay_to,
            "keep": self._command.keep,
        }


class LookAgain:
    """Looks once more when a later gate refuses: a twin may have finished meanwhile.

    It stands inside the limits, so that a replay found here is refunded like any other.
    """

    name = "look again"

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting

    async def again(self, call: Call, refused: Outcome) -> Outcome:
        """The refusal of a gate before the claim, or what the key has become meanwhile."""
        if call.fresh_key:
            return refused
        return await self._meeting.look(call) or refused
