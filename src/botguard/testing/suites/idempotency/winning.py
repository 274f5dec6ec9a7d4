"""Claims of keys that are free, taken or close to one another."""

from __future__ import annotations

from botguard.ports.idempotency import Ack, RowState
from botguard.testing.suites.checks import HARD_STRINGS, equal, must
from botguard.testing.suites.idempotency.words import ClaimWords

__all__ = ["Winning"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState
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


class Winning(ClaimWords):
    """Who becomes the owner of a key."""

    def test_colour_is_declared_and_true(self) -> None:
        """COLOUR: the store says sync, async or any, and answers as it says."""
        must(self.store.colour in ("sync", "async", "any"), "COLOUR", "a store says sync, async or any")
        self.won()  # ``ask`` refuses an awaitable from a store that is not async
        for answer in (self.finish(), self.release(), self.extend()):
            must(isinstance(answer, Ack), "PORT", f"finish, release and extend answer an Ack, not {answer!r}")

    def test_absent_key_is_none(self) -> None:
        """IDEM-16: a key that nobody claimed is None, and looking does not make it."""
        must(self.peek() is None, "PORT", "peek at an absent key is None")
        must(self.peek() is None, "IDEM-16", "and looking has not made it")

    def test_idem_02_claim_of_an_absent_key_wins(self) -> None:
        """IDEM-02: the claim of an absent key wins, and its row shows what was asked for."""
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
            abs(row.lease_left - 12.0) <= self.hair,
            "PORT",
            f"the lease was 12 s, and {row.lease_left} s are left",
        )

    def test_idem_02_second_claim_of_a_key_loses_and_sees_the_first(self) -> None:
        """IDEM-02: the second claim of a key loses, and sees the first."""
        fence = self.won("c1")
        row = self.lost("c2", "IDEM-02", "the key is claimed")
        equal((row.claim_id, row.fence, row.state), ("c1", fence, _CLAIMED), "PORT", "the row in the way")

    def test_idem_05_a_lost_claim_changes_nothing(self) -> None:
        """IDEM-05: a claim that lost has changed nothing, and the lease ends when it would have."""
        self.won("c1", person="p1", lease=10.0)
        self.elapse(4.0)
        before = self.row()
        self.lost("c2", "IDEM-02", "the key is claimed", person="p2", fingerprint=b"g" * 16, version="2", lease=99.0)
        self.unchanged(before, "IDEM-05", "the row after a claim that lost")
        self.elapse(6.0)
        self.won("c3", "IDEM-10", "the first lease ends when it would have")

    def test_idem_01_the_same_claim_id_wins_again(self) -> None:
        """IDEM-01: the same claim id wins again, with the same fence."""
        fence = self.won("c1")
        again = self.claim("c1")
        must(again.won, "IDEM-01", "the same claim id asks again, since its answer may have been lost: it wins")
        equal(again.fence, fence, "IDEM-01", "and it is the same claim, with the same fence")
        equal(self.finish("c1"), Ack.APPLIED, "IDEM-01", "and it can finish")

    def test_idem_01_the_same_claim_id_wins_again_without_takeover(self) -> None:
        """IDEM-01: the same claim id wins again, takeover or not."""
        self.won("c1", takeover=False)
        must(self.claim("c1", takeover=False).won, "IDEM-01", "the same claim id wins again, takeover or not")

    def test_idem_02_the_same_claim_id_does_not_win_once_it_is_settled(self) -> None:
        """IDEM-02: what is settled or unknown is not won again by its own claim id."""
        for state in (*_SETTLED, _UNKNOWN):
            key = f"k-{state}"
            self.won("c1", key=key)
            self.finish("c1", state, key=key)
            row = self.lost("c1", "IDEM-02", f"the key is {state}: its handler must not run again", key=key)
            equal(row.state, state, "IDEM-06", "the state stays")

    def test_idem_09_keys_are_compared_byte_by_byte(self) -> None:
        """IDEM-09: keys that differ in case, blanks, length or a wildcard are apart."""
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
        """IDEM-07: person and version come back byte for byte, whatever is in them."""
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
