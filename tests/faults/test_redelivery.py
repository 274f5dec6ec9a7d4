"""Updates that are delivered ten times each, in random order, by four processes × eight threads on one SQLite file."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from faultkit import Broken
from hammer_child import Update

from botguard import Actor, Context, Guard, Status
from botguard.adapters.sqlite import SqliteStorage
from botguard.guard import ALLOW_ALL

PROCESSES, THREADS, TIMES = 4, 8, 10
#: Updates whose deliveries are mixed with each other.
MIXED = 40
#: A run that takes longer hangs.
PATIENCE = 120.0


class Hammer:
    """One run of it, by a seed."""

    def __init__(self, folder: Path, updates: int, seed: int, *, effects: str = "external", **options: str) -> None:
        self.folder, self.updates, self.seed, self.effects = folder, updates, seed, effects
        self.options = {"synchronous": "NORMAL", "bug": "", **options}
        with sqlite3.connect(folder / "bot.db") as connection:
            connection.execute("CREATE TABLE effects (order_id TEXT, value TEXT)")
        connection.close()
        SqliteStorage(folder / "bot.db").close()  # the tables are there before anybody starts

    def run(self) -> None:
        began = time.monotonic()
        seen = self._deliver()
        made = self._made()
        counts = Counter(order for order, _ in made)
        broken = []
        if len(counts) != self.updates or set(counts.values()) != {1}:
            twice = {order: n for order, n in counts.items() if n > 1}
            broken.append(f"{len(made)} effects of {self.updates} updates, more than once: {twice}")
        first = dict(made)
        wrong = [
            one
            for one in seen
            if not (one["status"] == "succeeded" and one["value"] == first.get(one["order"]) and not one["reasons"])
            and not (one["status"] == "in_flight" and one["reasons"] == ["running"])
        ]
        if wrong:
            broken.append(f"{len(wrong)} of {len(seen)} deliveries got something else, such as {wrong[0]}")
        fresh = sum(one["status"] == "succeeded" and not one["replayed"] for one in seen)
        if fresh != self.updates:
            broken.append(f"{fresh} deliveries say that they were the first")
        broken += self._afterwards(first)
        if broken:
            what = f"seed={self.seed} updates={self.updates} effects={self.effects} {self.options}"
            raise Broken(f"{'; '.join(broken)} | reproduce: BOTGUARD_SEED={self.seed} pytest {__file__} ({what})")
        statuses = Counter(one["status"] for one in seen)
        print(f"{statuses} in {time.monotonic() - began:.1f} s, seed {self.seed}")  # noqa: T201 - shown by pytest -s
        if len(seen) != self.updates * TIMES or not statuses["in_flight"]:
            raise Broken(f"vacuous: {statuses} of {self.updates * TIMES} deliveries")

    def _deliver(self) -> list[dict[str, Any]]:
        # In random order, such that those of one update come close enough to each other to meet.
        chance = random.Random(self.seed)
        places = [(n + chance.random() * MIXED, n) for n in range(self.updates) for _ in range(TIMES)]
        orders = [f"o{n}" for _, n in sorted(places)]
        script = str(Path(__file__).with_name("hammer_child.py"))
        pipe = subprocess.PIPE
        children = [
            subprocess.Popen([sys.executable, script], stdin=pipe, stdout=pipe, text=True) for _ in range(PROCESSES)
        ]
        try:
            for n, child in enumerate(children):
                mine = orders[n::PROCESSES]
                asked = {
                    "file": str(self.folder / "bot.db"),
                    "effects_file": str(self.folder / "effects"),
                    "effects": self.effects,
                    "shares": [mine[t::THREADS] for t in range(THREADS)],
                    **self.options,
                }
                assert child.stdin is not None
                child.stdin.write(json.dumps(asked) + "\n")
                child.stdin.flush()
            for child in children:
                assert child.stdout is not None
                assert child.stdout.readline() == "ready\n"
            for child in children:
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
            told = [child.communicate(timeout=PATIENCE)[0] for child in children]
        finally:
            for child in children:
                child.kill()
                child.wait()
        return [json.loads(line) for text in told for line in text.splitlines()]

    def _made(self) -> list[tuple[str, str]]:
        """The effects: (order, value of the run that made it)."""
        if self.effects == "transactional":
            connection = sqlite3.connect(self.folder / "bot.db")
            rows = connection.execute("SELECT order_id, value FROM effects").fetchall()
            connection.close()
            return rows
        lines = (self.folder / "effects").read_text().splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]

    def _afterwards(self, first: dict[str, str]) -> list[str]:
        """Delivered once more by somebody else: all of them replay, and each success is in the trail once."""
        with SqliteStorage(self.folder / "bot.db") as storage:
            guard = Guard(storage=storage, access=ALLOW_ALL)

            @guard.command("orders.create", effects=self.effects, key=lambda p: (p.order_id,))
            def create(payload: Update) -> str:
                raise AssertionError("it ran again")

            events = storage.events.tail(self.updates * TIMES * 2)
            made = [event for event in events if event.success and not event.replayed]
            asker = Context(org="acme", actor=Actor("u1"), channel="telegram")
            wrong = []
            for order, value in first.items():
                outcome = guard.run("orders.create", {"order_id": order}, context=asker)
                if (outcome.status, outcome.replayed, outcome.value) != (Status.SUCCEEDED, True, value):
                    wrong.append(outcome)
        broken = [f"{len(made)} first successes in the trail"] if len(made) != self.updates else []
        return broken + ([f"{len(wrong)} do not replay, such as {wrong[0]!r}"] if wrong else [])


def seed() -> int:
    return int(os.environ.get("BOTGUARD_SEED", "20"))


def test_500_updates_10_times_each(tmp_path: Path) -> None:
    Hammer(tmp_path, 500, seed()).run()


def test_transactional_updates_10_times_each(tmp_path: Path) -> None:
    Hammer(tmp_path, 100, seed(), effects="transactional").run()


@pytest.mark.soak
@pytest.mark.parametrize("effects", ["external", "transactional"])
@pytest.mark.parametrize("number", range(5))
def test_500_updates_10_times_each_on_a_disk_that_syncs(tmp_path: Path, effects: str, number: int) -> None:
    Hammer(tmp_path, 500, seed() + number, effects=effects, synchronous="FULL").run()


def test_it_finds_a_store_that_looks_and_then_inserts(tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"effects of 60 updates, more than once: .* reproduce: BOTGUARD_SEED="):
        Hammer(tmp_path, 60, seed(), bug="read then insert").run()
