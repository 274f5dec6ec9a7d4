"""Eight processes claim one key at the same moment: exactly one of them wins it, in every round."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from crashes.books import Broken
from crashes.nursery import Nursery
from crashes.places import Outside, Where, a_place
from crashes.race import Claimed, Race, request
from crashes.storms import reproduce

#: Rounds in an ordinary run: a few seconds on each database.
ROUNDS = {"sqlite": 500, "postgresql": 120, "mariadb": 120}
PROCESSES = 8


def compete(nursery: Nursery, where: Where, rounds: int, bug: str = "") -> None:
    """Every second key has an abandoned claim, which one of them may take over.

    Raises:
        Broken: not exactly one won, or they hardly met.
    """
    outside = Outside(where)
    storage = where.open()
    race = Race(nursery, where, PROCESSES, bug)
    met, names = 0, []
    try:
        for number in count():
            if number >= rounds and (met >= rounds / 50 or number >= 4 * rounds):
                break  # on a busy machine it takes longer until enough of them have met
            key = f"key{number}"
            if number % 2:
                storage.idempotency.claim(request(key, f"{key}/dead", lease=0.0))
            claimed = race.round(key)
            winners = [name for name, one in enumerate(claimed) if one.won]
            row = storage.idempotency.peek(key)
            if len(winners) != 1 or row.fence != claimed[winners[0]].fence or row.claim_id == f"{key}/dead":
                raise Broken(f"round {number}: {claimed}, and the row is {row} | reproduce: {reproduce()}")
            names += winners
            met += they_met(claimed)
    finally:
        race.close()
        outside.close()
        (storage.close if where.store == "sqlite" else storage.engine.dispose)()
    wins = sorted(names.count(name) for name in range(PROCESSES))
    print(f"{where.server}: {len(names)} rounds, {met} in which claims overlapped the winner's; wins by process {wins}")  # noqa: T201
    if met < rounds / 50 or not wins[-2]:
        raise Broken(
            f"vacuous: claims overlapped in {met} of {len(names)} rounds; wins {wins} | reproduce: {reproduce()}"
        )


def they_met(claimed: list[Claimed]) -> bool:
    """Somebody else was claiming while the winner was."""
    winner = next(one for one in claimed if one.won)
    return any(one is not winner and one.began < winner.ended and winner.began < one.ended for one in claimed)


@pytest.mark.parametrize("place", ROUNDS)
def test_one_of_eight_processes_wins(nursery: Nursery, tmp_path: Path, place: str) -> None:
    with a_place(place, tmp_path) as where:
        compete(nursery, where, ROUNDS[place])


@pytest.mark.soak
@pytest.mark.parametrize("place", [*ROUNDS, "sqlite-sqlalchemy"])
def test_one_of_eight_processes_wins_2000_rounds_soak(nursery: Nursery, tmp_path: Path, place: str) -> None:
    with a_place(place, tmp_path) as where:
        compete(nursery, where, 2000)


@pytest.mark.parametrize("place", ROUNDS)
def test_it_finds_a_store_that_looks_and_thinks(nursery: Nursery, tmp_path: Path, place: str) -> None:
    with (
        a_place(place, tmp_path) as where,
        pytest.raises(Broken, match=r"round \d+: .*won=True.*won=True.* \| reproduce: "),
    ):
        compete(nursery, where, 100, "looks and thinks")
