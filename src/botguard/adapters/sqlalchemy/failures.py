"""What a driver's error means: is the store down, may the same be tried again, may it have been applied?"""

from __future__ import annotations

from sqlalchemy import exc

from botguard.errors import StoreUnavailable

__all__ = ["DOWN", "is_down", "is_duplicate", "is_retriable", "unavailable"]

#: What may come from a connect or a statement when the store is down; asyncpg's refused connection is a bare OSError.
DOWN = (exc.DBAPIError, exc.TimeoutError, OSError)

#: The transaction was rolled back by the server, and the same may work at once.
_RETRIABLE_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_RETRIABLE_CODES = frozenset({1213, 1020})  # MySQL, MariaDB: deadlock, record has changed since last read
_MISSING_STATES = frozenset({"42P01", "42703"})  # no such table, no such column
_MISSING_CODES = frozenset({1146, 1054})
_LOCKED = frozenset({1205})  # lock wait timeout


def _state(error: exc.DBAPIError) -> str:
    """SQLSTATE of PostgreSQL's drivers."""
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")


def _code(error: exc.DBAPIError) -> int:
    """Number of MySQL's drivers."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _sqlite(error: exc.DBAPIError) -> str:
    return str(getattr(error.orig, "sqlite_errorname", None) or "")


def is_retriable(error: BaseException) -> bool:
    """True if the transaction is surely undone, and its repetition may succeed."""
    if not isinstance(error, exc.DBAPIError) or error.connection_invalidated:
        return False
    # A write after a read of an older snapshot; the busy timeout does not help there.
    return (
        _state(error) in _RETRIABLE_STATES
        or _code(error) in _RETRIABLE_CODES
        or _sqlite(error) == "SQLITE_BUSY_SNAPSHOT"
    )


def is_duplicate(error: exc.IntegrityError) -> bool:
    """True for a row that a unique constraint kept out (MySQL and MariaDB, where an insert cannot say it otherwise)."""
    return _code(error) == 1062


def is_down(error: BaseException) -> bool:
    """True if the store failed; False if it was asked something impossible."""
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InternalError):
            return True
        if isinstance(error, exc.ProgrammingError | exc.InterfaceError):
            return _is_missing(error) or isinstance(error, exc.InterfaceError)
        return type(error) in (exc.DBAPIError, exc.DatabaseError)
    return isinstance(error, exc.TimeoutError | OSError | exc.PendingRollbackError | exc.ResourceClosedError)


def _is_missing(error: exc.DBAPIError) -> bool:
    text = str(error.orig)
    return (
        _state(error) in _MISSING_STATES
        or _code(error) in _MISSING_CODES
        or "no such table" in text
        or "no such column" in text
    )


def _surely_undone(error: BaseException) -> bool:
    """True if an error at COMMIT says itself that nothing was committed."""
    if not isinstance(error, exc.DBAPIError):
        return False
    state = _state(error)
    return is_retriable(error) or state.startswith("23") or _sqlite(error).startswith("SQLITE_BUSY")


def _fix(error: BaseException) -> str:
    if isinstance(error, exc.TimeoutError):
        return "give the engine a larger pool: a call holds one connection, and an open session of yours another"
    if isinstance(error, exc.DBAPIError):
        if _is_missing(error):
            return "run the migration that makes botguard's tables, or storage.create_tables() for a trial"
        if _sqlite(error).startswith("SQLITE_BUSY") or _code(error) in _LOCKED or _state(error) == "55P03":
            return "end the transaction that holds the rows; pass session= where it is your own"
    return ""


def unavailable(error: BaseException, *, committing: bool = False, host: bool = False) -> StoreUnavailable:
    """The port's error for a store that failed.

    Args:
        error: what the driver said.
        committing: the transaction's end was on its way: without an answer, nobody can know.
        host: it happened inside the host's own transaction.
    """
    orig = getattr(error, "orig", None) or error
    return StoreUnavailable(
        f"the database failed: {type(orig).__name__}: {str(orig).strip():.300}",
        maybe_applied=committing and not _surely_undone(error),
        fix=_fix(error),
        host_transaction=host and _sqlite(error).startswith("SQLITE_BUSY")
        if isinstance(error, exc.DBAPIError)
        else False,
    )
