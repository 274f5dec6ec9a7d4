"""Local time: a zone whose clocks are changed, and when."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["changes", "local_time"]

#: New York, spelt out so that no database of zones is needed.
_ZONE = "EST5EDT,M3.2.0,M11.1.0"
_DAYS = 400


@contextmanager
def local_time() -> Iterator[bool]:
    """A block in a zone whose clocks are changed twice a year; False where this platform cannot set one."""
    if not hasattr(time, "tzset"):
        yield False
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = _ZONE
    time.tzset()
    try:
        yield True
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


def changes(start: float) -> list[float]:
    """The moments within the next year at which the local clocks are changed, in seconds since the epoch."""
    hours = [start - start % 3600 + 3600 * n for n in range(24 * _DAYS)]
    offsets = [time.localtime(hour).tm_gmtoff for hour in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]
