"""The processes that are killed, and the one that makes them: it has imported everything once, and forks.

A bot gets one JSON line for each update that it is to handle, and tells by such lines how far it has come, so that
whoever kills it knows whether it held a claim. When the process that started all of this is gone, so are they.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

import aiomysql  # noqa: F401 - loaded once, for all bots
import asyncpg  # noqa: F401
import psycopg  # noqa: F401
import pymysql  # noqa: F401

from crashes.bugs import plant
from crashes.places import Where
from crashes.race import racer
from crashes.shop import Shop


def live(line: socket.socket, asked: dict[str, Any]) -> None:
    """Handle updates until the other end is closed."""

    def tell(at: str, *about: Any) -> None:
        line.sendall((json.dumps([at, *about]) + "\n").encode())

    plant(asked["bug"])
    shop = Shop(Where(**asked["where"]), asked["lease"], tell, name=asked["name"])
    tell("ready")
    with line.makefile("r") as updates:
        for text in updates:
            update = json.loads(text)
            shop.pace = update["pace"]
            outcome = shop.deliver(update["order"])
            tell(
                "ended",
                update["order"],
                {
                    "status": str(outcome.status),
                    "value": outcome.value,
                    "replayed": outcome.replayed,
                    "degraded": outcome.degraded,
                    "reasons": [str(reason) for reason in outcome.reasons],
                    "error": f"{outcome.error!r:.300}" if outcome.error is not None else "",
                },
            )


ROLES = {"bot": live, "racer": racer}


class Parent:
    """Forks bots, and waits for those that died. A dead one keeps its number until somebody has asked for its end."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._alive: set[int] = set()

    def serve(self) -> None:
        try:
            while True:
                text, lines, _, _ = socket.recv_fds(self._control, 65536, 1)
                if not text:
                    break
                asked = json.loads(text)
                said = self._reap(asked["reap"]) if "reap" in asked else self._fork(asked, lines[0])
                self._control.sendall((json.dumps(said) + "\n").encode())
        finally:
            for child in self._alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)  # a stopped one too

    def _fork(self, asked: dict[str, Any], descriptor: int) -> int:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                self._control.close()
                ROLES[asked["role"]](socket.socket(fileno=descriptor), asked)
                code = 0
            except (BrokenPipeError, ConnectionResetError):  # the test is over
                code = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stderr.flush()
                os._exit(code)  # neither buffers nor handlers of the parent's
        os.close(descriptor)
        self._alive.add(child)
        return child

    def _reap(self, child: int) -> int:
        _, status = os.waitpid(child, 0)
        self._alive.discard(child)
        return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    Parent(socket.socket(fileno=int(sys.argv[1]))).serve()
