"""Requests for a person's answer, in as few words as they can be said."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.colour import Colour

__all__ = ["ApprovalModel"]

_DAY = 86400.0
EXPIRED = ApprovalState.EXPIRED


class ApprovalModel:
    """ApprovalStore."""

    colour: Colour = "any"

    def __init__(self, clock: Any) -> None:
        self.time: Callable[[], float] = clock.time
        self.lock = threading.RLock()
        self.requests: dict[str, ApprovalRequest] = {}  # by subject

    def over(self, request: ApprovalRequest) -> bool:
        return self.time() >= request.expires_at + (_DAY if request.spent_on else 0.0)

    def shown(self, request: ApprovalRequest | None) -> ApprovalRequest | None:
        if request is None or not self.over(request):
            return request
        return request._replace(state=EXPIRED)

    def by_subject(self, subject: str) -> ApprovalRequest | None:
        with self.lock:
            return self.shown(self.requests.get(subject))

    def by_token(self, token: str) -> ApprovalRequest | None:
        with self.lock:
            return self.shown(next((r for r in self.requests.values() if r.token == token), None))

    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        with self.lock:
            known = self.by_subject(request.subject)
            if known is not None and known.state is not EXPIRED:
                return known
            end = self.time() + lifetime
            made = request._replace(expires_at=end, state=ApprovalState.OPEN, spent_on="")
            self.requests[request.subject] = made
            return made

    def decide(self, token: str, state: ApprovalState) -> ApprovalRequest | None:
        with self.lock:
            found = self.by_token(token)
            if found is not None and found.state is ApprovalState.OPEN:
                found = self.requests[found.subject] = found._replace(state=state)
            return found

    def spend(self, subject: str, key: str) -> bool:
        with self.lock:
            found = self.by_subject(subject)
            if found is None or found.state is not ApprovalState.APPROVED or found.spent_on not in ("", key):
                return False
            self.requests[subject] = found._replace(spent_on=key)
            return True

    def purge(self, limit: int = 1000) -> int:
        with self.lock:
            gone = [s for s, r in self.requests.items() if self.time() >= r.expires_at + _DAY][:limit]
            for subject in gone:
                del self.requests[subject]
            return len(gone)
