"""mypy and pyright see the handler's own type, typed outcomes, and ports that wrong stores do not satisfy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("check_types.py")
SOURCE = Path(__file__).parents[2] / "src"


def expected() -> set[int]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SOURCE.parent, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(cache: Path) -> dict[int, str]:
    """Line -> what mypy says."""
    said = run(
        sys.executable, "-m", "mypy", "--strict", "--output=json", "--follow-imports=silent", "--config-file=",
        f"--cache-dir={cache}", str(FILE),
    )  # fmt: skip
    found: dict[int, str] = {}
    for line in said.splitlines():
        entry = json.loads(line)
        assert Path(entry["file"]).name == FILE.name, entry
        if entry["severity"] == "error":
            found[entry["line"]] = f"{entry['message']} [{entry['code']}]"
    return found


def pyright(folder: Path) -> dict[int, str]:
    """Line -> what pyright says."""
    settings = {
        "include": ["."],
        "extraPaths": [str(SOURCE)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "enableTypeIgnoreComments": False,
        # Expressions and names that are only there to be looked at, and lambdas whose arguments nothing declares.
        **dict.fromkeys(
            (
                "reportUnusedExpression",
                "reportUnusedVariable",
                "reportUnusedCoroutine",
                "reportUnknownLambdaType",
                "reportUnknownMemberType",
                "reportUnknownArgumentType",
                "reportUnknownVariableType",
            ),
            "none",
        ),
    }
    shutil.copy(FILE, folder)  # the files that it checks must be under its settings
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    said = run(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder))
    found: dict[int, str] = {}
    for entry in json.loads(said)["generalDiagnostics"]:
        assert Path(entry["file"]).name == FILE.name, entry
        if entry["severity"] == "error":
            line = entry["range"]["start"]["line"] + 1
            found[line] = f"{entry['message']} [{entry.get('rule')}]"
    return found


@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda checker: checker.__name__)
def test_what_type_checkers_see(checker: object, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    cache = getattr(request.config, "cache", None)  # None under `-p no:cacheprovider`
    folder = cache.mkdir("botguard_typing") if checker is mypy and cache is not None else tmp_path
    found = checker(folder)  # type: ignore[operator]

    unexpected = {line: text for line, text in found.items() if line not in expected()}
    missed = {number: FILE.read_text(encoding="utf-8").splitlines()[number - 1] for number in expected() - set(found)}
    assert (unexpected, missed) == ({}, {})
