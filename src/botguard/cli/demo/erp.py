"""A stand-in for the company's order system: every call appends a line to a file, also the same one twice.

It knows nothing of botguard, and it forgives nothing. So the lines are what really happened outside.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["Erp", "go_on"]

#: Seconds that a call takes: long enough for five deliveries at once to meet each other.
LATENCY = 0.04


def go_on() -> None:
    """What usually happens after an effect: nothing special."""


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
        #: Calls so far, the refused ones included.
        self.calls = 0

    def do(self, what: str, subject: str, key: str | None) -> None:
        """Carry something out, and remember the caller's key for it.

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
        line = json.dumps({"what": what, "subject": subject, "key": key}) + "\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
        self._crash()

    def effects(self) -> list[dict[str, str]]:
        """Everything that was carried out, in order."""
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]

    def count(self, what: str, subject: str) -> int:
        """How often that was carried out."""
        return sum(1 for effect in self.effects() if (effect["what"], effect["subject"]) == (what, subject))

    def knows(self, key: str) -> bool:
        """True if something was carried out for this key."""
        return any(effect["key"] == key for effect in self.effects())
