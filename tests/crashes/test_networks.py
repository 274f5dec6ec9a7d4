"""Connections that the server ends, and networks that cut, hang and lose answers, while bots hold claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashes.conductor import Plan
from crashes.faults import Cut, Down, Kill, LoseAnswers, Stall, Terminate
from crashes.nursery import Nursery
from crashes.storms import chosen_seed, storm_on

SERVERS = ("postgresql", "mariadb")
NETWORK = (Cut(), Down(), LoseAnswers(), Stall())


@pytest.mark.parametrize("place", SERVERS)
def test_backends_that_are_terminated(nursery: Nursery, tmp_path: Path, place: str) -> None:
    storm_on(nursery, place, tmp_path, Plan((Terminate(),), 30))


@pytest.mark.parametrize("place", SERVERS)
def test_a_network_that_cuts_hangs_and_loses_answers(nursery: Nursery, tmp_path: Path, place: str) -> None:
    must = tuple(f"{type(fault).__name__} at did" for fault in NETWORK)
    storm_on(nursery, place, tmp_path, Plan(NETWORK, 40, lease=0.5, must_see=(*must, "unavailable")))


@pytest.mark.soak
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("place", SERVERS)
def test_everything_at_once_soak(nursery: Nursery, tmp_path: Path, place: str, number: int) -> None:
    plan = Plan((Kill(), Terminate(), *NETWORK), 200, must_see=("visibly unknown in the end",), storm=600.0, bots=6)
    storm_on(nursery, place, tmp_path, plan, chosen_seed() + number)
