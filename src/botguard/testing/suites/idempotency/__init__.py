"""The suite of :class:`botguard.ports.idempotency.IdempotencyStore`."""

from botguard.testing.suites.idempotency.abandoned import Abandoned
from botguard.testing.suites.idempotency.clocks import Clocks
from botguard.testing.suites.idempotency.failing import Failing
from botguard.testing.suites.idempotency.interleaving import Interleaving
from botguard.testing.suites.idempotency.leases import Leases
from botguard.testing.suites.idempotency.purging import Purging
from botguard.testing.suites.idempotency.racing import Racing
from botguard.testing.suites.idempotency.settling import Settling
from botguard.testing.suites.idempotency.winning import Winning

__all__ = ["IdempotencyStoreSuite"]


class IdempotencyStoreSuite(Winning, Leases, Abandoned, Settling, Purging, Racing, Interleaving, Failing, Clocks):
    """Holds a claim store to its port.

    Capabilities: ``events``, ``reopen``, ``outage``. With ``events``, :meth:`events_of` gives the EventStore that ``claim``
    and ``finish`` write their events to.
    """

    def test_idem_03_random_histories_are_the_models(self) -> None:
        """IDEM-03: in random histories the store answers as the model of its port does."""
        self.play("claims")
