"""Redis for tests: the server of this machine, a name space of one's own, and a server that can be stopped."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from botguard.adapters.redis import RedisServer
from servers import in_ci, require_server


def shared(**options: Any) -> RedisServer:
    """The machine's server, below a prefix that nobody else has."""
    host, port = require_server("redis")
    return RedisServer(f"redis://{host}:{port}/0", prefix=f"botguard-test-{uuid4().hex}", **options)


def wipe(server: RedisServer) -> None:
    """Delete what was stored below the prefix."""
    client = server._client()
    keys = list(client.scan_iter(match=server.prefix + "*", count=1000))
    if keys:
        client.delete(*keys)


class OwnRedis:
    """A server process of the test's own, which keeps its rows over a restart."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._folder, self._options = folder, options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self._process = subprocess.Popen(
            [
                program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", "",
                "--appendonly", "yes", "--appendfsync", "always", *self._options,
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith((b"+PONG", b"-NOAUTH")):
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, "redis-server does not answer"
            assert self._process.poll() is None, "redis-server has ended"
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def own_redis(folder: Path, *options: str) -> Iterator[OwnRedis]:
    if shutil.which("redis-server") is None:
        if in_ci({"CI": "true"} if _ci() else {}):
            pytest.fail("redis-server is not installed. CI is set, where this test must run.")
        pytest.skip("redis-server is not installed")
    server = OwnRedis(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _ci() -> bool:
    import os

    return in_ci(os.environ)
