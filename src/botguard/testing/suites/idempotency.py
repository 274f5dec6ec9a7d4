"""The suite of :class:`botguard.ports.idempotency.IdempotencyStore`.

Promises are numbered as in ``docs``: IDEM-01 one owner, 02 one winner, 04 fences and claims never repeat, 05 a stale owner
changes nothing, 06 what is settled stays, 07 results come back byte for byte, 08 a mismatch never takes over, 09 keys are
apart, 10 boundaries are exact, 11 takeover, 12 durable, 13 release and unknown, 14 purge, 16 reads change nothing, L1 every
key becomes free or is parked; EVENT: an event is stored if and only if its write was.
"""

from __future__ import annotations

from collections.abc import Coroutine
from itertools import count, pairwise
from typing import Any

from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.testing.suites.base import HARD_STRINGS, StoreSuite, equal, must, settled

__all__ = ["IdempotencyStoreSuite"]

_LEASE, _KEEP = 30.0, 300.0
_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState.CLAIMED, RowState.DONE, RowState.FAILED, RowState.UNKNOWN
_SETTLED = (_DONE, _FAILED)

#: Pairs of keys that a collation, a LIKE or a short column would take for one.
_CLOSE_KEYS = (
    "k",
    "K",
    "k ",
    " k",
    "kk",
    "k_",
    "k%",
    "k" * 64,
    "k" * 63 + "K",
    "k" * 63,
    "0",
    "00",
    "1",
    "1.0",
)


def _event(number: int = 1) -> Event:
    return Event(
        id=f"event-{number}", kind="run", at=1.0, org="o", actor="a", person="p", channel="api", command="c", status="succeeded",
        reasons="", attempts=1, duration_ms=1.0, success=True, replayed=False, degraded=False, key="k", shadow="",
        policy_digest="", correlation_id="",
    )  # fmt: skip


class IdempotencyStoreSuite(StoreSuite):
    """Holds a claim store to its port.

    Capabilities: ``reopen``, and ``events``: then :meth:`events_of` gives the EventStore that ``claim`` and ``finish`` write
    their events to.
    """

    def events_of(self, store: Any) -> Any:
        """The EventStore beside the store; only with the capability ``events``."""
        raise NotImplementedError("the capability 'events' needs events_of(self, store)")

    # -- small words ----------------------------------------------------------------------

    def claim(self, claim_id: str = "c1", *, key: str = "k", event: Event | None = None, **other: Any) -> ClaimAnswer:
        """Claim a key; ``other`` changes fields of the request."""
        answer: ClaimAnswer = self.ask(self.store.claim, self._request(claim_id, key=key, **other), event)
        must(
            answer.won or answer.row is not None,
            "PORT",
            "an answer that is not 'won' shows the row in the way",
        )
        return answer

    @staticmethod
    def _request(claim_id: str, *, key: str = "k", **other: Any) -> ClaimRequest:
        request = ClaimRequest(
            key=key, org="o", command="c", claim_id=claim_id, person="p", fingerprint=b"f" * 16, version="1",
            lease=_LEASE, takeover=True,
        )  # fmt: skip
        return request._replace(**other)

    def finish(
        self,
        claim_id: str = "c1",
        state: RowState = _DONE,
        result: bytes | None = b"result",
        *,
        key: str = "k",
        keep: float = _KEEP,
        attempts: int = 1,
        event: Event | None = None,
    ) -> Ack:
        """Settle a claim."""
        answer: Ack = self.ask(self.store.finish, key, claim_id, state, result, keep, attempts, event)
        return answer

    def release(self, claim_id: str = "c1", *, key: str = "k") -> Ack:
        """Give a claim back."""
        answer: Ack = self.ask(self.store.release, key, claim_id)
        return answer

    def extend(self, claim_id: str = "c1", lease: float = _LEASE, *, key: str = "k") -> Ack:
        """Move a lease."""
        answer: Ack = self.ask(self.store.extend, key, claim_id, lease)
        return answer

    def peek(self, key: str = "k") -> Row | None:
        """Look at a key."""
        answer: Row | None = self.ask(self.store.peek, key)
        return answer

    def row(self, key: str = "k") -> Row:
        """The row that must be there."""
        found = self.peek(key)
        if found is None:
            raise AssertionError(f"IDEM-12: the row of {key!r} is gone")
        return found

    def won(self, claim_id: str = "c1", promise: str = "IDEM-02", what: str = "the key was free", **other: Any) -> int:
        """Claim, and insist on winning; returns the fence."""
        answer = self.claim(claim_id, **other)
        must(answer.won, promise, f"{what}, so the claim must win; it met {answer.row}")
        return answer.fence

    def lost(self, claim_id: str, promise: str, what: str, **other: Any) -> Row:
        """Claim, and insist on losing; returns the row in the way."""
        answer = self.claim(claim_id, **other)
        must(not answer.won, promise, f"{what}, so the claim must not win")
        if answer.row is None:
            raise AssertionError("PORT: an answer that is not 'won' shows the row in the way")
        return answer.row

    def events(self) -> list[str]:
        """Ids of the events that were stored."""
        return [event.id for event in self.ask(self.events_of(self.store).tail, 1000)]

    # -- colour ---------------------------------------------------------------------------

    def test_colour_is_declared_and_true(self) -> None:
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        self.won()  # ``ask`` refuses an awaitable from a store that is not async
        for answer in (self.finish(), self.release(), self.extend()):
            must(isinstance(answer, Ack), "PORT", f"finish, release and extend answer an Ack, not {answer!r}")

    # -- absent → claimed -----------------------------------------------------------------

    def test_absent_key_is_none(self) -> None:
        must(self.peek() is None, "PORT", "peek at an absent key is None")
        must(self.peek() is None, "IDEM-16", "and looking has not made it")

    def test_idem_02_claim_of_an_absent_key_wins(self) -> None:
        fence = self.won("c1", person="p1", fingerprint=b"\x00\xff" * 8, version="v7", lease=12.0)
        row = self.row()
        equal(row.state, _CLAIMED, "PORT", "state of a claimed row")
        equal(row.claim_id, "c1", "PORT", "claim id")
        equal(row.fence, fence, "PORT", "the fence that the answer gave")
        equal(row.person, "p1", "PORT", "person")
        equal(row.fingerprint, b"\x00\xff" * 8, "PORT", "fingerprint")
        equal(row.version, "v7", "PORT", "version")
        must(row.result is None, "PORT", "a claimed row has no result")
        must(
            abs(row.lease_left - 12.0) <= self.tick,
            "PORT",
            f"the lease was 12 s, and {row.lease_left} s are left",
        )

    def test_idem_02_second_claim_of_a_key_loses_and_sees_the_first(self) -> None:
        fence = self.won("c1")
        row = self.lost("c2", "IDEM-02", "the key is claimed")
        equal((row.claim_id, row.fence, row.state), ("c1", fence, _CLAIMED), "PORT", "the row in the way")

    def test_idem_05_a_lost_claim_changes_nothing(self) -> None:
        self.won("c1", person="p1", lease=10.0)
        self.elapse(4.0)
        before = self.row()
        self.lost("c2", "IDEM-02", "the key is claimed", person="p2", fingerprint=b"g" * 16, version="2", lease=99.0)
        equal(self.row(), before, "IDEM-05", "the row after a claim that lost")
        self.elapse(6.0)
        self.won("c3", "IDEM-10", "the first lease ends when it would have")

    def test_idem_01_the_same_claim_id_wins_again(self) -> None:
        fence = self.won("c1")
        again = self.claim("c1")
        must(again.won, "IDEM-01", "the same claim id asks again, since its answer may have been lost: it wins")
        equal(again.fence, fence, "IDEM-01", "and it is the same claim, with the same fence")
        equal(self.finish("c1"), Ack.APPLIED, "IDEM-01", "and it can finish")

    def test_idem_01_the_same_claim_id_wins_again_without_takeover(self) -> None:
        self.won("c1", takeover=False)
        must(self.claim("c1", takeover=False).won, "IDEM-01", "the same claim id wins again, takeover or not")

    def test_idem_02_the_same_claim_id_does_not_win_once_it_is_settled(self) -> None:
        for state in (*_SETTLED, _UNKNOWN):
            key = f"k-{state}"
            self.won("c1", key=key)
            self.finish("c1", state, key=key)
            row = self.lost("c1", "IDEM-02", f"the key is {state}: its handler must not run again", key=key)
            equal(row.state, state, "IDEM-06", "the state stays")

    def test_idem_09_keys_are_compared_byte_by_byte(self) -> None:
        for n, key in enumerate(_CLOSE_KEYS):
            self.won(f"c{n}", "IDEM-09", f"no other key is {key!r}", key=key)
        for n, key in enumerate(_CLOSE_KEYS):
            equal(self.row(key).claim_id, f"c{n}", "IDEM-09", f"the owner of {key!r}")
        self.finish("c0", key=_CLOSE_KEYS[0])
        self.release("c1", key=_CLOSE_KEYS[1])
        must(self.peek(_CLOSE_KEYS[1]) is None, "IDEM-09", "one key was released")
        for n, key in enumerate(_CLOSE_KEYS[2:], 2):
            equal(self.row(key).state, _CLAIMED, "IDEM-09", f"{key!r} is as before")
            equal(self.row(key).claim_id, f"c{n}", "IDEM-09", f"{key!r} has its owner")

    def test_idem_07_hard_strings_come_back_as_they_are(self) -> None:
        for n, text in enumerate(HARD_STRINGS):
            key = f"key-{n}"
            self.won(f"c{n}", key=key, person=text, org=text, command=text, version=text)
            row = self.row(key)
            equal((row.person, row.version), (text, text), "IDEM-07", "person and version")
            equal(
                self.lost("other", "IDEM-02", "it is claimed", key=key).person,
                text,
                "IDEM-07",
                "person in an answer",
            )

    # -- leases ---------------------------------------------------------------------------

    def test_idem_10_a_lease_holds_until_its_end_and_not_longer(self) -> None:
        self.won("c1", lease=10.0)
        self.elapse(10.0 - self.tick)
        row = self.lost("c2", "IDEM-10", "the lease is not over")
        must(row.lease_left > 0, "IDEM-10", "what is left of it is above 0")
        self.elapse(self.tick)
        over = self.row()
        must(over.lease_left <= 0, "IDEM-10", f"at its end nothing is left of the lease, not {over.lease_left}")
        self.won("c3", "IDEM-10", "the lease ends at its end, not after it")

    def test_idem_10_a_short_lease_is_not_rounded(self) -> None:
        self.won("c1", lease=0.25)
        self.elapse(0.25 - self.tick)
        self.lost("c2", "IDEM-10", "a quarter of a second is not over")
        self.elapse(self.tick)
        self.won("c3", "IDEM-10", "a quarter of a second is over")

    def test_idem_16_looking_at_an_abandoned_claim_changes_nothing(self) -> None:
        self.won("c1", lease=10.0, takeover=False)
        self.elapse(11.0)
        equal(self.row().state, _CLAIMED, "IDEM-16", "only a claim judges an abandoned one")
        equal(self.row().state, _CLAIMED, "IDEM-16", "however often one looks")
        equal(self.finish("c1"), Ack.APPLIED, "IDEM-05", "a late owner whom nobody took over still owns the key")

    def test_idem_05_extend_moves_the_end_of_the_lease(self) -> None:
        self.won("c1", lease=10.0)
        self.elapse(9.0)
        equal(self.extend("c1", 10.0), Ack.APPLIED, "PORT", "extend of a running claim")
        self.elapse(10.0 - self.tick)
        self.lost("c2", "IDEM-10", "the lease was extended from the time of asking")
        self.elapse(self.tick)
        self.won("c3", "IDEM-10", "the extended lease is over")

    def test_idem_05_extend_may_shorten(self) -> None:
        self.won("c1", lease=100.0)
        equal(self.extend("c1", 5.0), Ack.APPLIED, "PORT", "extend of a running claim")
        self.elapse(5.0)
        self.won("c2", "PORT", "extend sets the lease to so many seconds from now")

    def test_idem_05_only_the_owner_of_a_running_claim_extends(self) -> None:
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
        self.won("c1", lease=10.0)
        self.finish("c1", keep=100.0)
        self.elapse(50.0)
        equal(self.row().state, _DONE, "IDEM-10", "a result outlives the lease")
        self.won("c2", key="short", lease=100.0)
        self.finish("c2", key="short", keep=10.0)
        self.elapse(10.0)
        must(self.peek("short") is None, "IDEM-10", "a lifetime may be shorter than the lease was")

    # -- abandoned ------------------------------------------------------------------------

    def test_idem_11_an_abandoned_claim_is_taken_over(self) -> None:
        first = self.won("c1", lease=10.0)
        self.elapse(10.0)
        second = self.won("c2", "IDEM-11", "the lease is over and takeover is set", person="p", lease=20.0)
        must(second > first, "IDEM-04", f"the fence rises with each new owner: {second} after {first}")
        row = self.row()
        equal((row.claim_id, row.state), ("c2", _CLAIMED), "IDEM-11", "the new owner")
        must(abs(row.lease_left - 20.0) <= self.tick, "IDEM-11", "with a lease of its own")
        self.lost("c3", "IDEM-01", "the new owner's lease runs")

    def test_idem_11_the_former_owner_can_do_nothing(self) -> None:
        self.won("c1", lease=10.0)
        self.elapse(10.0)
        self.won("c2", lease=10.0)
        before = self.row()
        for state in (_DONE, _FAILED, _UNKNOWN):
            equal(self.finish("c1", state), Ack.LOST, "IDEM-11", f"finish as {state} by the former owner")
        equal(self.release("c1"), Ack.LOST, "IDEM-11", "release by the former owner")
        equal(self.extend("c1", 99.0), Ack.LOST, "IDEM-11", "extend by the former owner")
        self.lost("c1", "IDEM-11", "the former owner's claim id asks again")
        equal(self.row(), before, "IDEM-11", "the row")
        equal(self.finish("c2"), Ack.APPLIED, "IDEM-11", "the new owner finishes")

    def test_idem_l1_a_new_version_is_not_blocked_by_an_abandoned_claim_of_the_old(self) -> None:
        for takeover in (True, False):
            key = f"k-{takeover}"
            self.won("c1", key=key, lease=10.0)
            self.elapse(1000.0)
            if takeover:
                self.won("c2", key=key, version="2", fingerprint=b"g" * 16)
                continue
            row = self.lost("c2", "IDEM-L1", "no takeover", key=key, takeover=False, version="2", fingerprint=b"g" * 16)
            equal(row.state, RowState.UNKNOWN, "IDEM-L1", "it is visibly parked")

    def test_idem_08_a_mismatch_never_takes_over(self) -> None:
        for other in ({"fingerprint": b"g" * 16},):
            for takeover in (True, False):
                key = f"k-{next(iter(other))}-{takeover}"
                self.won("c1", key=key, lease=10.0)
                self.elapse(1000.0)
                row = self.lost(
                    "c2",
                    "IDEM-08",
                    "an abandoned claim of another payload",
                    key=key,
                    takeover=takeover,
                    **other,
                )
                equal(row.state, _CLAIMED, "IDEM-08", "and it is left as it is")
                equal(self.row(key).claim_id, "c1", "IDEM-08", "with its owner")

    def test_an_abandoned_claim_without_takeover_becomes_unknown_in_the_same_step(self) -> None:
        self.won("c1", lease=10.0, takeover=False)
        self.elapse(10.0 - self.tick)
        equal(
            self.lost("c2", "IDEM-10", "the lease is not over", takeover=False).state,
            _CLAIMED,
            "IDEM-10",
            "state",
        )
        self.elapse(self.tick)
        row = self.lost("c3", "PORT", "an abandoned claim without takeover is not taken over", takeover=False)
        equal(
            (row.state, row.claim_id),
            (_UNKNOWN, "c1"),
            "PORT",
            "the answer shows the unknown row of the old claim",
        )
        equal(self.row().state, _UNKNOWN, "PORT", "and it is stored")
        self.lost("c4", "IDEM-13", "unknown is not taken over, takeover or not", takeover=True)

    def test_idem_13_unknown_waits_until_it_is_resolved(self) -> None:
        self.won("c1")
        equal(self.finish("c1", _UNKNOWN, None, keep=10.0), Ack.APPLIED, "PORT", "finish as unknown")
        self.elapse(10 * 365 * 86400.0)
        equal(self.row().state, _UNKNOWN, "IDEM-13", "ten years later")
        self.lost("c2", "IDEM-13", "no time resolves it")
        equal(self.ask(self.store.purge), 0, "IDEM-14", "and purge never deletes it")

    def test_supersede_takes_over_the_unknown_row_it_names(self) -> None:
        first = self.won("c1")
        self.finish("c1", _UNKNOWN, None)
        second = self.won("c2", "PORT", "supersede names the unknown claim", supersede="c1", takeover=False)
        must(second > first, "IDEM-04", "the fence rises")
        equal(self.finish("c1"), Ack.LOST, "IDEM-11", "a late completion of the superseded claim")
        equal(self.row().claim_id, "c2", "IDEM-11", "the owner")
        equal(self.finish("c2"), Ack.APPLIED, "IDEM-11", "the new owner finishes")

    def test_supersede_takes_nothing_else(self) -> None:
        self.won("c1")
        self.lost("c2", "PORT", "supersede does not take a running claim", supersede="c1")
        self.finish("c1", _UNKNOWN, None)
        self.lost("c3", "PORT", "supersede names another claim", supersede="c9")
        self.lost("c3", "PORT", "nothing is superseded", supersede=None)
        self.lost("c3", "PORT", "an empty name is no name", supersede="")
        self.finish("c1", _DONE)
        self.lost("c4", "PORT", "supersede does not take a done row", supersede="c1")

    # -- settled --------------------------------------------------------------------------

    def test_idem_07_a_result_comes_back_byte_for_byte(self) -> None:
        results: tuple[bytes | None, ...] = (
            None,
            b"",
            b"0",
            b"null",
            b"\x00",
            bytes(range(256)),
            b"x" * 65536,
            b"\xff\xfe",
        )
        for n, result in enumerate(results):
            for state in _SETTLED:
                key = f"k{n}{state}"
                self.won("c1", key=key)
                equal(self.finish("c1", state, result, key=key), Ack.APPLIED, "PORT", "finish")
                equal(self.row(key).result, result, "IDEM-07", f"the result {result!r:.20}")

    def test_a_settled_row_shows_what_it_was_given(self) -> None:
        fence = self.won("c1", person="p1", fingerprint=b"q" * 16, version="v3")
        equal(self.finish("c1", _FAILED, b"why", attempts=4, event=_event(9)), Ack.APPLIED, "PORT", "finish")
        row = self.row()
        equal((row.state, row.result, row.attempts), (_FAILED, b"why", 4), "PORT", "state, result and attempts")
        equal(row.event_id, "event-9", "PORT", "the event of the run that finished it")
        equal((row.claim_id, row.fence), ("c1", fence), "PORT", "claim id and fence")
        equal(
            (row.person, row.fingerprint, row.version),
            ("p1", b"q" * 16, "v3"),
            "PORT",
            "person, fingerprint, version",
        )

    def test_a_row_settled_without_event_names_none(self) -> None:
        self.won("c1")
        self.finish("c1")
        equal(self.row().event_id, "", "PORT", "event id")

    def test_idem_06_what_is_settled_never_changes_again(self) -> None:
        for state in _SETTLED:
            key = f"k-{state}"
            self.won("c1", key=key)
            self.finish("c1", state, b"first", key=key)
            before = self.row(key)
            for again in (_DONE, _FAILED, _UNKNOWN):
                equal(
                    self.finish("c1", again, b"second", key=key),
                    Ack.ALREADY,
                    "IDEM-06",
                    f"{again} after {state}",
                )
            after = self.row(key)
            equal(after._replace(lease_left=0.0), before._replace(lease_left=0.0), "IDEM-06", "the row")

    def test_idem_06_a_repeat_does_not_lengthen_the_lifetime(self) -> None:
        self.won("c1")
        self.finish("c1", keep=10.0)
        self.elapse(5.0)
        equal(self.finish("c1", keep=1000.0), Ack.ALREADY, "IDEM-06", "finish again")
        self.elapse(5.0)
        must(self.peek() is None, "IDEM-06", "the row lives as long as the first finish said")

    def test_a_repeated_unknown_is_already_so(self) -> None:
        self.won("c1")
        self.finish("c1", _UNKNOWN, None)
        equal(self.finish("c1", _UNKNOWN, None), Ack.ALREADY, "PORT", "unknown again")

    def test_a_late_done_turns_unknown_into_done(self) -> None:
        self.won("c1", lease=10.0)
        self.elapse(10.0)
        self.lost("c2", "PORT", "it becomes unknown", takeover=False)
        equal(self.finish("c1", _DONE, b"late"), Ack.APPLIED, "PORT", "a late done whose claim id still matches")
        row = self.row()
        equal((row.state, row.result), (_DONE, b"late"), "PORT", "the row is done")
        self.elapse(_KEEP)
        must(self.peek() is None, "IDEM-10", "and lives as long as the late finish said")

    def test_a_late_done_by_somebody_else_is_lost(self) -> None:
        self.won("c1")
        self.finish("c1", _UNKNOWN, None)
        equal(self.finish("c2", _DONE, b"not mine"), Ack.LOST, "IDEM-05", "a done by another claim")
        equal(self.row().state, _UNKNOWN, "IDEM-05", "the row")

    def test_idem_05_finish_of_what_is_not_ours_is_lost(self) -> None:
        equal(self.finish("c1"), Ack.LOST, "IDEM-05", "finish without a row")
        must(self.peek() is None, "IDEM-05", "it has made none")
        self.won("c1")
        before = self.row()
        equal(self.finish("c2"), Ack.LOST, "IDEM-05", "finish by another claim")
        equal(self.row(), before, "IDEM-05", "the row")

    def test_idem_05_a_late_owner_whom_nobody_took_over_finishes(self) -> None:
        self.won("c1", lease=10.0)
        self.elapse(1000.0)
        equal(self.finish("c1"), Ack.APPLIED, "IDEM-05", "the claim is still the stored one")
        equal(self.row().state, _DONE, "IDEM-05", "state")

    def test_idem_05_stale_owner_after_release_and_new_claim(self) -> None:
        self.won("c1")
        self.release("c1")
        equal(self.finish("c1"), Ack.LOST, "IDEM-05", "finish after one's own release")
        must(self.peek() is None, "IDEM-05", "it has made no row")
        self.won("c2")
        before = self.row()
        equal(self.finish("c1"), Ack.LOST, "IDEM-05", "finish by the owner before")
        must(self.release("c1") is not Ack.APPLIED, "IDEM-05", "release by the owner before")
        must(self.extend("c1", 99.0) is not Ack.APPLIED, "IDEM-05", "extend by the owner before")
        equal(self.row(), before, "IDEM-05", "the row")

    def test_idem_05_stale_owner_after_expiry_and_new_claim(self) -> None:
        self.won("c1")
        self.finish("c1", keep=10.0)
        self.elapse(10.0)
        self.won("c2")
        before = self.row()
        equal(self.finish("c1"), Ack.LOST, "IDEM-05", "finish by the owner before")
        must(self.release("c1") is not Ack.APPLIED, "IDEM-05", "release by the owner before")
        equal(self.row(), before, "IDEM-05", "the row")

    def test_idem_10_a_settled_row_lives_exactly_as_long_as_was_said(self) -> None:
        for state in _SETTLED:
            key = f"k-{state}"
            self.won("c1", key=key)
            self.elapse(3.0)  # the lifetime begins with finish, not with the claim
            self.finish("c1", state, keep=20.0, key=key)
            self.elapse(20.0 - self.tick)
            equal(self.row(key).state, state, "IDEM-10", "just before the end of its lifetime")
            self.lost("c2", "IDEM-10", "the row still lives", key=key)
            self.elapse(self.tick)
            must(self.peek(key) is None, "IDEM-10", "at its end a settled row counts as absent")
            self.won("c3", "IDEM-L1", "its lifetime is over", key=key)

    def test_idem_07_nothing_of_the_run_before_is_left(self) -> None:
        self.won("c1", person="p1", version="1")
        self.finish("c1", _DONE, b"old", keep=10.0, attempts=5, event=_event(1))
        self.elapse(10.0)
        self.won("c2", person="p2", version="2", fingerprint=b"z" * 16)
        row = self.row()
        equal((row.result, row.event_id), (None, ""), "IDEM-07", "result and event of the new claim")
        equal((row.person, row.version, row.fingerprint), ("p2", "2", b"z" * 16), "IDEM-07", "who and what")
        self.finish("c2", _DONE, None)
        equal(self.row().result, None, "IDEM-07", "the new run stored no result, and the old one's is not shown")

    # -- release --------------------------------------------------------------------------

    def test_idem_13_release_makes_the_key_absent(self) -> None:
        self.won("c1")
        equal(self.release("c1"), Ack.APPLIED, "PORT", "release of a running claim")
        must(self.peek() is None, "IDEM-13", "the key is absent again")
        must(self.release("c1") is not Ack.APPLIED, "IDEM-05", "a second release has nothing to apply to")
        self.won("c2", "IDEM-L1", "the key was given back")

    def test_idem_13_only_a_claimed_row_is_released(self) -> None:
        for state in (*_SETTLED, _UNKNOWN):
            key = f"k-{state}"
            self.won("c1", key=key)
            self.finish("c1", state, b"kept", key=key)
            must(
                self.release("c1", key=key) is not Ack.APPLIED,
                "IDEM-13",
                f"a row that is {state} is not released",
            )
            equal((self.row(key).state, self.row(key).result), (state, b"kept"), "IDEM-13", "the row")

    def test_idem_05_only_the_owner_releases(self) -> None:
        self.won("c1")
        equal(self.release("c2"), Ack.LOST, "IDEM-05", "release by another claim")
        equal(self.row().claim_id, "c1", "IDEM-05", "the owner")

    def test_idem_13_an_abandoned_claim_can_be_released_by_its_owner(self) -> None:
        self.won("c1", lease=1.0)
        self.elapse(5.0)
        equal(self.release("c1"), Ack.APPLIED, "IDEM-13", "nobody took it over")

    # -- fences ---------------------------------------------------------------------------

    def test_idem_04_the_fence_rises_with_every_owner(self) -> None:
        names = (f"c{n}" for n in count())
        fences = [self.won(next(names), lease=10.0)]

        def then(claim_id: str, **other: Any) -> None:
            fences.append(self.won(claim_id, lease=10.0, **other))

        self.release("c0")
        then(next(names))  # c1, after a release
        self.elapse(10.0)
        then(next(names))  # c2, a takeover
        self.finish("c2", keep=5.0)
        self.elapse(5.0)
        then(next(names))  # c3, after expiry
        self.finish("c3", keep=5.0)
        self.elapse(5.0)
        self.ask(self.store.purge)
        then(next(names))  # c4, after a purge
        self.finish("c4", _UNKNOWN, None)
        then(next(names), supersede="c4")  # c5, a supersede
        must(
            all(one < other for one, other in pairwise(fences)),
            "IDEM-04",
            f"fences of one key must rise, whatever happened to its row between: {fences}",
        )

    # -- purge ----------------------------------------------------------------------------

    def test_idem_14_purge_deletes_only_what_is_settled_and_over(self) -> None:
        kept = {"running", "abandoned", "unknown", "fresh", "almost"}
        for key in (*kept, "done", "failed"):
            self.won("c1", key=key, lease=1.0 if key == "abandoned" else 10_000.0)
        self.finish("c1", _UNKNOWN, None, key="unknown", keep=1.0)
        self.finish("c1", key="fresh", keep=10_000.0)
        self.finish("c1", key="almost", keep=100.0 + self.tick)
        self.finish("c1", key="done", keep=100.0)
        self.finish("c1", _FAILED, key="failed", keep=100.0)
        self.elapse(100.0)
        equal(
            self.ask(self.store.purge),
            2,
            "IDEM-14",
            "rows deleted: done and failed, at the end of their lifetime",
        )
        for key in kept:
            must(self.peek(key) is not None, "IDEM-14", f"{key} is still there")
        equal(self.ask(self.store.purge), 0, "IDEM-14", "a second purge finds nothing")

    def test_idem_14_purge_stops_at_its_limit(self) -> None:
        for n in range(7):
            self.won("c1", key=f"k{n}")
            self.finish("c1", key=f"k{n}", keep=1.0)
        self.elapse(1.0)
        equal(
            [self.ask(self.store.purge, 3) for _ in range(4)],
            [3, 3, 1, 0],
            "IDEM-14",
            "rows deleted, three at a time",
        )

    def test_idem_14_purge_and_a_new_claim(self) -> None:
        self.won("c1")
        self.finish("c1", keep=1.0)
        self.elapse(1.0)
        self.won("c2")
        equal(self.ask(self.store.purge), 0, "IDEM-14", "the row belongs to a running claim by now")
        equal(self.row().claim_id, "c2", "IDEM-14", "the owner")

    def test_idem_14_purge_while_others_claim(self) -> None:
        store, turns = self.store, 40
        for n in range(300):  # a purge has to look past what is live
            self.won("live", key=f"live-{n}", lease=1000.0)
        for n in range(100):
            self.won("old", key=f"old-{n}")
            self.finish("old", key=f"old-{n}", keep=1.0)
        self.elapse(1.0)

        def actor(n: int) -> Any:
            async def run() -> int:
                gone = 0
                for turn in range(turns):
                    if n % 2:
                        answer = await settled(store.claim(self._request(f"c-{n}", key=f"k-{n}-{turn}"), None))
                        must(answer.won, "IDEM-14", "a purge at the same time keeps nobody from claiming")
                    else:
                        gone += await settled(store.purge(5))
                return gone

            return run

        gone: list[int] = self.together(store, [actor(n) for n in range(8)])
        equal(sum(gone) + self.ask(store.purge), 100, "IDEM-14", "rows deleted by all purges together")
        for n in range(1, 8, 2):
            equal(self.row(f"k-{n}-{turns - 1}").claim_id, f"c-{n}", "IDEM-14", "running claims are still there")

    # -- events ---------------------------------------------------------------------------

    def test_event_of_a_claim_is_stored_if_it_was_won(self) -> None:
        self.needs("events")
        self.won("c1", event=_event(1))
        self.lost("c2", "IDEM-02", "the key is claimed", event=_event(2))
        equal(self.events(), ["event-1"], "EVENT", "the winner's event and no other")

    def test_event_of_a_takeover_is_stored(self) -> None:
        self.needs("events")
        self.won("c1", lease=10.0)
        self.elapse(10.0)
        self.lost("c2", "IDEM-08", "another payload", event=_event(1), fingerprint=b"g" * 16)
        self.won("c3", event=_event(2))
        equal(self.events(), ["event-2"], "EVENT", "the event of the takeover")

    def test_event_of_an_abandoned_claim_that_becomes_unknown_is_not_stored(self) -> None:
        self.needs("events")
        self.won("c1", lease=10.0, takeover=False)
        self.elapse(10.0)
        self.lost("c2", "PORT", "no takeover", takeover=False, event=_event(1))
        equal(self.events(), [], "EVENT", "the claim was not won")

    def test_event_of_a_finish_is_stored_if_and_only_if_it_applied(self) -> None:
        self.needs("events")
        self.finish("c1", event=_event(1))
        self.won("c1")
        self.finish("c2", event=_event(2))
        equal(self.events(), [], "EVENT", "a finish that is lost writes nothing")
        self.finish("c1", _UNKNOWN, None, event=_event(3))
        self.finish("c1", _UNKNOWN, None, event=_event(4))
        self.finish("c1", event=_event(5))
        self.finish("c1", event=_event(6))
        equal(self.events(), ["event-3", "event-5"], "EVENT", "events of the two that applied")

    # -- many at once ---------------------------------------------------------------------

    def _race(self, count: int, **other: Any) -> list[ClaimAnswer]:
        store = self.store

        def racer(n: int) -> Any:
            async def run() -> ClaimAnswer:
                answer: ClaimAnswer = await settled(store.claim(self._request(f"racer-{n}", **other), None))
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
        for n in range(10):
            self._one_winner(self._race(self.threads, key=f"k{n}"), "IDEM-02", "who claim an absent key", f"k{n}")

    def test_idem_11_many_takeovers_at_once_have_one_winner(self) -> None:
        for n in range(10):
            self.won("c1", key=f"k{n}", lease=1.0)
            self.elapse(1.0)
            self._one_winner(self._race(self.threads, key=f"k{n}"), "IDEM-11", "who take over", f"k{n}")

    def test_idem_10_many_claims_of_an_expired_key_have_one_winner(self) -> None:
        for n in range(10):
            self.won("c1", key=f"k{n}")
            self.finish("c1", key=f"k{n}", keep=1.0)
            self.elapse(1.0)
            self._one_winner(self._race(self.threads, key=f"k{n}"), "IDEM-10", "who claim an expired key", f"k{n}")

    def test_supersede_by_many_at_once_has_one_winner(self) -> None:
        for n in range(10):
            self.won("c1", key=f"k{n}")
            self.finish("c1", _UNKNOWN, None, key=f"k{n}")
            answers = self._race(self.threads, key=f"k{n}", supersede="c1")
            self._one_winner(answers, "IDEM-02", "who supersede", f"k{n}")

    def test_idem_06_many_finishes_of_one_claim_apply_once(self) -> None:
        store = self.store
        for n in range(5):
            key = f"k{n}"
            self.won("c1", key=key)

            def finisher(m: int, key: str = key) -> Any:
                async def run() -> Ack:
                    answer: Ack = await settled(store.finish(key, "c1", _DONE, b"%d" % m, _KEEP, 1, None))
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
        """Actors claim and release one key, ten times each; nobody ever meets another one inside."""
        store = self.store
        inside: list[int] = []
        overlaps: list[list[int]] = []
        fences: list[int] = []

        def actor(n: int) -> Any:
            async def run() -> int:
                owned = 0
                for turn in range(2000):
                    if owned == 10:
                        break
                    claim_id = f"actor-{n}-{turn}"
                    answer = await settled(store.claim(self._request(claim_id), None))
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

    # -- other handles --------------------------------------------------------------------

    def test_idem_12_another_handle_sees_what_was_answered(self) -> None:
        self.needs("reopen")
        self.won("c1", key="running", lease=1000.0)
        self.won("c2", key="done")
        self.finish("c2", _DONE, b"kept", key="done")
        other = self.reopen(self.store)
        try:
            row = self.ask(other.peek, "done")
            must(
                row is not None and row.result == b"kept",
                "IDEM-12",
                "a finished row is durable when finish returns",
            )
            answer = self.ask(other.claim, self._request("c3", key="running"), None)
            must(
                not answer.won and answer.row.claim_id == "c1",
                "IDEM-12",
                "a claim is durable when claim returns",
            )
            equal(
                self.ask(other.finish, "running", "c1", _DONE, b"x", _KEEP, 1, None),
                Ack.APPLIED,
                "IDEM-12",
                "finish",
            )
        finally:
            self.close_store(other)
        equal(self.row("running").state, _DONE, "IDEM-12", "and what the other one wrote is seen here")

    def test_idem_02_two_handles_have_one_winner(self) -> None:
        self.needs("reopen")
        one, other = self.store, self.reopen(self.store)
        try:
            for n in range(5):

                def racer(m: int, key: str = f"k{n}") -> Any:
                    async def run() -> bool:
                        handle = one if m % 2 else other
                        answer: ClaimAnswer = await settled(handle.claim(self._request(f"r{m}", key=key), None))
                        return answer.won

                    return run

                actors: list[Any] = [racer(m) for m in range(self.threads)]
                winners: Coroutine[Any, Any, bool] | list[bool] = self.together(one, actors)
                equal(sum(winners), 1, "IDEM-02", "winners among two handles' callers")  # type: ignore[arg-type]
        finally:
            self.close_store(other)
