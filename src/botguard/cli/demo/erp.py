"""A stand-in for the company's order system: every call appends a line to a file, also the same one twice.

It knows nothing of botguard, and it forgives nothing. So the lines are what really happened outside.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["Effect", "Erp", "go_on"]

#: One line: what was done to which subject, for which org, and whatever else came with it.
Effect = dict[str, str | int | None]

#: Seconds that a call takes: long enough for five deliveries at once to meet each other.
LATENCY = 0.04
#: What was on the shelves in the morning.
SHELVES = {"SKU-4": 60, "SKU-7": 1, "SKU-8": 5, "SKU-9": 500}


def go_on() -> None:
    """What usually happens at a place where something else may: nothing special."""


class Erp:
    """The order system.

    Args:
        path: of the file that holds one line for each effect.
        crash: called after each effect, before the caller hears of it.
    """

    def __init__(self, path: Path, crash: Callable[[], None] = go_on) -> None:
        self._path, self._crash = path, crash
        self._lock = threading.Lock()
        #: It refuses this many calls from now on; -1: all, until somebody repairs it.
        self.refusing = 0
        #: Seconds that its answer to :meth:`do_async` takes; what was asked is done long before.
        self.slow = 0.0
        #: Called by whoever is about to look at the shelves.
        self.on_look: Callable[[], None] = go_on
        #: Calls so far, the refused ones included.
        self.calls = 0

    def do(self, what: str, subject: str, **more: str | int | None) -> None:
        """Carry something out, and remember what came with it: the caller's key, its org, who asked.

        Raises:
            ConnectionRefusedError: it is down; nothing was done.
        """
        with self._lock:
            self.calls += 1
            refused = self.refusing != 0
            self.refusing -= self.refusing > 0
        if refused:
            raise ConnectionRefusedError("the order system does not answer")
        time.sleep(LATENCY)
        self._append({"what": what, "subject": subject, **more})
        self._crash()

    async def do_async(self, what: str, subject: str, **more: str | int | None) -> None:
        """The same, for a system that says so only after ``slow`` seconds."""
        self._append({"what": what, "subject": subject, **more})
        await asyncio.sleep(self.slow)

    def _append(self, effect: Effect) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, (json.dumps(effect) + "\n").encode())
        finally:
            os.close(file)

    def effects(self, what: str = "", subject: str = "", org: str = "") -> list[Effect]:
        """What was carried out, in order; only what fits, where something is given."""
        if not self._path.exists():
            return []
        lines: list[Effect] = [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        wanted = {name: value for name, value in (("what", what), ("subject", subject), ("org", org)) if value}
        return [line for line in lines if wanted.items() <= line.items()]

    def count(self, what: str, subject: str, org: str = "") -> int:
        """How often that was carried out."""
        return len(self.effects(what, subject, org))

    def knows(self, key: str) -> bool:
        """True if something was carried out for this key."""
        return any(effect["key"] == key for effect in self.effects())

    def left(self, sku: str, org: str) -> int | None:
        """How many are on that company's shelf, or None if it has no such thing."""
        self.on_look()
        if sku not in SHELVES:
            return None
        return SHELVES[sku] - sum(
            int(order["quantity"] or 0) for order in self.effects("order", "", org) if order["sku"] == sku
        )
