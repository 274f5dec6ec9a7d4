"""The suite of :class:`botguard.ports.events.EventStore`.

AUD-04: append only, in the order of arrival; AUD-09: one event is one event, whatever its texts hold.
"""

from __future__ import annotations

from typing import Any

from botguard.ports.events import Event
from botguard.testing.suites.base import HARD_STRINGS, StoreSuite, equal, must, settled

__all__ = ["EventStoreSuite"]


class EventStoreSuite(StoreSuite):
    """Holds an event store to its port. Its time does not matter, so ``advance`` need not be defined."""

    @staticmethod
    def event(number: int, **other: Any) -> Event:
        """An event; ``other`` changes its fields."""
        made = Event(
            id=f"event-{number}", kind="run", at=1_800_000_000.25 + number, org="o", actor="a", person="p", channel="api",
            command="orders.create", status="succeeded", reasons="", attempts=1, duration_ms=1.5, success=True,
            replayed=False, degraded=False, key="k", shadow="", policy_digest="d", correlation_id="",
        )  # fmt: skip
        return made._replace(**other)

    def append(self, *events: Event) -> None:
        """Append events, one by one."""
        for event in events:
            must(self.ask(self.store.append, event) is None, "PORT", "append answers None")

    def tail(self, *args: Any, **kwargs: Any) -> list[Event]:
        """The newest events."""
        found: list[Event] = self.ask(self.store.tail, *args, **kwargs)
        return found

    def test_colour_is_declared_and_true(self) -> None:
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        self.append(self.event(1))
        must(isinstance(self.tail(), list), "PORT", "tail answers a list")

    def test_empty(self) -> None:
        equal(self.tail(), [], "PORT", "the tail of an empty trail")
        equal(self.tail(org="o"), [], "PORT", "and of one org")

    def test_every_field_comes_back(self) -> None:
        event = self.event(
            1, kind="refusals", at=1_234_567.890625, attempts=7, duration_ms=0.0625, success=False, replayed=True,
            degraded=True, count=42, reasons="rate_limited,lease_lost", shadow="limit=rate_limited",
        )  # fmt: skip
        self.append(event)
        found = self.tail()
        equal(found, [event], "PORT", "the event")
        for name in Event._fields:
            equal(getattr(found[0], name), getattr(event, name), "PORT", f"its {name}")

    def test_aud_04_the_newest_come_last(self) -> None:
        # The order is that of arrival: neither ids nor times decide, since the clocks of processes differ.
        events = [self.event(n, at=1000.0 - n) for n in (3, 1, 2)]
        self.append(*events)
        equal(self.tail(), events, "AUD-04", "events in the order of their arrival")

    def test_tail_is_limited_to_the_newest(self) -> None:
        events = [self.event(n) for n in range(7)]
        self.append(*events)
        for limit in range(9):
            equal(self.tail(limit), events[max(0, 7 - limit) :], "PORT", f"the newest {limit}")

    def test_tail_shows_a_hundred_unless_told(self) -> None:
        events = [self.event(n) for n in range(103)]
        self.append(*events)
        equal(self.tail(), events[3:], "PORT", "the newest hundred")

    def test_tail_of_one_org(self) -> None:
        events = [self.event(n, org="acme" if n % 3 == 0 else "other") for n in range(12)]
        self.append(*events)
        acme = [event for event in events if event.org == "acme"]
        equal(self.tail(org="acme"), acme, "PORT", "the events of one org")
        equal(self.tail(2, org="acme"), acme[-2:], "PORT", "its newest two, however many others came after them")
        equal(self.tail(org="nobody"), [], "PORT", "an org without events")

    def test_orgs_are_told_apart_byte_by_byte(self) -> None:
        events = [self.event(n, org=org) for n, org in enumerate(HARD_STRINGS)]
        self.append(*events)
        for event in events:
            equal(self.tail(org=event.org), [event], "IDEM-09", f"the events of {event.org!r}")

    def test_aud_09_hard_strings_come_back_as_they_are(self) -> None:
        events = [
            self.event(n, actor=text, person=text, channel=text, key=text, correlation_id=text, shadow=text)
            for n, text in enumerate(HARD_STRINGS)
        ]
        self.append(*events)
        equal(self.tail(len(events)), events, "AUD-09", "one event for each, unchanged")

    def test_aud_04_a_tail_does_not_change_afterwards(self) -> None:
        self.append(self.event(1))
        before = self.tail()
        self.append(self.event(2))
        equal(len(before), 1, "AUD-04", "events in a tail that was read before")

    def test_aud_04_many_at_once_all_arrive(self) -> None:
        store, each = self.store, 10

        def writer(n: int) -> Any:
            async def run() -> None:
                for m in range(each):
                    await settled(store.append(self.event(n * each + m)))

            return run

        self.together(store, [writer(n) for n in range(self.threads)])
        found = [event.id for event in self.tail(1000)]
        equal(
            sorted(found),
            sorted(f"event-{n}" for n in range(self.threads * each)),
            "AUD-04",
            "events that arrived",
        )
        for n in range(self.threads):
            own = [f"event-{n * each + m}" for m in range(each)]
            equal([name for name in found if name in own], own, "AUD-04", "one writer's events keep their order")

    def test_another_handle_sees_what_was_appended(self) -> None:
        self.needs("reopen")
        self.append(self.event(1))
        other = self.reopen(self.store)
        try:
            equal(self.ask(other.tail), [self.event(1)], "IDEM-12", "durable when append returns")
        finally:
            self.close_store(other)
