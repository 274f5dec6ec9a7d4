"""The store's clock: that it moves, that zones mean nothing to it, and that it may be set back."""

from __future__ import annotations

from botguard.ports.idempotency import Ack
from botguard.testing.suites.checks import Vacuous, equal, must
from botguard.testing.suites.idempotency.words import ClaimWords
from botguard.testing.suites.zones import changes, local_time

__all__ = ["Clocks"]


class Clocks(ClaimWords):
    """How a store takes time."""

    def test_time_passes_when_the_suite_says_so(self) -> None:
        """TIME: what the suite lets pass is gone from the lease."""
        self.won("c1", lease=100.0)
        before = self.row().lease_left
        self.elapse(40.0)
        gone = before - self.row().lease_left
        must(
            abs(gone - 40.0) <= self.hair,
            "TIME",
            f"40 s passed, and {gone:g} s are gone from the lease: give the store self.clock, or define age(seconds)",
        )

    def test_idem_10_leases_hold_while_the_local_clocks_are_changed(self) -> None:
        """IDEM-10: in spring and in autumn, half an hour is half an hour."""
        self.needs_a_still_clock()
        with local_time() as possible:
            if not possible:
                self.skip("cannot be asked in another zone on this platform")
            _ = self.store
            moments = changes(self.clock.time())
            if len(moments) < 2:
                raise Vacuous("IDEM-10", "no clock was changed within a year")
            for n, moment in enumerate(moments[:2]):
                self.elapse(moment - self.clock.time() - 600.0)
                self.won("c1", key=f"lease-{n}", lease=1800.0)
                self.won("c1", key=f"keep-{n}")
                self.finish("c1", key=f"keep-{n}", keep=1800.0)
                self.elapse(1800.0 - self.tick)
                self.lost("c2", "IDEM-10", "the lease is not over", key=f"lease-{n}")
                must(self.peek(f"keep-{n}") is not None, "IDEM-10", "the result still lives")
                self.elapse(self.tick)
                self.won("c3", "IDEM-10", "the lease is over", key=f"lease-{n}")
                must(self.peek(f"keep-{n}") is None, "IDEM-10", "the result's lifetime is over")

    def test_idem_11_a_clock_that_is_set_back_revives_nobody(self) -> None:
        """IDEM-11: who was taken over stays out, though by the clock his lease runs again."""
        self._needs_a_clock_to_set()
        self.won("c1", lease=10.0)
        self.elapse(10.0)
        self.won("c2", lease=10.0)
        self.clock.step(-3600.0)
        for ack in (self.finish("c1"), self.release("c1"), self.extend("c1")):
            equal(ack, Ack.LOST, "IDEM-11", "what the former owner asks for")
        self.lost("c3", "IDEM-01", "the new owner's lease runs")
        equal(self.finish("c2"), Ack.APPLIED, "IDEM-11", "the owner finishes")

    def test_idem_04_fences_rise_though_the_clock_is_set_back(self) -> None:
        """IDEM-04: a fence is no time."""
        self._needs_a_clock_to_set()
        first = self.won("c1")
        self.release("c1")
        self.clock.step(-3600.0)
        second = self.won("c2")
        must(second > first, "IDEM-04", f"the fence of the next owner: {second} after {first}")

    def _needs_a_clock_to_set(self) -> None:
        self.needs_a_still_clock()
        _ = self.store
        if not hasattr(self.clock, "step"):
            self.skip("has a clock that the suite cannot set")
