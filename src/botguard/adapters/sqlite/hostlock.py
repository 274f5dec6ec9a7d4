"""Who holds the write lock of a database in WAL mode: this very process, or somebody else?

SQLite cannot say. On Linux the kernel can: the lock is a POSIX lock on byte 120 of the ``-shm`` file, and
``/proc/locks`` names the process. Anywhere else the answer is "not known", and the caller waits as long as ever.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["held_by_this_process"]

_WRITE_LOCK_BYTE = 120  # WALINDEX_LOCK_OFFSET + WAL_WRITE_LOCK in SQLite's wal.c
_LOCKS = Path("/proc/locks")


def held_by_this_process(path: str, pid: int) -> bool:
    """True if a connection of this process holds the write lock; False if not, or if that cannot be known.

    It costs some ten microseconds and is asked only while a write waits.
    """
    try:
        inode = Path(f"{path}-shm").stat().st_ino
        lines = _LOCKS.read_bytes().splitlines()
    except OSError:
        return False
    holder, file = str(pid).encode(), f":{inode}".encode()
    for line in lines:
        # 12: POSIX  ADVISORY  WRITE 3781 fe:00:1474570 120 120      (a waiting lock has "->" as its second word)
        words = line.split()
        if len(words) < 8 or words[1] != b"POSIX" or words[3] != b"WRITE" or words[4] != holder:
            continue
        if words[5].endswith(file) and int(words[6]) <= _WRITE_LOCK_BYTE and _reaches(words[7]):
            return True
    return False


def _reaches(end: bytes) -> bool:
    return end == b"EOF" or int(end) >= _WRITE_LOCK_BYTE
