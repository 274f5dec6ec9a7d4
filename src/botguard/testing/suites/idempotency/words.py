"""What the claim suite's tests are written in: claim, finish, release, extend, peek, with defaults; won and lost."""

from __future__ import annotations

from typing import Any

from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.checks import equal, must

__all__ = ["KEEP", "LEASE", "ClaimWords", "event"]

#: Seconds of a lease, and of a result's lifetime, where a test does not care.
LEASE, KEEP = 30.0, 300.0


def event(number: int = 1) -> Event:
    """An event that can be told from others by its number."""
    return Event(
        id=f"event-{number}", kind="run", at=1.0, org="o", actor="a", person="p", channel="api", command="c", status="succeeded",
        reasons="", attempts=1, duration_ms=1.0, success=True, replayed=False, degraded=False, key="k", shadow="",
        policy_digest="", correlation_id="",
    )  # fmt: skip


class ClaimWords(StoreSuite):
    """The words; a test of the suite reads as a history."""

    botguard_port = "idempotency"

    def events_of(self, store: Any) -> Any:
        """The EventStore beside the store; only with the capability ``events``."""
        raise NotImplementedError("the capability 'events' needs events_of(self, store)")

    def claim(self, claim_id: str = "c1", *, key: str = "k", event: Event | None = None, **other: Any) -> ClaimAnswer:
        """Claim a key; ``other`` changes fields of the request."""
        answer: ClaimAnswer = self.ask(self.store.claim, self.request(claim_id, key=key, **other), event)
        must(
            answer.won or answer.row is not None,
            "PORT",
            "an answer that is not 'won' shows the row in the way",
        )
        return answer

    @staticmethod
    def request(claim_id: str, *, key: str = "k", **other: Any) -> ClaimRequest:
        """A claim as the pipeline makes it; ``other`` changes its fields."""
        request = ClaimRequest(
            key=key, org="o", command="c", claim_id=claim_id, person="p", fingerprint=b"f" * 16, version="1",
            lease=LEASE, takeover=True,
        )  # fmt: skip
        return request._replace(**other)

    def finish(
        self,
        claim_id: str = "c1",
        state: RowState = RowState.DONE,
        result: bytes | None = b"result",
        *,
        key: str = "k",
        keep: float = KEEP,
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

    def extend(self, claim_id: str = "c1", lease: float = LEASE, *, key: str = "k") -> Ack:
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

    def unchanged(self, before: Row, promise: str, what: str = "the row", *, key: str = "k") -> None:
        """Insist that a row is as it was, except for time that passed by itself."""
        now = self.row(key)
        equal(now._replace(lease_left=0.0), before._replace(lease_left=0.0), promise, what)
        left = now.lease_left == before.lease_left or abs(now.lease_left - before.lease_left) <= self.hair
        must(left or before.state is not RowState.CLAIMED, promise, f"{what}: its lease was {before}, and is {now}")

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
