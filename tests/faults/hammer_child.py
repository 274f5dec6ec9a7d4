"""One of several processes that deliver the same updates at the same time, each with several threads."""

from __future__ import annotations

import json
import os
import sys
import threading
from itertools import count
from typing import Any

from pydantic import BaseModel

from botguard import Actor, Context, Guard, current
from botguard.adapters.sqlite import SqliteStorage
from botguard.guard import ALLOW_ALL


class Update(BaseModel):
    order_id: str


def plant(bug: str) -> None:
    """Make the store wrong on purpose: look first, insert later."""
    from botguard.adapters.sqlite import claims
    from botguard.ports.idempotency import ClaimAnswer

    def claim(self: Any, request: Any, event: Any = None) -> ClaimAnswer:
        row = self.peek(request.key)
        if row is not None:
            return ClaimAnswer(False, 0, row)
        os.sched_yield()  # somebody else may look now
        self._once("DELETE FROM botguard_claims WHERE key = ?", (request.key,))
        return honest(self, request, event)

    honest = claims.ThreadClaims.claim
    if bug == "read then insert":
        claims.ThreadClaims.claim = claim  # type: ignore[method-assign]


def main() -> None:
    """Build, say so, wait for the start, deliver, and report one line a delivery."""
    asked = json.loads(sys.stdin.readline())
    plant(asked["bug"])
    storage = SqliteStorage(asked["file"], synchronous=asked["synchronous"], busy_timeout=30.0)
    guard = Guard(storage=storage, access=ALLOW_ALL)
    effects = os.open(asked["effects_file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = count(1).__next__

    @guard.command("orders.create", effects=asked["effects"], key=lambda p: (p.order_id,))
    def create(payload: Update) -> str:
        value = f"{payload.order_id}/{os.getpid()}/{number()}"
        for _ in range(100):
            os.sched_yield()  # long enough for twins to arrive
        if asked["effects"] == "transactional":
            current().work.execute("INSERT INTO effects VALUES (?, ?)", (payload.order_id, value))
        else:
            os.write(effects, f"{payload.order_id} {value}\n".encode())  # one write of O_APPEND is one line
        return value

    told: list[list[dict[str, Any]]] = []
    start = threading.Event()
    asker = Context(org="acme", actor=Actor("u1"), channel="telegram")

    def deliver(orders: list[str], mine: list[dict[str, Any]]) -> None:
        start.wait()
        for order in orders:
            seen: dict[str, Any] = {"order": order}
            try:
                outcome = guard.run("orders.create", {"order_id": order}, context=asker)
                seen |= {"status": outcome.status, "value": outcome.value, "replayed": outcome.replayed}
                seen |= {"reasons": list(outcome.reasons), "error": repr(outcome.error) if outcome.error else ""}
            except BaseException as error:
                seen |= {"status": "raised", "error": repr(error)}
            mine.append(seen)

    threads = []
    for share in asked["shares"]:
        told.append([])
        threads.append(threading.Thread(target=deliver, args=(share, told[-1])))
    for thread in threads:
        thread.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    start.set()
    for thread in threads:
        thread.join()
    for seen in (seen for mine in told for seen in mine):
        sys.stdout.write(json.dumps(seen) + "\n")
    storage.close()


if __name__ == "__main__":
    main()
