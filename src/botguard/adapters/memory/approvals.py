"""Requests for a person's answer, in two dicts."""

from __future__ import annotations

import threading
from typing import Any

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.colour import Colour

__all__ = ["MemoryApprovals"]

#: Seconds for which a request that is over can still be shown.
_REMEMBERED = 86400.0


class MemoryApprovals:
    """See :class:`botguard.ports.approvals.ApprovalStore`."""

    colour: Colour = "any"

    def __init__(self, clock: Any) -> None:
        self._time = clock.time
        self._lock = threading.Lock()
        self._requests: dict[str, ApprovalRequest] = {}
        self._subjects: dict[str, str] = {}

    def open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        """See the port."""
        with self._lock:
            known = self._by_token(self._subjects.get(request.subject, ""))
            if known is not None and known.state is not ApprovalState.EXPIRED:
                return known
            if known is not None:
                del self._requests[known.token]
            made = request._replace(expires_at=self._time() + lifetime, state=ApprovalState.OPEN, spent_on="")
            self._requests[made.token] = made
            self._subjects[made.subject] = made.token
            return made

    def _by_token(self, token: str) -> ApprovalRequest | None:
        request = self._requests.get(token)
        if request is None:
            return None
        # What was spent stays usable for its own key, so that a crashed run can go on after the time to answer; but not
        # until the next purge, or a result that has expired meanwhile would be made again without asking.
        if request.expires_at + (_REMEMBERED if request.spent_on else 0.0) <= self._time():
            return request._replace(state=ApprovalState.EXPIRED)
        return request

    def by_token(self, token: str) -> ApprovalRequest | None:
        """See the port."""
        with self._lock:
            return self._by_token(token)

    def by_subject(self, subject: str) -> ApprovalRequest | None:
        """See the port."""
        with self._lock:
            return self._by_token(self._subjects.get(subject, ""))

    def decide(self, token: str, state: ApprovalState) -> ApprovalRequest | None:
        """See the port."""
        with self._lock:
            request = self._by_token(token)
            if request is None or request.state is not ApprovalState.OPEN:
                return request
            decided = request._replace(state=state)
            self._requests[token] = decided
            return decided

    def spend(self, subject: str, key: str) -> bool:
        """See the port."""
        with self._lock:
            request = self._by_token(self._subjects.get(subject, ""))
            if request is None or request.state is not ApprovalState.APPROVED:
                return False
            if request.spent_on:
                return request.spent_on == key
            self._requests[request.token] = request._replace(spent_on=key)
            return True

    def purge(self, limit: int = 1000) -> int:
        """See the port."""
        with self._lock:
            bound = self._time() - _REMEMBERED
            over = [r for r in self._requests.values() if r.expires_at <= bound][:limit]
            for request in over:
                del self._requests[request.token]
                self._subjects.pop(request.subject, None)
        return len(over)
