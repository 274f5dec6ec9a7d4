"""Stores that are wrong about what happened while they were cut off."""

from __future__ import annotations

from typing import Any

from botguard.errors import StoreUnavailable
from botguard.ports.idempotency import Ack
from known_bad.good import CutApprovals, CutClaims, CutEvents, CutLimits
from known_bad.register import caught_by


class Writes:
    """What is refused was written all the same, and the store says that it was not."""

    cut = False

    def through(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        answer = method(*args, **kwargs)
        if self.cut:
            raise StoreUnavailable("the answer was lost", maybe_applied=False)
        return answer


@caught_by(
    "test_idem_19_a_claim_while_the_store_is_cut_off",
    "test_idem_19_an_end_while_the_store_is_cut_off",
)
class LostAnswersAreNo(Writes, CutClaims):
    """The connection broke around COMMIT, and it says that nothing happened."""


@caught_by("test_idem_19_a_use_while_the_store_is_cut_off")
class LostUsesAreNo(Writes, CutApprovals):
    pass


@caught_by("test_idem_19_an_event_while_the_store_is_cut_off")
class LostEventsAreNo(Writes, CutEvents):
    pass


@caught_by("test_idem_19_a_reservation_while_the_store_is_cut_off")
class LostReservationsAreNo(Writes, CutLimits):
    pass


@caught_by("test_idem_19_a_claim_while_the_store_is_cut_off", "test_idem_19_an_end_while_the_store_is_cut_off")
class RaisesItsDriversError(CutClaims):
    def refuse(self) -> None:
        if self.cut:
            raise OSError("server closed the connection unexpectedly")


@caught_by("test_idem_19_a_claim_while_the_store_is_cut_off", "test_idem_19_an_end_while_the_store_is_cut_off")
class StaysDown(CutClaims):
    """The connection is gone, and nobody opens another one."""

    broken = False

    def refuse(self) -> None:
        self.broken = self.broken or self.cut
        if self.broken:
            raise StoreUnavailable("cut off on purpose")

    def peek(self, *args: Any) -> Any:
        return self.through(super().peek, *args)


@caught_by("test_idem_19_a_claim_while_the_store_is_cut_off", "test_idem_19_an_end_while_the_store_is_cut_off")
class NeverCutOff(CutClaims):
    """No store, but a suite whose outage does nothing: it has shown nothing."""

    def refuse(self) -> None:
        pass


@caught_by("test_idem_19_an_end_while_the_store_is_cut_off")
class SwallowsTheOutage(CutClaims):
    """It cannot finish, and says that it did."""

    def finish(self, *args: Any) -> Any:
        try:
            return super().finish(*args)
        except StoreUnavailable:
            return Ack.APPLIED
