"""A spool on local disk: completions that the store did not take, one JSON line each."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["FileSpool"]


class FileSpool:
    """A :class:`botguard.ports.spool.Spool` in one file, for the processes of one machine.

    Args:
        path: the file; made when the first record comes. Put it on another disk than the database, so that a full disk
            does not stop both.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; it is on stable storage when this returns.

        Raises:
            OSError: if the file cannot be written.
        """
        line = (json.dumps(record, ensure_ascii=True) + "\n").encode("ascii")
        with self._lock:
            # One write() to an O_APPEND descriptor: lines of several processes never mix.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(f"{self.path}: only a part of the record fitted")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def drain(self) -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
        """Yield (record, acknowledge) pairs; what is not acknowledged is there again next time.

        The file is taken aside first, so that records written meanwhile are not lost. A line that was cut off by a crash
        is kept aside as it is, in a file ending in ``.broken``.
        """
        aside = self.path.with_name(self.path.name + ".draining")
        with self._lock:
            if self.path.exists() and not aside.exists():
                self.path.rename(aside)
        if not aside.exists():
            return
        kept: list[bytes] = []
        for line in aside.read_bytes().splitlines(keepends=True):
            try:
                record = json.loads(line)
            except ValueError:
                with self.path.with_name(self.path.name + ".broken").open("ab") as broken:
                    broken.write(line)
                continue
            done: list[bool] = []
            yield record, lambda done=done: done.append(True)  # type: ignore[misc]
            if not done:
                kept.append(line)
        for line in kept:
            self.write(json.loads(line))
        aside.unlink()
