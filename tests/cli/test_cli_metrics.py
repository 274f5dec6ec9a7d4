"""``botguard metrics --app``: how a host's guard is found, and what is printed of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from botguard import ConfigurationError, Guard
from botguard.cli import main
from botguard.cli.app import load_guard

SOURCE = Path(__file__).parents[2] / "src"
SHOP = """
from botguard import ALLOW_ALL, Guard
from botguard.adapters.memory import MemoryStorage

print("hello from the shop")
guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL)
broken = None


class bots:
    guard = guard


@guard.command("orders.create", module="orders")
def create_order(payload: dict) -> None: ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A host's folder, with nothing of it imported before or after."""
    for name, code in {
        "shop_app": SHOP,
        "raising_app": "import json\n\nvalue = json.loads('{')\n",
        "leaving_app": "raise SystemExit(3)\n",
        "needing_app": "import not_installed_here\n",
        "empty_app": "",
    }.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    (tmp_path / "package_app").mkdir()
    (tmp_path / "package_app" / "wiring.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0].endswith("_app")]:
        del sys.modules[name]


def botguard(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as the installed command: without the folder on its path."""
    run = "import sys; from botguard.cli import main; sys.path.remove(''); sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", run, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_prints_what_a_scrape_would_read(folder: Path) -> None:
    done = botguard("metrics", "--app", "shop_app:guard", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "hello from the shop\n")
    families = {family.name: family for family in text_string_to_metric_families(done.stdout)}
    (runs,) = [s for s in families["bot_command_count"].samples if s.labels["command"] == "orders.create"]
    assert runs.value == 0.0
    assert "bot_jobs_queued" in families


def test_json_is_one_list_of_the_same(folder: Path) -> None:
    done = botguard("metrics", "--app", "package_app.wiring:bots.guard", "--json", cwd=folder)
    families = {family["name"]: family for family in json.loads(done.stdout)}
    assert families["bot_command_count"]["type"] == "unknown"
    samples = families["bot_commands"]["samples"]
    assert {"command": "orders.create", "module": "orders", "status": "failed"} in [s["labels"] for s in samples]


def test_the_help_says_that_numbers_live_in_their_process(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["metrics", "--help"])
    assert left.value.code == 0
    assert "Runs are counted in the process that does them" in " ".join(capsys.readouterr().out.split())


def test_without_app_it_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["metrics"])
    assert left.value.code == 2
    assert "--app" in capsys.readouterr().err


def test_a_guard_is_found_by_name(folder: Path) -> None:
    assert isinstance(load_guard("shop_app:guard"), Guard)
    assert load_guard("shop_app:bots.guard") is load_guard("shop_app:guard")


@pytest.mark.parametrize(
    ("spec", "code", "what", "fix"),
    [
        ("shop_app", "BG191", "'shop_app' names no guard", "--app shop_app:guard"),
        ("shop_app.py", "BG191", "'shop_app.py' names no guard", "--app shop_app:guard"),
        ("./bots/shop.py:bot", "BG191", "names no guard", "--app bots.shop:bot"),
        ("", "BG191", "'' names no guard", "--app shop:guard"),
        ("shop_app:guard()", "BG191", "names no guard", "--app shop_app:guard"),
        ("no_such_app:guard", "BG192", "there is no module 'no_such_app'", "folder that holds no_such_app.py"),
        ("package_app.no_such:guard", "BG192", "no module 'package_app.no_such'", "holds package_app/no_such.py"),
        ("raising_app:guard", "BG193", "raised JSONDecodeError", "python -c 'import raising_app'"),
        ("leaving_app:guard", "BG193", "raised SystemExit: 3", "python -c 'import leaving_app'"),
        ("needing_app:guard", "BG193", "raised ModuleNotFoundError: No module named 'not_installed_here'", "import"),
        ("shop_app:gard", "BG194", "gard is not there", "--app shop_app:guard"),
        ("shop_app:bots", "BG194", "bots is a type", "--app shop_app:guard"),
        ("shop_app:bots.nothing.guard", "BG194", "is not there", "--app shop_app:guard"),
        ("empty_app:guard", "BG194", "guard is not there", "write guard = Guard(…) in empty_app"),
    ],
)
def test_what_cannot_be_found_is_said(
    spec: str, code: str, what: str, fix: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_guard(spec)
    assert raised.value.code == code
    assert what in raised.value.what
    assert fix in raised.value.fix
    assert raised.value.where.startswith("--app")
    assert raised.value.why
    forget()
    assert main(["metrics", "--app", spec]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"botguard: [{code}]" in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(("module", "line"), [("needing_app", 1), ("raising_app", 3)])
def test_an_error_of_the_module_is_told_with_its_place(module: str, line: int, folder: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_guard(f"{module}:guard")
    assert f"({folder / module}.py:{line})" in raised.value.what
