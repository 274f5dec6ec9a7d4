"""Lost answers, outages and cancellations of requests."""

from __future__ import annotations

from typing import Any

from botguard.ports.approvals import ApprovalState
from botguard.testing.suites.approvals.words import LIFE, ApprovalWords
from botguard.testing.suites.cancelling import cancel_everywhere
from botguard.testing.suites.checks import equal, must

__all__ = ["Failing"]

_OPEN, _APPROVED, _DECLINED, _EXPIRED = ApprovalState


class Failing(ApprovalWords):
    """What holds where something failed in the middle."""

    def test_idem_17_whatever_is_said_again_is_so_already(self) -> None:
        """IDEM-17: open, decide and spend, said again after their answers were lost, change nothing more."""
        first = self.open()
        self.same(self.open(), first, "IDEM-17", "the same request, opened again")
        for _ in range(2):
            equal(self.decide(), _APPROVED, "IDEM-17", "the same decision, said again")
        for _ in range(2):
            must(self.spend("k1"), "IDEM-17", "the same use, asked again")
        must(not self.spend("k2"), "APPR-04", "and nobody else's")

    def test_idem_19_a_use_while_the_store_is_cut_off(self) -> None:
        """IDEM-19: a refused use says whether it may have been written; asked again for its key it holds."""
        self.open()
        self.decide()
        ((answer, refused),) = self.cut_off(lambda: self.spend("k1"))
        self.recovered(self.by_token)
        found = self.by_token()
        used = None if found is None else found.spent_on
        if refused is None:
            must(answer, "APPR-01", "it was approved")
            equal(used, "k1", "IDEM-19", "the use that was answered")
        elif not refused.maybe_applied:
            equal(used, "", "IDEM-19", "nothing may have been written: its use")
        must(self.spend("k1"), "IDEM-L4", "the store is back")
        must(not self.spend("k2"), "APPR-04", "one key is served")

    def test_idem_18_a_use_that_is_cancelled_can_be_asked_again(self) -> None:
        """IDEM-18: wherever open, decide or spend is cancelled, said again it holds, and for one key only."""
        self.needs_tasks()
        store = self.store

        def asked(n: int) -> None:
            equal(self.open(f"t{n}", f"s{n}").token, f"t{n}", "IDEM-18", "the request, opened again")

        cancel_everywhere(self, lambda n: store.open(self.request(f"t{n}", f"s{n}"), LIFE), asked)
        rounds = 1

        def decided(_: int) -> None:
            nonlocal rounds
            equal(self.decide(token=f"d{rounds}"), _APPROVED, "IDEM-18", "the decision, said again")
            rounds += 1
            self.open(f"d{rounds}", f"d{rounds}")

        self.open("d1", "d1")
        cancel_everywhere(self, lambda n: store.decide(f"d{n}", _APPROVED), decided)
        self._spend_cancelled()

    def _spend_cancelled(self) -> None:
        store = self.store

        def ready(n: int) -> None:
            self.open(f"u{n}", f"u{n}")
            self.decide(token=f"u{n}")

        def used(n: int) -> None:
            must(self.spend("k1", f"u{n}"), "IDEM-18", "the use, asked again for its key")
            must(not self.spend("k2", f"u{n}"), "APPR-04", "another key is not served")
            ready(n + 1)

        def spend(n: int) -> Any:
            return store.spend(f"u{n}", "k1")

        ready(1)
        cancel_everywhere(self, spend, used)
