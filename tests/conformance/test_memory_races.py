"""Races of the memory stores, played out step by step instead of left to chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botguard.adapters.memory import MemoryStorage
from botguard.ports.idempotency import Ack, ClaimRequest
from botguard.testing import FakeClock


class Interrupted(FakeClock):
    """Lets others act at the moment when somebody reads the time: after he drew his fence, before he put his row."""

    meanwhile: Callable[[], Any] | None = None

    def time(self) -> float:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return super().time()


def request(claim_id: str, lease: float = 10.0) -> ClaimRequest:
    return ClaimRequest("k", "o", "c", claim_id, "p", b"f", "1", lease, takeover=True)


def test_a_fence_drawn_before_another_owner_came_and_went_is_raised() -> None:
    clock = Interrupted()
    store = MemoryStorage(clock=clock).idempotency
    fences = []

    def other() -> None:
        fences.append(store.claim(request("other")).fence)
        assert store.release("k", "other") is Ack.APPLIED

    clock.meanwhile = other
    answer = store.claim(request("first"))
    assert answer.won
    assert answer.fence > fences[0]
    row = store.peek("k")
    assert row is not None
    assert (row.claim_id, row.fence) == ("first", answer.fence)


def test_a_fence_drawn_before_a_row_was_purged_is_raised() -> None:
    from botguard.ports.idempotency import RowState

    clock = Interrupted()
    store = MemoryStorage(clock=clock).idempotency
    fences = []

    def other() -> None:
        fences.append(store.claim(request("other")).fence)
        store.finish("k", "other", RowState.DONE, None, 1.0, 1)
        clock.advance(1.0)
        assert store.purge() == 1

    clock.meanwhile = other
    assert store.claim(request("first")).fence > fences[0]


def test_a_takeover_has_a_fence_above_the_one_it_takes_over() -> None:
    clock = Interrupted()
    store = MemoryStorage(clock=clock).idempotency
    fences = []

    def other() -> None:
        fences.append(store.claim(request("other")).fence)
        clock.advance(10.0)

    clock.meanwhile = other
    answer = store.claim(request("late"))
    assert answer.won
    assert answer.fence > fences[0]
