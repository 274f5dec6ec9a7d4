"""The suite of :class:`botguard.ports.events.EventStore`."""

from __future__ import annotations

from typing import Any

from botguard.ports.events import Event
from botguard.testing.suites.actors import settled
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.cancelling import cancel_everywhere
from botguard.testing.suites.checks import HARD_STRINGS, Vacuous, equal, must

__all__ = ["EventStoreSuite"]


class EventStoreSuite(StoreSuite):
    """Holds an event store to its port. Its time does not matter.

    Capabilities: ``reopen``, ``outage``.
    """

    botguard_port = "events"

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
        """COLOUR: the store says sync, async or any, and answers as it says."""
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        self.append(self.event(1))
        must(isinstance(self.tail(), list), "PORT", "tail answers a list")

    def test_empty(self) -> None:
        """PORT: the tail of an empty trail is an empty list."""
        equal(self.tail(), [], "PORT", "the tail of an empty trail")
        equal(self.tail(org="o"), [], "PORT", "and of one org")

    def test_every_field_comes_back(self) -> None:
        """PORT: every field comes back, in its type."""
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
        """AUD-04: the order is that of arrival; neither ids nor times decide."""
        # The order is that of arrival: neither ids nor times decide, since the clocks of processes differ.
        events = [self.event(n, at=1000.0 - n) for n in (3, 1, 2)]
        self.append(*events)
        equal(self.tail(), events, "AUD-04", "events in the order of their arrival")

    def test_tail_is_limited_to_the_newest(self) -> None:
        """PORT: a tail holds so many of the newest."""
        events = [self.event(n) for n in range(7)]
        self.append(*events)
        for limit in range(9):
            equal(self.tail(limit), events[max(0, 7 - limit) :], "PORT", f"the newest {limit}")

    def test_tail_shows_a_hundred_unless_told(self) -> None:
        """PORT: a tail shows a hundred unless it is told otherwise."""
        events = [self.event(n) for n in range(103)]
        self.append(*events)
        equal(self.tail(), events[3:], "PORT", "the newest hundred")

    def test_tail_of_one_org(self) -> None:
        """PORT: a tail of one org holds its newest, however many others came after them."""
        events = [self.event(n, org="acme" if n % 3 == 0 else "other") for n in range(12)]
        self.append(*events)
        acme = [event for event in events if event.org == "acme"]
        equal(self.tail(org="acme"), acme, "PORT", "the events of one org")
        equal(self.tail(2, org="acme"), acme[-2:], "PORT", "its newest two, however many others came after them")
        equal(self.tail(org="nobody"), [], "PORT", "an org without events")

    def test_orgs_are_told_apart_byte_by_byte(self) -> None:
        """IDEM-09: orgs that differ in one byte are apart."""
        events = [self.event(n, org=org) for n, org in enumerate(HARD_STRINGS)]
        self.append(*events)
        for event in events:
            equal(self.tail(org=event.org), [event], "IDEM-09", f"the events of {event.org!r}")

    def test_aud_09_hard_strings_come_back_as_they_are(self) -> None:
        """AUD-09: one event for each, unchanged, whatever its texts hold."""
        events = [
            self.event(n, actor=text, person=text, channel=text, key=text, correlation_id=text, shadow=text)
            for n, text in enumerate(HARD_STRINGS)
        ]
        self.append(*events)
        equal(self.tail(len(events)), events, "AUD-09", "one event for each, unchanged")

    def test_aud_04_a_tail_does_not_change_afterwards(self) -> None:
        """AUD-04: a tail that was read does not change afterwards."""
        self.append(self.event(1))
        before = self.tail()
        self.append(self.event(2))
        equal(len(before), 1, "AUD-04", "events in a tail that was read before")

    def test_aud_04_many_at_once_all_arrive(self) -> None:
        """AUD-02: events of many at once all arrive, each once, and in each writer's order."""
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
        """IDEM-12: an event is there for another handle when append returns."""
        self.needs("reopen")
        self.append(self.event(1))
        other = self.wait(self.reopen(self.store))
        try:
            equal(self.ask(other.tail), [self.event(1)], "IDEM-12", "durable when append returns")
        finally:
            self.wait(self.close_store(other))

    # -- faults ---------------------------------------------------------------------------

    def test_idem_19_an_event_while_the_store_is_cut_off(self) -> None:
        """IDEM-19: an event that was refused is not there, or the store said that it may be."""
        self.append(self.event(1))
        _, refused = self.cut_off(lambda: self.append(self.event(2)))[0]
        self.recovered(self.tail)
        second = [self.event(2)]
        possible = (
            ([],) if refused is not None and not refused.maybe_applied else ([], second) if refused else (second,)
        )
        must(self.tail() in [[self.event(1), *more] for more in possible], "IDEM-19", f"the trail is {self.tail()}")

    def test_idem_18_an_event_that_is_cancelled_is_there_once_or_not_at_all(self) -> None:
        """IDEM-18: wherever append is cancelled, its event is there once or not at all, and others follow."""
        self.needs_tasks()
        store = self.store

        def then(n: int) -> None:
            self.append(self.event(1000 + n))  # whatever was under way is through when this one is
            ids = [event.id for event in self.tail(1000)]
            must(ids.count(f"event-{n}") <= 1, "IDEM-18", f"event {n} is there {ids.count(f'event-{n}')} times")
            equal(ids[-1], f"event-{1000 + n}", "AUD-04", "the newest event")

        if not cancel_everywhere(self, lambda n: store.append(self.event(n)), then):
            raise Vacuous("IDEM-18", "append never waits, so that nothing could be cancelled")

    def test_idem_03_random_histories_are_the_models(self) -> None:
        """IDEM-03: in random histories the store answers as the model of its port does."""
        self.play("events")
