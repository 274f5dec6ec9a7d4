"""A process with a guard whose breaker is shared: it does what it reads, and writes what came of it.

``fail``: a run whose handler raises. ``run``: one whose handler returns at once. ``burst N``: N runs at once, whose
handlers say ``in`` and wait for ``go``.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from botguard import ALLOW_ALL, Actor, Breaker, Context, Guard
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.redis import RedisBreakers, RedisServer

CONTEXT = Context(org="acme", actor=Actor("ann"))


def main(url: str, prefix: str, probes: str, probe_timeout: str, reset_after: str) -> None:
    breaker = Breaker(
        fail_max=1,
        refresh=0.1,
        probes=int(probes),
        probe_timeout=float(probe_timeout),
        reset_after=float(reset_after),
    )
    guard = Guard(
        storage=MemoryStorage(),
        access=ALLOW_ALL,
        breakers={"erp": breaker},
        breaker_store=RedisBreakers(RedisServer(url, prefix=prefix)),
    )
    go, writing = threading.Event(), threading.Lock()

    def say(text: str) -> None:
        with writing:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    @guard.command("orders.show", effects="read", breaker="erp")
    def show(payload: dict[str, Any]) -> None:
        if payload["do"] == "fail":
            raise TimeoutError
        if payload["do"] == "burst":
            say("in")
            go.wait()

    def run(do: str) -> None:
        outcome = guard.run("orders.show", {"do": do}, context=CONTEXT)
        say(" ".join([str(outcome.status), *outcome.reasons]))

    say("ready")
    for line in sys.stdin:
        do, _, count = line.strip().partition(" ")
        if do == "go":
            go.set()
        elif do == "burst":
            for _ in range(int(count)):
                threading.Thread(target=run, args=(do,), daemon=True).start()
        else:
            run(do)


if __name__ == "__main__":
    main(*sys.argv[1:])
