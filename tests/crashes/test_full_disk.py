"""A disk that is full while bots hold claims in a SQLite file on it; then there is room again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashes.conductor import Plan
from crashes.faults import FileLimit, FullDisk
from crashes.nursery import Nursery
from crashes.places import a_place
from crashes.storms import storm

PLACES = ("sqlite", "sqlite-sqlalchemy")
#: A completion that finds no room is spooled, on another disk, and written down later.
MUST_SEE = ("unavailable", "completion_lost")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk to fill: {mounted.stderr.strip()}; the limit on files below needs no rights")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("place", PLACES)
def test_no_room_on_the_disk(nursery: Nursery, tmp_path: Path, small_disk: Path, place: str) -> None:
    with a_place(place, tmp_path) as where:
        there = where._replace(url=where.url.replace(str(tmp_path), str(small_disk)))
        storm(nursery, there, Plan((FullDisk(small_disk / "ballast"),), 8, lease=0.5, must_see=MUST_SEE))


@pytest.mark.parametrize("place", PLACES)
def test_files_that_may_not_grow(nursery: Nursery, tmp_path: Path, place: str) -> None:
    with a_place(place, tmp_path) as where:
        storm(nursery, where, Plan((FileLimit(),), 8, lease=0.5))
