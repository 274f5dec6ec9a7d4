"""Outages and cancellations of reservations."""

from __future__ import annotations

from typing import Any

from botguard.testing.suites.cancelling import cancel_everywhere
from botguard.testing.suites.checks import must
from botguard.testing.suites.limits.words import ALL, LimitWords

__all__ = ["Failing"]


class Failing(LimitWords):
    """What holds where something failed in the middle."""

    def test_idem_19_a_reservation_while_the_store_is_cut_off(self) -> None:
        """IDEM-19: a refused reservation has counted nothing, or says that it may have."""
        limits = tuple(self.limit(strategy, 3) for strategy in ALL)
        _ = self.store
        ((answer, refused),) = self.cut_off(lambda: self.reserve(*limits))
        self.recovered(lambda: self.preview(*limits))
        counted = (0,) if refused is not None and not refused.maybe_applied else (0, 1) if refused else (1,)
        for limit in limits:
            taken = 3 - self.room(limit)
            must(taken in counted, "IDEM-19", f"{taken} calls of {limit.name} were counted; {answer=}, {refused=}")

    def test_idem_18_a_reservation_that_is_cancelled_counts_in_all_limits_or_in_none(self) -> None:
        """IDEM-18: wherever a reservation is cancelled, it has counted in all of its limits or in none."""
        self.needs_tasks()
        store = self.store

        def limits(n: int) -> Any:
            return tuple(self.limit(strategy, 3, tag=f"{strategy}-{n}") for strategy in ALL)

        def reserve(n: int) -> Any:
            return store.reserve(limits(n), ("b",) * len(ALL), f"cancelled-{n}")

        def counted(n: int) -> None:
            taken = {3 - self.room(limit) for limit in limits(n)}
            must(taken in ({0}, {1}), "IDEM-18", f"calls that were counted, by limit: {sorted(taken)}")

        cancel_everywhere(self, reserve, counted)

    def test_idem_18_a_return_that_is_cancelled_disturbs_nobody(self) -> None:
        """IDEM-18: wherever a refund or a release is cancelled, it has returned what it took, or nothing."""
        self.needs_tasks()
        store = self.store
        for back in ("refund", "release"):
            taken: dict[int, Any] = {}

            def limit(n: int, back: str = back) -> Any:
                return self.limit("concurrent", 2, tag=f"{back}-{n}")

            def give_back(n: int, back: str = back, limit: Any = limit, taken: Any = taken) -> Any:
                return getattr(store, back)((limit(n),), ("b",), taken[n])

            def returned(n: int, back: str = back, limit: Any = limit, taken: Any = taken) -> None:
                room = self.room(limit(n))
                must(room in (0, 1), "IDEM-18", f"slots that are free after a {back} of one of two: {room}")
                taken[n + 1] = self.reserve(limit(n + 1))
                self.reserve(limit(n + 1))

            taken[1] = self.reserve(limit(1))
            self.reserve(limit(1))
            cancel_everywhere(self, give_back, returned)
