"""A disk that is full while bots hold claims in a SQLite file on it; then there is room again."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashes.conductor import Plan
from crashes.faults import FileLimit, FullDisk, fill
from crashes.nursery import Nursery
from crashes.places import Outside, Where, a_place
from crashes.shop import Shop
from crashes.storms import storm

PLACES = ("sqlite", "sqlite-sqlalchemy")


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


def on_that_disk(where: Where, small_disk: Path) -> Where:
    """Its database there; the world outside and the spool are elsewhere."""
    return where._replace(url=where.url.replace(where.folder, str(small_disk)))


@pytest.mark.parametrize("place", PLACES)
def test_no_room_on_the_disk(nursery: Nursery, tmp_path: Path, small_disk: Path, place: str) -> None:
    with a_place(place, tmp_path) as where:
        plan = Plan((FullDisk(small_disk / "ballast"),), 8, lease=0.5, must_see=("unavailable",))
        storm(nursery, on_that_disk(where, small_disk), plan)


@pytest.mark.parametrize("place", PLACES)
def test_a_completion_that_finds_no_room_is_spooled_and_written_later(
    tmp_path: Path, small_disk: Path, place: str
) -> None:
    with a_place(place, tmp_path) as given:
        where = on_that_disk(given, small_disk)
        outside, ballast = Outside(where), small_disk / "ballast"

        def tell(at: str, *about: object) -> None:
            if at == "did":
                fill(ballast)

        shop = Shop(where, 60.0, tell)
        try:
            first = shop.deliver("external-1")
            assert (first.ok, first.degraded, "completion_lost" in first.reasons) == (True, True, True)
            assert shop.guard.apply_spool() == 0, "there is no room yet"
            assert shop.deliver("external-2").status == "unavailable"
            ballast.unlink()
            assert shop.deliver("external-1").status == "in_flight"
            assert shop.guard.apply_spool() == 1
            again = shop.deliver("external-1")
            assert (again.replayed, again.value) == (True, first.value)
            assert shop.world.effects() == {"external-1": [first.value]}
        finally:
            shop.close()
            outside.close()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="a limit is set from outside on Linux only")
@pytest.mark.parametrize("place", PLACES)
def test_files_that_may_not_grow(nursery: Nursery, tmp_path: Path, place: str) -> None:
    with a_place(place, tmp_path) as where:
        storm(nursery, where, Plan((FileLimit(),), 8, lease=0.5))
