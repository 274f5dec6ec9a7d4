"""A durable run on PostgreSQL against the very statements that it sends, sent bare through the same driver.

A ``transactional`` run has one effect row: it sends a look at the key, the claim (one commit), then effect, completion
and event (one commit). An ``external`` run sends the same without the effect. Bare is what is left when the guard is
taken away: the same constructs with other values, by SQLAlchemy Core on a like engine, a connection of its pool for each
of the three transactions. The handler's session is not in it. A row against psycopg alone, on one connection that is
kept, says what SQLAlchemy itself costs.
"""

from __future__ import annotations

import gc
import secrets
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.guarded import Shop, postgres_shop
from benchmarks.harness import Row, Settings, Spread, Timing, expect, progress, ratio, spread
from benchmarks.orders import orders
from benchmarks.replayed import Core, Raw, Recording, commits_of, record
from benchmarks.servers import PREFIX, connect_to

GROUP = "PostgreSQL"
#: Runs of each case in a round, and rounds.
TURNS = 25
ROUNDS = 30
BOUND = 1.3
COMMITS = 2
KINDS = ("transactional", "external")
#: Runs that are looked at one by one, untimed.
WATCHED = 20

STATEMENTS = {True: ["SELECT", "INSERT", "INSERT", "UPDATE", "INSERT"], False: ["SELECT", "INSERT", "UPDATE", "INSERT"]}


class Tables:
    """The tables that a guard and its bare peers write to, and how many runs they must show."""

    def __init__(self, engine: Any, prefix: str, *, transactional: bool) -> None:
        self.engine, self.prefix, self.transactional = engine, prefix, transactional
        self.shop: Shop = postgres_shop(engine, prefix, transactional=transactional)
        self.runs = 0

    def ask(self, statement: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql(statement.format(self.prefix)).scalar_one())

    def expect_rows(self) -> None:
        expect("calls with another status", self.shop.odd, 0)
        found = [
            self.ask("SELECT count(*) FROM {0}claims WHERE state = 'done'"),
            self.ask("SELECT count(*) FROM {0}events"),
            self.ask("SELECT count(*) FROM {0}orders"),
        ]
        expect("claims, events, effects", found, [self.runs, self.runs, self.runs if self.transactional else 0])

    def expect_joint_commits(self) -> None:
        """The server says which transaction wrote a row last: completion, event and effect of a run are of one."""
        same = self.ask("SELECT count(*) FROM {0}claims c JOIN {0}events e ON e.id = c.event_id AND e.xmin = c.xmin")
        expect("completions in one commit with their event", same, self.runs)
        if self.transactional:
            same = self.ask("SELECT count(*) FROM {0}events e JOIN {0}orders o ON e.xmin = o.xmin")
            expect("effects in one commit with their event", same, self.runs)

    def record(self) -> Recording:
        """One run's statements, from tables that are warm."""
        for name in ("first", "second"):  # SQLAlchemy asks a new engine some questions of its own
            self.shop.send(orders(name, 1))
        recording = record(
            self.engine,
            lambda: self.shop.send(orders("recorded", 1)),
            STATEMENTS[self.transactional],
            alone=2,
        )
        self.runs += 3
        self.expect_rows()
        return recording

    def commits(self) -> float:
        """Commits for each of some runs."""
        self.runs += WATCHED
        sent = orders("watched", WATCHED)
        return commits_of(self.engine, lambda: self.shop.send(sent)) / WATCHED

    def drop(self) -> None:
        self.shop.guard.storage.metadata.drop_all(self.engine)


#: Makes ready the run of a number, which is then timed.
Prepare = Callable[[int], Callable[[], None]]


def guarded_run(tables: Tables) -> Prepare:
    """Runs through the guard."""
    shop = tables.shop

    def prepare(number: int) -> Callable[[], None]:
        sent = orders(f"run-{number}", 1)
        return lambda: shop.send(sent)

    return prepare


def bare_run(recording: Recording, sender: Core | Raw) -> Prepare:
    """The same statements with values of their own, made before the clock starts."""
    claim, event = recording.statements[1].values, recording.statements[-1].values
    recorded = [str(claim["bg_key"]), str(claim["bg_claim_id"]), str(event["bg_id"]), "recorded-0"]

    def prepare(_: int) -> Callable[[], None]:
        fresh = {name: secrets.token_hex(len(name) // 2) for name in recorded}
        values = recording.with_values(fresh, driver=sender.driver)
        return lambda: sender.run(values)

    return prepare


def measure(tables: list[Tables], cases: dict[str, Prepare], rounds: int) -> dict[str, Timing]:
    """Every case once, then every case again: the time of an fsync drifts within seconds. A round is its middle run."""
    timings, number = {name: Timing() for name in cases}, 0
    for n in range(rounds + 1):
        took: dict[str, Timing] = {name: Timing() for name in cases}
        gc.collect()
        for _ in range(TURNS):
            number += 1
            for name, prepare in cases.items():
                run = prepare(number)
                cpu, wall = time.process_time(), time.perf_counter()
                run()
                took[name].wall.append((time.perf_counter() - wall) * 1e6)
                took[name].cpu.append((time.process_time() - cpu) * 1e6)
        for held in tables:
            held.runs += TURNS * (len(cases) // len(tables))
            held.expect_rows()
        if n:  # the first round warms
            for name, timing in timings.items():
                timing.wall.append(median(took[name].wall))
                timing.cpu.append(median(took[name].cpu))
            progress(f"postgres {n}/{rounds}  µs: " + "  ".join(f"{k} {t.wall[-1]:.0f}" for k, t in timings.items()))
    return timings


def names(kind: str) -> tuple[str, str, str]:
    return f"bare SQLAlchemy Core, {kind}", f"bare psycopg, {kind}", f"guard, {kind}"


def rows_of(tables: Tables, kind: str, timings: dict[str, Timing]) -> list[Row]:
    """What the report says of one kind of command."""
    by_core, by_raw, guarded = names(kind)
    rows = [Row(group=GROUP, case=name, cost=spread(timings[name].wall).mid) for name in (by_core, by_raw)]
    for base, clock, bound in ((by_core, "wall", BOUND), (by_core, "cpu", None), (by_raw, "wall", None)):
        rows.append(
            Row(
                group=GROUP,
                case=guarded if clock == "wall" else f"{guarded}, CPU of the client",
                cost=spread(getattr(timings[guarded], clock)).mid,
                of=base,
                figure=ratio(timings, guarded, base, clock),
                bound=bound,
            )
        )
    counted = tables.commits()
    tables.expect_rows()
    tables.expect_joint_commits()
    figure = Spread(counted, counted, counted)
    case = f"{guarded}: commits a run"
    return [*rows, Row(group=GROUP, case=case, figure=figure, figure_unit="commits", bound=COMMITS)]


def group(settings: Settings) -> list[Row]:
    if not settings.with_guard:  # what it is compared with is recorded from it
        return []
    engine = connect_to("postgresql")
    if isinstance(engine, str):
        progress(f"postgres skipped: {engine}")
        return [Row(group=GROUP, case="skipped", note=engine)]
    made: dict[str, Tables] = {}
    senders: list[Core | Raw] = []
    cases: dict[str, Prepare] = {}
    try:
        for kind in KINDS:
            made[kind] = Tables(engine, f"{PREFIX}{kind[0]}_", transactional=kind == "transactional")
            recording = made[kind].record()
            senders += [core := Core(connect_to("postgresql"), recording), raw := Raw(engine, recording)]
            runs = bare_run(recording, core), bare_run(recording, raw), guarded_run(made[kind])
            cases |= zip(names(kind), runs, strict=True)
        timings = measure(list(made.values()), cases, settings.rounds(ROUNDS))
        return [row for kind, tables in made.items() for row in rows_of(tables, kind, timings)]
    finally:
        for sender in senders:
            sender.close()
        for tables in made.values():
            tables.drop()
        engine.dispose()
