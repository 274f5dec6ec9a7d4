"""Half-open: so many probes over all processes, and what their ends mean to everybody."""

from __future__ import annotations

from botguard.ports.breakers import ProbeResult
from botguard.testing.suites.breakers.words import RESET, TIMEOUT, BreakerWords
from botguard.testing.suites.checks import equal, must

__all__ = ["Probing"]


_ENDS: tuple[ProbeResult, ...] = ("ok", "failed")


class Probing(BreakerWords):
    """From half-open to closed or open."""

    def test_half_open_grants_its_probes_and_no_more(self) -> None:
        """BREAK-01: half-open grants as many probes as declared, and says how long to wait for another."""
        for probes in (1, 3):
            name = f"of-{probes}"
            era, _ = self.half_open(probes, name=name)
            for n in range(2, probes + 1):
                must(self.admit(era, probes=probes, name=name).granted, "BREAK-01", f"probe {n} of {probes}")
            for _ in range(3):
                refused = self.admit(era, probes=probes, name=name)
                must(not refused.granted, "BREAK-01", f"probe {probes + 1} of {probes}")
                equal((refused.state, refused.era), ("half-open", era), "PORT", "the refusal")
                must(0 < refused.wait <= TIMEOUT, "BREAK-01", f"a wait of {refused.wait} s")

    def test_who_asks_from_an_older_era_may_probe(self) -> None:
        """BREAK-01: a process that has not looked for long asks for a probe like the others."""
        era, _ = self.half_open(2)
        must(self.admit(0, probes=2).granted, "BREAK-01", "the second probe")
        refused = self.admit(0, probes=2)
        equal((refused.granted, refused.era), (False, era), "BREAK-01", "the third")

    def test_all_probes_must_succeed_to_close_it(self) -> None:
        """BREAK-04: it is closed for all when as many probes as declared have succeeded, and not before."""
        era, first = self.half_open(2)
        second = self.new_probe()
        equal(self.settle(era, first, "ok", probes=2).state, "half-open", "BREAK-04", "one of two succeeded")
        must(self.admit(era, second, probes=2).granted, "BREAK-01", "the second of two")
        must(not self.admit(era, probes=2).granted, "BREAK-01", "one has succeeded and one is out: that makes two")
        closed = self.settle(era, second, "ok", probes=2)
        equal(closed.state, "closed", "BREAK-04", "two of two succeeded")
        must(closed.era > era, "BREAK-03", "a change of state begins a greater era")
        equal(self.look(), closed, "BREAK-04", "what others see")
        must(not self.admit(closed.era).granted, "BREAK-01", "a closed breaker grants no probes")

    def test_a_probe_that_fails_opens_it_for_all(self) -> None:
        """BREAK-04: one probe that failed opens it, whatever the others did."""
        era, first = self.half_open(3)
        second = self.new_probe()
        self.admit(era, second, probes=3)
        self.settle(era, first, "ok", probes=3)
        opened = self.settle(era, second, "failed", probes=3, seconds=50.0)
        equal(opened.state, "open", "BREAK-04", "a probe failed")
        must(opened.era > era, "BREAK-03", "a change of state begins a greater era")
        self.waits(self.look(), 50.0)
        self.elapse(50.0 + self.hair)
        granted = sum(self.admit(opened.era, probes=3).granted for _ in range(5))
        equal(granted, 3, "BREAK-01", "probes of the next half-open, which begins anew")

    def test_an_ignored_probe_gives_its_place_back(self) -> None:
        """BREAK-05: a probe that says nothing makes room for another, in its era or out of it."""
        era, probe = self.half_open()
        for given in (era, 0, era + 1):
            view = self.settle(given, probe, "ignored")
            equal((view.state, view.era), ("half-open", era), "BREAK-05", "an ignored probe decides nothing")
            probe = self.new_probe()
            must(self.admit(era, probe).granted, "BREAK-05", "its place is free")
            must(not self.admit(era).granted, "BREAK-01", "one place, not two")

    def test_a_lost_probe_gives_its_place_back_in_time(self) -> None:
        """BREAK-05: a probe that never ends loses its place when its time is over, and not before."""
        era, lost = self.half_open(timeout=20.0)
        self.elapse(20.0 - 2 * self.hair)
        must(not self.admit(era).granted, "BREAK-05", "the probe may still end")
        self.elapse(2 * self.hair)
        second = self.new_probe()
        must(self.admit(era, second).granted, "BREAK-05", "the probe is lost")
        equal(self.settle(era, lost, "ok").state, "half-open", "BREAK-05", "the lost probe's late success")
        must(not self.admit(era).granted, "BREAK-05", "its late end frees nobody else's place")
        equal(self.settle(era, second, "ok").state, "closed", "BREAK-04", "the other probe's success")

    def test_a_probe_that_is_over_counts_as_lost_though_nobody_asked(self) -> None:
        """BREAK-05: a success after the probe's time is over closes nothing."""
        era, lost = self.half_open(timeout=20.0)
        self.elapse(20.0 + self.hair)
        equal(self.settle(era, lost, "ok").state, "half-open", "BREAK-05", "a success that comes too late")

    def test_results_of_an_older_era_change_nothing(self) -> None:
        """BREAK-03: what a probe of an earlier half-open says is dropped, whatever the state."""
        old, slow = self.half_open(2)
        quick = self.new_probe()
        self.admit(old, quick, probes=2)
        opened = self.settle(old, quick, "failed", probes=2)
        for result in _ENDS:
            view = self.settle(old, slow, result, probes=2, seconds=1000.0)
            equal((view.state, view.era), ("open", opened.era), "BREAK-03", f"{result} of an older era, while open")
        self.elapse(RESET + self.hair)
        probe = self.new_probe()
        era = self.admit(opened.era, probe).era
        for result in _ENDS:
            view = self.settle(old, slow, result)
            equal((view.state, view.era), ("half-open", era), "BREAK-03", f"{result} of an older era, half-open")
        must(not self.admit(era).granted, "BREAK-03", "and gives nobody's place away")
        closed = self.settle(era, probe, "ok")
        for result in _ENDS:
            view = self.settle(era, probe, result)
            equal((view.state, view.era), ("closed", closed.era), "BREAK-03", f"{result} of an older era, while closed")

    def test_asked_again_after_a_lost_answer(self) -> None:
        """IDEM-17: the same probe is granted again and takes one place; settled again it counts once."""
        era, probe = self.half_open(2)
        must(self.admit(era, probe, probes=2).granted, "IDEM-17", "the same probe again")
        self.settle(era, probe, "ok", probes=2)
        equal(self.settle(era, probe, "ok", probes=2).state, "half-open", "IDEM-17", "one success, said twice")
        must(self.admit(era, probes=2).granted, "IDEM-17", "one place was taken, not two")
