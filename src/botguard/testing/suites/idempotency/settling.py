"""Finishing and releasing, in time and late, by owners and by others."""

from __future__ import annotations

from botguard.ports.idempotency import Ack, RowState
from botguard.testing.suites.checks import equal, must
from botguard.testing.suites.idempotency.words import KEEP, ClaimWords, event

__all__ = ["Settling"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState
_SETTLED = (_DONE, _FAILED)


class Settling(ClaimWords):
    """How a claim ends."""

    def test_idem_07_a_result_comes_back_byte_for_byte(self) -> None:
        """IDEM-07: a result comes back byte for byte: none, empty, NUL, 64 KB."""
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
        """IDEM-07: a settled row shows state, result, attempts, event, owner and payload's digest."""
        fence = self.won("c1", person="p1", fingerprint=b"q" * 16, version="v3")
        equal(self.finish("c1", _FAILED, b"why", attempts=4, event=event(9)), Ack.APPLIED, "PORT", "finish")
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
        """EVENT: a row that was settled without an event names none."""
        self.won("c1")
        self.finish("c1")
        equal(self.row().event_id, "", "PORT", "event id")

    def test_idem_06_what_is_settled_never_changes_again(self) -> None:
        """IDEM-06: what is settled never changes again; its owner is told that it is so already."""
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
            self.unchanged(before, "IDEM-06", key=key)

    def test_idem_06_a_repeat_does_not_lengthen_the_lifetime(self) -> None:
        """IDEM-06: saying it again does not lengthen the lifetime."""
        self.won("c1")
        self.finish("c1", keep=10.0)
        self.elapse(5.0)
        equal(self.finish("c1", keep=1000.0), Ack.ALREADY, "IDEM-06", "finish again")
        self.elapse(5.0)
        must(self.peek() is None, "IDEM-06", "the row lives as long as the first finish said")

    def test_a_repeated_unknown_is_already_so(self) -> None:
        """IDEM-06: unknown said twice is already so."""
        self.won("c1")
        self.finish("c1", _UNKNOWN, None)
        equal(self.finish("c1", _UNKNOWN, None), Ack.ALREADY, "PORT", "unknown again")

    def test_a_late_done_turns_unknown_into_done(self) -> None:
        """IDEM-05: a late done whose claim id still matches turns unknown into done."""
        self.won("c1", lease=10.0)
        self.elapse(10.0)
        self.lost("c2", "PORT", "it becomes unknown", takeover=False)
        equal(self.finish("c1", _DONE, b"late"), Ack.APPLIED, "PORT", "a late done whose claim id still matches")
        row = self.row()
        equal((row.state, row.result), (_DONE, b"late"), "PORT", "the row is done")
        self.elapse(KEEP)
        must(self.peek() is None, "IDEM-10", "and lives as long as the late finish said")

    def test_a_late_done_by_somebody_else_is_lost(self) -> None:
        """IDEM-05: a late done by somebody else is lost."""
        self.won("c1")
        self.finish("c1", _UNKNOWN, None)
        equal(self.finish("c2", _DONE, b"not mine"), Ack.LOST, "IDEM-05", "a done by another claim")
        equal(self.row().state, _UNKNOWN, "IDEM-05", "the row")

    def test_idem_05_finish_of_what_is_not_ours_is_lost(self) -> None:
        """IDEM-05: to finish another's claim, or none at all, is lost and makes no row."""
        equal(self.finish("c1"), Ack.LOST, "IDEM-05", "finish without a row")
        must(self.peek() is None, "IDEM-05", "it has made none")
        self.won("c1")
        before = self.row()
        equal(self.finish("c2"), Ack.LOST, "IDEM-05", "finish by another claim")
        self.unchanged(before, "IDEM-05", "the row")

    def test_idem_05_a_late_owner_whom_nobody_took_over_finishes(self) -> None:
        """IDEM-05: an owner whose lease is over and whom nobody took over still finishes."""
        self.won("c1", lease=10.0)
        self.elapse(1000.0)
        equal(self.finish("c1"), Ack.APPLIED, "IDEM-05", "the claim is still the stored one")
        equal(self.row().state, _DONE, "IDEM-05", "state")

    def test_idem_05_stale_owner_after_release_and_new_claim(self) -> None:
        """IDEM-05: who released a key does nothing to its next owner."""
        self.won("c1")
        self.release("c1")
        equal(self.finish("c1"), Ack.LOST, "IDEM-05", "finish after one's own release")
        must(self.peek() is None, "IDEM-05", "it has made no row")
        self.won("c2")
        before = self.row()
        equal(self.finish("c1"), Ack.LOST, "IDEM-05", "finish by the owner before")
        must(self.release("c1") is not Ack.APPLIED, "IDEM-05", "release by the owner before")
        must(self.extend("c1", 99.0) is not Ack.APPLIED, "IDEM-05", "extend by the owner before")
        self.unchanged(before, "IDEM-05", "the row")

    def test_idem_05_stale_owner_after_expiry_and_new_claim(self) -> None:
        """IDEM-05: the owner of an expired result does nothing to the next owner."""
        self.won("c1")
        self.finish("c1", keep=10.0)
        self.elapse(10.0)
        self.won("c2")
        before = self.row()
        equal(self.finish("c1"), Ack.LOST, "IDEM-05", "finish by the owner before")
        must(self.release("c1") is not Ack.APPLIED, "IDEM-05", "release by the owner before")
        self.unchanged(before, "IDEM-05", "the row")

    def test_idem_10_a_settled_row_lives_exactly_as_long_as_was_said(self) -> None:
        """IDEM-10: a settled row lives exactly as long as finish said."""
        for state in _SETTLED:
            key = f"k-{state}"
            self.won("c1", key=key)
            self.elapse(3.0)  # the lifetime begins with finish, not with the claim
            self.finish("c1", state, keep=20.0, key=key)
            self.elapse(20.0 - self.hair)
            equal(self.row(key).state, state, "IDEM-10", "just before the end of its lifetime")
            self.lost("c2", "IDEM-10", "the row still lives", key=key)
            self.elapse(self.hair)
            must(self.peek(key) is None, "IDEM-10", "at its end a settled row counts as absent")
            self.won("c3", "IDEM-L1", "its lifetime is over", key=key)

    def test_idem_07_nothing_of_the_run_before_is_left(self) -> None:
        """IDEM-07: a new claim shows nothing of the run before it."""
        self.won("c1", person="p1", version="1")
        self.finish("c1", _DONE, b"old", keep=10.0, attempts=5, event=event(1))
        self.elapse(10.0)
        self.won("c2", person="p2", version="2", fingerprint=b"z" * 16)
        row = self.row()
        equal((row.result, row.event_id), (None, ""), "IDEM-07", "result and event of the new claim")
        equal((row.person, row.version, row.fingerprint), ("p2", "2", b"z" * 16), "IDEM-07", "who and what")
        self.finish("c2", _DONE, None)
        equal(self.row().result, None, "IDEM-07", "the new run stored no result, and the old one's is not shown")

    def test_idem_13_release_makes_the_key_absent(self) -> None:
        """IDEM-13: a released key is absent, and may be claimed at once."""
        self.won("c1")
        equal(self.release("c1"), Ack.APPLIED, "PORT", "release of a running claim")
        must(self.peek() is None, "IDEM-13", "the key is absent again")
        must(self.release("c1") is not Ack.APPLIED, "IDEM-05", "a second release has nothing to apply to")
        self.won("c2", "IDEM-L1", "the key was given back")

    def test_idem_13_only_a_claimed_row_is_released(self) -> None:
        """IDEM-13: what is done, failed or unknown is not released."""
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
        """IDEM-05: only the owner releases."""
        self.won("c1")
        equal(self.release("c2"), Ack.LOST, "IDEM-05", "release by another claim")
        equal(self.row().claim_id, "c1", "IDEM-05", "the owner")

    def test_idem_13_an_abandoned_claim_can_be_released_by_its_owner(self) -> None:
        """IDEM-13: an owner whom nobody took over may release late."""
        self.won("c1", lease=1.0)
        self.elapse(5.0)
        equal(self.release("c1"), Ack.APPLIED, "IDEM-13", "nobody took it over")
