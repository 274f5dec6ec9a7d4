"""A process that makes processes to be killed: it has imported everything once, and forks a child for each point.

One JSON line in, one JSON line out. A child reports every moment that it passes through a pipe, so that the last one is
where it died.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent)]

from faultkit import Scene

from botguard import Happened, NotHappened, current
from botguard.adapters.sqlite import SqliteStorage
from botguard.testing import FakeClock, FaultyStorage, Moment, kill_at


class KillScene(Scene):
    """Effects are lines of a file, on disk before the handler goes on; those of ``transactional`` are rows."""

    def __init__(self, folder: Path, start: float, variant: str, *hooks: Any, cheats: bool = False) -> None:
        effects, *more = variant.split("+")
        options: dict[str, Any] = {"deadline": 60.0, "grace": 30.0}
        if "reconcile" in more:
            options["reconcile"] = self._reconcile
        if "audited" in more:
            options["must_audit"] = True
        clock = FakeClock(start)
        inner: Any = SqliteStorage(folder / "bot.db", synchronous="NORMAL", clock=clock, shared_limits=True)
        inner.db = folder / "bot.db"
        if "loose" in more:
            inner.atomic = inner.for_async().atomic = frozenset()
        self.lines, self.cheats, self.inner = folder / "effects", cheats, inner
        self.die_in_handler = ""
        colour = "async" if "async" in more else "sync"
        super().__init__(FaultyStorage(inner, *hooks), clock, effects, colour=colour, **options)
        self.colour = colour

    def _happen(self, order_id: str) -> None:
        if self.die_in_handler == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.effects == "transactional" and not self.cheats:
            super()._happen(order_id)
        else:
            file = os.open(self.lines, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, f"{order_id} {current().key}\n".encode())
            os.fsync(file)
            os.close(file)
        if self.die_in_handler == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    def effects_of(self, order_id: str) -> int:
        if self.effects == "transactional" and not self.cheats:
            return super().effects_of(order_id)
        return [line.split()[0] for line in self._read()].count(order_id)

    def _read(self) -> list[str]:
        return self.lines.read_text().splitlines() if self.lines.exists() else []

    def _reconcile(self, key: str) -> Any:
        orders = [line.split()[0] for line in self._read() if line.split()[1] == key]
        return Happened(f"made {orders[0]}") if orders else NotHappened()

    def deliver(self, order_id: str) -> Any:
        """The update arrives."""
        user = f"user of {order_id}"
        if self.colour == "async":
            return asyncio.run(self.run_async(order_id, user))
        return self.run(order_id, user)


def die(asked: dict[str, Any], report: int) -> None:
    """In the child: run the call, up to the moment of death."""

    def tell(moment: Moment) -> None:
        os.write(report, f"{moment.when} {moment.name}\n".encode())

    hooks = [tell]
    if asked["call"]:
        hooks.append(kill_at(asked["call"], asked["when"]))
    scene = KillScene(Path(asked["folder"]), asked["start"], asked["variant"], *hooks, cheats=asked["cheats"])
    if not asked["call"]:
        scene.die_in_handler = asked["when"]
        os.write(report, f"{asked['when']} the effect\n".encode())
    scene.deliver(asked["order"])


def main() -> None:
    """Fork a child for each line."""
    for line in sys.stdin:
        asked = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.close(read)
                die(asked, write)
                code = 0
            finally:
                os._exit(code)  # neither buffers nor handlers of the parent's
        os.close(write)
        with os.fdopen(read) as pipe:
            passed = pipe.read().splitlines()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not killed and os.waitstatus_to_exitcode(status) != 0:
            raise SystemExit(f"the child failed at {asked}")
        place = passed[-1] if asked["call"] else f"{asked['when']} the effect"
        sys.stdout.write(json.dumps({"killed": killed, "place": place}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
