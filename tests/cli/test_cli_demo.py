"""``botguard demo``: what it reports when all is well, and how it looks. test_demo_breaks.py breaks it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from botguard.cli import main
from botguard.cli.demo import paper, report, scenes
from botguard.cli.demo.scenes import trade
from botguard.outcome import Status

SOURCE = Path(__file__).parents[2] / "src"
NAMES = {
    "order_once",
    "duplicates_stopped",
    "mistakes_explained",
    "numbers_written_one_way",
    "presses_counted",
    "overtaken_by_its_twin",
    "rules_hold",
    "unknown_things_refused",
    "stock_is_real",
    "refused_is_not_used_up",
    "others_orders_unseen",
    "state_looked_at",
    "forecast_heeded",
    "answers_are_personal",
    "companies_apart",
    "permission_needed",
    "refund_confirmed",
    "only_who_was_asked",
    "blocked_means_blocked",
    "strangers_cut_off",
    "flood_throttled",
    "refused_calls_are_free",
    "refused_connections_retried",
    "dead_system_left_alone",
    "old_answers_need_no_system",
    "back_after_outage",
    "nobody_waits_for_ever",
    "late_is_not_twice",
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
    # How many of the five at once find it done already, and whether a minute ends among the stranger's tries, is chance.
    assert 97 <= told["totals"].pop("deliveries") == len(told["timeline"]) <= 117
    assert 35 <= told["totals"].pop("refused") <= 55
    assert told["totals"] == {
        "updates": 42,
        "effects": 20,
        "duplicates_stopped": 15,
        "throttled": 11,
        "unavailable": 1,
        "retries": 4,
        "killed": 3,
        "unknown": 3,
    }
    known = {str(status) for status in Status} | {"killed"}
    for line in told["timeline"]:
        assert set(line) == {
            "after", "scene", "update_id", "who", "sent", "process", "status", "command", "reasons", "message", "attempts",
            "replayed", "event_id", "retry_after",
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
    "line",
    [
        [],
        ["dmo"],
        ["demo", "--colour"],
        ["demo", "--database"],
        ["demo", "--database", "/no/such/folder/x.db"],
        ["demo", "--app", "shop:guard"],
        ["demo", "--script", "day.jsonl"],
        ["demo", "--app", "shop:guard", "--script", "day.jsonl", "--facts"],
        ["demo", "--app", "shop:guard", "--script", "day.jsonl", "--database", "x.db"],
    ],
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


# ── looks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def title(out: io.StringIO, *, colour: bool = True) -> str:
    """A scene's title as text."""
    silent = paper.Progress(io.StringIO())
    report.Text(paper.Paper(out, colour=colour), silent).scene(1, 2, "Übung – eins")
    return out.getvalue()


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert title(Terminal()) == "\n\x1b[1mÜbung – eins\x1b[0m\n"
    assert title(Terminal(), colour=False) == "\nÜbung – eins\n"
    assert title(io.StringIO()) == "\n\\xdcbung - eins\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert title(Terminal()) == "\nÜbung – eins\n"


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (100, ["  0.10 Sara   Done, and read by everybody."]),
        (40, ["  0.10 Sara   Done, and read by", " " * 14 + "everybody."]),
        (32, ["  0.10 Sara", " " * 16 + "Done, and read by", " " * 16 + "everybody."]),
    ],
)
def test_a_row_is_broken_to_the_terminal(columns: int, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(paper.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    paper.Paper(out, colour=False).row([("  0.10", 6, ""), ("Sara", 6, "")], "Done, and read by everybody.")
    assert out.getvalue().splitlines() == lines


def test_how_far_it_is_stands_on_a_terminal_only_and_never_between_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    progress = paper.Progress(screen)
    with progress:
        report.Quiet(progress).scene(2, 4, "A scene")
        assert screen.getvalue() == "\r\x1b[K  [#####     ] 2/4  A scene"
        paper.Paper(screen, colour=False, progress=progress).line("told")
        assert screen.getvalue().endswith("A scene\r\x1b[Ktold\n")
        progress.show(3, 4, "Another")
    assert screen.getvalue().endswith("Another\r\x1b[K")

    for out, wanted in ((io.StringIO(), True), (Terminal(), False)):
        with paper.Progress(out, wanted=wanted) as nothing:
            nothing.show(1, 2, "A scene")
        assert out.getvalue() == ""
    monkeypatch.setenv("TERM", "dumb")
    dumb = Terminal()
    paper.Progress(dumb).show(1, 2, "A scene")
    assert dumb.getvalue() == ""


def test_facts_are_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scenes, "SCENES", [("Buttons pressed twice", trade.buttons)])
    fact = "reservations of 2 SKU-9: expected 1; found the same"
    assert main(["demo"]) == 0
    assert fact not in capsys.readouterr().out
    assert main(["demo", "--facts"]) == 0
    assert fact in capsys.readouterr().out
