"""What is deleted when it is over, and what is written beside a row."""

from __future__ import annotations

from typing import Any

from botguard.ports.idempotency import RowState
from botguard.testing.suites.actors import settled
from botguard.testing.suites.checks import equal, must
from botguard.testing.suites.idempotency.words import ClaimWords, event

__all__ = ["Purging"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState


class Purging(ClaimWords):
    """Purge, and the events of claims."""

    def test_idem_14_purge_deletes_only_what_is_settled_and_over(self) -> None:
        """IDEM-14: purge leaves what runs, what is abandoned, what is unknown and what still lives."""
        kept = {"running", "abandoned", "unknown", "fresh", "almost"}
        for key in (*kept, "done", "failed"):
            self.won("c1", key=key, lease=1.0 if key == "abandoned" else 10_000.0)
        self.finish("c1", _UNKNOWN, None, key="unknown", keep=1.0)
        self.finish("c1", key="fresh", keep=10_000.0)
        self.finish("c1", key="almost", keep=100.0 + 2 * self.hair)
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
        """IDEM-14: purge stops at its limit."""
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
        """IDEM-14: a row that was claimed anew is nobody's leftover."""
        self.won("c1")
        self.finish("c1", keep=1.0)
        self.elapse(1.0)
        self.won("c2")
        equal(self.ask(self.store.purge), 0, "IDEM-14", "the row belongs to a running claim by now")
        equal(self.row().claim_id, "c2", "IDEM-14", "the owner")

    def test_idem_14_purge_while_others_claim(self) -> None:
        """IDEM-14: purges at the same time delete each row once, and disturb no claim."""
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
                        answer = await settled(store.claim(self.request(f"c-{n}", key=f"k-{n}-{turn}"), None))
                        must(answer.won, "IDEM-14", "a purge at the same time keeps nobody from claiming")
                    else:
                        gone += await settled(store.purge(5))
                return gone

            return run

        gone: list[int] = self.together(store, [actor(n) for n in range(8)])
        equal(sum(gone) + self.ask(store.purge), 100, "IDEM-14", "rows deleted by all purges together")
        for n in range(1, 8, 2):
            equal(self.row(f"k-{n}-{turns - 1}").claim_id, f"c-{n}", "IDEM-14", "running claims are still there")

    def test_event_of_a_claim_is_stored_if_it_was_won(self) -> None:
        """EVENT: the event of a claim is stored if it was won."""
        self.needs("events")
        self.won("c1", event=event(1))
        self.lost("c2", "IDEM-02", "the key is claimed", event=event(2))
        equal(self.events(), ["event-1"], "EVENT", "the winner's event and no other")

    def test_event_of_a_takeover_is_stored(self) -> None:
        """EVENT: the event of a takeover is stored."""
        self.needs("events")
        self.won("c1", lease=10.0)
        self.elapse(10.0)
        self.lost("c2", "IDEM-08", "another payload", event=event(1), fingerprint=b"g" * 16)
        self.won("c3", event=event(2))
        equal(self.events(), ["event-2"], "EVENT", "the event of the takeover")

    def test_event_of_an_abandoned_claim_that_becomes_unknown_is_not_stored(self) -> None:
        """EVENT: a claim that turned another into unknown was not won, and stores no event."""
        self.needs("events")
        self.won("c1", lease=10.0, takeover=False)
        self.elapse(10.0)
        self.lost("c2", "PORT", "no takeover", takeover=False, event=event(1))
        equal(self.events(), [], "EVENT", "the claim was not won")

    def test_event_of_a_finish_is_stored_if_and_only_if_it_applied(self) -> None:
        """EVENT: the event of a finish is stored if and only if it applied."""
        self.needs("events")
        self.finish("c1", event=event(1))
        self.won("c1")
        self.finish("c2", event=event(2))
        equal(self.events(), [], "EVENT", "a finish that is lost writes nothing")
        self.finish("c1", _UNKNOWN, None, event=event(3))
        self.finish("c1", _UNKNOWN, None, event=event(4))
        self.finish("c1", event=event(5))
        self.finish("c1", event=event(6))
        equal(self.events(), ["event-3", "event-5"], "EVENT", "events of the two that applied")
