"""On which connection a statement is sent: Django's own, or one beside it while the host's transaction is open there."""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

from django.db import connections

from botguard.errors import StoreUnavailable

__all__ = ["Place", "beside", "close_side_connections", "forget_side_connections", "is_host_open", "own_place"]

#: Seconds after which an idle connection is asked whether it is still there: a bot has no end of requests, at which
#: Django would look.
_IDLE = 60.0
#: Seconds for which a connection beside the host's waits for SQLite's lock: this very thread may hold it.
_SHORT = 0.2


class Place(NamedTuple):
    """A connection.

    Args:
        inside: a transaction is open on it that is not ours to end; our own groups become savepoints.
        host: the host has a transaction open, on this connection or on the one that it stands beside.
    """

    connection: Any
    inside: bool
    host: bool


class _Sides(threading.local):
    """Connections beside Django's, of one thread; closed when the thread ends."""

    def __init__(self) -> None:
        self.by_alias: dict[str, Any] = {}
        self.used: dict[int, float] = {}

    def __del__(self) -> None:
        for connection in self.by_alias.values():
            try:
                connection.close()
            except Exception:  # noqa: BLE001, S110 - nobody is left to tell
                pass


_sides = _Sides()


def is_host_open(connection: Any) -> bool:
    """True inside an atomic block of the host's; the blocks of a TestCase, which never commit, do not count."""
    if connection.in_atomic_block:
        blocks = connection.atomic_blocks
        return not blocks or any(not block._from_testcase for block in blocks)  # noqa: SLF001 - as Django's own durable=True does
    return not connection.get_autocommit()


def own_place(alias: str) -> Place:
    """Django's connection of this thread."""
    connection = connections[alias]
    if connection.in_atomic_block:
        return Place(connection, True, is_host_open(connection))
    _freshen(connection)
    host = is_host_open(connection)
    return Place(connection, host, host)


def beside(alias: str, host: Any) -> Place:
    """Another connection to the same database, whose commits do not wait for the host's.

    Raises:
        StoreUnavailable: where there can be none.
    """
    if host.vendor == "sqlite" and host.is_in_memory_db():
        raise StoreUnavailable(
            "the host's transaction is open, and a SQLite database in memory has no second connection",
            host_transaction=True,
            fix="call it outside of atomic(), or use a file",
        )
    found = _sides.by_alias.get(alias)
    if found is None or found.settings_dict["NAME"] != host.settings_dict["NAME"]:
        found = _sides.by_alias[alias] = _side(alias)
    _freshen(found)
    return Place(found, False, True)


def _side(alias: str) -> Any:
    made = connections.create_connection(alias)
    made.inc_thread_sharing()  # it is closed by whoever clears up after its thread
    if made.vendor == "sqlite":
        settings = made.settings_dict
        made.settings_dict = {**settings, "OPTIONS": {**settings.get("OPTIONS", {}), "timeout": _SHORT}}
    return made


def _freshen(connection: Any) -> None:
    """Drop a connection that died while nobody used it."""
    now = time.monotonic()
    last = _sides.used.get(id(connection), now)
    _sides.used[id(connection)] = now
    if now - last > _IDLE and connection.connection is not None and not connection.is_usable():
        connection.close()


def close_side_connections(**_: Any) -> None:
    """Do with ours at the end of a request what Django does with its own."""
    for connection in _sides.by_alias.values():
        connection.close_if_unusable_or_obsolete()


def forget_side_connections() -> None:
    """Close this thread's, for good; the next one is made anew."""
    for connection in _sides.by_alias.values():
        connection.close()
    _sides.by_alias.clear()
