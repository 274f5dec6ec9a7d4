"""Processes that claim the same key at the same moment, round after round."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, NamedTuple

from botguard.ports.idempotency import ClaimAnswer, ClaimRequest
from crashes.nursery import Nursery
from crashes.places import Where

#: Longer than any run: an owner stays the owner.
LEASE = 3600.0


class Claimed(NamedTuple):
    """What one process came to in one round."""

    won: bool
    fence: int
    began: float
    ended: float


def request(key: str, claim_id: str, lease: float = LEASE) -> ClaimRequest:
    return ClaimRequest(key, "acme", "orders.create", claim_id, "u1", b"f" * 16, "1", lease, takeover=True)


def racer(line: socket.socket, asked: dict[str, Any]) -> None:
    """One of the processes: claim each key at the moment that it is told."""
    store = Where(**asked["where"]).open().idempotency
    if asked["bug"]:
        store = LooksAndThinks(store)
    line.sendall(b'"ready"\n')
    with line.makefile("r") as rounds:
        for text in rounds:
            key, at = json.loads(text)
            store.peek(key)  # its connection is open, and the pages are warm
            time.sleep(max(0.0, at - time.monotonic()))
            began = time.monotonic()
            answer = store.claim(request(key, f"{key}/{asked['name']}"))
            told = Claimed(answer.won, answer.fence, began, time.monotonic())
            line.sendall((json.dumps(told) + "\n").encode())


class LooksAndThinks:
    """A bad store: whoever saw no owner believes that the key is his."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.peek = store.peek

    def claim(self, asked: ClaimRequest) -> ClaimAnswer:
        row = self.peek(asked.key)
        os.sched_yield()
        answer: ClaimAnswer = self._store.claim(asked)
        return answer if row is not None and row.lease_left > 0 else ClaimAnswer(True, answer.fence, None)


class Race:
    """Several processes on one database."""

    def __init__(self, nursery: Nursery, where: Where, processes: int, bug: str = "") -> None:
        self._nursery = nursery
        self._racers = [nursery.start(where, LEASE, bug, role="racer") for _ in range(processes)]
        self._ears = [line.makefile("r") for _, line in self._racers]
        for ear in self._ears:
            assert json.loads(self._heard(ear)) == "ready"

    def round(self, key: str) -> list[Claimed]:
        """Everybody claims this key at once."""
        at = time.monotonic() + 0.001
        for _, line in self._racers:
            line.sendall((json.dumps([key, at]) + "\n").encode())
        return [Claimed(*json.loads(self._heard(ear))) for ear in self._ears]

    def _heard(self, ear: Any) -> str:
        text: str = ear.readline()
        assert text, self._nursery.last_words()
        return text

    def close(self) -> None:
        for (pid, line), ear in zip(self._racers, self._ears, strict=True):
            ear.close()
            line.close()
            self._nursery.reap(pid)
