"""The tables, and the one ordered way from an older version of them to this one."""

from __future__ import annotations

import random
import secrets
import sqlite3
import time

from botguard.adapters.sqlite.connection import WorkConnection, connect, is_busy, is_down, unavailable
from botguard.errors import ConfigurationError, SchemaTooNew

__all__ = ["MIGRATIONS", "prepare"]

# Claims lie in the order of their arrival: finishing one touches the page that claiming it touched, and the random
# keys stand only in a narrow index. (Measured against WITHOUT ROWID by key, 700 byte results: 5 % less time with FULL,
# 30 % less with NORMAL, peeks a quarter cheaper.) No index on expires_at: it would cost every run a page, and a purge
# finds what is over on a read connection, which holds nobody up.
#
# The fence must rise with each new owner of a key, also after its row was deleted. The fast path takes the time in
# microseconds, which costs nothing; the trigger keeps the highest fence that was ever deleted, whoever deletes; and a
# claim with a fence not above that (the clock was set back) falls to the slow path, which takes the next number.
_V1 = (
    "INSERT INTO botguard_meta (name, value) VALUES ('fence_floor', 0)",
    """CREATE TABLE botguard_claims (
        seq INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        org TEXT NOT NULL,
        command TEXT NOT NULL,
        state TEXT NOT NULL,
        claim_id TEXT NOT NULL,
        fence INTEGER NOT NULL,
        lease_until REAL NOT NULL,
        expires_at REAL,
        person TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        version TEXT NOT NULL,
        event_id TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        result BLOB)""",
    """CREATE TRIGGER botguard_claims_fence AFTER DELETE ON botguard_claims BEGIN
        UPDATE botguard_meta SET value = old.fence WHERE name = 'fence_floor' AND value < old.fence;
    END""",
    """CREATE TABLE botguard_events (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        at REAL NOT NULL,
        org TEXT NOT NULL,
        actor TEXT NOT NULL,
        person TEXT NOT NULL,
        channel TEXT NOT NULL,
        command TEXT NOT NULL,
        status TEXT NOT NULL,
        reasons TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        duration_ms REAL NOT NULL,
        success INTEGER NOT NULL,
        replayed INTEGER NOT NULL,
        degraded INTEGER NOT NULL,
        key TEXT NOT NULL,
        shadow TEXT NOT NULL,
        policy_digest TEXT NOT NULL,
        correlation_id TEXT NOT NULL,
        count INTEGER NOT NULL)""",
    """CREATE TABLE botguard_approvals (
        seq INTEGER PRIMARY KEY,
        subject TEXT NOT NULL UNIQUE,
        token TEXT NOT NULL UNIQUE,
        org TEXT NOT NULL,
        command TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        person TEXT NOT NULL,
        actor TEXT NOT NULL,
        channel TEXT NOT NULL,
        delivery TEXT,
        text TEXT NOT NULL,
        reasons TEXT NOT NULL,
        payload BLOB,
        expires_at REAL NOT NULL,
        state TEXT NOT NULL,
        spent_on TEXT NOT NULL)""",
    """CREATE TABLE botguard_limits (
        tag TEXT NOT NULL,
        bucket TEXT NOT NULL,
        slot REAL NOT NULL,
        token TEXT NOT NULL,
        used INTEGER NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (tag, bucket, slot, token)) WITHOUT ROWID""",
    "CREATE INDEX botguard_limits_expiry ON botguard_limits (expires_at)",
)

#: Statements that lead from the version before to the one they stand under. Never edit an entry that was released.
MIGRATIONS: dict[int, tuple[str, ...]] = {1: _V1}

_META = "CREATE TABLE IF NOT EXISTS botguard_meta (name TEXT NOT NULL PRIMARY KEY, value) WITHOUT ROWID"


def prepare(path: str, *, synchronous: str, patience: float) -> tuple[WorkConnection, bytes]:
    """Open the file, make it or bring it up to date, whoever else does the same; returns the fingerprint key too.

    Raises:
        StoreUnavailable: the file cannot be opened, or stays locked for ``patience`` seconds.
        SchemaTooNew: a newer botguard wrote it.
    """
    deadline = time.monotonic() + patience
    while True:
        connection: WorkConnection | None = None
        try:
            connection = connect(path, synchronous=synchronous, timeout=0.0, create=True)
            return connection, _prepare(connection, path)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if not isinstance(error, sqlite3.Error) or not is_down(error):
                raise
            if not is_busy(error) or time.monotonic() >= deadline:
                raise unavailable(error, path) from error
        # Entering WAL mode answers "locked" at once, whatever the busy timeout is; so the waiting is done here.
        time.sleep(0.001 + 0.01 * random.random())  # noqa: S311 - jitter


def _prepare(connection: sqlite3.Connection, path: str) -> bytes:
    execute = connection.execute
    mode = execute("PRAGMA journal_mode").fetchall()[0][0]
    if mode != "wal":
        mode = execute("PRAGMA journal_mode=WAL").fetchall()[0][0]
        if mode != "wal":
            raise ConfigurationError(
                "BG144",
                f"{path} cannot use write-ahead logging (its journal mode is {mode!r})",
                why="without it readers and writers block each other, and a claim could wait for a look-up",
                fix="put the file on a local disk",
            )
    if _version(connection, path) != max(MIGRATIONS):
        _upgrade(connection, path)
    rows = execute("SELECT value FROM botguard_meta WHERE name = 'fingerprint_key'").fetchall()
    return bytes(rows[0][0])


def _version(connection: sqlite3.Connection, path: str) -> int:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'botguard_meta'").fetchall()
    if not known:
        return 0
    rows = connection.execute("SELECT value FROM botguard_meta WHERE name = 'schema_version'").fetchall()
    version = int(rows[0][0]) if rows else 0
    if version > max(MIGRATIONS):
        raise SchemaTooNew(
            f"{path} has version {version} of botguard's tables, and this botguard knows versions up to "
            f"{max(MIGRATIONS)}; it would read and write rows that it does not understand. Fix: upgrade botguard in "
            f"this process to the release that the others run, or name another file"
        )
    return version


def _upgrade(connection: sqlite3.Connection, path: str) -> None:
    """All steps in one transaction: a file is of one version or another, also after a crash between two steps."""
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    try:
        execute(_META)
        version = _version(connection, path)  # another process may have been faster
        for step in sorted(MIGRATIONS):
            if step > version:
                for statement in MIGRATIONS[step]:
                    execute(statement)
        execute(
            "INSERT INTO botguard_meta (name, value) VALUES ('schema_version', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (max(MIGRATIONS),),
        )
        execute(
            "INSERT INTO botguard_meta (name, value) VALUES ('fingerprint_key', ?) ON CONFLICT DO NOTHING",
            (secrets.token_bytes(32),),
        )
        execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            execute("ROLLBACK")
        raise
