"""The test's end of the process that makes bots."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import IO, Any, Self

from crashes.places import Where


class Nursery:
    """Starts bots within milliseconds, since everything that they import is there already."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._control, theirs = socket.socketpair()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the nursery
        script = str(Path(__file__).with_name("bot.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, str(theirs.fileno())], pass_fds=[theirs.fileno()], stderr=self._said
        )
        theirs.close()
        self._answers = self._control.makefile("r")

    def start(self, where: Where, lease: float, bug: str = "", role: str = "bot") -> tuple[int, socket.socket]:
        """A new bot (or what else bot.py knows): its process id, and the line to it."""
        ours, theirs = socket.socketpair()
        name = f"{role}{next(self._numbers)}"
        asked = {"where": where._asdict(), "lease": lease, "bug": bug, "name": name, "role": role}
        socket.send_fds(self._control, [json.dumps(asked).encode()], [theirs.fileno()])
        theirs.close()
        return self._answer(), ours

    def reap(self, pid: int) -> int:
        """Wait for the end of a bot; its exit code, or minus the number of the signal that ended it."""
        self._control.sendall(json.dumps({"reap": pid}).encode())
        return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"the nursery is dead: {self.last_words()}")
        return json.loads(line)

    def last_words(self) -> str:
        """What the bots wrote to stderr."""
        self._said.seek(0)
        return self._said.read().decode(errors="replace")[-2000:]

    def close(self) -> None:
        self._answers.close()
        self._control.close()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def kill(pid: int) -> None:
    """No ``finally`` runs, no buffer is flushed. The nursery still knows the process, so its number is nobody else's."""
    os.kill(pid, signal.SIGKILL)
