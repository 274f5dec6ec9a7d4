"""Counted refusals are not lost when a process ends."""

from __future__ import annotations

import asyncio
from typing import Any

from botguard import Actor, Context, Guard
from botguard.adapters.memory import MemoryStorage
from botguard.testing import FakeClock

STRANGER = Context(org="acme", actor=Actor("stranger"), correlation_id="c-1")


def refused_guard(times: int) -> Guard:
    clock = FakeClock()
    guard = Guard(storage=MemoryStorage(clock=clock), access={"sales": {"orders.create"}}, clock=clock)

    @guard.command("orders.create")
    def create(payload: dict[str, Any]) -> None: ...

    for _ in range(times):
        guard.run("orders.create", {"id": "A"}, context=STRANGER)
    return guard


def test_flush_writes_what_was_only_counted() -> None:
    guard = refused_guard(8)
    guard.flush()
    *single, summary = guard.storage.events.tail()  # type: ignore[misc, union-attr]
    assert [event.kind for event in single] == ["run"] * 5
    assert (summary.kind, summary.count, summary.reasons) == ("refusals", 3, "missing_permission")
    assert (summary.actor, summary.command, summary.correlation_id) == ("stranger", "orders.create", "")


def test_flush_twice_writes_nothing_twice() -> None:
    guard = refused_guard(8)
    guard.flush()
    asyncio.run(guard.flush_async())
    assert len(guard.storage.events.tail()) == 6  # type: ignore[arg-type]


def test_nothing_counted_is_nothing_written() -> None:
    guard = refused_guard(2)
    guard.flush()
    assert len(guard.storage.events.tail()) == 2  # type: ignore[arg-type]
