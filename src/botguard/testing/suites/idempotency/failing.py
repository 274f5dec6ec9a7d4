"""Lost answers, outages and cancellations: what a caller may rely on when he does not know what happened."""

from __future__ import annotations

import asyncio
from typing import Any

from botguard.ports.idempotency import Ack, ClaimAnswer, RowState
from botguard.testing.suites.actors import settled
from botguard.testing.suites.cancelling import cancel_everywhere
from botguard.testing.suites.checks import Vacuous, equal, must
from botguard.testing.suites.idempotency.words import KEEP, ClaimWords, event

__all__ = ["Failing"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState
_OVER = (Ack.APPLIED, Ack.ALREADY)


class Failing(ClaimWords):
    """What holds where something failed in the middle."""

    def _noted(self, *numbers: int) -> None:
        """Each of these events is stored, once."""
        if "events" in self.capabilities:
            wanted = [f"event-{number}" for number in numbers]
            equal(sorted(self.events()), sorted(wanted), "EVENT", "events that are stored")

    # -- lost answers ---------------------------------------------------------------------

    def test_idem_17_a_claim_whose_answer_was_lost_is_asked_again(self) -> None:
        """IDEM-17: free, abandoned, expired or superseded, the same claim asked again is the same win, told once."""
        for n, way in enumerate(("free", "abandoned", "expired", "superseded")):
            key, supersede = way, None
            if way != "free":
                self.won("before", key=key, lease=10.0)
            if way == "abandoned":
                self.elapse(10.0)
            if way == "expired":
                self.finish("before", key=key, keep=10.0)
                self.elapse(10.0)
            if way == "superseded":
                self.finish("before", _UNKNOWN, None, key=key)
                supersede = "before"
            first = self.won("c1", "IDEM-02", f"the key is {way}", key=key, supersede=supersede, event=event(n))
            again = self.claim("c1", key=key, supersede=supersede, event=event(n))
            must(again.won, "IDEM-17", f"the answer was lost, and the key is {way}: the same claim wins again")
            equal(again.fence, first, "IDEM-17", "the fence")
        self._noted(*range(4))

    def test_idem_17_a_finish_whose_answer_was_lost_is_said_again(self) -> None:
        """IDEM-17: said again, an end is so already; result and event are those of the first time."""
        for n, state in enumerate((_DONE, _FAILED, _UNKNOWN)):
            self.won("c1", key=f"k{n}")
            equal(self.finish("c1", state, b"1", key=f"k{n}", event=event(n)), Ack.APPLIED, "PORT", "finish")
            again = self.finish("c1", state, b"2", key=f"k{n}", event=event(n))
            equal(again, Ack.ALREADY, "IDEM-17", f"{state}, said again")
            equal(self.row(f"k{n}").result, b"1", "IDEM-17", "the result")
        self._noted(*range(3))

    def test_idem_17_release_and_extend_said_again(self) -> None:
        """IDEM-17: said again, they raise nothing and make no row."""
        self.won("c1")
        for _ in range(2):
            equal(self.extend("c1", 50.0), Ack.APPLIED, "IDEM-17", "extend, however often")
        self.release("c1")
        must(self.release("c1") is not Ack.APPLIED, "IDEM-17", "a second release has nothing to apply to")
        must(self.extend("c1") is not Ack.APPLIED, "IDEM-17", "nor has an extend")
        must(self.peek() is None, "IDEM-17", "the key stays absent")

    # -- outages --------------------------------------------------------------------------

    def test_idem_19_a_claim_while_the_store_is_cut_off(self) -> None:
        """IDEM-19: a refused claim says whether its row may be there, and once the store is back it wins."""
        ((answer, refused),) = self.cut_off(lambda: self.claim("c1", event=event(1)))
        self.recovered(self.peek)
        if refused is None:
            must(answer.won, "IDEM-02", "the key was free")
            equal(self.row().claim_id, "c1", "IDEM-19", "the owner that was answered")
        elif not refused.maybe_applied:
            must(self.peek() is None, "IDEM-19", "nothing may have been written, and the row is there")
            self._noted()
        self.won("c1", "IDEM-L4", "the store is back")
        equal(self.finish("c1"), Ack.APPLIED, "IDEM-L4", "and the owner finishes")

    def test_idem_19_an_end_while_the_store_is_cut_off(self) -> None:
        """IDEM-19: a refused finish or release says whether it may have been written; said again it holds."""
        self.won("c1", key="finish")
        self.won("c1", key="release")
        finished, released = self.cut_off(
            lambda: self.finish("c1", key="finish", event=event(1)), lambda: self.release("c1", key="release")
        )
        self.recovered(self.peek)
        for key, (answer, refused) in (("finish", finished), ("release", released)):
            row = self.peek(key)
            state = None if row is None else row.state
            if refused is None:
                equal(answer, Ack.APPLIED, "IDEM-19", f"the answer to {key}")
                equal(state, _DONE if key == "finish" else None, "IDEM-19", f"the state after {key} was answered")
            elif not refused.maybe_applied:
                equal(state, _CLAIMED, "IDEM-19", f"nothing may have been written by {key}: the state")
        if finished[1] is not None and not finished[1].maybe_applied:
            self._noted()
        must(self.finish("c1", key="finish", event=event(1)) in _OVER, "IDEM-L4", "the store is back: finish")
        equal(self.row("finish").state, _DONE, "IDEM-L4", "state")
        self._noted(1)
        self.release("c1", key="release")
        must(self.peek("release") is None, "IDEM-L4", "the store is back: release")

    # -- cancellations --------------------------------------------------------------------

    def test_idem_18_a_claim_that_is_cancelled_can_be_asked_again(self) -> None:
        """IDEM-18: wherever a claim is cancelled, once or twice, the same claim wins afterwards, and is told once."""
        self.needs_tasks()
        store = self.store
        told: list[int] = []
        for twice in (False, True):
            base = len(told)

            def call(n: int, base: int = base) -> Any:
                return store.claim(self.request(f"c{base + n}", key=f"k{base + n}"), event(base + n))

            def then(n: int, base: int = base) -> None:
                told.append(base + n)
                claim_id, key = f"c{base + n}", f"k{base + n}"
                self.won(claim_id, "IDEM-18", "it was cancelled", key=key, event=event(base + n))
                self._noted(*told)
                equal(self.finish(claim_id, key=key), Ack.APPLIED, "IDEM-18", "its owner finishes")

            if not cancel_everywhere(self, call, then, twice=twice):
                raise Vacuous("IDEM-18", "a claim never waits, so that nothing could be cancelled")
        self._all_answer()

    def test_idem_18_an_end_that_is_cancelled_can_be_said_again(self) -> None:
        """IDEM-18: wherever finish or release is cancelled, said again it holds, and its event is stored once."""
        self.needs_tasks()
        store = self.store
        told: list[int] = []
        for twice in (False, True):
            base = len(told)

            def finish(n: int, base: int = base) -> Any:
                return store.finish(f"k{base + n}", "c1", _DONE, b"r", KEEP, 1, event(base + n))

            def finished(n: int, base: int = base) -> None:
                told.append(base + n)
                ack = self.finish("c1", _DONE, b"r", key=f"k{base + n}", event=event(base + n))
                must(ack in _OVER, "IDEM-18", f"finish, said again: {ack}")
                row = self.row(f"k{base + n}")
                equal((row.state, row.result), (_DONE, b"r"), "IDEM-18", "the row")
                self._noted(*told)
                self.won("c1", key=f"k{base + n + 1}")

            if not told:
                self.won("c1", key="k1")
            cancel_everywhere(self, finish, finished, twice=twice)
            self._release_cancelled(twice)
        self._all_answer()

    def _release_cancelled(self, twice: bool) -> None:
        store = self.store
        self.won("c1", key="released")

        def released(_: int) -> None:
            self.release("c1", key="released")
            must(self.peek("released") is None, "IDEM-18", "release, said again: the key is absent")
            self.won("c1", key="released")

        cancel_everywhere(self, lambda _: store.release("released", "c1"), released, twice=twice)
        self.release("c1", key="released")

    def test_idem_18_cancelled_rivals_leave_one_owner(self) -> None:
        """IDEM-18: of many who claim one key at once, half of them cancelled, one owns it, and all others see that."""
        self.needs_tasks()
        store = self.store
        for turn in range(10):
            key = f"k{turn}"

            async def rivals(key: str = key, turn: int = turn) -> list[Any]:
                async def one(n: int) -> ClaimAnswer:
                    answer: ClaimAnswer = await settled(store.claim(self.request(f"c{n}", key=key), None))
                    return answer

                tasks = [asyncio.ensure_future(one(n)) for n in range(self.threads)]
                for _ in range(turn):
                    await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                return await asyncio.gather(*tasks, return_exceptions=True)

            answers = [answer for answer in self.wait(rivals()) if isinstance(answer, ClaimAnswer)]
            if len(answers) < self.threads // 2:
                raise AssertionError("IDEM-18: a claim that nobody cancelled got no answer")
            owner = self.row(key).claim_id
            must(sum(answer.won for answer in answers) <= 1, "IDEM-01", "at most one of them wins")
            for answer in answers:
                seen = owner if answer.row is None else answer.row.claim_id
                equal(seen, owner, "IDEM-18", "the owner that the others saw")
            equal(self.finish(owner, key=key), Ack.APPLIED, "IDEM-18", "whoever owns it can finish")

    def _all_answer(self) -> None:
        """Nobody who was cancelled took a connection or a turn with him."""
        store = self.store

        def actor(n: int) -> Any:
            async def run() -> bool:
                answer = await settled(store.claim(self.request("c1", key=f"after-{n}"), None))
                return bool(answer.won)

            return run

        must(all(self.together(store, [actor(n) for n in range(64)])), "IDEM-18", "64 claims afterwards all win")
