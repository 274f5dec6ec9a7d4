"""The suites on stores whose time is a server's: it passes by itself, and is let pass by making rows older."""

from __future__ import annotations

import time
from typing import Any

from botguard.testing import ApprovalStoreSuite, IdempotencyStoreSuite, LimitStoreSuite
from botguard.testing.models import ApprovalModel, ClaimModel, LimitModel


class ServerClock:
    """Runs. Nobody can move it; what is older is so by its rows."""

    def time(self) -> float:
        return time.time()

    monotonic = time


class Running:
    drift = 1.0
    examples = 30

    model: Any

    def make_store(self) -> Any:
        return self.model(ServerClock())


class TestClaims(Running, IdempotencyStoreSuite):
    model = ClaimModel
    capabilities = frozenset({"events"})

    def events_of(self, store: Any) -> Any:
        return store

    def age(self, seconds: float) -> None:
        for row in self.store.rows.values():
            row.until -= seconds


class TestApprovals(Running, ApprovalStoreSuite):
    model = ApprovalModel

    def age(self, seconds: float) -> None:
        for subject, request in self.store.requests.items():
            self.store.requests[subject] = request._replace(expires_at=request.expires_at - seconds)


class TestLimits(Running, LimitStoreSuite):
    """A counter's window cannot be made older; its clock is the server's, and a bit."""

    model = LimitModel

    def make_store(self) -> Any:
        made = super().make_store()
        self.ahead = 0.0
        made.time = lambda: time.time() + self.ahead
        return made

    async def age(self, seconds: float) -> None:
        self.ahead += seconds
