"""A spool on local disk: completions that the store did not take, one JSON line each."""

from __future__ import annotations

import glob
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
        # It begins on a line of its own, whatever a full disk has left of the one before.
        line = ("\n" + json.dumps(record, ensure_ascii=True) + "\n").encode("ascii")
        with self._lock:
            while not self._append(line):
                pass

    def _append(self, line: bytes) -> bool:
        """False if the file was taken aside meanwhile: whoever drains it may have read it before this line came."""
        # One write() to an O_APPEND descriptor: lines of several processes never mix.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{self.path}: only a part of the record fitted")
            os.fsync(descriptor)
            written = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if written.st_size == len(line):
            self._keep_name()
        try:
            return os.path.samestat(written, self.path.stat())
        except FileNotFoundError:
            return False

    def _keep_name(self) -> None:
        """A new file survives a power cut only when its folder is on stable storage too."""
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def drain(self) -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
        """Yield (record, acknowledge) pairs; what is not acknowledged is there again next time.

        The file is taken aside first, so that records written meanwhile are not lost. A line that was cut off by a crash
        is kept aside as it is, in a file ending in ``.broken``. A record may come twice, such as where two processes
        drain at the same time: completions are conditional on their claim id, so that changes nothing.
        """
        with self._lock:
            try:
                # A name that nobody else ever uses: whoever removes it removes what he has read.
                self.path.rename(self.path.with_name(f"{self.path.name}.{os.urandom(8).hex()}.draining"))
            except FileNotFoundError:
                pass
        # Those that a drain left behind which never came to its end are drained again.
        for name in sorted(self.path.parent.glob(glob.escape(self.path.name) + ".*draining")):
            yield from self._drain(name)

    def _drain(self, aside: Path) -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
        try:
            lines = aside.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:  # somebody else has drained it
            return
        kept: list[dict[str, Any]] = []
        for line in lines:
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError:
                with self.path.with_name(self.path.name + ".broken").open("ab") as broken:
                    broken.write(line)
                continue
            done: list[bool] = []
            yield record, lambda done=done: done.append(True)  # type: ignore[misc]
            if not done:
                kept.append(record)
        for record in kept:
            self.write(record)
        aside.unlink(missing_ok=True)
