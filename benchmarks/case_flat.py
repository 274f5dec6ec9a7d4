"""What size costs: claim and peek on a table of 10,000 rows and of 1,000,000; and whether a purge keeps up.

Both sizes are asked in turn, by one process. Most peeks of a guard are for a key that is new; a stored one is a replay,
here of a row anywhere in the table. A round's figure is the middle of its calls, since what else the machine does makes
single ones many times as long. The purge runs on the large table, beside threads that claim and finish without a pause.
"""

from __future__ import annotations

import random
import secrets
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.flat_stores import OVER_EVERY, File, Server, key_of
from benchmarks.harness import Row, Settings, expect, progress, spread

GROUP = "size"
SMALL, LARGE, QUICK = 10_000, 1_000_000, 100_000
CALLS = 40
ROUNDS = 60
BOUND = 1.3
STORED, ABSENT, CLAIM = "peek, a stored key", "peek, a new key", "claim"
OPERATIONS = (STORED, ABSENT, CLAIM)
CLAIMERS = 2
#: Rows of one batch, and batches of one figure.
BATCH, SLICE = 1000, 5
#: Seconds after which the purge is stopped where it has not come to its end.
ENOUGH = 20.0


def request(key: str = "") -> Any:
    from botguard.ports.idempotency import ClaimRequest

    claim_id = secrets.token_hex(16)
    return ClaimRequest(
        key=key or secrets.token_hex(16),
        org="org-1",
        command="orders.create",
        claim_id=claim_id,
        person="user-1",
        fingerprint=b"0123456789abcdef",
        version="1",
        lease=90.0,
        takeover=False,
    )


def _peek_all(store: Any, keys: list[str], there: bool) -> float:
    """Seconds of a peek: the middle of some."""
    peek, found, times = store.peek, 0, []
    for key in keys:
        start = time.perf_counter()
        row = peek(key)
        times.append(time.perf_counter() - start)
        found += row is not None and row.state == "done"
    expect("rows found", found, len(keys) if there else 0)
    return median(times[1:])


def _living(size: int, chance: random.Random) -> list[str]:
    """Keys of rows anywhere in the table that are not past their lifetime."""
    tens = [OVER_EVERY * chance.randrange(size // OVER_EVERY) for _ in range(CALLS + 1)]
    return [key_of(ten + chance.randint(1, OVER_EVERY - 1)) for ten in tens]


def flatness(place: Server | File, name: str, sizes: tuple[int, int], rounds: int) -> list[Row]:
    """Microseconds of claim and peek on the large table, and their ratios to those on the small one."""
    chance = random.Random(4)
    times: dict[tuple[str, int], list[float]] = {(op, size): [] for op in OPERATIONS for size in sizes}
    for number in range(rounds + 1):
        for size in sizes if number % 2 else reversed(sizes):
            store = place.store(size)
            took = {
                STORED: _peek_all(store, _living(size, chance), True),
                ABSENT: _peek_all(store, [secrets.token_hex(16) for _ in range(CALLS + 1)], False),
                CLAIM: place.claim(size, [request() for _ in range(CALLS + 1)]),
            }
            if number:  # the first round warms
                for op, seconds in took.items():
                    times[op, size].append(seconds * 1e6)
    rows = []
    for op in OPERATIONS:
        small, large = (times[op, size] for size in sizes)
        rows.append(
            Row(
                group=GROUP,
                case=f"{name}, {sizes[1]:,} rows: {op}",
                cost=spread(large).mid,
                of=f"{sizes[0]:,} rows",
                figure=spread([large[n] / small[n] for n in range(rounds)]),
                bound=BOUND,
                note=f"{median(large) - median(small):+.1f} µs",
            )
        )
    for size in sizes:
        expect("rows are as many as before", place.count(size), size)
    return rows


class Claimers:
    """Threads that claim and finish keys as fast as the store lets them."""

    def __init__(self, store: Any) -> None:
        self.store, self.counts, self.odd = store, [0] * CLAIMERS, 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLAIMERS)]

    @property
    def made(self) -> int:
        return sum(self.counts)

    def _run(self, n: int) -> None:
        from botguard.ports.idempotency import Ack, RowState

        try:
            while not self.over.is_set():
                asked = request()
                won = self.store.claim(asked).won
                ack = self.store.finish(asked.key, asked.claim_id, RowState.DONE, b'"A-17"', 604_800.0, 1)
                if not won or ack is not Ack.APPLIED:
                    self.odd += 1
                self.counts[n] += 1
        except BaseException:
            self.odd += 1
            raise

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        expect("claims that were not won and finished", self.odd, 0)


def purging(place: Server | File, name: str, size: int) -> Row:
    """Rows a second that a purge deletes, for each claim that is made and finished meanwhile."""
    store = place.store(size)
    due, gone = size // OVER_EVERY, 0
    rates, ratios = [], []
    with Claimers(store) as claimers:
        time.sleep(0.5)
        first = start = time.perf_counter()
        made = before = claimers.made
        while gone < due and start - first < ENOUGH:
            deleted = sum(store.purge(BATCH) for _ in range(SLICE))
            now, claimed = time.perf_counter(), claimers.made
            rates.append(deleted / (now - start))
            ratios.append(deleted / max(1, claimed - before))
            gone, start, before = gone + deleted, now, claimed
            if deleted < BATCH * SLICE:
                break
        meanwhile = (before - made) / (start - first)
    expect("rows that are left", place.count(size), size - gone + claimers.made)
    if gone < due and start - first < ENOUGH:
        expect("rows purged", gone, due)
    return Row(
        group=GROUP,
        case=f"{name}, {size:,} rows: purge beside {CLAIMERS} threads that claim",
        cost=spread(rates).mid,
        unit="rows/s",
        of="claims made and finished meanwhile",
        figure=spread(ratios),
        bound=1.0,
        at_least=True,
        note=f"{gone:,} rows gone, {meanwhile:.0f} claims/s meanwhile",
    )


def group(settings: Settings) -> list[Row]:
    if not settings.with_guard:
        return []
    sizes = (SMALL, QUICK if settings.quick else LARGE)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="botguard-bench-") as folder:
        for name, title in (("postgresql", "PostgreSQL"), ("mariadb", "MariaDB"), ("sqlite", "SQLite")):
            began = time.perf_counter()
            try:
                place = File(Path(folder), sizes) if name == "sqlite" else Server(name, sizes)
            except ConnectionError as error:
                progress(f"flat skipped: {error}")
                rows.append(Row(group=GROUP, case=f"{title}: skipped", note=str(error)))
                continue
            progress(f"flat  {title}: filled in {time.perf_counter() - began:.0f} s")
            try:
                rows += flatness(place, title, sizes, settings.rounds(ROUNDS))
                rows.append(purging(place, title, sizes[1]))
            finally:
                place.close()
            progress(f"flat  {title}: {time.perf_counter() - began:.0f} s")
    return rows
