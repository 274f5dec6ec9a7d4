"""Runs the tests in `inner` in processes of their own: Django's settings are a process's, and other tests have others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

INNER = Path(__file__).parent / "inner"
SUITES = INNER / "test_conformance.py"
REST = sorted(set(INNER.glob("test_*.py")) - {SUITES})
RUNS = {"conformance": [SUITES], "rest": REST}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Both at the same time: they wait for disks more than they compute."""
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *map(str, files)],
            cwd=INNER.parents[3],
            env={**os.environ, "BOTGUARD_DJANGO_FOLDER": str(tmp_path_factory.mktemp(name))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, files in RUNS.items()
    }
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", RUNS)
def test_in_a_site(name: str, runs: dict[str, subprocess.Popen[str]]) -> None:
    said, _ = runs[name].communicate(timeout=600)
    assert runs[name].returncode == 0, said[-20_000:]
    assert " passed" in said


def test_there_is_something_to_run() -> None:
    assert len(REST) >= 5
