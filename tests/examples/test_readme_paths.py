"""The README alone, in an empty folder: each path is done as it is written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flaskserver import serve

README = Path(__file__).resolve().parents[2] / "README.md"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def path(heading: str) -> list[tuple[str, str]]:
    """The (language, text) blocks of one section."""
    text = README.read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert section is not None, f"no section {heading!r}"
    return FENCED.findall(section[1])


def saved_as(heading: str) -> str:
    """The name under which the section says to save its program."""
    text = README.read_text(encoding="utf-8")
    found = re.search(r"Save this as `(\w+\.py)`", text[text.index(f"## {heading}\n") :])
    assert found is not None
    return found[1]


@pytest.mark.parametrize("heading", ["A sample", "Under aiogram"])
def test_a_program_prints_what_the_readme_shows(heading: str, tmp_path: Path) -> None:
    (_, code), (_, shown) = path(heading)
    program = tmp_path / saved_as(heading)
    program.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", program.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown
    assert shown.count("the shop books 2 x tea") == 1, "the duplicate was stopped"
    assert "'replayed': 1" in shown, "and a metric shows it"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the Flask path asks with curl")
def test_the_flask_path_answers_what_the_readme_shows(tmp_path: Path) -> None:
    (_, code), (_, start), (_, commands), (_, shown) = path("Under Flask")
    (tmp_path / saved_as("Under Flask")).write_text(code, encoding="utf-8")
    with serve(start.strip(), tmp_path) as server:
        assert server.curl(commands, tmp_path) == shown
        printed = server.stop()
    assert printed.count("... the shop books 2 x tea") == 1
    assert not [line for line in printed if "Traceback" in line]
