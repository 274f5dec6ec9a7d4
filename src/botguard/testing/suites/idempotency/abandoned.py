"""Claims whose owners never came back: taken over, parked as unknown, superseded."""

from __future__ import annotations

from itertools import count, pairwise
from typing import Any

from botguard.ports.idempotency import Ack, RowState
from botguard.testing.suites.checks import equal, must
from botguard.testing.suites.idempotency.words import ClaimWords

__all__ = ["Abandoned"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState


class Abandoned(ClaimWords):
    """What becomes of an abandoned claim."""

    def test_idem_11_an_abandoned_claim_is_taken_over(self) -> None:
        """IDEM-11: an abandoned claim is taken over, with a new fence and a new lease."""
        first = self.won("c1", lease=10.0)
        self.elapse(10.0)
        second = self.won("c2", "IDEM-11", "the lease is over and takeover is set", person="p", lease=20.0)
        must(second > first, "IDEM-04", f"the fence rises with each new owner: {second} after {first}")
        row = self.row()
        equal((row.claim_id, row.state), ("c2", _CLAIMED), "IDEM-11", "the new owner")
        must(abs(row.lease_left - 20.0) <= self.hair, "IDEM-11", "with a lease of its own")
        self.lost("c3", "IDEM-01", "the new owner's lease runs")

    def test_idem_11_the_former_owner_can_do_nothing(self) -> None:
        """IDEM-11: the former owner can neither finish, release, extend nor claim."""
        self.won("c1", lease=10.0)
        self.elapse(10.0)
        self.won("c2", lease=10.0)
        before = self.row()
        for state in (_DONE, _FAILED, _UNKNOWN):
            equal(self.finish("c1", state), Ack.LOST, "IDEM-11", f"finish as {state} by the former owner")
        equal(self.release("c1"), Ack.LOST, "IDEM-11", "release by the former owner")
        equal(self.extend("c1", 99.0), Ack.LOST, "IDEM-11", "extend by the former owner")
        self.lost("c1", "IDEM-11", "the former owner's claim id asks again")
        self.unchanged(before, "IDEM-11", "the row")
        equal(self.finish("c2"), Ack.APPLIED, "IDEM-11", "the new owner finishes")

    def test_idem_l1_a_new_version_is_not_blocked_by_an_abandoned_claim_of_the_old(self) -> None:
        """IDEM-L1: an abandoned claim of an old version does not block the key for the new one."""
        for takeover in (True, False):
            key = f"k-{takeover}"
            self.won("c1", key=key, lease=10.0)
            self.elapse(1000.0)
            if takeover:
                self.won("c2", key=key, version="2", fingerprint=b"g" * 16)
                continue
            row = self.lost("c2", "IDEM-L1", "no takeover", key=key, takeover=False, version="2", fingerprint=b"g" * 16)
            equal(row.state, _UNKNOWN, "IDEM-L1", "it is visibly parked")

    def test_idem_08_a_mismatch_never_takes_over(self) -> None:
        """IDEM-08: an abandoned claim of another payload is left as it is."""
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
        """IDEM-13: what must not run twice becomes unknown in the step that finds it abandoned."""
        self.won("c1", lease=10.0, takeover=False)
        self.elapse(10.0 - self.hair)
        equal(
            self.lost("c2", "IDEM-10", "the lease is not over", takeover=False).state,
            _CLAIMED,
            "IDEM-10",
            "state",
        )
        self.elapse(self.hair)
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
        """IDEM-13: no time, claim or purge ends what is unknown."""
        self.won("c1")
        equal(self.finish("c1", _UNKNOWN, None, keep=10.0), Ack.APPLIED, "PORT", "finish as unknown")
        self.elapse(10 * 365 * 86400.0)
        equal(self.row().state, _UNKNOWN, "IDEM-13", "ten years later")
        self.lost("c2", "IDEM-13", "no time resolves it")
        equal(self.ask(self.store.purge), 0, "IDEM-14", "and purge never deletes it")

    def test_supersede_takes_over_the_unknown_row_it_names(self) -> None:
        """IDEM-11: supersede takes over the unknown row that it names."""
        first = self.won("c1")
        self.finish("c1", _UNKNOWN, None)
        second = self.won("c2", "PORT", "supersede names the unknown claim", supersede="c1", takeover=False)
        must(second > first, "IDEM-04", "the fence rises")
        equal(self.finish("c1"), Ack.LOST, "IDEM-11", "a late completion of the superseded claim")
        equal(self.row().claim_id, "c2", "IDEM-11", "the owner")
        equal(self.finish("c2"), Ack.APPLIED, "IDEM-11", "the new owner finishes")

    def test_supersede_takes_nothing_else(self) -> None:
        """IDEM-11: supersede takes neither a running claim, nor a done row, nor another claim's."""
        self.won("c1")
        self.lost("c2", "PORT", "supersede does not take a running claim", supersede="c1")
        self.finish("c1", _UNKNOWN, None)
        self.lost("c3", "PORT", "supersede names another claim", supersede="c9")
        self.lost("c3", "PORT", "nothing is superseded", supersede=None)
        self.lost("c3", "PORT", "an empty name is no name", supersede="")
        self.finish("c1", _DONE)
        self.lost("c4", "PORT", "supersede does not take a done row", supersede="c1")

    def test_idem_04_the_fence_rises_with_every_owner(self) -> None:
        """IDEM-04: fences rise over release, takeover, expiry, purge and supersede."""
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
