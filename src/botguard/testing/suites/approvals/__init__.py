"""The suite of :class:`botguard.ports.approvals.ApprovalStore`."""

from botguard.testing.suites.approvals.asking import Asking
from botguard.testing.suites.approvals.deciding import Deciding
from botguard.testing.suites.approvals.ending import Ending
from botguard.testing.suites.approvals.failing import Failing

__all__ = ["ApprovalStoreSuite"]


class ApprovalStoreSuite(Asking, Ending, Deciding, Failing):
    """Holds an approval store to its port. Capabilities: ``reopen``, ``outage``."""

    def test_idem_03_random_histories_are_the_models(self) -> None:
        """IDEM-03: in random histories the store answers as the model of its port does."""
        self.play("approvals")
