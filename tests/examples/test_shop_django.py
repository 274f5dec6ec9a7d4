"""examples/shop_django: in a process of its own each time, since a process has one set of Django's settings."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = Path("examples") / "shop_django"
COMMAND = [sys.executable, "-W", "error", "-m", "examples.shop_django"]


class Plant(NamedTuple):
    """One option of the example, made wrong, and what the books say of it."""

    file: str
    right: str
    wrong: str
    fault: str


PLANTS = {
    "not atomic": Plant("settings.py", '"ATOMIC_REQUESTS": True', '"ATOMIC_REQUESTS": False', "orders {"),
    "no claim": Plant(
        "shop/bots.py", '"stock.receive", effects="transactional"', '"stock.receive", effects="read"', "of tea"
    ),
    "not external": Plant(
        "shop/bots.py", '"orders.ship", effects="external"', '"orders.ship", effects="idempotent"', "parcels ["
    ),
    "in the request's transaction": Plant(
        "shop/views.py", "@transaction.non_atomic_requests  # orders.ship", "# orders.ship", "parcels ["
    ),
}


def environment(folder: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in ("SHOP_DB", "DJANGO_SETTINGS_MODULE")}
    return {**own, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command or COMMAND, cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture(scope="module")
def wrong_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A day in a copy of the example for each plant, all at the same time."""
    started = {}
    for name, plant in PLANTS.items():
        folder = tmp_path_factory.mktemp("wrong")
        shutil.copytree(ROOT / EXAMPLE, folder / EXAMPLE)
        changed = folder / EXAMPLE / plant.file
        source = changed.read_text(encoding="utf-8")
        assert source.count(plant.right) == 1
        changed.write_text(source.replace(plant.right, plant.wrong), encoding="utf-8")
        started[name] = subprocess.Popen(
            COMMAND, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


def answers(printed: str) -> list[tuple[str, str]]:
    """Status and words of each answer, in order."""
    return re.findall(r"^  .{51} (\d{3})  (.*)$", printed, re.MULTILINE)


def test_one_command_runs_the_day_and_leaves_nothing(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    booked = ("200", "A-1 is booked: 2 x tea.")
    assert answers(done.stdout) == [
        booked,
        booked,
        booked,
        ("200", "You are not allowed to do this."),
        ("200", "I could not tell who is asking. Please sign in and try again."),
        ("200", "Quantity: 'many' is not a whole number."),
        ("409", "There are not 99 of salt."),
        ("200", "A-3 is booked: 3 x tea. A-4 is booked: 1 x salt."),
        ("200", "5 x tea received."),
        ("200", "5 x tea received."),
        ("422", "This does not match an earlier request with the same number."),
        ("200", "A-1 is on its way."),
        ("200", "A-1 is on its way."),
        ("500", "(an error page)"),
        ("500", "I cannot tell whether this was done. A person has to look; please do not repeat it."),
        ("200", "Done."),
    ]
    assert "  left of A-3: 0 orders, 0 keys\n" in done.stdout
    assert "sees what nobody knows of: 1 call of orders.ship\n" in done.stdout
    assert done.stdout.endswith("\nThe books are right.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", PLANTS)
def test_one_wrong_option_is_told_by_the_exit_code(name: str, wrong_days: dict[str, subprocess.Popen[str]]) -> None:
    printed, errors = wrong_days[name].communicate(timeout=60)
    assert (wrong_days[name].returncode, errors) == (1, "")
    assert PLANTS[name].fault in printed.split("\nThe books are wrong:\n")[1]


def test_the_project_passes_djangos_checks_and_its_migration_is_complete(tmp_path: Path) -> None:
    manage = """\
import os, django
from django.core.management import call_command
os.environ.update(SHOP_DB=":memory:", DJANGO_SETTINGS_MODULE="examples.shop_django.settings")
django.setup()
call_command("check", fail_level="WARNING")
call_command("makemigrations", check_changes=True, dry_run=True)
"""
    done = run(tmp_path, sys.executable, "-W", "error", "-c", manage)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Django's server, once it listens; it removes what it made when it is told to end."""
    process = subprocess.Popen(
        [*COMMAND, "--serve", "0"],
        cwd=ROOT, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        while not (found := re.search(r"development server at (http://[\d.:]+)/", said)):
            line = process.stdout.readline()
            assert line, f"it ended:\n{said}"
            said += line
        yield found[1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_it_serves_the_shop(tmp_path: Path) -> None:
    update = {"update_id": 1, "message": {"chat": {"id": 501}, "text": "/order A-1 tea 2"}}
    with served(tmp_path) as address:

        def post(secret: str) -> str:
            headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": secret}
            asked = urllib.request.Request(f"{address}/webhook", json.dumps(update).encode(), headers)
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return str(json.load(answer)["text"])

        for _ in range(2):
            assert post("telegram-secret") == "A-1 is booked: 2 x tea."
        with pytest.raises(urllib.error.HTTPError, match="403"):
            post("guessed")
        with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
            assert b'bot_command_replays_total{command="orders.place",module=""} 1.0' in answer.read()
        with urllib.request.urlopen(f"{address}/admin/botguard/claim/", timeout=30) as page:
            assert "/admin/login/" in page.url
    assert list(tmp_path.iterdir()) == []
