"""The suite of :class:`botguard.ports.approvals.ApprovalStore`.

APPR-01 nothing is spent that was not approved in time, 04 spent for one key at most, 05 decisions are final and one wins,
06 one live request for a subject, L1 every request ends.
"""

from __future__ import annotations

from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.testing.suites.base import HARD_STRINGS, StoreSuite, equal, must, settled

__all__ = ["ApprovalStoreSuite"]

_OPEN, _APPROVED, _DECLINED, _EXPIRED = (
    ApprovalState.OPEN,
    ApprovalState.APPROVED,
    ApprovalState.DECLINED,
    ApprovalState.EXPIRED,
)
_DAY = 86400.0
_LIFE = 100.0


class ApprovalStoreSuite(StoreSuite):
    """Holds an approval store to its port."""

    # -- small words ----------------------------------------------------------------------

    @staticmethod
    def request(token: str = "t1", subject: str = "s", **other: Any) -> ApprovalRequest:
        """A request as the confirm stage makes it."""
        made = ApprovalRequest(
            subject=subject, token=token, org="o", command="c", key="k", fingerprint=b"f" * 16, person="p", actor="a",
            channel="telegram", delivery="d", text="Really?", reasons="risk", payload=b"{}", expires_at=0.0,
        )  # fmt: skip
        return made._replace(**other)

    def open(self, token: str = "t1", subject: str = "s", lifetime: float = _LIFE, **other: Any) -> ApprovalRequest:
        """Open a request."""
        found: ApprovalRequest = self.ask(self.store.open, self.request(token, subject, **other), lifetime)
        return found

    def by_token(self, token: str = "t1") -> ApprovalRequest | None:
        """Look a button up."""
        found: ApprovalRequest | None = self.ask(self.store.by_token, token)
        return found

    def by_subject(self, subject: str = "s") -> ApprovalRequest | None:
        """Look a subject up."""
        found: ApprovalRequest | None = self.ask(self.store.by_subject, subject)
        return found

    def decide(self, state: ApprovalState = _APPROVED, token: str = "t1") -> ApprovalState | None:
        """Answer a request; returns its state afterwards."""
        found = self.ask(self.store.decide, token, state)
        return None if found is None else found.state

    def spend(self, key: str = "k", subject: str = "s") -> bool:
        """Use a request."""
        answer = self.ask(self.store.spend, subject, key)
        must(answer is True or answer is False, "PORT", f"spend answers True or False, not {answer!r}")
        return bool(answer)

    def state(self, token: str = "t1") -> ApprovalState | None:
        """State of a request."""
        found = self.by_token(token)
        return None if found is None else found.state

    # -- open -----------------------------------------------------------------------------

    def test_colour_is_declared_and_true(self) -> None:
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        must(isinstance(self.open(), ApprovalRequest), "PORT", "open answers a request")

    def test_unknown_names_are_none(self) -> None:
        must(self.by_token("nobody") is None, "PORT", "no request has this token")
        must(self.by_subject("nobody") is None, "PORT", "no request has this subject")
        must(self.decide(token="nobody") is None, "PORT", "nothing to decide")
        must(not self.spend(subject="nobody"), "APPR-01", "nothing to spend")

    def test_an_opened_request_is_found_both_ways(self) -> None:
        made = self.open("t1", "s1", person="p1", payload=b'{"a": 1}', delivery=None)
        equal((made.state, made.spent_on, made.token), (_OPEN, "", "t1"), "PORT", "state, use and token")
        equal(self.by_token("t1"), made, "PORT", "found by its token")
        equal(self.by_subject("s1"), made, "PORT", "found by its subject")
        wanted = self.request("t1", "s1", person="p1", payload=b'{"a": 1}', delivery=None)
        equal(made._replace(expires_at=0.0), wanted, "PORT", "every other field is as it was given")

    def test_open_ignores_state_and_use_that_it_is_given(self) -> None:
        made = self.open(state=_APPROVED, spent_on="k", expires_at=9e12)
        equal((made.state, made.spent_on), (_OPEN, ""), "APPR-01", "a new request is open and unused")
        must(not self.spend(), "APPR-01", "so it cannot be spent")
        self.elapse(_LIFE)
        equal(self.state(), _EXPIRED, "APPR-L1", "and lives as long as open was told")

    def test_a_payload_that_must_not_be_stored_stays_none(self) -> None:
        self.open(payload=None)
        found = self.by_token()
        must(found is not None and found.payload is None, "PORT", "payload None comes back as None")
        self.open("t2", "s2", payload=b"")
        found = self.by_token("t2")
        must(found is not None and found.payload == b"", "PORT", "an empty payload comes back as empty")

    def test_appr_06_a_delivery_again_finds_the_request_it_made(self) -> None:
        first = self.open("t1", text="first")
        self.elapse(10.0)
        again = self.open("t2", text="second", lifetime=9999.0)
        equal(again, first, "APPR-06", "the live request of the same subject, unchanged")
        must(self.by_token("t2") is None, "APPR-06", "the second token names nothing")
        self.elapse(_LIFE - 10.0)
        equal(self.state("t1"), _EXPIRED, "APPR-L1", "showing it again has not lengthened its life")

    def test_subjects_are_apart(self) -> None:
        for n, subject in enumerate(HARD_STRINGS):
            made = self.open(f"t{n}", subject)
            equal(made.token, f"t{n}", "APPR-06", f"{subject!r} has a request of its own")
        self.decide(_APPROVED, "t0")
        must(self.spend("k", HARD_STRINGS[0]), "APPR-01", "the approved one is spent")
        for n, subject in enumerate(HARD_STRINGS[1:], 1):
            equal(self.state(f"t{n}"), _OPEN, "APPR-06", f"{subject!r} is still open")

    def test_tokens_are_told_apart_byte_by_byte(self) -> None:
        self.open("Token")
        for other in ("token", "TOKEN", "Token ", "Toke_", "Token%", ""):
            must(self.by_token(other) is None, "APPR-07", f"{other!r} is not the token 'Token'")
            must(self.decide(token=other) is None, "APPR-07", f"nor does {other!r} decide")
        equal(self.state("Token"), _OPEN, "APPR-07", "the request")

    def test_hard_strings_come_back_as_they_are(self) -> None:
        for n, text in enumerate(HARD_STRINGS):
            given: dict[str, Any] = {"org": text, "person": text, "actor": text, "text": text, "delivery": text}
            self.open(f"t{n}", f"s{n}", fingerprint=bytes(range(16)), **given)
            found = self.by_token(f"t{n}")
            must(found is not None, "PORT", "the request is there")
            for name, value in given.items():
                equal(getattr(found, name), value, "PORT", f"its {name}")
            equal(getattr(found, "fingerprint", None), bytes(range(16)), "PORT", "its fingerprint")

    # -- time -----------------------------------------------------------------------------

    def test_appr_l1_a_request_expires_exactly_when_its_time_is_over(self) -> None:
        self.open()
        self.elapse(_LIFE - self.tick)
        equal(self.state(), _OPEN, "APPR-L1", "just before its end")
        self.elapse(self.tick)
        equal(self.state(), _EXPIRED, "APPR-L1", "at its end")
        found = self.by_subject()
        equal(None if found is None else found.state, _EXPIRED, "APPR-L1", "and when asked by subject")

    def test_expires_at_is_the_end_by_the_stores_clock(self) -> None:
        one = self.open("t1", "s1", 10.0)
        other = self.open("t2", "s2", 25.0)
        must(
            abs(other.expires_at - one.expires_at - 15.0) <= 1.0,
            "PORT",
            "expires_at is now plus the lifetime",
        )

    def test_appr_01_what_is_expired_cannot_be_decided(self) -> None:
        for state in (_APPROVED, _DECLINED):
            token, subject = f"t-{state}", f"s-{state}"
            self.open(token, subject)
            self.elapse(_LIFE)
            equal(self.decide(state, token), _EXPIRED, "APPR-01", f"an answer of {state} that comes too late")
            must(not self.spend("k", subject), "APPR-01", "it cannot be spent")

    def test_an_expired_request_is_replaced(self) -> None:
        self.open("t1", text="first")
        self.elapse(_LIFE)
        made = self.open("t2", text="second", key="k2")
        equal((made.token, made.text, made.key), ("t2", "second", "k2"), "PORT", "a new request for the subject")
        equal(made.state, _OPEN, "PORT", "which is open")
        must(self.state("t1") in (None, _EXPIRED), "APPR-01", "the old button is worth nothing")
        self.decide(_APPROVED, "t1")
        equal(self.state("t2"), _OPEN, "APPR-01", "and a press of it does not approve the new one")
        must(not self.spend(), "APPR-01", "which cannot be spent yet")

    def test_an_approved_request_that_was_not_used_in_time_is_over(self) -> None:
        self.open()
        self.decide()
        self.elapse(_LIFE)
        equal(self.state(), _EXPIRED, "APPR-01", "approved, and never used in time")
        must(not self.spend(), "APPR-01", "it cannot be spent any more")
        equal(self.open("t2").token, "t2", "PORT", "a new one may be opened")

    # -- decisions ------------------------------------------------------------------------

    def test_decide_answers_with_the_request_as_it_is_afterwards(self) -> None:
        for state in (_APPROVED, _DECLINED):
            token, subject = f"t-{state}", f"s-{state}"
            opened = self.open(token, subject)
            decided = self.ask(self.store.decide, token, state)
            equal(decided, opened._replace(state=state), "PORT", "the decided request")
            equal(self.by_subject(subject), decided, "PORT", "which is stored")

    def test_appr_05_a_decision_is_final(self) -> None:
        for state, other in ((_APPROVED, _DECLINED), (_DECLINED, _APPROVED)):
            token, subject = f"t-{state}", f"s-{state}"
            self.open(token, subject)
            self.decide(state, token)
            equal(
                self.decide(other, token),
                state,
                "APPR-05",
                f"{other} after {state} is told the first decision",
            )
            equal(self.state(token), state, "APPR-05", "which stays")
            equal(self.spend("k", subject), state is _APPROVED, "APPR-01", "and only approved can be spent")

    def test_a_declined_request_stays_until_its_time_is_over(self) -> None:
        self.open("t1")
        self.decide(_DECLINED)
        self.elapse(_LIFE - self.tick)
        again = self.open("t2")
        equal(
            (again.token, again.state),
            ("t1", _DECLINED),
            "APPR-05",
            "a delivery again is not asked a second time",
        )
        self.elapse(self.tick)
        equal(self.open("t2").token, "t2", "APPR-L1", "when its time is over one may ask anew")

    def test_appr_05_of_many_decisions_at_once_one_wins(self) -> None:
        store = self.store
        for turn in range(10):
            token = f"t{turn}"
            self.open(token, f"s{turn}")

            def voter(n: int, token: str = token) -> Any:
                async def run() -> ApprovalState:
                    found = await settled(store.decide(token, _APPROVED if n % 2 else _DECLINED))
                    state: ApprovalState = found.state
                    return state

                return run

            answers = self.together(store, [voter(n) for n in range(self.threads)])
            final = self.state(token)
            must(final in (_APPROVED, _DECLINED), "APPR-05", "one of the decisions holds")
            must(set(answers) == {final}, "APPR-05", f"and every voter is told which: {set(answers)}")

    # -- spending -------------------------------------------------------------------------

    def test_appr_01_only_an_approved_request_is_spent(self) -> None:
        self.open()
        must(not self.spend(), "APPR-01", "an open request")
        self.decide(_DECLINED)
        must(not self.spend(), "APPR-01", "a declined request")
        found = self.by_token()
        equal(None if found is None else found.spent_on, "", "APPR-01", "a refused spend leaves no trace")

    def test_appr_04_spent_for_one_key_and_repeatable_for_that_key(self) -> None:
        self.open()
        self.decide()
        must(self.spend("k1"), "APPR-04", "the first use")
        must(self.spend("k1"), "APPR-04", "the same key again, so that a crashed run can go on")
        must(not self.spend("k2"), "APPR-04", "another key")
        must(self.spend("k1"), "APPR-04", "and the first key still")
        found = self.by_token()
        equal(None if found is None else found.spent_on, "k1", "APPR-04", "what it was spent on")

    def test_appr_04_keys_are_told_apart_byte_by_byte(self) -> None:
        self.open()
        self.decide()
        must(self.spend("Key"), "APPR-04", "the first use")
        for other in ("key", "KEY", "Key ", "Ke_", "Key%", ""):
            must(not self.spend(other), "APPR-04", f"{other!r} is another key")

    def test_appr_04_a_used_request_stays_usable_for_its_key(self) -> None:
        self.open()
        self.decide()
        self.spend("k1")
        self.elapse(_LIFE + 1.0)
        must(self.spend("k1"), "APPR-04", "a crashed run goes on after the time to answer")
        must(not self.spend("k2"), "APPR-04", "and nobody else does")

    def test_appr_01_just_in_time_and_just_too_late(self) -> None:
        self.open("t1", "s1")
        self.open("t2", "s2")
        self.decide(token="t1")
        self.decide(token="t2")
        self.elapse(_LIFE - self.tick)
        must(self.spend("k", "s1"), "APPR-01", "just before the end")
        self.elapse(self.tick)
        must(not self.spend("k", "s2"), "APPR-01", "at the end")

    def test_appr_04_of_many_at_once_one_key_is_served(self) -> None:
        store = self.store
        for turn in range(10):
            self.open(f"t{turn}", f"s{turn}")
            self.decide(_APPROVED, f"t{turn}")

            def spender(n: int, subject: str = f"s{turn}") -> Any:
                async def run() -> bool:
                    answer: bool = await settled(store.spend(subject, f"key-{n // 2}"))
                    return answer

                return run

            answers = self.together(store, [spender(n) for n in range(self.threads)])
            served = {n // 2 for n, answer in enumerate(answers) if answer}
            equal(len(served), 1, "APPR-04", "keys that were served")
            equal(sum(answers), 2, "APPR-04", "both callers of that key")

    def test_appr_06_of_many_who_open_at_once_all_see_one_request(self) -> None:
        store = self.store
        for turn in range(5):

            def opener(n: int, turn: int = turn) -> Any:
                async def run() -> str:
                    found = await settled(store.open(self.request(f"t{turn}-{n}", f"s{turn}"), _LIFE))
                    token: str = found.token
                    return token

                return run

            tokens = set(self.together(store, [opener(n) for n in range(self.threads)]))
            equal(len(tokens), 1, "APPR-06", "tokens that were shown")
            found = self.by_subject(f"s{turn}")
            must(found is not None and found.token in tokens, "APPR-06", "and it is the stored one's")

    # -- purge ----------------------------------------------------------------------------

    def test_purge_deletes_what_has_been_over_for_a_day(self) -> None:
        self.open("short", "s1", 100.0)
        self.open("long", "s2", 200.0)
        self.open("declined", "s3", 100.0)
        self.decide(_DECLINED, "declined")
        self.elapse(100.0 + _DAY - self.tick)
        equal(self.ask(self.store.purge), 0, "PORT", "requests over for less than a day")
        self.elapse(self.tick)
        equal(self.ask(self.store.purge), 2, "PORT", "requests over for a day")
        must(self.by_token("short") is None and self.by_subject("s1") is None, "PORT", "both names are gone")
        equal(self.state("long"), _EXPIRED, "PORT", "the one that is over since later")
        equal(self.ask(self.store.purge), 0, "PORT", "a second purge finds nothing")

    def test_purge_stops_at_its_limit(self) -> None:
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
        self.open("t1", lifetime=1.0)
        self.elapse(1.0 + _DAY)
        self.open("t2")
        equal(self.ask(self.store.purge), 0, "PORT", "the subject has a live request")
        equal(self.state("t2"), _OPEN, "PORT", "which stays")

    # -- other handles --------------------------------------------------------------------

    def test_another_handle_sees_requests_and_decisions(self) -> None:
        self.needs("reopen")
        made = self.open()
        other = self.reopen(self.store)
        try:
            equal(self.ask(other.by_token, "t1"), made, "IDEM-12", "durable when open returns")
            self.ask(other.decide, "t1", _APPROVED)
        finally:
            self.close_store(other)
        must(self.spend(), "IDEM-12", "a decision made there can be spent here")
