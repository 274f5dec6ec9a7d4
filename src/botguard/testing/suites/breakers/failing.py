"""Outages and cancellations of what was asked."""

from __future__ import annotations

from typing import Any

from botguard.testing.suites.breakers.words import RESET, TIMEOUT, BreakerWords
from botguard.testing.suites.cancelling import cancel_everywhere
from botguard.testing.suites.checks import must

__all__ = ["Failing"]


class Failing(BreakerWords):
    """What holds where something failed in the middle."""

    def test_idem_19_a_breaker_that_is_opened_while_the_store_is_cut_off(self) -> None:
        """IDEM-19: a call that was refused has changed nothing, or says that it may have."""
        _ = self.store
        ((_, refused),) = self.cut_off(lambda: self.open(0))
        self.recovered(self.look)
        if refused is not None and not refused.maybe_applied:
            must(self.look().state == "closed", "IDEM-19", "it was opened all the same")

    def test_idem_18_a_probe_that_is_cancelled_can_be_given_back(self) -> None:
        """IDEM-18: wherever asking for a probe is cancelled, to ignore it by name leaves the place free."""
        self.needs_tasks()
        store = self.store

        def ask(n: int) -> Any:
            return store.admit(f"erp-{n}", 1, f"cancelled-{n}", 1, TIMEOUT)

        def free(n: int) -> None:
            name = f"erp-{n}"
            self.settle(0, f"cancelled-{n}", "ignored", name=name)
            must(self.admit(1, name=name).granted, "IDEM-18", "the place is free")
            must(not self.admit(1, name=name).granted, "BREAK-01", "and it is one place")

        cancel_everywhere(self, ask, free)

    def test_idem_18_an_opening_that_is_cancelled_is_done_or_not(self) -> None:
        """IDEM-18: wherever opening is cancelled, it is open as was said, or closed, and can be said again."""
        self.needs_tasks()
        store = self.store

        def ask(n: int) -> Any:
            return store.open(f"erp-{n}", 0, RESET)

        def whole(n: int) -> None:
            view = self.look(f"erp-{n}")
            if view.state != "closed":
                self.waits(view, RESET)
            must(self.open(0, name=f"erp-{n}").state == "open", "IDEM-18", "said again, it is open")

        cancel_everywhere(self, ask, whole)
