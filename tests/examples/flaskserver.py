"""Flask's own server, started as a newcomer starts it, on a free port."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where Flask listens if nobody says otherwise, as the samples write it.
DOCUMENTED = "127.0.0.1:5000"


class Server:
    """A running application: its address, and what it printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._lines = process, []
        self._address: str | None = None
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.rstrip("\n"))
            if found := re.search(r"Running on http://(\S+)", line):
                self._address = found[1]
                self._listening.set()
        self._listening.set()

    @property
    def address(self) -> str:
        """Host and port, once it listens."""
        assert self._listening.wait(30)
        assert self._address is not None, "\n".join(self._lines)
        return self._address

    def stop(self) -> list[str]:
        """End it; everything that it printed."""
        self._process.terminate()
        self._process.wait(30)
        self._reader.join(30)
        return self._lines

    def curl(self, commands: str, cwd: Path) -> str:
        """Run documented commands against this server; what they printed."""
        assert DOCUMENTED in commands
        script = commands.replace(DOCUMENTED, self.address)
        done = subprocess.run(
            ["sh", "-e", "-c", script], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def serve(command: str, cwd: Path) -> Iterator[Server]:
    """Run a documented ``flask …`` command in a folder."""
    words = command.split()
    assert words[0] == "flask"
    with socket.socket() as probe:  # the port is free now; should another take it, Flask says so and the test fails
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", *words],
        cwd=cwd,
        env={**os.environ, "FLASK_RUN_PORT": str(port), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process)
    try:
        yield server
    finally:
        server.stop()
        assert process.stdout is not None
        process.stdout.close()
