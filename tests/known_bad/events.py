"""Event stores that are wrong in one way each."""

from __future__ import annotations

import asyncio
from typing import Any

from botguard.ports.events import Event
from botguard.testing.models.events import EventModel
from known_bad.register import another_thread_runs, caught_by


@caught_by("test_aud_04_the_newest_come_last")
class SortsByTime(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return sorted(super().tail(limit, org=org), key=lambda event: event.at)


@caught_by("test_aud_04_the_newest_come_last", "test_tail_is_limited_to_the_newest")
class NewestFirst(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return super().tail(limit, org=org)[::-1]


@caught_by("test_tail_of_one_org")
class FiltersAfterTheLimit(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return [event for event in super().tail(limit) if org is None or event.org == org]


@caught_by("test_tail_of_one_org", "test_orgs_are_told_apart_byte_by_byte")
class ShowsEveryOrg(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return super().tail(limit)


@caught_by("test_orgs_are_told_apart_byte_by_byte")
class FoldsOrgs(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return [e for e in self.rows if org is None or e.org.casefold() == org.casefold()][-limit:]


@caught_by("test_every_field_comes_back")
class FlagsAreNumbers(EventModel):
    def append(self, event: Event) -> None:
        super().append(event._replace(success=int(event.success), degraded=int(event.degraded)))


@caught_by("test_every_field_comes_back")
class ForgetsTheCount(EventModel):
    def append(self, event: Event) -> None:
        super().append(event._replace(count=1))


@caught_by("test_aud_09_hard_strings_come_back_as_they_are")
class OneLineTexts(EventModel):
    def append(self, event: Event) -> None:
        super().append(event._replace(actor=event.actor.replace("\n", " ")))


@caught_by("test_aud_04_many_at_once_all_arrive")
class ReadsThenAppends(EventModel):
    def append(self, event: Event) -> None:
        rows = list(self.rows)
        another_thread_runs()
        self.rows = [*rows, event]


@caught_by("test_aud_04_a_tail_does_not_change_afterwards")
class HandsOutItsOwnList(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        return self.rows if len(self.rows) < limit and org is None else super().tail(limit, org=org)


@caught_by("test_tail_shows_a_hundred_unless_told")
class ShowsEverything(EventModel):
    def tail(self, limit: int = 1000, *, org: str | None = None) -> list[Event]:
        return super().tail(limit, org=org)


@caught_by("test_empty")
class NothingIsNone(EventModel):
    def tail(self, limit: int = 100, *, org: str | None = None) -> Any:
        return super().tail(limit, org=org) or None


@caught_by("test_colour_is_declared_and_true")
class EventsInDisguise(EventModel):
    def append(self, event: Event) -> Any:
        return asyncio.sleep(0, super().append(event))
