"""How requests end by themselves, and when they are forgotten."""

from __future__ import annotations

from botguard.ports.approvals import ApprovalState
from botguard.testing.suites.approvals.words import LIFE, ApprovalWords
from botguard.testing.suites.checks import equal, must

__all__ = ["Ending"]

_OPEN, _APPROVED, _DECLINED, _EXPIRED = ApprovalState
_DAY = 86400.0


class Ending(ApprovalWords):
    """The time to answer."""

    def test_appr_l1_a_request_expires_exactly_when_its_time_is_over(self) -> None:
        """APPR-L1: a request expires exactly when its time is over."""
        self.open()
        self.elapse(LIFE - self.hair)
        equal(self.state(), _OPEN, "APPR-L1", "just before its end")
        self.elapse(self.hair)
        equal(self.state(), _EXPIRED, "APPR-L1", "at its end")
        found = self.by_subject()
        equal(None if found is None else found.state, _EXPIRED, "APPR-L1", "and when asked by subject")

    def test_expires_at_is_the_end_by_the_stores_clock(self) -> None:
        """PORT: expires_at is now plus the lifetime, by the store's clock."""
        one = self.open("t1", "s1", 10.0)
        other = self.open("t2", "s2", 25.0)
        must(
            abs(other.expires_at - one.expires_at - 15.0) <= 1.0,
            "PORT",
            "expires_at is now plus the lifetime",
        )

    def test_appr_01_what_is_expired_cannot_be_decided(self) -> None:
        """APPR-01: an answer that comes too late decides nothing."""
        for state in (_APPROVED, _DECLINED):
            token, subject = f"t-{state}", f"s-{state}"
            self.open(token, subject)
            self.elapse(LIFE)
            equal(self.decide(state, token), _EXPIRED, "APPR-01", f"an answer of {state} that comes too late")
            must(not self.spend("k", subject), "APPR-01", "it cannot be spent")

    def test_an_expired_request_is_replaced(self) -> None:
        """APPR-L1: an expired request is replaced, and its button is worth nothing."""
        self.open("t1", text="first")
        self.elapse(LIFE)
        made = self.open("t2", text="second", key="k2")
        equal((made.token, made.text, made.key), ("t2", "second", "k2"), "PORT", "a new request for the subject")
        equal(made.state, _OPEN, "PORT", "which is open")
        must(self.state("t1") in (None, _EXPIRED), "APPR-01", "the old button is worth nothing")
        self.decide(_APPROVED, "t1")
        equal(self.state("t2"), _OPEN, "APPR-01", "and a press of it does not approve the new one")
        must(not self.spend(), "APPR-01", "which cannot be spent yet")

    def test_an_approved_request_that_was_not_used_in_time_is_over(self) -> None:
        """APPR-01: what was approved and not used in time is over."""
        self.open()
        self.decide()
        self.elapse(LIFE)
        equal(self.state(), _EXPIRED, "APPR-01", "approved, and never used in time")
        must(not self.spend(), "APPR-01", "it cannot be spent any more")
        equal(self.open("t2").token, "t2", "PORT", "a new one may be opened")

    def test_purge_deletes_what_has_been_over_for_a_day(self) -> None:
        """PORT: purge deletes requests that have been over for a day, under both names."""
        self.open("short", "s1", 100.0)
        self.open("long", "s2", 200.0)
        self.open("declined", "s3", 100.0)
        self.decide(_DECLINED, "declined")
        self.elapse(100.0 + _DAY - self.hair)
        equal(self.ask(self.store.purge), 0, "PORT", "requests over for less than a day")
        self.elapse(self.hair)
        equal(self.ask(self.store.purge), 2, "PORT", "requests over for a day")
        must(self.by_token("short") is None and self.by_subject("s1") is None, "PORT", "both names are gone")
        equal(self.state("long"), _EXPIRED, "PORT", "the one that is over since later")
        equal(self.ask(self.store.purge), 0, "PORT", "a second purge finds nothing")

    def test_purge_stops_at_its_limit(self) -> None:
        """PORT: purge stops at its limit."""
        for n in range(5):
            self.open(f"t{n}", f"s{n}", 1.0)
        self.elapse(1.0 + _DAY)
        equal(
            [self.ask(self.store.purge, 2) for _ in range(4)],
            [2, 2, 1, 0],
            "PORT",
            "requests deleted, two at a time",
        )

    def test_purge_leaves_a_request_that_was_opened_anew(self) -> None:
        """PORT: purge leaves a request that was opened anew."""
        self.open("t1", lifetime=1.0)
        self.elapse(1.0 + _DAY)
        self.open("t2")
        equal(self.ask(self.store.purge), 0, "PORT", "the subject has a live request")
        equal(self.state("t2"), _OPEN, "PORT", "which stays")
