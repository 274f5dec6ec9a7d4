"""Claim stores of a given size, filled by one statement each, for the cases that look at what size costs."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import expect
from benchmarks.servers import PREFIX, connect_to, no_fsync

#: Every so many rows one is past its lifetime, wherever it lies: commands may keep their results differently long.
OVER_EVERY = 10
_WEEK = 604_800.0
_COLUMNS = (
    "key, org, command, state, claim_id, fence, lease_until, expires_at, person, fingerprint, version, "
    "event_id, attempts, result"
)
#: What the databases spell differently: text of a number, digest in hex and in bytes, a result, and the numbers.
_SPELLED = {
    "postgresql": {
        "i": "i::text",
        "hex": "md5(i::text)",
        "raw": "decode(md5(i::text), 'hex')",
        "result": "convert_to('\"A-17\"', 'UTF8')",
        "rows": "generate_series(1, {n}) i",
    },
    "mysql": {
        "i": "seq",
        "hex": "md5(seq)",
        "raw": "unhex(md5(seq))",
        "result": "'\"A-17\"'",
        "rows": "seq_1_to_{n}",
    },
    "sqlite": {
        "i": "i",
        "hex": "md5(i)",
        "raw": "randomblob(16)",
        "result": "CAST('\"A-17\"' AS BLOB)",
        "rows": "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {n}) SELECT i FROM s)",
    },
}


def key_of(number: int) -> str:
    """The key of a row, as ``md5`` in the statements makes it: in no order, as real ones are."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def _fill(dialect: str, table: str, rows: int, unit: float) -> str:
    spelled, now = _SPELLED[dialect], time.time()
    number = "seq" if dialect == "mysql" else "i"
    remainder = f"{number} % {OVER_EVERY}" if dialect == "sqlite" else f"mod({number}, {OVER_EVERY})"
    over, alive = (
        (repr(now - 3600), repr(now + _WEEK)) if unit == 1 else (int((now - 3600) * unit), int((now + _WEEK) * unit))
    )
    if dialect == "mysql":
        names = _COLUMNS.replace("key,", "`key`,", 1)
        claim_id, event_id = "concat('claim-', seq)", "concat('event-', seq)"
    else:
        names, claim_id, event_id = _COLUMNS, f"'claim-' || {spelled['i']}", f"'event-' || {spelled['i']}"
    return (
        f"INSERT INTO {table} ({names}) SELECT {spelled['hex']}, 'org-1', 'orders.create', 'done', {claim_id}, 1, "
        f"{over}, CASE WHEN {remainder} = 0 THEN {over} ELSE {alive} END, 'user-1', {spelled['raw']}, '1', {event_id}, "
        f"1, {spelled['result']} FROM {spelled['rows'].format(n=rows)}"
    )


def _middle(claim: Callable[[Any], Any], requests: list[Any]) -> float:
    times, won = [], 0
    for request in requests:
        start = time.perf_counter()
        answer = claim(request)
        times.append(time.perf_counter() - start)
        won += answer.won
    expect("claims won", won, len(requests))
    return median(times[1:])


class Server:
    """Stores in a server's database. Claims are timed in a transaction that is undone: no fsync hides their cost."""

    def __init__(self, name: str, sizes: tuple[int, ...]) -> None:
        from botguard.adapters.sqlalchemy import SqlAlchemyStorage

        engine = connect_to(name)
        if isinstance(engine, str):
            raise ConnectionError(engine)
        engine.dispose()
        no_fsync(engine)
        self.engine, self.storages = engine, {}
        try:
            for size in sizes:
                storage = SqlAlchemyStorage(engine, prefix=f"{PREFIX}{size}_")
                storage.create_tables()
                self.storages[size] = storage
                self._fill(storage, size)
        except BaseException:
            self.close()
            raise

    def _fill(self, storage: Any, size: int) -> None:
        table = storage.operations.claims.table.name
        with self.engine.begin() as connection:
            connection.exec_driver_sql(_fill(self.engine.dialect.name, table, size, 1e6))
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            tidy = {"postgresql": "VACUUM ANALYZE", "mysql": "ANALYZE TABLE"}[self.engine.dialect.name]
            connection.exec_driver_sql(f"{tidy} {table}").close()

    def store(self, size: int) -> Any:
        return self.storages[size].idempotency

    def claim(self, size: int, requests: list[Any]) -> float:
        """Seconds of a claim: the middle of some, of which nothing is kept."""
        from botguard.adapters.sqlalchemy.drivers import Step

        claim = self.storages[size].operations.claims.claim
        with self.engine.connect() as connection:
            step = Step(connection, own=False)
            took = _middle(lambda request: claim(step, request, None), requests)
            connection.rollback()
        return took

    def count(self, size: int) -> int:
        with self.engine.connect() as connection:
            table = self.storages[size].operations.claims.table.name
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())

    def close(self) -> None:
        for storage in self.storages.values():
            storage.metadata.drop_all(self.engine)
        self.engine.dispose()


class File:
    """Stores in files of SQLite; commits do not wait for the disk (synchronous NORMAL)."""

    def __init__(self, folder: Path, sizes: tuple[int, ...]) -> None:
        from botguard.adapters.sqlite import SqliteStorage

        self.paths = {size: folder / f"{size}.db" for size in sizes}
        self.storages = {size: SqliteStorage(path, synchronous="NORMAL") for size, path in self.paths.items()}
        for size, path in self.paths.items():
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.create_function("md5", 1, key_of, deterministic=True)
                connection.execute(_fill("sqlite", "botguard_claims", size, 1))

    def store(self, size: int) -> Any:
        return self.storages[size].idempotency

    def claim(self, size: int, requests: list[Any]) -> float:
        """Seconds of a claim: the middle of some, which are released."""
        store = self.store(size)
        took = _middle(store.claim, requests)
        for request in requests:
            store.release(request.key, request.claim_id)
        return took

    def count(self, size: int) -> int:
        with closing(sqlite3.connect(self.paths[size])) as connection:
            return int(connection.execute("SELECT count(*) FROM botguard_claims").fetchone()[0])

    def close(self) -> None:
        for storage in self.storages.values():
            storage.close()
