"""Opening requests, and finding them again."""

from __future__ import annotations

from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.testing.suites.approvals.words import LIFE, ApprovalWords
from botguard.testing.suites.checks import HARD_STRINGS, equal, must

__all__ = ["Asking"]

_OPEN, _APPROVED, _DECLINED, _EXPIRED = ApprovalState


class Asking(ApprovalWords):
    """What is asked, and who finds it."""

    def test_colour_is_declared_and_true(self) -> None:
        """COLOUR: the store says sync, async or any, and answers as it says."""
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        must(isinstance(self.open(), ApprovalRequest), "PORT", "open answers a request")

    def test_unknown_names_are_none(self) -> None:
        """PORT: a token or subject that nobody opened is None, and cannot be decided or spent."""
        must(self.by_token("nobody") is None, "PORT", "no request has this token")
        must(self.by_subject("nobody") is None, "PORT", "no request has this subject")
        must(self.decide(token="nobody") is None, "PORT", "nothing to decide")
        must(not self.spend(subject="nobody"), "APPR-01", "nothing to spend")

    def test_an_opened_request_is_found_both_ways(self) -> None:
        """PORT: a request is found by token and by subject, with every field as it was given."""
        made = self.open("t1", "s1", person="p1", payload=b'{"a": 1}', delivery=None)
        equal((made.state, made.spent_on, made.token), (_OPEN, "", "t1"), "PORT", "state, use and token")
        equal(self.by_token("t1"), made, "PORT", "found by its token")
        equal(self.by_subject("s1"), made, "PORT", "found by its subject")
        wanted = self.request("t1", "s1", person="p1", payload=b'{"a": 1}', delivery=None)
        equal(made._replace(expires_at=0.0), wanted, "PORT", "every other field is as it was given")

    def test_open_ignores_state_and_use_that_it_is_given(self) -> None:
        """APPR-01: a new request is open, unused, and lives as long as open was told."""
        made = self.open(state=_APPROVED, spent_on="k", expires_at=9e12)
        equal((made.state, made.spent_on), (_OPEN, ""), "APPR-01", "a new request is open and unused")
        must(not self.spend(), "APPR-01", "so it cannot be spent")
        self.elapse(LIFE)
        equal(self.state(), _EXPIRED, "APPR-L1", "and lives as long as open was told")

    def test_a_payload_that_must_not_be_stored_stays_none(self) -> None:
        """PORT: no payload and an empty payload are not the same."""
        self.open(payload=None)
        found = self.by_token()
        must(found is not None and found.payload is None, "PORT", "payload None comes back as None")
        self.open("t2", "s2", payload=b"")
        found = self.by_token("t2")
        must(found is not None and found.payload == b"", "PORT", "an empty payload comes back as empty")

    def test_appr_06_a_delivery_again_finds_the_request_it_made(self) -> None:
        """APPR-06: a delivery again finds the request that it made, and does not lengthen its life."""
        first = self.open("t1", text="first")
        self.elapse(10.0)
        again = self.open("t2", text="second", lifetime=9999.0)
        self.same(again, first, "APPR-06", "the live request of the same subject, unchanged")
        must(self.by_token("t2") is None, "APPR-06", "the second token names nothing")
        self.elapse(LIFE - 10.0)
        equal(self.state("t1"), _EXPIRED, "APPR-L1", "showing it again has not lengthened its life")

    def test_subjects_are_apart(self) -> None:
        """APPR-06: subjects that differ in one byte have requests of their own."""
        for n, subject in enumerate(HARD_STRINGS):
            made = self.open(f"t{n}", subject)
            equal(made.token, f"t{n}", "APPR-06", f"{subject!r} has a request of its own")
        self.decide(_APPROVED, "t0")
        must(self.spend("k", HARD_STRINGS[0]), "APPR-01", "the approved one is spent")
        for n, subject in enumerate(HARD_STRINGS[1:], 1):
            equal(self.state(f"t{n}"), _OPEN, "APPR-06", f"{subject!r} is still open")

    def test_tokens_are_told_apart_byte_by_byte(self) -> None:
        """APPR-07: a token that differs in one byte names nothing and decides nothing."""
        self.open("Token")
        for other in ("token", "TOKEN", "Token ", "Toke_", "Token%", ""):
            must(self.by_token(other) is None, "APPR-07", f"{other!r} is not the token 'Token'")
            must(self.decide(token=other) is None, "APPR-07", f"nor does {other!r} decide")
        equal(self.state("Token"), _OPEN, "APPR-07", "the request")

    def test_hard_strings_come_back_as_they_are(self) -> None:
        """PORT: texts and fingerprint come back byte for byte."""
        for n, text in enumerate(HARD_STRINGS):
            given: dict[str, Any] = {"org": text, "person": text, "actor": text, "text": text, "delivery": text}
            self.open(f"t{n}", f"s{n}", fingerprint=bytes(range(16)), **given)
            found = self.by_token(f"t{n}")
            must(found is not None, "PORT", "the request is there")
            for name, value in given.items():
                equal(getattr(found, name), value, "PORT", f"its {name}")
            equal(getattr(found, "fingerprint", None), bytes(range(16)), "PORT", "its fingerprint")
