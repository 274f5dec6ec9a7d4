"""The ports in as few words as they can be said: what stores are compared with in random histories.

They are stores too, complete and thread-safe, and made for reading and for breaking on purpose, not for use.
"""

from botguard.testing.models.approvals import ApprovalModel
from botguard.testing.models.claims import ClaimModel
from botguard.testing.models.events import EventModel
from botguard.testing.models.limits import LimitModel

__all__ = ["ApprovalModel", "ClaimModel", "EventModel", "LimitModel"]
