"""Waiting for SQLite's write lock, and noticing when it is our own host that we wait for."""

from __future__ import annotations

import os
import random
import sqlite3
import time

from botguard.adapters.sqlite.hostlock import held_by_this_process
from botguard.errors import StoreUnavailable

__all__ = ["Wait"]

#: A lock that the host holds in this process is most likely held by our caller, who waits for us.
_HOST_PATIENCE = 0.2
_FIRST_LOOK, _NEXT_LOOK = 0.005, 0.02
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0003, 0.008


class Wait:
    """How long one write has waited, and what it has learnt about who holds the lock.

    SQLite's own busy handler sleeps in fixed steps of up to 100 ms, all in step, and with our lock held.
    """

    __slots__ = ("_deadline", "_host_since", "_look_at", "_path", "_pause", "_timeout")

    def __init__(self, path: str, timeout: float) -> None:
        now = time.monotonic()
        self._path, self._timeout = path, timeout
        self._deadline = now + timeout
        self._look_at = now + _FIRST_LOOK
        self._pause = _FIRST_PAUSE
        self._host_since: float | None = None

    def left(self) -> float:
        """Seconds of patience."""
        return self._deadline - time.monotonic()

    def look_for_host(self) -> None:
        """Ask the kernel now and then whether this very process holds the lock, on a connection that is not ours."""
        now = time.monotonic()
        if now < self._look_at and now < self._deadline:
            return
        self._look_at = now + _NEXT_LOOK
        if not held_by_this_process(self._path, os.getpid()):
            self._host_since = None
        elif self._host_since is None:
            self._host_since = now

    def a_moment(self, error: sqlite3.Error) -> None:
        """Sleep a little and not in step with the others; raises if there is no more patience."""
        now = time.monotonic()
        since = self._host_since
        if since is not None and (now - since >= _HOST_PATIENCE or now >= self._deadline):
            raise StoreUnavailable(
                f"this process holds a write transaction on {self._path}, on a connection that is not the guard's",
                host_transaction=True,
                fix="pass session=... so that the guard joins your transaction, or commit before calling",
            ) from error
        if now >= self._deadline:
            raise StoreUnavailable(
                f"{self._path} was locked by another process for {self._timeout:g} s",
                fix="keep write transactions on the file short, or raise busy_timeout",
            ) from error
        time.sleep(min(self._pause * (0.5 + random.random()), self._deadline - now))  # noqa: S311 - jitter
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)
