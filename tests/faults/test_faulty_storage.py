"""The tool itself: what it tells, what it leaves alone, and that a fault is where it was asked for."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faultkit import Scene

import botguard.testing
from botguard import ConfigurationError, Guard, StoreUnavailable
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.guard import ALLOW_ALL
from botguard.limiter import LocalLimiter
from botguard.ports.approvals import ApprovalStore
from botguard.ports.events import EventStore
from botguard.ports.idempotency import Ack, ClaimRequest, IdempotencyStore, RowState
from botguard.ports.limits import Limit, LimitStore
from botguard.testing import (
    CancelAt,
    FakeClock,
    FaultyStorage,
    Moment,
    Outage,
    interrupt_at,
    suspend,
    unavailable_at,
)

REQUEST = ClaimRequest("k", "acme", "c", "claim-1", "u1", b"f" * 16, "1", 60.0, True)


class Listener:
    """A hook that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, moment: Moment) -> None:
        self.told.append(str(moment))


def sqlite(folder: Path) -> SqliteStorage:
    return SqliteStorage(folder / "bot.db", synchronous="NORMAL", clock=FakeClock(), shared_limits=True)


# ── what it tells ────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_method_of_every_port_is_told_of(tmp_path: Path) -> None:
    limit = Limit("1/minute", 1, 60.0, "fixed-window", "user", "t")
    listener = Listener()
    with sqlite(tmp_path) as inner:
        storage: Any = FaultyStorage(inner, listener)
        ports = {
            "idempotency": IdempotencyStore,
            "events": EventStore,
            "approvals": ApprovalStore,
            "limits": LimitStore,
        }
        for port, protocol in ports.items():
            names = [n for n, f in vars(protocol).items() if inspect.isfunction(f) and not n.startswith("_")]
            assert names
            for name in names:
                function = getattr(getattr(storage, port), name)
                calls = len(storage.calls)
                with pytest.raises(Exception):  # noqa: B017 - far too many arguments for any of them
                    function(*[limit] * 99)
                assert storage.calls[calls:] == [f"{port}.{name}"]
        unit = storage.work.begin()
        unit.finish("k", "nobody", RowState.DONE, None, 60.0, 1, None)
        unit.commit()
        storage.work.begin().rollback()
        units = ["work.begin", "unit.finish", "unit.commit", "work.begin", "unit.rollback"]
        assert storage.calls[-5:] == units


def test_moments_are_numbered_in_the_order_in_which_calls_begin() -> None:
    listener = Listener()
    storage = FaultyStorage(MemoryStorage(), listener)
    storage.idempotency.peek("k")
    storage.idempotency.claim(REQUEST)
    assert listener.told == [
        "before call 1, idempotency.peek",
        "after call 1, idempotency.peek",
        "before call 2, idempotency.claim",
        "after call 2, idempotency.claim",
    ]
    assert storage.calls == ["idempotency.peek", "idempotency.claim"]


def test_a_call_that_raises_has_no_after() -> None:
    listener = Listener()
    storage: Any = FaultyStorage(MemoryStorage(), listener)
    with pytest.raises(TypeError):
        storage.idempotency.peek()
    assert listener.told == ["before call 1, idempotency.peek"]


def test_the_views_share_hooks_and_numbers(tmp_path: Path) -> None:
    listener = Listener()
    with sqlite(tmp_path) as inner:
        storage = FaultyStorage(inner, listener)
        view = storage.for_async()
        assert view is storage.for_async()
        assert view is not None
        storage.idempotency.peek("k")

        async def look() -> None:
            await view.idempotency.peek("k")  # type: ignore[misc]

        asyncio.run(look())
        host = sqlite3.connect(tmp_path / "bot.db", isolation_level=None)
        storage.joined(host).idempotency.peek("k")
        host.close()
        assert storage.calls == view.calls == ["idempotency.peek"] * 3
        assert [told.split()[2] for told in listener.told] == ["1,", "1,", "2,", "2,", "3,", "3,"]


# ── what it leaves alone ─────────────────────────────────────────────────────────────────────────────────────────


def test_colours_are_the_storages_unless_a_hook_waits(tmp_path: Path) -> None:
    memory, listener = MemoryStorage(), Listener()
    plain, waiting = FaultyStorage(memory, listener), FaultyStorage(memory, suspend)
    assert (plain.colour, plain.idempotency.colour, plain.for_async()) == ("any", "any", plain)
    assert (waiting.colour, waiting.idempotency.colour, waiting.for_async()) == ("async", "async", waiting)
    with sqlite(tmp_path) as inner:
        plain, waiting = FaultyStorage(inner, listener), FaultyStorage(inner, listener, suspend)
        assert plain.work is not None
        assert {plain.colour, plain.idempotency.colour, plain.work.colour} == {"sync"}
        view = plain.for_async()
        assert view is not None
        assert (view.colour, view.idempotency.colour, view.work) == ("async", "async", None)
        assert {waiting.colour, waiting.idempotency.colour} == {"async"}
        assert waiting.for_async() is not waiting
        assert (plain.atomic, plain.fingerprint_key) == (inner.atomic, inner.fingerprint_key)


def test_a_storage_without_an_async_form_keeps_to_that() -> None:
    class OnlySync(MemoryStorage):
        colour = "sync"

        def for_async(self) -> None:  # type: ignore[override]
            return None

    assert FaultyStorage(OnlySync()).for_async() is None


def test_ports_that_are_missing_stay_missing() -> None:
    storage = FaultyStorage(MemoryStorage(), suspend)
    assert (storage.limits, storage.work) == (None, None)


def test_a_hook_that_waits_is_refused_for_sync_handlers_at_wiring() -> None:
    guard = Guard(storage=FaultyStorage(MemoryStorage(), suspend), access=ALLOW_ALL)
    with pytest.raises(ConfigurationError, match="BG140"):

        @guard.command("c")
        def handler(payload: dict[str, Any]) -> None: ...


def test_a_hook_that_hides_that_it_waits_is_told_so() -> None:
    storage = FaultyStorage(MemoryStorage(), lambda moment: asyncio.sleep(0, moment))
    with pytest.raises(TypeError, match="must be `async def`"):
        storage.idempotency.peek("k")


def test_an_object_may_be_a_hook_that_waits() -> None:
    class Waits:
        async def __call__(self, moment: Moment) -> None:
            await asyncio.sleep(0)

    assert FaultyStorage(MemoryStorage(), Waits()).colour == "async"


def test_whatever_is_no_port_is_the_storages(tmp_path: Path) -> None:
    storage: Any = FaultyStorage(sqlite(tmp_path))
    storage.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        storage.idempotency.claim(REQUEST)
    with pytest.raises(AttributeError):
        _ = storage.nothing_of_the_kind
    limits: Any = LocalLimiter(FakeClock())
    inner: Any = MemoryStorage()
    inner.limits = limits
    limits.of_the_host = 7
    assert FaultyStorage(inner).limits.of_the_host == 7  # type: ignore[union-attr]


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_before_is_not_applied_and_after_is() -> None:
    for when, applied in (("before", False), ("after", True)):
        inner = MemoryStorage()
        fault = unavailable_at(1, when)  # type: ignore[arg-type]
        storage = FaultyStorage(inner, fault)
        with pytest.raises(StoreUnavailable, match=f"a fault on purpose {when} call 1, idempotency.claim") as raised:
            storage.idempotency.claim(REQUEST)
        assert (raised.value.maybe_applied, inner.idempotency.peek("k") is not None) == (applied, applied)
        assert fault.fired == Moment(1, "idempotency.claim", when)  # type: ignore[arg-type]
        storage.idempotency.peek("k")  # once, and never again


def test_only_counts_the_calls_that_it_names() -> None:
    fault = unavailable_at(2, "after", only="idempotency.p*")
    storage = FaultyStorage(MemoryStorage(), fault)
    storage.idempotency.peek("k")
    storage.events.tail()
    with pytest.raises(StoreUnavailable):
        storage.idempotency.peek("k")
    assert fault.fired == Moment(3, "idempotency.peek", "after")
    assert repr(fault) == "<after call 2 of idempotency.p*, fired>"
    never = unavailable_at(9)
    FaultyStorage(MemoryStorage(), never).events.tail()
    assert never.fired is None
    assert repr(never) == "<before call 9, not reached>"


def test_an_outage_ends() -> None:
    outage = Outage("idempotency.*", "limits.*")
    storage = FaultyStorage(MemoryStorage(), outage)
    storage.events.tail()
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as raised:
            storage.idempotency.peek("k")
        assert not raised.value.maybe_applied
    outage.end()
    storage.idempotency.peek("k")
    outage.begin()
    with pytest.raises(StoreUnavailable):
        storage.idempotency.peek("k")
    assert outage.refused == 4


def test_an_interruption_is_of_the_class_that_was_asked_for() -> None:
    for error in (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
        with pytest.raises(error):
            FaultyStorage(MemoryStorage(), interrupt_at(1, "after", error)).events.tail()


def test_a_kill_runs_nothing_more() -> None:
    script = """
from botguard.adapters.memory import MemoryStorage
from botguard.testing import FaultyStorage, kill_at
try:
    FaultyStorage(MemoryStorage(), kill_at(1, "before")).events.tail()
finally:
    print("still here")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")
    assert os.getpid()


def test_a_transaction_whose_begin_was_not_answered_is_rolled_back(tmp_path: Path) -> None:
    for error in (StoreUnavailable, KeyboardInterrupt):
        with sqlite(tmp_path) as inner:
            storage: Any = FaultyStorage(inner, interrupt_at(1, "after", error))
            with pytest.raises(error):
                storage.work.begin()
            assert inner.idempotency.claim(REQUEST).won  # it does not stand in anybody's way
            inner.idempotency.release("k", "claim-1")


def test_rollback_never_raises_whatever_the_hooks_do(tmp_path: Path) -> None:
    with sqlite(tmp_path) as inner:
        for when in ("before", "after"):
            fault = unavailable_at(1, when, only="unit.rollback")  # type: ignore[arg-type]
            storage: Any = FaultyStorage(inner, fault)
            storage.work.begin().rollback()
            assert fault.fired
            assert inner.idempotency.claim(REQUEST).won
            inner.idempotency.release("k", "claim-1")
        unit: Any = FaultyStorage(inner, interrupt_at(1, only="unit.rollback")).work.begin()  # type: ignore[union-attr]
        with pytest.raises(KeyboardInterrupt):
            unit.rollback()
        unit.rollback()


def test_units_that_are_awaited() -> None:
    class Unit:
        handle = "connection"
        log: list[str] = []  # noqa: RUF012

        async def finish(self, *of: Any) -> Ack:
            self.log.append("finish")
            return Ack.APPLIED

        async def commit(self) -> None:
            self.log.append("commit")

        async def rollback(self) -> None:
            self.log.append("rollback")

    class Work:
        colour = "async"

        async def begin(self) -> Unit:
            return Unit()

    inner: Any = MemoryStorage()
    inner.work = Work()

    async def run() -> None:
        storage: Any = FaultyStorage(inner, unavailable_at(1, "before", only="unit.rollback"))
        unit = await storage.work.begin()
        assert unit.handle == "connection"
        assert await unit.finish() is Ack.APPLIED
        await unit.commit()
        await unit.rollback()
        storage = FaultyStorage(inner, unavailable_at(1, "after", only="work.begin"))
        with pytest.raises(StoreUnavailable):
            await storage.work.begin()

    asyncio.run(run())
    assert Unit.log == ["finish", "commit", "rollback", "rollback"]


# ── cancellation ─────────────────────────────────────────────────────────────────────────────────────────────────


async def _three_awaits(log: list[str]) -> str:
    for number in range(3):
        log.append(f"await {number + 1}")
        await asyncio.sleep(0)
    return "done"


def test_cancel_at_hits_the_await_it_names() -> None:
    async def scan() -> None:
        for at in (1, 2, 3):
            log: list[str] = []
            run = CancelAt(_three_awaits(log), at)
            with pytest.raises(asyncio.CancelledError):
                await run
            assert (log, run.awaits, run.delivered) == ([f"await {n}" for n in range(1, at + 1)], at, 1)
        run = CancelAt(_three_awaits([]), 4)
        assert (await run, run.awaits, run.delivered) == ("done", 3, 0)

    asyncio.run(scan())


def test_cancel_at_hits_futures_and_clean_up_too() -> None:
    seen: list[str] = []

    async def stubborn() -> str:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            await never
        except asyncio.CancelledError:
            seen.append("first")
            assert never.cancelled()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            seen.append("second")
        return "swallowed"

    async def scan() -> None:
        run = CancelAt(stubborn(), 1, 2)
        assert (await run, run.delivered, seen) == ("swallowed", 2, ["first", "second"])

    asyncio.run(scan())


def test_cancel_at_hands_errors_on_and_leaves_the_caller_alone() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("its own")

    async def scan() -> None:
        with pytest.raises(ValueError, match="its own"):
            await CancelAt(fails())
        with pytest.raises(asyncio.CancelledError):
            await CancelAt(fails(), 1)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(scan())


# ── the kit's door ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_kit_is_loaded_part_by_part() -> None:
    script = """
import sys
from botguard.testing import FakeClock
assert "botguard.testing.faults" not in sys.modules
from botguard.testing import FaultyStorage
assert "botguard.testing.faults" in sys.modules and "hypothesis" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    faults = sys.modules["botguard.testing.faults"]
    assert set(faults.__all__) - {"Hook", "When"} <= set(dir(botguard.testing))


def test_a_guard_that_has_only_async_parts_can_be_built_and_asked_for_anything() -> None:
    """Names that no command has are refused in the colour that the storage has."""
    scene = Scene(FaultyStorage(MemoryStorage(clock=FakeClock()), suspend), FakeClock(), "external", colour="async")
    outcome = asyncio.run(scene.guard.run_async("no.such.command", {}, context=None))
    assert outcome.status == "denied"
    assert [event for event in scene.storage._storage.events.tail() if event.command == "unknown-command"]
