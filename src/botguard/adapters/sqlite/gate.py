"""Who may write to a file within this process, and what a fork does to the connections.

All writers of one file share one gate, whichever storage object they belong to: they queue on a lock instead of
polling SQLite's. So if SQLite answers "busy" to whoever is in the gate, the lock is another process's, or the host's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Lock, get_ident
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary, ref

__all__ = ["Gate", "Member", "gate_of"]

#: A fork waits so long for writes and reads that are under way.
_FORK_PATIENCE = 1.0


class Member(Protocol):
    """Somebody who owns connections of the file."""

    def before_fork(self) -> bool:
        """Close all connections; False if one is in use. In the parent, with the gate's lock held."""
        ...

    def after_fork(self) -> None:
        """Start anew in the child; an old connection that is left must be neither used nor closed."""
        ...


class Gate:
    """One file's way in. ``mutex`` is held for one statement or one transaction, never for a unit of work; ``opening``
    while a connection is opened without it.

    ``owner`` is the thread that has a unit of work open, and ``changed`` tells when it ends. ``spoiled`` is set in a
    child that inherited a connection in use.
    """

    def __init__(self) -> None:
        self.members: WeakSet[Member] = WeakSet()
        self.owner: int | None
        self._unit: ref[object] | None
        self._end: Callable[[BaseException | None], None] | None
        self.reset(spoiled=False)

    def reset(self, *, spoiled: bool) -> None:
        """Forget all threads: there is only one in a child."""
        self.mutex = Lock()
        self.opening = Lock()
        self.changed = Condition(self.mutex)
        with self.mutex:
            self.leave()
        self.spoiled = spoiled
        self._forking: int | None = None
        self._closed = False

    def join(self, member: Member) -> None:
        """A member is told of forks for as long as it lives."""
        with self.mutex:
            self.members.add(member)

    def enter(self, unit: ref[object], end: Callable[[BaseException | None], None]) -> None:
        """This thread has a unit of work open; the mutex is held. ``end`` takes the connection back."""
        self._unit, self._end, self.owner = unit, end, get_ident()

    def leave(self) -> None:
        """No unit is open; the mutex is held."""
        self.owner, self._unit, self._end = None, None, None
        self.changed.notify_all()

    def end_forgotten(self) -> bool:
        """Roll back a unit that nobody can end any more, as after an interrupt on its way to the caller.

        True if there was one; the mutex is held. A finalizer would be told sooner, but it may run in the middle of
        whatever holds the mutex, and an interrupt that meets it is lost.
        """
        if self._unit is None or self._unit() is not None or self._end is None:
            return False
        self._end(InterruptedError())
        return True

    def before_fork(self) -> None:
        """Leave nothing to inherit.

        SQLite remembers its locks per process and file. A child that inherits an open connection believes that it
        holds the parent's locks, also for connections that it opens itself; so the parent closes its own first and
        opens them again when it needs them.
        """
        if not self.mutex.acquire(timeout=_FORK_PATIENCE):
            return
        if not self.opening.acquire(timeout=_FORK_PATIENCE):
            self.mutex.release()
            return
        self._forking = get_ident()
        closed = [member.before_fork() for member in list(self.members)]
        self._closed = self.owner is None and all(closed)

    def after_fork_in_parent(self) -> None:
        """Let the others go on."""
        if self._forking == get_ident():
            self._forking, self._closed = None, False
            self.opening.release()
            self.mutex.release()

    def after_fork_in_child(self) -> None:
        """Start anew, or refuse for ever."""
        self.reset(spoiled=not (self._forking == get_ident() and self._closed))
        for member in list(self.members):
            member.after_fork()


_gates: WeakValueDictionary[tuple[int, int], Gate] = WeakValueDictionary()
_gates_lock = Lock()


def gate_of(path: str) -> Gate:
    """The gate of an existing file, whatever path leads to it."""
    status = Path(path).stat()
    identity = (status.st_dev, status.st_ino)
    with _gates_lock:
        gate = _gates.get(identity)
        if gate is None:
            gate = _gates[identity] = Gate()
        return gate


def _all_gates() -> list[Gate]:
    with _gates_lock:
        return list(_gates.values())


def _before_fork() -> None:
    for gate in _all_gates():
        gate.before_fork()


def _after_fork_in_parent() -> None:
    for gate in _all_gates():
        gate.after_fork_in_parent()


def _after_fork_in_child() -> None:
    global _gates_lock  # noqa: PLW0603 - a lock of the parent's may be held by a thread that is not here
    _gates_lock = Lock()
    for gate in _all_gates():
        gate.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
