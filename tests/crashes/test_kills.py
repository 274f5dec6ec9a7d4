"""Processes that are killed, or stopped past their leases, while they hold claims; every update is delivered again."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashes.conductor import Plan
from crashes.faults import Kill, Stop
from crashes.nursery import Nursery
from crashes.storms import chosen_seed, storm_on

#: Kills that hit a claim, in this order of databases: 102 on those three, and some through SQLAlchemy on SQLite.
HITS = {"sqlite": 34, "postgresql": 34, "mariadb": 34, "sqlite-sqlalchemy": 12}
PLACES = list(HITS)
KILLED = (
    "claims left before the effect",
    "claims left after the effect",
    "orders that ran again",
    "visibly unknown in the end",
)


@pytest.mark.parametrize("place", PLACES)
def test_killed_while_they_hold_claims(nursery: Nursery, tmp_path: Path, place: str) -> None:
    plan = Plan((Kill(),), HITS[place], must_see=KILLED if HITS[place] > 30 else ())
    seen = storm_on(nursery, place, tmp_path, plan)
    assert seen["hits"] >= HITS[place]


@pytest.mark.parametrize("place", ["sqlite", "postgresql", "mariadb"])
def test_stopped_past_their_leases(nursery: Nursery, tmp_path: Path, place: str) -> None:
    """Somebody else comes after the lease, then the sleeper wakes and goes on as if nothing had happened."""
    storm_on(nursery, place, tmp_path, Plan((Stop(),), 5, lease=0.5))


@pytest.mark.soak
@pytest.mark.parametrize("place", PLACES)
def test_killed_a_thousand_times_soak(nursery: Nursery, tmp_path: Path, place: str) -> None:
    """4 × 340: on the three databases alone more than a thousand."""
    storm_on(nursery, place, tmp_path, Plan((Kill(),), 340, must_see=KILLED, storm=600.0))


@pytest.mark.soak
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("place", PLACES)
def test_killed_and_stopped_soak(nursery: Nursery, tmp_path: Path, place: str, number: int) -> None:
    plan = Plan((Kill(), Stop()), 60, must_see=KILLED, storm=600.0, bots=8)
    storm_on(nursery, place, tmp_path, plan, chosen_seed() + number)
