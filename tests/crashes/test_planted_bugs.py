"""The crash tests find what they are there for, say how to see it again, and do not pass where they saw nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashes.books import Broken
from crashes.bugs import BUGS
from crashes.conductor import Plan
from crashes.faults import Fault, Kill, Stop
from crashes.nursery import Nursery
from crashes.storms import storm_on

REPRODUCE = r".* \| reproduce: BOTGUARD_SEED=\d+ python -m pytest 'tests/crashes/test_planted_bugs.py::.*'"
EXTERNAL, TRANSACTIONAL = ("external",), ("transactional",)
#: By bug: where it shows, in which commands, under which fault, and what is said.
FOUND: dict[str, tuple[str, tuple[str, ...], Fault, str]] = {
    "takes external claims over": ("sqlite", EXTERNAL, Kill(), r"[2-9] effects: .*external"),
    "releases after the start": ("sqlite", EXTERNAL, Kill(), "lost: its key is absent"),
    "commits before the completion": ("sqlite", TRANSACTIONAL, Kill(), r"[2-9] effects: .*transactional"),
    "never looks at the fence": ("postgresql", TRANSACTIONAL, Stop(), r"[2-9] effects: .*transactional"),
    "leases never end": ("sqlite", (), Kill(), "lost: its key is claimed"),
    "forgets the completion": ("sqlite", EXTERNAL, Kill(), "lost: its key is claimed"),
    "parks what succeeded": ("sqlite", EXTERNAL, Kill(), "unknown, and nothing that was done to it can explain that"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_it_finds_a_guard_that(nursery: Nursery, tmp_path: Path, bug: str) -> None:
    place, kinds, fault, what = FOUND[bug]
    plan = Plan((fault,), 8, lease=0.4, bug=bug, kinds=kinds, storm=2.0, drain=1.5)
    with pytest.raises(Broken, match=what + REPRODUCE):
        storm_on(nursery, place, tmp_path, plan)


def test_a_run_that_hit_too_few_claims_is_vacuous(nursery: Nursery, tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"^vacuous: \d+ of 1000 faults hit a claim" + REPRODUCE):
        storm_on(nursery, "sqlite", tmp_path, Plan((Kill(),), 1000, storm=0.5))


def test_a_run_that_never_saw_what_it_is_about_is_vacuous(nursery: Nursery, tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"^vacuous: \d of 1 faults hit a claim, and never: lease_lost" + REPRODUCE):
        storm_on(nursery, "sqlite", tmp_path, Plan((Kill(),), 1, must_see=("lease_lost",)))
