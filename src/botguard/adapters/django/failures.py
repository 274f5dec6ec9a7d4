"""What a driver's error means: is the store down, may the same be tried again, may it have been applied?"""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, ProgrammingError
from django.db.transaction import TransactionManagementError

from botguard.errors import StoreUnavailable

__all__ = ["DOWN", "is_down", "is_duplicate", "is_retriable", "unavailable"]

#: What may come from a connect or a statement when the store is down.
DOWN = (DatabaseError, InterfaceError, OSError)

#: The server undid the transaction, and the same may work at once.
_RETRIABLE_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_RETRIABLE_CODES = frozenset({1213, 1020})  # MySQL, MariaDB: deadlock, record has changed since last read
_MISSING_STATES = frozenset({"42P01", "42703"})  # no such table, no such column
_MISSING_CODES = frozenset({1146, 1054})
_LOCKED = frozenset({1205})  # lock wait timeout: the statement was undone
#: SQLite says with these that it wrote nothing.
_REFUSED = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_ERROR")


def _state(error: BaseException) -> str:
    """SQLSTATE of PostgreSQL's drivers."""
    cause: Any = error.__cause__
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "")


def _code(error: BaseException) -> int:
    """Number of MySQL's drivers."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def _sqlite(error: BaseException) -> str:
    return str(getattr(error.__cause__, "sqlite_errorname", None) or "")


def is_retriable(error: BaseException) -> bool:
    """True if the transaction is surely undone, and its repetition may succeed."""
    return (
        _state(error) in _RETRIABLE_STATES
        or _code(error) in _RETRIABLE_CODES
        or _sqlite(error) == "SQLITE_BUSY_SNAPSHOT"
    )


def is_duplicate(error: BaseException) -> bool:
    """True for a row that a unique constraint kept out (MySQL and MariaDB, where an insert cannot say it otherwise)."""
    return isinstance(error, IntegrityError) and _code(error) == 1062


def is_down(error: BaseException) -> bool:
    """True if the store failed; False if it was asked something impossible."""
    if isinstance(error, ProgrammingError):
        return _is_missing(error) or isinstance(error, TransactionManagementError)
    return isinstance(error, DOWN) and not isinstance(error, DataError | IntegrityError)


def _is_missing(error: BaseException) -> bool:
    text = str(error)
    missing = _state(error) in _MISSING_STATES or _code(error) in _MISSING_CODES
    return missing or "no such table" in text or "no such column" in text


def _surely_undone(error: BaseException) -> bool:
    """True if the error says itself that nothing was committed."""
    state = _state(error)
    answered = bool(state) and state[:2] not in ("57", "08", "58")  # the server is alive, and refused
    return (
        answered
        or state == "57014"  # cancelled by request or by its time-out
        or is_retriable(error)
        or _is_missing(error)
        or _code(error) in _LOCKED
        or _sqlite(error).startswith(_REFUSED)
    )


def _fix(error: BaseException, host: bool) -> str:
    if _is_missing(error):
        return 'put "botguard.adapters.django" into INSTALLED_APPS and run manage.py migrate'
    if isinstance(error, TransactionManagementError):
        return "let the error that broke the transaction out of its atomic() block before the guarded call"
    if host and _sqlite(error).startswith("SQLITE_BUSY"):
        return "call it outside of atomic() and ATOMIC_REQUESTS, or declare effects='transactional'"
    if _sqlite(error).startswith("SQLITE_BUSY") or _code(error) in _LOCKED or _state(error) == "55P03":
        return "end the transaction that holds the rows"
    return ""


def unavailable(error: BaseException, *, sent: bool = False, host: bool = False) -> StoreUnavailable:
    """The port's error for a store that failed.

    Args:
        error: what Django raised.
        sent: what makes the write durable was on its way: without an answer, nobody can know.
        host: an open transaction of the host's own may be what we waited for.
    """
    broken = isinstance(error, TransactionManagementError)
    return StoreUnavailable(
        f"the database failed: {type(error).__name__}: {str(error).strip():.300}",
        maybe_applied=sent and not _surely_undone(error),
        fix=_fix(error, host),
        host_transaction=broken or (host and _sqlite(error).startswith("SQLITE_BUSY")),
    )
