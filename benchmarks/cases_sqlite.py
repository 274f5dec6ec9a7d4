"""A durable run on SQLite against the least that could do it: two commits, written with bare sqlite3.

Bare: INSERT the claim (one commit), then UPDATE it to done and INSERT the event (one commit), with the
columns of the guard's own tables (compared), and nothing else: no validation, no fingerprint, no look-up.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from itertools import count
from pathlib import Path

from benchmarks.guarded import Shop, Synchronous, sqlite_columns, sqlite_rows, sqlite_shop
from benchmarks.harness import Block, Case, Row, Settings, expect, ratio, run_rounds, spread
from benchmarks.orders import Sent, orders, org_of
from benchmarks.peer_stack import COMMAND

#: Small blocks and many rounds: the time of an fsync drifts within seconds.
CALLS = 100
WARM = 5
ROUNDS = 50
CALLERS = 100
#: Keys that are asked for again after each round, to see that the file has their results.
ASKED_AGAIN = 10

SCHEMA = """
CREATE TABLE botguard_claims (
    seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, org TEXT NOT NULL, command TEXT NOT NULL,
    state TEXT NOT NULL, claim_id TEXT NOT NULL, fence INTEGER NOT NULL, lease_until REAL NOT NULL,
    expires_at REAL, person TEXT NOT NULL, fingerprint BLOB NOT NULL, version TEXT NOT NULL,
    event_id TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0, result BLOB
);
CREATE TABLE botguard_events (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, org TEXT NOT NULL,
    actor TEXT NOT NULL, person TEXT NOT NULL, channel TEXT NOT NULL, command TEXT NOT NULL,
    status TEXT NOT NULL,
    reasons TEXT NOT NULL, attempts INTEGER NOT NULL, duration_ms REAL NOT NULL, success INTEGER NOT NULL,
    replayed INTEGER NOT NULL, degraded INTEGER NOT NULL, key TEXT NOT NULL, shadow TEXT NOT NULL,
    policy_digest TEXT NOT NULL, correlation_id TEXT NOT NULL, count INTEGER NOT NULL
);
"""
CLAIM = (
    "INSERT INTO botguard_claims (key, org, command, state, claim_id, fence, lease_until, person, "
    "fingerprint, version) VALUES (?, ?, ?, 'claimed', ?, ?, ?, ?, ?, '1')"
)
COMPLETE = (
    "UPDATE botguard_claims SET state = 'done', result = ?, event_id = ?, attempts = 1, expires_at = ? "
    "WHERE key = ? AND claim_id = ? AND state = 'claimed'"
)
EVENT = (
    "INSERT INTO botguard_events (id, kind, at, org, actor, person, channel, command, status, reasons, "
    "attempts, duration_ms, success, replayed, degraded, key, shadow, policy_digest, correlation_id, count) "
    "VALUES (?, 'run', ?, ?, ?, ?, 'web', ?, 'succeeded', '', 1, ?, 1, 0, 0, ?, '', '', '', 1)"
)


class Bare:
    """One connection and file over all rounds: checkpoints fall where they would in a long-lived process."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute(f"PRAGMA synchronous = {synchronous}")
        self.connection.executescript(SCHEMA)
        self.ids = count()
        self.runs = 0

    def prepare(self, number: int) -> Block:
        sent = orders(f"run-{number}", WARM + CALLS)
        self.runs += len(sent)

        def check() -> None:
            expect("done claims and events", sqlite_rows(self.path), (self.runs, self.runs))

        def send(orders: list[Sent]) -> None:
            for order in orders:
                self.run(order)

        return Block(calls=CALLS, warm=lambda: send(sent[:WARM]), run=lambda: send(sent[WARM:]), check=check)

    def run(self, order: Sent) -> None:
        execute, now, key = self.connection.execute, time.time(), f"{order.raw['order_id']:0>40}"
        number, org, user = next(self.ids), org_of(order.user), f"user-{order.user}"
        claim_id, event_id = f"claim-{number:016}", f"event-{number:016}"
        execute(CLAIM, (key, org, COMMAND, claim_id, number, now + 90, user, b"0123456789abcdef"))
        execute("BEGIN IMMEDIATE")
        execute(COMPLETE, (b'"A-17"', event_id, now + 604800, key, claim_id))
        execute(EVENT, (event_id, now, org, user, user, COMMAND, (time.time() - now) * 1000, key))
        execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


class Guarded:
    """The same runs through a guard, one caller or many, on one file over all rounds."""

    def __init__(self, path: Path, synchronous: Synchronous, callers: int = 0) -> None:
        self.path, self.callers = path, callers
        self.shop: Shop = sqlite_shop(path, synchronous, asynchronous=callers > 0)
        self.runs = self.replays = 0

    def prepare(self, number: int) -> Block:
        calls = max(CALLS, 5 * self.callers)
        sent = orders(f"run-{number}", WARM + calls)
        self.runs += len(sent)
        self.replays += ASKED_AGAIN

        async def run_async() -> None:
            await self.shop.send_from(sent[WARM:], self.callers)

        def check() -> None:
            expect("effects", self.shop.effects, self.runs)
            if self.callers:
                asyncio.run(self.shop.expect_all_stored_async(sent[:ASKED_AGAIN]))
            else:
                self.shop.expect_all_stored(sent[:ASKED_AGAIN])
            expect("done claims and events", sqlite_rows(self.path), (self.runs, self.runs + self.replays))

        if self.callers:
            return Block(calls=calls, warm=lambda: self.shop.send_async(sent[:WARM]), run=run_async, check=check)
        warm, run = lambda: self.shop.send(sent[:WARM]), lambda: self.shop.send(sent[WARM:])
        return Block(calls=calls, warm=warm, run=run, check=check)

    def close(self) -> None:
        self.shop.guard.storage.close()


FULL, NORMAL = "guard, FULL", "guard, NORMAL"
BARE_FULL, BARE_NORMAL = "bare sqlite3, FULL", "bare sqlite3, NORMAL"
MANY = f"guard, FULL, {CALLERS} async callers"


def group(settings: Settings) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="botguard-bench-") as folder:
        path = Path(folder)
        subjects: dict[str, Bare | Guarded] = {
            BARE_FULL: Bare(path / "bare-full.db", "FULL"),
            BARE_NORMAL: Bare(path / "bare-normal.db", "NORMAL"),
        }
        if settings.with_guard:
            subjects[FULL] = Guarded(path / "full.db", "FULL")
            subjects[NORMAL] = Guarded(path / "normal.db", "NORMAL")
            subjects[MANY] = Guarded(path / "many.db", "FULL", CALLERS)
            expect(
                "columns of bare sqlite3",
                sqlite_columns(path / "bare-full.db"),
                sqlite_columns(path / "full.db"),
            )
        order = [name for name in (BARE_FULL, FULL, MANY, BARE_NORMAL, NORMAL) if name in subjects]
        try:
            cases = [Case(name=name, prepare=subjects[name].prepare) for name in order]
            timings = run_rounds("sqlite", cases, settings.rounds(ROUNDS), settings)
        finally:
            for subject in subjects.values():
                subject.close()
    against = {FULL: BARE_FULL, MANY: BARE_FULL, NORMAL: BARE_NORMAL}
    bounds = {FULL: 1.25, MANY: 0.5}
    return [
        Row(
            group="SQLite, WAL",
            case=name,
            cost=spread(timing.wall).mid,
            of=against.get(name, ""),
            figure=ratio(timings, name, against[name], "wall") if name in against else None,
            bound=bounds.get(name),
        )
        for name, timing in timings.items()
    ]
