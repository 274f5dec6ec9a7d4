"""The observer's memory of keys is a claim store like any other, but that it is bounded."""

from __future__ import annotations

from typing import Any

from adoption.support import Office
from botguard import Rejected
from botguard.adoption.stores import RememberedKeys
from botguard.testing import FakeClock, IdempotencyStoreSuite


class TestRememberedKeys(IdempotencyStoreSuite):
    clock: FakeClock

    def make_store(self) -> Any:
        self.clock = FakeClock()
        return RememberedKeys(self.clock.time)  # whose steps the suite is made for

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


def test_the_oldest_key_is_forgotten_first() -> None:
    office = Office()
    keys = office.guard._shadows.storage.idempotency  # type: ignore[union-attr]
    keys._capacity = 3
    for n in range(5):
        office.call(n)
        assert len(keys) <= 3
    assert office.says(4) == {("replayed", "")}
    assert office.says(1) == {("passed", "")}


def test_calls_without_a_key_of_their_own_leave_nothing() -> None:
    office = Office(key=None)
    for n in range(5):
        office.call(n)
        office.call(n, then=ValueError())
    assert len(office.guard._shadows.storage.idempotency) == 0  # type: ignore[union-attr]


def test_requests_are_bounded_too() -> None:
    office = Office(risk="high")
    requests = office.guard._shadows.storage.approvals  # type: ignore[union-attr]
    requests._capacity = 3
    for n in range(5):
        office.call(n)
    assert len(requests._open) == 3


def test_neither_results_nor_errors_are_kept() -> None:
    office = Office()
    office.call(1)
    office.call(2, then=Rejected("out of stock"))
    rows = office.guard._shadows.storage.idempotency._rows  # type: ignore[union-attr]
    assert [str(row.state) for _, row in rows.values()] == ["done", "failed"]
    assert [row.result for _, row in rows.values()] == [None, None]
    assert office.says(2) == {("replayed", "")}
