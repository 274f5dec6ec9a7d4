"""``botguard demo``: what it reports when all is well, and that it notices when something is not."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from botguard.cli import main
from botguard.cli.demo import report, scenes
from botguard.cli.demo.replay import Replay
from botguard.outcome import Status
from botguard.stages.authorize import Authorize
from botguard.stages.breaker import BreakerGate
from botguard.stages.claim import Claim
from botguard.stages.confirm import Confirm
from botguard.stages.record import Record
from botguard.stages.retry import RetryStage

SOURCE = Path(__file__).parents[2] / "src"
NAMES = {
    "order_once",
    "duplicates_stopped",
    "mistakes_explained",
    "permission_needed",
    "presses_counted",
    "refund_confirmed",
    "refused_connections_retried",
    "dead_system_left_alone",
    "back_after_outage",
    "nobody_jumps_in",
    "killed_then_asked",
    "killed_and_nobody_knows",
    "killed_in_a_transaction",
    "everything_recorded",
}


def test_json_from_an_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "botguard", "demo", "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert not list(folder.iterdir())
    told = json.loads(done.stdout)
    assert set(told) == {"kept", "database", "seconds", "python", "totals", "promises", "timeline"}
    assert told["kept"] is True
    assert told["database"] is None
    assert {p["name"] for p in told["promises"]} == NAMES
    for promise in told["promises"]:
        assert set(promise) == {"name", "says", "kept", "expected", "found"}
        assert promise["kept"] is True
        assert promise["expected"] == promise["found"] != {}
    assert told["totals"] == {
        "updates": 20,
        "deliveries": 35,
        "effects": 11,
        "duplicates_stopped": 12,
        "refused": 5,
        "unavailable": 1,
        "retries": 4,
        "killed": 3,
        "unknown": 2,
    }
    assert len(told["timeline"]) == 35
    known = {str(status) for status in Status} | {"killed"}
    for line in told["timeline"]:
        assert set(line) == {
            "after", "scene", "update_id", "who", "sent", "process", "status", "reasons", "message", "attempts",
            "replayed", "event_id",
        }  # fmt: skip
        assert line["status"] in known
        assert bool(line["message"]) == (line["status"] != "killed")
    assert [line["after"] for line in told["timeline"]] == sorted(line["after"] for line in told["timeline"])


def test_text_and_a_database_to_keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = tmp_path / "shop.db"
    assert main(["demo", "--database", str(database)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    text = told.out
    assert text.isascii()
    assert "\x1b" not in text
    assert text.count("  kept  ") == len(NAMES)
    assert f"All {len(NAMES)} promises kept" in text
    assert f'sqlite3 {database} "SELECT' in text
    assert "Order A-17 is placed" in text
    assert "Write it like this: /order <order id> <sku> <quantity>" in text
    assert not re.search(r"idempot|pydantic|fingerprint|\blease|payload|claim\b|traceback", text, re.IGNORECASE)
    assert database.exists()

    before = database.read_bytes()
    with pytest.raises(SystemExit) as ended:  # a second run would count the first one's effects
        main(["demo", "--database", str(database)])
    assert ended.value.code == 2
    assert "is there already" in capsys.readouterr().err
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    "line", [[], ["dmo"], ["demo", "--colour"], ["demo", "--database"], ["demo", "--database", "/no/such/folder/x.db"]]
)
def test_a_line_that_makes_no_sense(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "usage: botguard" in told.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("botguard ")


# ── it notices ───────────────────────────────────────────────────────────────────────────────────────────────────────

Demo = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Demo:
    """Plays only the scenes named; returns the exit code and the promises by name."""

    def play(*chosen: Callable[[Replay], None]) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(scenes, "SCENES", [(scene.__name__, scene) for scene in chosen])
        code = main(["demo", "--json"])
        return code, {p["name"]: p for p in json.loads(capsys.readouterr().out)["promises"]}

    return play


def _is_broken(result: tuple[int, dict[str, Any]], name: str) -> dict[str, Any]:
    code, promises = result
    assert code == 1
    assert promises[name]["kept"] is False
    return promises[name]["found"]  # type: ignore[no-any-return]


def test_a_claim_that_always_wins(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wins(self: Any, call: Any) -> None:
        call.fence = 1

    monkeypatch.setattr(Claim, "_acquire", wins)
    found = _is_broken(demo(scenes.five_at_once), "duplicates_stopped")
    assert found["orders A-18 in the order system"] > 1


def test_everybody_may_do_everything(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Authorize, "_judge", lambda self, call: None)
    _is_broken(demo(scenes.not_allowed), "permission_needed")


def test_nothing_is_tried_again(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryStage, "_next_wait", lambda *_: None)
    found = _is_broken(demo(scenes.hiccup), "refused_connections_retried")
    assert found["answer"] == "failed"


def test_the_breaker_never_opens(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BreakerGate, "failed", lambda self, permit: None)
    found = _is_broken(demo(scenes.outage), "dead_system_left_alone")
    assert found["calls for the second order"] == 4


def test_the_breaker_never_closes(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BreakerGate, "ok", lambda self, permit: None)
    _is_broken(demo(scenes.outage), "back_after_outage")


def test_nobody_is_asked_for_a_yes(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Confirm, "check", lambda self, call: None)
    found = _is_broken(demo(scenes.confirmed_refund), "refund_confirmed")
    assert found["refunds before the yes"] == 1


def test_the_record_is_not_written(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(*_: Any) -> None:
        pass

    monkeypatch.setattr(Record, "_append", forget)
    found = _is_broken(demo(scenes.not_allowed, scenes.the_record), "everything_recorded")
    assert found["records that are missing"] == 2


def test_a_process_that_was_not_killed(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Replay._child
    monkeypatch.setattr(Replay, "_child", lambda self, task: child(self, {**task, "kill": False}))
    found = _is_broken(demo(scenes.killed), "nobody_jumps_in")
    assert found["processes"] == ["not killed"] * 3


def test_the_restarted_process_takes_over_what_it_must_not(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from botguard.stages.claim import Claim\n"
        "made = Claim.__init__\n"
        "def takes_over(self, *args, **kwargs):\n"
        "    made(self, *args, **kwargs)\n"
        "    self._takeover = True\n"
        "Claim.__init__ = takes_over\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = demo(scenes.killed)
    assert _is_broken(result, "killed_and_nobody_knows")["couriers booked"] == 2
    assert _is_broken(result, "killed_then_asked")["orders A-23 in the order system"] == 2
    assert result[1]["killed_in_a_transaction"]["kept"] is True


def test_a_scene_that_breaks_off(demo: Demo) -> None:
    def falls(replay: Replay) -> None:
        raise LookupError("nothing there")

    result = demo(falls, scenes.mistakes)
    assert _is_broken(result, "falls_to_its_end") == {"it ended with": "LookupError: nothing there"}
    assert result[1]["mistakes_explained"]["kept"] is True


def test_text_names_what_is_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scenes, "SCENES", [("A short failure", scenes.hiccup)])
    monkeypatch.setattr(RetryStage, "_next_wait", lambda *_: None)
    assert main(["demo"]) == 1
    text = capsys.readouterr().out
    assert "BROKEN" in text
    assert "[refused_connections_retried]" in text
    assert "answer: expected succeeded; found failed" in text
    assert "1 of 1 promises BROKEN" in text


# ── looks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def shown(out: io.StringIO, *, colour: bool = True) -> str:
        report.Text(out, colour=colour).scene("Übung – eins")
        return out.getvalue()

    assert shown(Terminal()) == "\n\x1b[1mÜbung – eins\x1b[0m\n"
    assert shown(Terminal(), colour=False) == "\nÜbung – eins\n"
    assert shown(io.StringIO()) == "\n\\xdcbung - eins\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(Terminal()) == "\nÜbung – eins\n"


def test_the_scenes_are_told_beside_the_json_to_a_person_only() -> None:
    for out, told in ((Terminal(), "A scene\n"), (io.StringIO(), "")):
        report.Quiet(out).scene("A scene")
        assert out.getvalue() == told
