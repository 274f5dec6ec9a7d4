"""Events of two orgs, and tails of any length."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from botguard.ports.events import Event
from botguard.testing.machines.base import PortMachine, step
from botguard.testing.models.events import EventModel

__all__ = ["EventMachine"]

ORGS = ("acme", "Acme")
some = st.sampled_from


class EventMachine(PortMachine):
    """The machine."""

    model: EventModel
    rare = ("appended", "a tail of everything", "a tail cut off", "a tail of one org", "an empty tail")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def make_model(self) -> EventModel:
        """See the base."""
        return EventModel()

    @rule(org=some(ORGS), times=some((1, 1, 3)), at=some((1.0, 1000.0)))
    def append(self, org: str, times: int, at: float) -> None:
        """Somebody was served; the clocks of processes differ."""
        for _ in range(times):
            self.count += 1
            self.ask_append(Event(f"e{self.count}", "run", at, org, *("",) * 6, 1, 1.0, True, False, False, *("",) * 4))

    @rule(limit=some((0, 1, 2, 5, 100)), org=some((None, *ORGS)))
    def tail(self, limit: int, org: str | None) -> None:
        """Somebody looks."""
        self.ask_tail(limit, org)

    @step
    def ask_append(self, event: Event) -> None:
        """Append, and compare the answer."""
        wanted, got = self.both(f"append {event.id} of {event.org}", "append", event)
        self.agree(got, wanted, "PORT", "the answer of append")
        self.reached["appended"] += 1

    @step
    def ask_tail(self, limit: int, org: str | None) -> None:
        """Look, and compare."""
        wanted = self.model.tail(limit, org=org)
        got = self.suite.ask(self.store.tail, limit, org=org)
        self.story.tell(f"tail {limit} of {org or 'all'}", str([event.id for event in got]))
        self.agree(got, wanted, "AUD-04", "the newest events")
        self.reached["an empty tail"] += not wanted
        self.reached["a tail of one org"] += bool(org and wanted)
        self.reached["a tail cut off"] += 0 < limit == len(wanted) < len(self.model.rows)
        self.reached["a tail of everything"] += len(wanted) == len(self.model.rows) > 0
