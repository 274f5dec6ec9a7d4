"""Many callers at the same moment, on one handle and on two."""

from __future__ import annotations

from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

from botguard.ports.idempotency import Ack, ClaimAnswer, RowState
from botguard.testing.suites.actors import settled
from botguard.testing.suites.checks import equal, must
from botguard.testing.suites.idempotency.words import KEEP, ClaimWords

__all__ = ["Racing"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState


class Racing(ClaimWords):
    """Who wins where many ask at once."""

    def _race(self, count: int, **other: Any) -> list[ClaimAnswer]:
        store = self.store

        def racer(n: int) -> Any:
            async def run() -> ClaimAnswer:
                answer: ClaimAnswer = await settled(store.claim(self.request(f"racer-{n}", **other), None))
                return answer

            return run

        return self.together(store, [racer(n) for n in range(count)])

    def _one_winner(self, answers: list[ClaimAnswer], promise: str, what: str, key: str) -> None:
        winners = [n for n, answer in enumerate(answers) if answer.won]
        equal(len(winners), 1, promise, f"winners among {len(answers)} {what}")
        owner = f"racer-{winners[0]}"
        equal(self.row(key).claim_id, owner, promise, "the stored owner is the winner")
        for answer in answers:
            if not answer.won:
                must(
                    answer.row is not None and answer.row.claim_id == owner,
                    promise,
                    "losers see the winner's row",
                )

    def test_idem_02_many_at_once_have_one_winner(self) -> None:
        """IDEM-02: of many who claim an absent key at once, one wins and the others see that one."""
        for n in range(10):
            self._one_winner(self._race(self.threads, key=f"k{n}"), "IDEM-02", "who claim an absent key", f"k{n}")

    def test_idem_11_many_takeovers_at_once_have_one_winner(self) -> None:
        """IDEM-11: of many who take over at once, one wins."""
        for n in range(10):
            self.won("c1", key=f"k{n}", lease=1.0)
            self.elapse(1.0)
            self._one_winner(self._race(self.threads, key=f"k{n}"), "IDEM-11", "who take over", f"k{n}")

    def test_idem_10_many_claims_of_an_expired_key_have_one_winner(self) -> None:
        """IDEM-02: of many who claim an expired key at once, one wins."""
        for n in range(10):
            self.won("c1", key=f"k{n}")
            self.finish("c1", key=f"k{n}", keep=1.0)
            self.elapse(1.0)
            self._one_winner(self._race(self.threads, key=f"k{n}"), "IDEM-10", "who claim an expired key", f"k{n}")

    def test_supersede_by_many_at_once_has_one_winner(self) -> None:
        """IDEM-11: of many who supersede at once, one wins."""
        for n in range(10):
            self.won("c1", key=f"k{n}")
            self.finish("c1", _UNKNOWN, None, key=f"k{n}")
            answers = self._race(self.threads, key=f"k{n}", supersede="c1")
            self._one_winner(answers, "IDEM-02", "who supersede", f"k{n}")

    def test_idem_06_many_finishes_of_one_claim_apply_once(self) -> None:
        """IDEM-06: of many finishes of one claim, one applies, and its result is the stored one."""
        store = self.store
        for n in range(5):
            key = f"k{n}"
            self.won("c1", key=key)

            def finisher(m: int, key: str = key) -> Any:
                async def run() -> Ack:
                    answer: Ack = await settled(store.finish(key, "c1", _DONE, b"%d" % m, KEEP, 1, None))
                    return answer

                return run

            answers = self.together(store, [finisher(m) for m in range(self.threads)])
            equal(answers.count(Ack.APPLIED), 1, "IDEM-06", "finishes that applied")
            equal(answers.count(Ack.ALREADY), self.threads - 1, "IDEM-06", "finishes that came too late")
            equal(
                self.row(key).result,
                b"%d" % answers.index(Ack.APPLIED),
                "IDEM-06",
                "the result of the one that applied",
            )

    def test_idem_01_at_most_one_owner_at_any_time(self) -> None:
        """IDEM-01: actors who claim and release one key never meet another one inside."""
        store = self.store
        inside: list[int] = []
        overlaps: list[list[int]] = []
        fences: list[int] = []

        def actor(n: int) -> Any:
            async def run() -> int:
                owned = 0
                for turn in range(10_000):
                    if owned == 10:
                        break
                    claim_id = f"actor-{n}-{turn}"
                    answer = await settled(store.claim(self.request(claim_id), None))
                    if not answer.won:
                        continue
                    owned += 1
                    inside.append(n)
                    fences.append(answer.fence)
                    if len(inside) > 1:
                        overlaps.append(list(inside))
                    row = await settled(store.peek("k"))
                    if row is None or row.claim_id != claim_id:
                        overlaps.append([n, -1])
                    inside.remove(n)
                    ack = await settled(store.release("k", claim_id))
                    if ack is not Ack.APPLIED:
                        overlaps.append([n, -2])
                return owned

            return run

        owned: list[int] = self.together(store, [actor(n) for n in range(min(self.threads, 8))])
        must(min(owned) > 0, "IDEM-L1", f"a released key can be claimed by everybody in the end: {owned}")
        equal(overlaps, [], "IDEM-01", "owners that met another one")
        must(
            all(a < b for a, b in pairwise(fences)),
            "IDEM-04",
            "fences rise in the order of owners",
        )

    def test_idem_12_another_handle_sees_what_was_answered(self) -> None:
        """IDEM-12: claims and results are there for another handle when the call returns."""
        self.needs("reopen")
        self.won("c1", key="running", lease=1000.0)
        self.won("c2", key="done")
        self.finish("c2", _DONE, b"kept", key="done")
        other = self.wait(self.reopen(self.store))
        try:
            row = self.ask(other.peek, "done")
            must(
                row is not None and row.result == b"kept",
                "IDEM-12",
                "a finished row is durable when finish returns",
            )
            answer = self.ask(other.claim, self.request("c3", key="running"), None)
            must(
                not answer.won and answer.row.claim_id == "c1",
                "IDEM-12",
                "a claim is durable when claim returns",
            )
            equal(
                self.ask(other.finish, "running", "c1", _DONE, b"x", KEEP, 1, None),
                Ack.APPLIED,
                "IDEM-12",
                "finish",
            )
        finally:
            self.wait(self.close_store(other))
        equal(self.row("running").state, _DONE, "IDEM-12", "and what the other one wrote is seen here")

    def test_idem_02_two_handles_have_one_winner(self) -> None:
        """IDEM-02: of callers on two handles, one wins."""
        self.needs("reopen")
        one, other = self.store, self.wait(self.reopen(self.store))
        try:
            for n in range(5):

                def racer(m: int, key: str = f"k{n}") -> Any:
                    async def run() -> bool:
                        handle = one if m % 2 else other
                        answer: ClaimAnswer = await settled(handle.claim(self.request(f"r{m}", key=key), None))
                        return answer.won

                    return run

                actors: list[Any] = [racer(m) for m in range(self.threads)]
                winners: Coroutine[Any, Any, bool] | list[bool] = self.together(one, actors)
                equal(sum(winners), 1, "IDEM-02", "winners among two handles' callers")  # type: ignore[arg-type]
        finally:
            self.wait(self.close_store(other))
