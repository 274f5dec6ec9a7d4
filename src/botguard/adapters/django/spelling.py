"""SQL in three spellings: names in brackets are quoted, and the server's own clock stands in the statement.

A point in time is written ``base + offset``: with the server's clock the base is in the SQL and the parameter is the
offset; with a clock of the host's (tests) the parameter is the sum. Microseconds since the epoch, as in the tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["MICRO", "VENDORS", "Clock", "Spelling", "micros"]

MICRO = 1_000_000

_NOW = {
    # Of the moment, not of the transaction's start.
    "postgresql": "CAST(EXTRACT(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
    # Not UNIX_TIMESTAMP(): that goes through the session's time zone, and back by an hour in autumn.
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
    "sqlite": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) * 1000 AS INTEGER)",
}
_QUOTE = {"postgresql": '"', "mysql": "`", "sqlite": '"'}
#: Databases that the statements are written and tested for.
VENDORS = tuple(_QUOTE)


def micros(seconds: float) -> int:
    """Seconds as whole microseconds."""
    return round(seconds * MICRO)


class Clock:
    """Which clock judges leases and lifetimes: the server's, or (tests) one that was given."""

    def __init__(self, time: Callable[[], float] | None) -> None:
        self._time = time
        self.embedded = time is None

    def base(self) -> int:
        """What parameters add their offsets to."""
        return 0 if self._time is None else micros(self._time())


class Spelling:
    """How one database wants it."""

    def __init__(self, vendor: str, clock: Clock) -> None:
        self.vendor, self._embedded, self._quote = vendor, clock.embedded, _QUOTE[vendor]

    def __call__(self, text: str) -> str:
        """``[name]`` becomes a quoted name, ``{at:x}`` the point in time that the parameter ``x`` says."""
        quote = self._quote
        text = re.sub(r"\{at:(\w+)\}", lambda found: self.at(found[1]), text)
        return re.sub(r"\[(\w+)\]", lambda found: f"{quote}{found[1]}{quote}", text)

    def at(self, parameter: str) -> str:
        """See ``{at:x}``."""
        return f"({_NOW[self.vendor]} + %({parameter})s)" if self._embedded else f"%({parameter})s"

    def names(self, columns: Any) -> str:
        """A list of columns."""
        return ", ".join(f"[{name}]" for name in columns)

    def values(self, columns: Any) -> str:
        """Their parameters."""
        return ", ".join(f"%({name})s" for name in columns)
