"""One suite for each port: classes of plain test methods that hold a store to every sentence of its docstring.

Subclass one, say how to make an empty store and how its time passes, and let pytest or unittest find the methods::

    class TestMyStore(IdempotencyStoreSuite):
        def make_store(self):
            self.clock = FakeClock()
            return MyStore(clock=self.clock)

        def advance(self, seconds):
            self.clock.advance(seconds)

Every failure names the promise that was broken, such as ``IDEM-05``.
"""

from botguard.testing.suites.approvals import ApprovalStoreSuite
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.events import EventStoreSuite
from botguard.testing.suites.idempotency import IdempotencyStoreSuite
from botguard.testing.suites.limits import LimitStoreSuite

__all__ = ["ApprovalStoreSuite", "EventStoreSuite", "IdempotencyStoreSuite", "LimitStoreSuite", "StoreSuite"]
