"""One guarded call, as the checker remembers it."""

from __future__ import annotations

from typing import Any, NamedTuple

from botguard.invocation import Context, Principal
from botguard.outcome import Outcome
from botguard.ports.events import Event
from botguard.testing.simulation.outside import Intent
from botguard.testing.simulation.rows import Known

__all__ = ["Broken", "Run"]


class Broken(NamedTuple):
    """A rule of docs/explanation/simulation.md by its number, and what broke it."""

    rule: str
    what: str


class Run:
    """From the door of the guard to the outcome. Fields begin as class attributes, since most runs set few of them."""

    #: Who the directory said the caller is; None until it was asked.
    principal: Principal | None = None
    key: str | None = None
    #: The row of its key when it last looked.
    saw: Known | None = None
    claimed = False
    #: Claims of this key that were won before its result expired count as another epoch.
    epoch = 0
    #: The request for its effect has left the handler, or was written into the unit of work.
    sent = False
    #: The effect happened.
    made = False
    #: The business system will not carry it out any more.
    barred = False
    #: What the handler returned, and what reconcile found instead.
    value: Any = None
    found: Any = None
    charged = 0
    slots = 0
    #: A port failed it, or it had to wait; what depends on the port is not judged then.
    troubled = False
    #: A gate refused it when its twin had finished.
    crossed = False
    #: The store's clock was set during the run, so that even a result of its own may have expired already.
    leapt = False
    outcome: Outcome | None = None

    def __init__(self, number: int, command: Any, context: Context, raw: dict[str, Any], intent: Intent) -> None:
        self.number, self.command, self.context, self.raw, self.intent = number, command, context, raw, intent
        #: ``call``, ``confirm`` or ``decline``.
        self.way = "call"
        self.events: list[Event] = []

    def __repr__(self) -> str:
        actor = self.context.actor
        who = f"{actor.id if actor is not None else 'nobody'} of {self.context.org}"
        return f"run {self.number} ({self.way} {self.intent.command} on {self.intent.order} for {who})"

    @property
    def person(self) -> str:
        """Who stands behind the caller, if the directory was asked."""
        return self.principal.person if self.principal is not None else ""

    @property
    def authorised(self) -> bool:
        """The directory was asked in this run, and its answer allows the command."""
        who = self.principal
        return who is not None and who.active and "clerk" in who.roles and who.org == self.context.org

    def effects_are(self, kind: str) -> bool:
        """True for a command with such effects."""
        return bool(self.command.effects == kind)
