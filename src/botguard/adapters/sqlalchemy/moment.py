"""Time in statements: the server's own clock inside them, or a clock of the host's bound to them.

Everything is counted in microseconds since the epoch. A point in time is written ``base + offset``: with the server's
clock the base stands in the SQL and the parameter carries the offset alone; with a bound clock the parameter carries the
sum. So one statement, built once, serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, BindParameter, Connection, bindparam, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

__all__ = ["MICRO", "PREFIX", "Clock", "ServerNow", "micros", "parameter"]

MICRO = 1_000_000
#: Before the name of every parameter of ours: SQLAlchemy takes one that is named like a column for a value of it.
PREFIX = "bg_"


def parameter(name: str, kind: TypeEngine[Any], **options: Any) -> BindParameter[Any]:
    """A parameter of a statement."""
    return bindparam(PREFIX + name, type_=kind, **options)


def micros(seconds: float) -> int:
    """Seconds as whole microseconds."""
    return round(seconds * MICRO)


class ServerNow(FunctionElement[int]):
    """The server's clock at the moment of evaluation (not the transaction's start), in microseconds."""

    type = BigInteger()
    inherit_cache = True
    name = "botguard_now"


@compiles(ServerNow, "postgresql")
def _postgresql(*_: Any, **__: Any) -> str:
    return "CAST(EXTRACT(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


@compiles(ServerNow, "mysql")
@compiles(ServerNow, "mariadb")
def _mysql(*_: Any, **__: Any) -> str:
    # Not UNIX_TIMESTAMP(): that goes through the session's time zone, and back by an hour in autumn.
    return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"


@compiles(ServerNow, "sqlite")
def _sqlite(*_: Any, **__: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) * 1000 AS INTEGER)"


class Clock:
    """Which clock judges leases and lifetimes.

    Args:
        time: the host's clock (tests); None for the server's.
        embedded: False where a mapped column holds times in another form than ours, so that SQL cannot add to it: then
            the server is asked for its time first.
    """

    def __init__(self, time: Callable[[], float] | None, *, embedded: bool = True) -> None:
        self._time = time
        self.embedded = embedded and time is None

    def after(self, name: str, kind: TypeEngine[Any]) -> ColumnElement[Any]:
        """The point in time that the parameter ``name`` says, in the form of a column of type ``kind``."""
        if self.embedded:
            return ServerNow() + parameter(name, BigInteger())
        return parameter(name, kind)

    def now(self) -> ColumnElement[int]:
        """Now, as a column to read beside others; in microseconds. It needs the parameter ``base``."""
        if self.embedded:
            return (ServerNow() + parameter("base", BigInteger())).label("now")
        return parameter("base", BigInteger()).label("now")

    def base(self, connection: Connection) -> int:
        """What parameters add their offsets to: nothing where the SQL itself says now, else now."""
        if self.embedded:
            return 0
        if self._time is not None:
            return micros(self._time())
        return int(connection.execute(select(ServerNow())).scalar_one())
