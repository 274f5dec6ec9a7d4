"""What the approval suite's tests are written in: open, decide, spend, and looking a request up."""

from __future__ import annotations

from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.checks import equal, must

__all__ = ["LIFE", "ApprovalWords"]

#: Seconds to answer, where a test does not care.
LIFE = 100.0


class ApprovalWords(StoreSuite):
    """The words; a test of the suite reads as a history."""

    botguard_port = "approvals"

    @staticmethod
    def request(token: str = "t1", subject: str = "s", **other: Any) -> ApprovalRequest:
        """A request as the confirm stage makes it."""
        made = ApprovalRequest(
            subject=subject, token=token, org="o", command="c", key="k", fingerprint=b"f" * 16, person="p", actor="a",
            channel="telegram", delivery="d", text="Really?", reasons="risk", payload=b"{}", expires_at=0.0,
        )  # fmt: skip
        return made._replace(**other)

    def open(self, token: str = "t1", subject: str = "s", lifetime: float = LIFE, **other: Any) -> ApprovalRequest:
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

    def decide(self, state: ApprovalState = ApprovalState.APPROVED, token: str = "t1") -> ApprovalState | None:
        """Answer a request; returns its state afterwards."""
        found = self.ask(self.store.decide, token, state)
        return None if found is None else found.state

    def same(self, got: ApprovalRequest | None, wanted: ApprovalRequest, promise: str, what: str) -> None:
        """Insist that a request is as it was. A server's rows may be aged by moving their ends."""
        if self.drift and got is not None:
            got = got._replace(expires_at=wanted.expires_at)
        equal(got, wanted, promise, what)

    def spend(self, key: str = "k", subject: str = "s") -> bool:
        """Use a request."""
        answer = self.ask(self.store.spend, subject, key)
        must(answer is True or answer is False, "PORT", f"spend answers True or False, not {answer!r}")
        return bool(answer)

    def state(self, token: str = "t1") -> ApprovalState | None:
        """State of a request."""
        found = self.by_token(token)
        return None if found is None else found.state
