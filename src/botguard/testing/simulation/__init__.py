"""Many interleavings, crashes and lost answers of guarded calls, in virtual time and from a seed.

Nothing in here is loaded before it is asked for.
"""

from botguard.testing.simulation.campaign import simulate
from botguard.testing.simulation.faults import CALM, Faults
from botguard.testing.simulation.memory import TransactionalMemory
from botguard.testing.simulation.outside import Ledger
from botguard.testing.simulation.report import Report, Violation

__all__ = ["CALM", "Faults", "Ledger", "Report", "TransactionalMemory", "Violation", "simulate"]
