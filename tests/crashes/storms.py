"""A storm as a test runs it: on a fresh database, by a seed, with one line that repeats it."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from crashes.books import Broken
from crashes.conductor import Conductor, Plan
from crashes.nursery import Nursery
from crashes.places import Where, a_place


def chosen_seed() -> int:
    """BOTGUARD_SEED, or one that is always the same."""
    return int(os.environ.get("BOTGUARD_SEED", "4"))


def reproduce(seed: int | None = None) -> str:
    """The command line that repeats the present test, with the plan of a seed where it has one."""
    node = os.environ.get("PYTEST_CURRENT_TEST", "tests/crashes").rsplit(" ", 1)[0]
    marker = " -m soak" if "soak" in node else ""
    chosen = "" if seed is None else f"BOTGUARD_SEED={seed} "
    return f"{chosen}python -m pytest{marker} '{node}'"


def storm(nursery: Nursery, where: Where, plan: Plan, seed: int | None = None) -> Counter[str]:
    """Run a plan there.

    Raises:
        Broken: in one line, with the command that repeats it.
    """
    seed = chosen_seed() if seed is None else seed
    conductor = Conductor(nursery, where, plan, seed)
    try:
        seen = conductor.run()
    except Broken as error:
        raise Broken(f"{error} | reproduce: {reproduce(seed)}") from None
    print(f"{where.server} by {where.store}, seed {seed}: {conductor.summary()}")  # noqa: T201 - shown by pytest -s
    return seen


def storm_on(nursery: Nursery, name: str, folder: Path, plan: Plan, seed: int | None = None) -> Counter[str]:
    """The same on a fresh database of this name."""
    with a_place(name, folder) as where:
        return storm(nursery, where, plan, seed)
