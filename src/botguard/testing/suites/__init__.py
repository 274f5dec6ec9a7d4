"""One suite for each port: classes of plain test methods that hold a store to every sentence of its docstring.

Subclass one and say how to make an empty store; pytest or unittest finds the methods::

    class TestMyStore(IdempotencyStoreSuite):
        def make_store(self):
            return MyStore(clock=self.clock)

Every failure names the promise that was broken, such as ``IDEM-05``; ``botguard.testing.promises`` lists them. The last
test of each suite plays random histories and compares every answer with a model; what it finds it tells as the shortest
history that shows it. ``docs/how-to/test-your-store.md`` has the hooks.
"""

from botguard.testing.suites.approvals import ApprovalStoreSuite
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.breakers import BreakerStoreSuite
from botguard.testing.suites.events import EventStoreSuite
from botguard.testing.suites.idempotency import IdempotencyStoreSuite
from botguard.testing.suites.limits import LimitStoreSuite

__all__ = [
    "ApprovalStoreSuite",
    "BreakerStoreSuite",
    "EventStoreSuite",
    "IdempotencyStoreSuite",
    "LimitStoreSuite",
    "StoreSuite",
]
