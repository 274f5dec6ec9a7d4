"""Breaker stores that are wrong in one way each, and the tests that must catch each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from botguard.adapters.memory import MemoryBreakers
from botguard.ports.breakers import BreakerView

KNOWN_BAD: dict[type[Any], tuple[str, ...]] = {}


def caught_by(*tests: str) -> Callable[[type[Any]], type[Any]]:
    def enter(store: type[Any]) -> type[Any]:
        KNOWN_BAD[store] = tests
        return store

    return enter


@caught_by("test_half_open_grants_its_probes_and_no_more", "test_break_01_many_at_once_get_exactly_the_probes")
class EverybodyProbes(MemoryBreakers):
    def admit(self, name: str, era: int, probe: str, probes: int, probe_timeout: float) -> BreakerView:
        return super().admit(name, era, probe, 1_000_000, probe_timeout)


@caught_by("test_break_01_many_at_once_get_exactly_the_probes")
class ReadsThenAdmits(MemoryBreakers):
    """Counts the probes, and notes its own in a second step."""

    def admit(self, name: str, era: int, probe: str, probes: int, probe_timeout: float) -> BreakerView:
        view = super().admit(name, era, probe, probes, probe_timeout)
        with self._lock:
            row = self._rows[name]
            own = row.probes.pop(probe, None) if view.granted else None
        if own is not None:
            with self._lock:
                row.probes[probe] = own
        return view


@caught_by("test_failures_of_an_older_era_open_nothing")
class FailuresOfAnyEraOpen(MemoryBreakers):
    def open(self, name: str, era: int, seconds: float) -> BreakerView:
        return super().open(name, max(era, self.look(name).era), seconds)


@caught_by("test_results_of_an_older_era_change_nothing")
class ResultsOfAnyEraCount(MemoryBreakers):
    def settle(self, name: str, era: int, *rest: Any) -> BreakerView:
        return super().settle(name, self.look(name).era, *rest)


@caught_by("test_open_is_open_for_as_long_as_was_said", "test_another_handle_sees_and_probes_the_same_breaker")
class ForgetsThatItIsOpen(MemoryBreakers):
    """Says that it is open, and stores nothing."""

    def open(self, name: str, era: int, seconds: float) -> BreakerView:
        view = super().open(name, era, seconds)
        with self._lock:
            self._rows[name].state = "closed"
        return view


@caught_by(
    "test_a_lost_probe_gives_its_place_back_in_time", "test_a_probe_that_is_over_counts_as_lost_though_nobody_asked"
)
class ProbesNeverExpire(MemoryBreakers):
    @staticmethod
    def _drop_lost(row: Any, now: float) -> None:
        pass


@caught_by("test_a_lost_probe_gives_its_place_back_in_time")
class ProbesExpireAtOnce(MemoryBreakers):
    @staticmethod
    def _drop_lost(row: Any, now: float) -> None:
        row.probes = {probe: end for probe, end in row.probes.items() if end > now + 1.0}


@caught_by("test_an_ignored_probe_gives_its_place_back")
class IgnoredProbesKeepTheirPlace(MemoryBreakers):
    def settle(self, name: str, era: int, probe: str, result: Any, *rest: Any) -> BreakerView:
        return self.look(name) if result == "ignored" else super().settle(name, era, probe, result, *rest)


@caught_by("test_an_ignored_probe_gives_its_place_back")
class IgnoredIsOk(MemoryBreakers):
    def settle(self, name: str, era: int, probe: str, result: Any, *rest: Any) -> BreakerView:
        return super().settle(name, era, probe, "ok" if result == "ignored" else result, *rest)


@caught_by("test_an_ignored_probe_gives_its_place_back")
class OnlyTheRightEraGivesBack(MemoryBreakers):
    """Who was interrupted while he asked does not know the era."""

    def settle(self, name: str, era: int, probe: str, *rest: Any) -> BreakerView:
        return super().settle(name, era, probe, *rest) if era == self.look(name).era else self.look(name)


@caught_by("test_all_probes_must_succeed_to_close_it")
class OneSuccessCloses(MemoryBreakers):
    def settle(self, name: str, era: int, probe: str, result: Any, probes: int, reset_after: float) -> BreakerView:
        return super().settle(name, era, probe, result, 1, reset_after)


@caught_by("test_all_probes_must_succeed_to_close_it")
class SuccessesMakeRoom(MemoryBreakers):
    """Counts the probes that are out, and not those that succeeded."""

    def admit(self, name: str, era: int, probe: str, probes: int, probe_timeout: float) -> BreakerView:
        row = self._rows.get(name)
        return super().admit(name, era, probe, probes + (row.succeeded if row else 0), probe_timeout)


@caught_by("test_a_probe_that_fails_opens_it_for_all")
class AFailedProbeIsOneOfMany(MemoryBreakers):
    """It opens when all have failed."""

    def settle(self, name: str, era: int, probe: str, result: Any, *rest: Any) -> BreakerView:
        out = len(self._rows[name].probes) if name in self._rows else 0
        more = result == "failed" and (out > 1 or self._rows[name].succeeded)
        return super().settle(name, era, probe, "ignored" if more else result, *rest)


@caught_by("test_asked_again_after_a_lost_answer")
class AskedAgainTakesAnotherPlace(MemoryBreakers):
    def admit(self, name: str, era: int, probe: str, *rest: Any) -> BreakerView:
        row = self._rows.get(name)
        again = row is not None and probe in row.probes
        return super().admit(name, era, f"{probe}+" if again else probe, *rest)


@caught_by("test_opened_again_is_opened_once")
class OpenedAgainLastsLonger(MemoryBreakers):
    def open(self, name: str, era: int, seconds: float) -> BreakerView:
        view = super().open(name, era, seconds)
        with self._lock:
            self._rows[name].until = self._now() + seconds
            return self._view(self._rows[name]) if view.state == "open" else view


@caught_by("test_looking_changes_nothing")
class LookingHalfOpens(MemoryBreakers):
    def look(self, name: str) -> BreakerView:
        view = super().look(name)
        if view.state == "open" and not view.wait:
            with self._lock:
                self._begin(self._rows[name], "half-open", view.era)
                return self._view(self._rows[name])
        return view


@caught_by("test_a_store_that_has_forgotten_believes_who_asks")
class BelievesOnlyItself(MemoryBreakers):
    def open(self, name: str, era: int, seconds: float) -> BreakerView:
        return super().open(name, era, seconds) if era == self.look(name).era else self.look(name)


@caught_by("test_a_store_that_has_forgotten_believes_who_asks")
class ForgottenIsClosed(MemoryBreakers):
    def admit(self, name: str, era: int, *rest: Any) -> BreakerView:
        return super().admit(name, min(era, self.look(name).era), *rest)


@caught_by("test_who_asks_from_an_older_era_may_probe")
class ProbesOnlyForThoseWhoKnow(MemoryBreakers):
    """A process that has not looked since never gets a probe."""

    def admit(self, name: str, era: int, *rest: Any) -> BreakerView:
        view = self.look(name)
        return view if era < view.era and view.state == "half-open" else super().admit(name, era, *rest)


@caught_by("test_names_are_apart")
class FoldsNames(MemoryBreakers):
    def look(self, name: str) -> BreakerView:
        return super().look(name.casefold())

    def open(self, name: str, *rest: Any) -> BreakerView:
        return super().open(name.casefold(), *rest)


@caught_by("test_open_is_open_for_as_long_as_was_said")
class BoundaryTooLate(MemoryBreakers):
    def open(self, name: str, era: int, seconds: float) -> BreakerView:
        return super().open(name, era, seconds + 0.5)


@caught_by("test_colour_is_declared_and_true")
class BreakersInDisguise(MemoryBreakers):
    """Says that it answers at once, and hands out an awaitable."""

    def look(self, name: str) -> Any:
        return asyncio.sleep(0, super().look(name))


@caught_by("test_nothing_is_known_of_a_new_breaker")
class ProbesOfTheClosedCount(MemoryBreakers):
    def settle(self, name: str, era: int, probe: str, result: Any, probes: int, reset_after: float) -> BreakerView:
        if result == "failed" and self.look(name).state == "closed":
            return self.open(name, era, reset_after)
        return super().settle(name, era, probe, result, probes, reset_after)
