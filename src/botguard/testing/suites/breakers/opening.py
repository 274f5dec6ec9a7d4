"""Open for everybody, for as long as was said; and what comes too late to matter."""

from __future__ import annotations

from botguard.testing.suites.breakers.words import RESET, BreakerWords
from botguard.testing.suites.checks import HARD_STRINGS, equal, must

__all__ = ["Opening"]


class Opening(BreakerWords):
    """From closed to open."""

    def test_colour_is_declared_and_true(self) -> None:
        """COLOUR: the store says sync, async or any, and answers as it says."""
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        self.look()

    def test_nothing_is_known_of_a_new_breaker(self) -> None:
        """BREAK-02: a breaker that nobody opened is closed, in era 0, and asking for a probe does not change that."""
        for view in (self.look(), self.admit(0), self.settle(0, "nobody", "failed"), self.look()):
            equal((view.state, view.era, view.granted), ("closed", 0, False), "BREAK-02", "a breaker nobody opened")

    def test_open_is_open_for_as_long_as_was_said(self) -> None:
        """BREAK-02: an open breaker grants nothing before its time is over, and grants a probe then."""
        era = self.opened(RESET)
        self.waits(self.look(), RESET)
        self.elapse(10.0)
        self.waits(self.look(), RESET - 10.0)
        self.elapse(RESET - 10.0 - 2 * self.hair)
        refused = self.admit(era)
        must(not refused.granted, "BREAK-02", "its time is not over yet")
        equal((refused.state, refused.era), ("open", era), "BREAK-02", "the refusal")
        must(refused.wait > 0, "BREAK-02", "a refusal says how long to wait")
        self.elapse(2 * self.hair)
        must(self.admit(era).granted, "BREAK-02", "its time is over")

    def test_looking_changes_nothing(self) -> None:
        """IDEM-16: an open breaker whose time is over stays open until somebody asks for a probe."""
        era = self.opened()
        self.elapse(RESET + 1.0)
        for _ in range(3):
            view = self.look()
            equal((view.state, view.era, view.wait), ("open", era, 0.0), "IDEM-16", "a look at a breaker")

    def test_opened_again_is_opened_once(self) -> None:
        """IDEM-17: to open it again, from the same era or in its own, lengthens nothing."""
        before = self.look().era
        era = self.opened(RESET)
        self.elapse(10.0)
        for again in (before, era):
            view = self.open(again, 1000.0)
            equal((view.state, view.era), ("open", era), "IDEM-17", "a breaker that is open already")
            self.waits(view, RESET - 10.0)

    def test_failures_of_an_older_era_open_nothing(self) -> None:
        """BREAK-03: who counted before it was open and closed again has nothing to say."""
        first = self.look().era
        era, probe = self.half_open()
        closed = self.settle(era, probe, "ok")
        equal(closed.state, "closed", "BREAK-04", "the only probe succeeded")
        for old in (first, era):
            view = self.open(old)
            equal((view.state, view.era), ("closed", closed.era), "BREAK-03", f"opened from era {old}")
        equal(self.open(closed.era).state, "open", "BREAK-02", "opened from its own era")

    def test_a_store_that_has_forgotten_believes_who_asks(self) -> None:
        """BREAK-06: an era above the store's says that it has forgotten: it opens, or lets a probe through."""
        view = self.open(2_000_000_000_000_000, name="opened")
        equal(view.state, "open", "BREAK-06", "a forgotten breaker that is opened")
        must(view.era > 2_000_000_000_000_000, "BREAK-06", "its era is above what was forgotten")
        view = self.admit(2_000_000_000_000_000, name="probed")
        must(view.granted, "BREAK-06", "a forgotten breaker that is probed is half-open")
        must(view.era > 2_000_000_000_000_000, "BREAK-06", "its era is above what was forgotten")
        must(not self.admit(2_000_000_000_000_000, name="probed").granted, "BREAK-01", "one probe, not two")

    def test_names_are_apart(self) -> None:
        """IDEM-09: breakers whose names differ in one byte are apart, and so are their probes."""
        for n, name in enumerate(HARD_STRINGS):
            equal(self.look(name).state, "closed", "IDEM-09", f"breaker {n}, {name!r}, which nobody opened")
            self.opened(name=name)
        self.elapse(RESET + self.hair)
        for n, name in enumerate(HARD_STRINGS):
            view = self.admit(self.look(name).era, f"own-{n}", name=name)
            must(view.granted, "IDEM-09", f"breaker {n}, {name!r}, has a probe of its own")
