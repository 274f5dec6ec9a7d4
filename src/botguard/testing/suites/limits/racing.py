"""Many callers at the same moment, on one handle and on two."""

from __future__ import annotations

from typing import Any

from botguard.testing.suites.actors import settled
from botguard.testing.suites.checks import equal, must
from botguard.testing.suites.limits.words import ALL, LimitWords

__all__ = ["Racing"]


class Racing(LimitWords):
    """Counting while others count."""

    def _together(self, work: Any, count: int) -> list[Any]:
        def actor(n: int) -> Any:
            async def run() -> Any:
                return await work(n)

            return run

        return self.together(self.store, [actor(n) for n in range(count)])

    def test_rate_05_many_at_once_are_admitted_as_declared(self) -> None:
        """RATE-05: of many at once as many are admitted as declared."""
        store = self.store
        for strategy in ALL:
            for turn in range(3):
                limits = (
                    self.limit(strategy, 100, tag=f"w{turn}{strategy}"),
                    self.limit(strategy, 5, tag=f"n{turn}{strategy}"),
                )

                async def caller(n: int, limits: Any = limits) -> bool:
                    answer = await settled(store.reserve(limits, ("b", "b"), f"many-{n}"))
                    return bool(answer.granted)

                admitted = sum(self._together(caller, self.threads))
                equal(admitted, 5, "RATE-05", f"of {self.threads} at once, admitted by 5 {strategy}")
                equal(
                    self.room(limits[0], most=100),
                    95,
                    "RATE-06",
                    f"room of the wide {strategy} limit beside it",
                )

    def test_rate_05_many_refunds_at_once_are_exact(self) -> None:
        """RATE-05: reservations and refunds at once leave every limit as it was."""
        store = self.store
        limits = tuple(self.limit(strategy, 3) for strategy in ALL)

        async def caller(n: int) -> int:
            granted = 0
            for turn in range(10):
                reserved = await settled(store.reserve(limits, ("b",) * 4, f"many-{n}-{turn}"))
                if reserved.granted:
                    granted += 1
                    await settled(store.refund(limits, ("b",) * 4, reserved))
            return granted

        granted = sum(self._together(caller, min(8, self.threads)))
        must(granted >= 10, "RATE-02", "refunded calls make room for others")
        for limit in limits:
            equal(self.room(limit), 3, "REFUND", f"room of {limit.name} after all were refunded")

    def test_another_handle_counts_the_same_calls(self) -> None:
        """RATE-05: calls by another handle count in the same limits."""
        self.needs("reopen")
        limits = tuple(self.limit(strategy, 2) for strategy in ALL)
        reserved = self.reserve(*limits)
        other = self.wait(self.reopen(self.store))
        try:
            for limit in limits:
                answer = self.ask(other.reserve, (limit,), ("b",), f"other-{limit.name}")
                must(answer.granted, "RATE-05", f"{limit.name} has room for a second call")
                answer = self.ask(other.reserve, (limit,), ("b",), f"third-{limit.name}")
                must(not answer.granted, "RATE-05", f"{limit.name} is full, whoever filled it")
            self.ask(other.refund, limits, ("b",) * 4, reserved)
            for limit in limits:
                must(self.reserve(limit).granted, "REFUND", f"{limit.name}: another handle can refund")
        finally:
            self.wait(self.close_store(other))
