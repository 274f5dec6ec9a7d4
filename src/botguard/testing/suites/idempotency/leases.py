"""Leases, extended or not, and the lifetimes of results."""

from __future__ import annotations

from botguard.ports.idempotency import Ack, RowState
from botguard.testing.suites.checks import equal, must
from botguard.testing.suites.idempotency.words import ClaimWords

__all__ = ["Leases"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState
_SETTLED = (_DONE, _FAILED)


class Leases(ClaimWords):
    """How long a claim holds."""

    def test_idem_10_a_lease_holds_until_its_end_and_not_longer(self) -> None:
        """IDEM-10: a lease holds until its end, and not longer."""
        self.won("c1", lease=10.0)
        self.elapse(10.0 - self.hair)
        row = self.lost("c2", "IDEM-10", "the lease is not over")
        must(row.lease_left > 0, "IDEM-10", "what is left of it is above 0")
        self.elapse(self.hair)
        over = self.row()
        must(over.lease_left <= 0, "IDEM-10", f"at its end nothing is left of the lease, not {over.lease_left}")
        self.won("c3", "IDEM-10", "the lease ends at its end, not after it")

    def test_idem_10_a_short_lease_is_not_rounded(self) -> None:
        """IDEM-10: a quarter of a second is a quarter of a second."""
        self.needs_a_still_clock()
        self.won("c1", lease=0.25)
        self.elapse(0.25 - self.hair)
        self.lost("c2", "IDEM-10", "a quarter of a second is not over")
        self.elapse(self.hair)
        self.won("c3", "IDEM-10", "a quarter of a second is over")

    def test_idem_16_looking_at_an_abandoned_claim_changes_nothing(self) -> None:
        """IDEM-16: only a claim judges an abandoned one, however often somebody looks."""
        self.won("c1", lease=10.0, takeover=False)
        self.elapse(11.0)
        equal(self.row().state, _CLAIMED, "IDEM-16", "only a claim judges an abandoned one")
        equal(self.row().state, _CLAIMED, "IDEM-16", "however often one looks")
        equal(self.finish("c1"), Ack.APPLIED, "IDEM-05", "a late owner whom nobody took over still owns the key")

    def test_idem_05_extend_moves_the_end_of_the_lease(self) -> None:
        """IDEM-05: extend counts from now."""
        self.won("c1", lease=10.0)
        self.elapse(9.0)
        equal(self.extend("c1", 10.0), Ack.APPLIED, "PORT", "extend of a running claim")
        self.elapse(10.0 - self.hair)
        self.lost("c2", "IDEM-10", "the lease was extended from the time of asking")
        self.elapse(self.hair)
        self.won("c3", "IDEM-10", "the extended lease is over")

    def test_idem_05_extend_may_shorten(self) -> None:
        """IDEM-05: extend sets the lease, so that it may become shorter."""
        self.won("c1", lease=100.0)
        equal(self.extend("c1", 5.0), Ack.APPLIED, "PORT", "extend of a running claim")
        self.elapse(5.0)
        self.won("c2", "PORT", "extend sets the lease to so many seconds from now")

    def test_idem_05_only_the_owner_of_a_running_claim_extends(self) -> None:
        """IDEM-05: nobody extends what is not theirs, or what does not run."""
        must(self.extend("c1") is not Ack.APPLIED, "IDEM-05", "there is nothing to extend")
        self.won("c1", lease=10.0)
        must(
            self.extend("c2", 99.0) is not Ack.APPLIED,
            "IDEM-05",
            "another claim's lease is not ours to extend",
        )
        for state in (*_SETTLED, _UNKNOWN):
            key = f"k-{state}"
            self.won("c1", key=key)
            self.finish("c1", state, key=key)
            must(
                self.extend("c1", key=key) is not Ack.APPLIED,
                "IDEM-05",
                f"a row that is {state} has no lease",
            )
        self.elapse(10.0)
        self.won("c3", "IDEM-05", "a stranger's extend has changed nothing")

    def test_lease_and_lifetime_are_separate(self) -> None:
        """IDEM-10: the lifetime of a result has nothing to do with the lease of its claim."""
        self.won("c1", lease=10.0)
        self.finish("c1", keep=100.0)
        self.elapse(50.0)
        equal(self.row().state, _DONE, "IDEM-10", "a result outlives the lease")
        self.won("c2", key="short", lease=100.0)
        self.finish("c2", key="short", keep=10.0)
        self.elapse(10.0)
        must(self.peek("short") is None, "IDEM-10", "a lifetime may be shorter than the lease was")
