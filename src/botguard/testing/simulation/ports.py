"""A storage whose every call is a point: others may go first there, and faults may strike."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from typing import Any

from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.ports.colour import Colour
from botguard.ports.storage import Storage
from botguard.testing.simulation.checker import Checker
from botguard.testing.simulation.faults import Fault
from botguard.testing.simulation.loop import CRASH, Dropped, Wait, ask

__all__ = ["LocalLimits", "SimulatedStorage", "point"]

#: Seconds of virtual time for which a write waits for a unit of work that is open.
PATIENCE = 5.0

#: What the checker does when a call arrives: it asks the real store and judges the answer.
Note = Callable[..., Any]


async def point(process: Any, name: str) -> Fault | None:
    """Let others go first; the fault that strikes here, or None. A store's or a directory's outage is raised."""
    world = process.world
    if world.loop.dropping:
        raise Dropped
    fault: Fault | None = await ask(name)
    if fault is not None and fault.kind == "outage":
        world.fall(fault.seconds)
    return fault


def _call(process: Any, name: str, note: Note, *, writes: bool, undo: Note | None = None) -> Callable[..., Any]:
    async def call(*args: Any) -> Any:
        world = process.world
        if world.loop.dropping:
            raise Dropped
        fault: Fault | None = await ask(name)
        if fault is None and world.up and (world.writer is None or not writes):
            return note(world.checker, *args)
        return await _troubled(process, fault, note, args, writes, undo)

    return call


async def _troubled(
    process: Any, fault: Fault | None, note: Note, args: tuple[Any, ...], writes: bool, undo: Note | None
) -> Any:
    """A call in a world where something is wrong, or somebody else is writing."""
    world = process.world
    kind = fault.kind if fault is not None else ""
    if kind == "outage" and fault is not None:
        world.fall(fault.seconds)
    world.checker.troubled(kind)
    if kind in ("down", "doubt") or not world.up:
        raise StoreUnavailable("down, as it was decided", maybe_applied=kind == "doubt")
    if writes:
        await _my_turn(world)
    answer = note(world.checker, *args)
    if kind in ("lost", "crashed", "cancelled") and undo is not None:
        undo(world.checker, answer)
    if kind == "lost":
        raise StoreUnavailable("done, and the answer was lost, as it was decided", maybe_applied=True)
    if kind == "crashed":
        await ask(CRASH)
    if kind == "cancelled" and world.loop.current.cancel():
        raise CancelledError
    if kind == "gap":
        try:
            await ask("gap")
        except BaseException:
            if undo is not None:
                undo(world.checker, answer)
            raise
    return answer


async def _my_turn(world: Any) -> None:
    """Wait until no unit of work is open: the store has one writer, as a locked row or file has."""
    end = world.loop.now + PATIENCE
    while world.writer is not None:
        if world.loop.now >= end:
            raise StoreUnavailable(f"a unit of work was open for {PATIENCE:g} s")
        await ask(Wait(end, world.latch))


class _Port:
    """One port, made of calls."""

    colour: Colour = "async"

    def __init__(self, process: Any, label: str, looks: str, writes: str) -> None:
        for names, writing in ((looks, False), (writes, True)):
            for name in names.split():
                note: Note = getattr(Checker, f"{label}_{name}")
                setattr(self, name, _call(process, f"{label}.{name}", note, writes=writing))


class _Work:
    colour: Colour = "async"

    def __init__(self, process: Any) -> None:
        self._process = process
        self._begin = _call(process, "work.begin", Checker.work_begin, writes=True, undo=Checker.unit_rollback)

    async def begin(self) -> _Unit:
        """See the port."""
        return _Unit(self._process, await self._begin())


class _Unit:
    def __init__(self, process: Any, unit: Any) -> None:
        self.handle = unit.raw.handle
        self._process, self._unit = process, unit
        self.finish = self._bound("finish", Checker.unit_finish)
        self.commit = self._bound("commit", Checker.unit_commit)

    def _bound(self, name: str, note: Note) -> Callable[..., Coroutine[Any, Any, Any]]:
        return _call(
            self._process, f"unit.{name}", lambda checker, *args: note(checker, self._unit, *args), writes=False
        )

    async def rollback(self) -> None:
        """See the port: it never raises for a store that is down."""
        await point(self._process, "work.rollback")
        self._process.world.checker.unit_rollback(self._unit)


class SimulatedStorage:
    """What a simulated process takes for its storage. The real one changes with every schedule."""

    colour: Colour = "async"

    def __init__(self, process: Any, like: Storage, *, shared_limits: bool) -> None:
        self.atomic, self.fingerprint_key = like.atomic, b"simulated fingerprints, 32 bytes"
        self.idempotency: Any = _Port(process, "idempotency", "peek", "claim finish release extend purge")
        self.events: Any = _Port(process, "events", "tail", "append")
        self.approvals: Any = _Port(process, "approvals", "by_token by_subject", "open decide spend purge")
        self.limits: Any = _Port(process, "limits", "test", "reserve refund release") if shared_limits else None
        self.work: Any = _Work(process) if like.work is not None else None

    def for_async(self) -> SimulatedStorage:
        """Itself."""
        return self

    def joined(self, session: Any) -> SimulatedStorage:
        """Nobody joins here."""
        raise ConfigurationError("BG141", f"a simulated storage cannot join {session!r:.60}")


class LocalLimits:
    """The limiter in a process's memory, watched. It answers at once, as always."""

    colour: Colour = "any"

    def __init__(self, process: Any) -> None:
        self._process = process
        self.store: Any = None

    def reserve(self, *args: Any) -> Any:
        """See the port."""
        return self._process.world.checker.reserved(self.store.reserve(*args), args[0])

    def test(self, *args: Any) -> Any:
        """See the port."""
        return self.store.test(*args)

    def refund(self, *args: Any) -> None:
        """See the port."""
        self.store.refund(*args)
        if not self._process.world.loop.dropping:
            self._process.world.checker.refunded(args[0], everything=True)

    def release(self, *args: Any) -> None:
        """See the port."""
        self.store.release(*args)
        if not self._process.world.loop.dropping:
            self._process.world.checker.refunded(args[0], everything=False)
