"""Answers and their use, by one and by many at once."""

from __future__ import annotations

from typing import Any

from botguard.ports.approvals import ApprovalState
from botguard.testing.suites.actors import settled
from botguard.testing.suites.approvals.words import LIFE, ApprovalWords
from botguard.testing.suites.checks import equal, must

__all__ = ["Deciding"]

_OPEN, _APPROVED, _DECLINED, _EXPIRED = ApprovalState


class Deciding(ApprovalWords):
    """Who decides, and what a decision is worth."""

    def test_decide_answers_with_the_request_as_it_is_afterwards(self) -> None:
        """PORT: decide answers with the request as it is afterwards."""
        for state in (_APPROVED, _DECLINED):
            token, subject = f"t-{state}", f"s-{state}"
            opened = self.open(token, subject)
            decided = self.ask(self.store.decide, token, state)
            equal(decided, opened._replace(state=state), "PORT", "the decided request")
            equal(self.by_subject(subject), decided, "PORT", "which is stored")

    def test_appr_05_a_decision_is_final(self) -> None:
        """APPR-05: a decision is final, and the second one is told the first."""
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
        """APPR-05: who said no is not asked again before the time is over."""
        self.open("t1")
        self.decide(_DECLINED)
        self.elapse(LIFE - self.hair)
        again = self.open("t2")
        equal(
            (again.token, again.state),
            ("t1", _DECLINED),
            "APPR-05",
            "a delivery again is not asked a second time",
        )
        self.elapse(self.hair)
        equal(self.open("t2").token, "t2", "APPR-L1", "when its time is over one may ask anew")

    def test_appr_05_of_many_decisions_at_once_one_wins(self) -> None:
        """APPR-05: of many decisions at once one wins, and every voter is told which."""
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

    def test_appr_01_only_an_approved_request_is_spent(self) -> None:
        """APPR-01: neither an open nor a declined request is spent."""
        self.open()
        must(not self.spend(), "APPR-01", "an open request")
        self.decide(_DECLINED)
        must(not self.spend(), "APPR-01", "a declined request")
        found = self.by_token()
        equal(None if found is None else found.spent_on, "", "APPR-01", "a refused spend leaves no trace")

    def test_appr_04_spent_for_one_key_and_repeatable_for_that_key(self) -> None:
        """APPR-04: a request is spent for one key, and for that key again."""
        self.open()
        self.decide()
        must(self.spend("k1"), "APPR-04", "the first use")
        must(self.spend("k1"), "APPR-04", "the same key again, so that a crashed run can go on")
        must(not self.spend("k2"), "APPR-04", "another key")
        must(self.spend("k1"), "APPR-04", "and the first key still")
        found = self.by_token()
        equal(None if found is None else found.spent_on, "k1", "APPR-04", "what it was spent on")

    def test_appr_04_keys_are_told_apart_byte_by_byte(self) -> None:
        """APPR-04: a key that differs in one byte is another key."""
        self.open()
        self.decide()
        must(self.spend("Key"), "APPR-04", "the first use")
        for other in ("key", "KEY", "Key ", "Ke_", "Key%", ""):
            must(not self.spend(other), "APPR-04", f"{other!r} is another key")

    def test_appr_04_a_used_request_stays_usable_for_its_key(self) -> None:
        """APPR-04: a crashed run goes on after the time to answer, and nobody else does."""
        self.open()
        self.decide()
        self.spend("k1")
        self.elapse(LIFE + 1.0)
        must(self.spend("k1"), "APPR-04", "a crashed run goes on after the time to answer")
        must(not self.spend("k2"), "APPR-04", "and nobody else does")

    def test_appr_01_just_in_time_and_just_too_late(self) -> None:
        """APPR-01: just before the end it is spent, and at the end it is not."""
        self.open("t1", "s1")
        self.open("t2", "s2")
        self.decide(token="t1")
        self.decide(token="t2")
        self.elapse(LIFE - self.hair)
        must(self.spend("k", "s1"), "APPR-01", "just before the end")
        self.elapse(self.hair)
        must(not self.spend("k", "s2"), "APPR-01", "at the end")

    def test_appr_04_of_many_at_once_one_key_is_served(self) -> None:
        """APPR-04: of many who spend at once, the callers of one key are served."""
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
        """APPR-06: all who open one subject at once see one request."""
        store = self.store
        for turn in range(5):

            def opener(n: int, turn: int = turn) -> Any:
                async def run() -> str:
                    found = await settled(store.open(self.request(f"t{turn}-{n}", f"s{turn}"), LIFE))
                    token: str = found.token
                    return token

                return run

            tokens = set(self.together(store, [opener(n) for n in range(self.threads)]))
            equal(len(tokens), 1, "APPR-06", "tokens that were shown")
            found = self.by_subject(f"s{turn}")
            must(found is not None and found.token in tokens, "APPR-06", "and it is the stored one's")

    def test_another_handle_sees_requests_and_decisions(self) -> None:
        """IDEM-12: requests and decisions are there for another handle when the call returns."""
        self.needs("reopen")
        made = self.open()
        other = self.wait(self.reopen(self.store))
        try:
            equal(self.ask(other.by_token, "t1"), made, "IDEM-12", "durable when open returns")
            self.ask(other.decide, "t1", _APPROVED)
        finally:
            self.wait(self.close_store(other))
        must(self.spend(), "IDEM-12", "a decision made there can be spent here")
