"""The suite of :class:`botguard.ports.limits.LimitStore`."""

from botguard.testing.suites.limits.amounts import Amounts
from botguard.testing.suites.limits.failing import Failing
from botguard.testing.suites.limits.racing import Racing
from botguard.testing.suites.limits.returning import Returning
from botguard.testing.suites.limits.windows import Windows

__all__ = ["LimitStoreSuite"]


class LimitStoreSuite(Amounts, Windows, Returning, Racing, Failing):
    """Holds a limit store to its port. Capabilities: ``reopen``, ``outage``."""

    def test_idem_03_random_histories_are_the_models(self) -> None:
        """IDEM-03: in random histories the store answers as the model of its port does."""
        self.play("limits")
