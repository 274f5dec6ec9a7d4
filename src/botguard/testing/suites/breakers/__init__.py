"""The suite of :class:`botguard.ports.breakers.BreakerStore`."""

from botguard.testing.suites.breakers.failing import Failing
from botguard.testing.suites.breakers.opening import Opening
from botguard.testing.suites.breakers.probing import Probing
from botguard.testing.suites.breakers.racing import Racing

__all__ = ["BreakerStoreSuite"]


class BreakerStoreSuite(Opening, Probing, Racing, Failing):
    """Holds a breaker store to its port. Capabilities: ``reopen``, ``outage``."""
