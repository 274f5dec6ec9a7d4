"""``botguard demo --app --script``: a host's own guard, what it is asked, and what a wrong script is told."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from botguard.cli import main
from botguard.cli.demo.paper import Paper
from botguard.cli.demo.script import read_script
from botguard.cli.demo.updates import Updates
from botguard.errors import ConfigurationError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "demo-your-own.md"
SHOP = """
import asyncio
from pydantic import BaseModel, Field
from botguard import Actor, Guard, Principal
from botguard.adapters.memory import MemoryStorage

guard = Guard(storage=MemoryStorage(), access={"sales": {"*"}})
effects = []


class Order(BaseModel):
    order_id: str
    quantity: int = Field(gt=0)


@guard.command("orders.create", key="{order_id}")
def create_order(order: Order) -> str:
    print("the shop books", order.order_id)
    effects.append(order.order_id)
    return f"Order {order.order_id} is booked."


@guard.command("orders.refund", risk="high")
async def refund(order: Order) -> str:
    await asyncio.sleep(0)
    return "Refunded."


@guard.command("orders.lose")
def lose(payload: dict) -> str:
    raise LookupError("the van is gone")


@guard.command("notes-add")
def note(payload: dict) -> str:
    return f"Noted: {payload}"
"""
ORDER = {"command": "orders.create", "payload": {"order_id": "A-1", "quantity": 2}, "actor": "ann", "roles": ["sales"]}

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a shop in it, where the command is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "demo_shop.py").write_text(SHOP, encoding="utf-8")
    yield tmp_path
    for name in ("demo_shop", "shop"):
        sys.modules.pop(name, None)


@pytest.fixture
def script(tmp_path: Path) -> Write:
    """Writes a script of the given lines, as data or as they are."""

    def write(*lines: Any) -> Path:
        path = tmp_path / "day.jsonl"
        text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(text) + "\n", encoding="utf-8")
        return path

    return write


def played(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["demo", "--app", "demo_shop:guard", "--script", str(path), "--json"])
    return code, json.loads(capsys.readouterr().out)


# ── what is run ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_records_are_run_in_order_with_who_they_say(script: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = script(
        ORDER,
        {**ORDER, "expect": {"status": "succeeded", "replayed": True}},
        {**ORDER, "actor": "bob", "expect": {"status": "conflict", "reason": "key_reused"}},
        {**ORDER, "org": "bolt", "expect": {"status": "succeeded", "replayed": False}},
        "",
        {**ORDER, "payload": {"order_id": "A-2", "quantity": "many"}, "expect": "invalid"},
        {**ORDER, "roles": [], "expect": "denied"},
        {**ORDER, "actor": None, "expect": {"status": "denied", "reason": "no_actor"}},
        {"command": "orders.vanish", "actor": "ann", "expect": "denied", "note": "nobody has declared it"},
    )
    code, told = played(path, capsys)
    assert code == 0
    assert set(told) == {"kept", "app", "script", "seconds", "totals", "lines"}
    assert (told["kept"], told["app"], told["script"]) == (True, "demo_shop:guard", "day.jsonl")
    assert sys.modules["demo_shop"].effects == ["A-1", "A-1"]
    assert [line["line"] for line in told["lines"]] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert told["totals"] == {
        "lines": 8, "succeeded": 3, "invalid": 1, "denied": 3, "conflict": 1, "duplicates_stopped": 1,
        "tries_beyond_the_first": 0,
    }  # fmt: skip
    first, *_ = told["lines"]
    assert first == {
        "line": 1, "who": "ann", "sent": "orders.create order_id=A-1 quantity=2", "status": "succeeded",
        "command": "orders.create", "reasons": [], "message": "Order A-1 is booked.", "attempts": 1, "replayed": False,
        "event_id": first["event_id"], "retry_after": None, "error": "", "expected": None, "kept": True,
    }  # fmt: skip


def test_a_question_is_answered_by_its_id(script: Write, capsys: pytest.CaptureFixture[str]) -> None:
    refund = {**ORDER, "command": "orders.refund", "delivery": "m1", "id": "refund", "expect": "pending"}
    yes = {"confirm": "refund", "actor": "ann", "roles": ["sales"], "expect": "succeeded"}
    wrong = {**yes, "actor": "bob", "expect": {"status": "denied", "reason": "confirmation_invalid"}}
    no = {**ORDER, "command": "orders.refund", "delivery": "m2", "id": "other"}
    declined = {"decline": "other", "actor": "ann", "roles": ["sales"]}
    code, told = played(
        script(refund, wrong, yes, no, {**declined, "expect": {"status": "denied", "reason": "confirmation_declined"}}),
        capsys,
    )
    assert code == 0
    assert [line["message"] for line in told["lines"]][2] == "Refunded."
    assert "token" not in told["lines"][0]


def test_a_question_that_was_not_asked_is_denied(script: Write, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = played(script({**ORDER, "id": "order"}, {"confirm": "order", "actor": "ann"}), capsys)
    assert code == 0
    assert told["lines"][1]["status"] == "denied"


def update(text: str, number: int = 1, **beside: Any) -> dict[str, Any]:
    """A message as Telegram sends it, with names of ours beside it."""
    recorded = json.loads(json.dumps(Updates().said("/stock SKU-9", by="Sara")))
    recorded["update_id"] += number
    recorded["message"].update(text=text, message_id=number)
    return {**recorded, "roles": ["sales"], **beside}


def pressed(data: str, number: int = 1, **beside: Any) -> dict[str, Any]:
    """A press as Telegram sends it, likewise."""
    recorded = json.loads(json.dumps(Updates().said("reserve SKU-9 2")))
    recorded["callback_query"]["data"] = data
    recorded["callback_query"]["message"]["message_id"] = number
    return {**recorded, "roles": ["sales"], **beside}


def test_updates_are_read_like_a_chat(script: Write, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = played(
        script(
            update("/orders_create A-1 2", 1, expect="succeeded"),
            update("/orders.create@acme_bot A-2 2", 2, expect="succeeded"),
            update("/orders_create A-3", 3, expect="invalid"),
            update("/orders_create A-4 2", 4, org="bolt", roles=[], expect="denied"),
            update("/notes_add call the office", 5, expect="succeeded"),
            update("hello", 6, expect={"status": "denied", "reason": "not_found"}),
            pressed("orders_create A-5 1", 7, expect="succeeded"),
            pressed("orders_create A-5 1", 7, expect={"status": "succeeded", "replayed": True}),
            update("/orders_refund A-1 2", 8, expect="pending"),
            pressed("yes TOKEN", 9, expect="succeeded"),
        ),
        capsys,
    )
    assert code == 0, told
    sent = {line["line"]: line for line in told["lines"]}
    assert "Quantity is missing.\nWrite it like this: /orders_create <order id> <quantity>" in sent[3]["message"]
    assert sent[5]["message"] == "Noted: {'text': 'call the office'}"
    assert sent[7]["sent"] == "[orders_create A-5 1]"
    assert sent[10]["sent"] == "[yes]"
    assert sent[10]["message"] == "Refunded."


# ── what is found ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ("denied", "expected denied; found succeeded"),
        ({"status": "succeeded", "replayed": True}, "expected succeeded (again); found succeeded"),
        ({"status": "succeeded", "reason": "overran"}, "expected succeeded (overran); found succeeded"),
    ],
)
def test_what_ends_otherwise_is_named(
    expect: Any, told: str, script: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = script({**ORDER, "expect": expect})
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(path)]) == 1
    text = capsys.readouterr().out
    assert f"  BROKEN {told}\n" in text
    assert "1 of 1 expectations BROKEN" in text


def test_a_handler_s_error_is_told_to_its_developer(script: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = script({**ORDER, "command": "orders.lose", "expect": "failed"})
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(path)]) == 0
    told = capsys.readouterr()
    assert "(LookupError: the van is gone)" in told.out
    assert "All 1 expectations kept" in told.out
    assert told.err == ""


def test_a_handler_that_ends_the_process_is_no_success(
    script: Write, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = '@guard.command("orders.leave")\ndef leave(payload: dict) -> None:\n    raise SystemExit(0)\n'
    (shop / "demo_shop.py").write_text(SHOP + more, encoding="utf-8")
    path = script({**ORDER, "command": "orders.leave"}, ORDER)
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(path)]) == 2
    assert "[BG196] day.jsonl:1: the handler ended the process (SystemExit: 0)" in capsys.readouterr().err


def test_what_handlers_print_is_not_in_the_json(script: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = script(ORDER)
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(path), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["kept"] is True
    assert told.err == "the shop books A-1\n"


def test_a_store_that_is_down_is_another_ending(script: Write, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = (
        "from botguard.errors import StoreUnavailable\n"
        "def down(*args, **kwargs):\n"
        "    raise StoreUnavailable('the disk is gone')\n"
    )
    source = SHOP + broken + "guard.storage.idempotency.claim = down\n"
    (shop / "demo_shop.py").write_text(source, encoding="utf-8")
    path = script({**ORDER, "expect": "succeeded"})
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(path)]) == 3
    assert "The store could not be reached" in capsys.readouterr().out
    # A script may be about just that.
    path = script({**ORDER, "expect": {"status": "unavailable", "reason": "store_unavailable"}})
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(path)]) == 0


def test_a_store_that_cannot_even_be_opened(script: Write, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "from botguard.adapters.sqlite import SqliteStorage\nSqliteStorage('no/such/folder/shop.db')\n"
    (shop / "demo_shop.py").write_text(source, encoding="utf-8")
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(script(ORDER))]) == 3
    assert "no/such/folder" in capsys.readouterr().err


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ('{"command": "x"', "no JSON: Expecting ',' delimiter at character 16", "one whole JSON object"),
        ("[]", "it is a list, not an object", "no list around them"),
        ('{"actor": "ann", "actor": "bob"}', "'actor' is there twice", "keep one"),
        ('{"actor": NaN}', "NaN is no JSON", "write a number"),
        ("[" * 100_000, "nested too deeply", "flat"),
        ({"command": "orders.create"}, "it has no 'actor'", '"actor": "ann"'),
        ({**ORDER, "paylod": {}}, "there is no 'paylod'", "did you mean 'payload'?"),
        ({**ORDER, "zzz": 1}, "there is no 'zzz'", "it may have: actor, command, payload"),
        ({**ORDER, "roles": "sales"}, "'roles': it should be a valid list", "demo-your-own.md"),
        ({**ORDER, "payload": [1]}, "'payload': it should be a valid dict", "demo-your-own.md"),
        ({**ORDER, "expect": "suceeded"}, "no call ends with the status 'suceeded'", "did you mean 'succeeded'?"),
        ({**ORDER, "expect": "good"}, "the status 'good'", "write one of: succeeded, invalid"),
        ({**ORDER, "expect": {"status": "denied", "reason": "no_aktor"}}, "the reason 'no_aktor'", "'no_actor'"),
        ({**ORDER, "expect": {"state": "denied"}}, "there is no 'expect.state'", "did you mean 'status'?"),
        ({**ORDER, "actor": ""}, "Actor(id) is ''", "the host's own id"),
        ({"actor": "ann"}, "neither a command nor an answer", '"command", "confirm" and "decline"'),
        ({**ORDER, "confirm": "x"}, "'command' and 'confirm'", '"command", "confirm" and "decline"'),
        ({"confirm": "x", "actor": "ann"}, "a question that no line before it can lead to", 'an "id"'),
        ({"confirm": "x", "actor": "ann", "payload": {"a": 1}}, "an answer has no payload", "drop"),
        ({**ORDER, "command": "orders.creat"}, "the guard has no command 'orders.creat'", "'orders.create'?"),
        ({"update_id": 1, "edited_message": {}}, "this kind of update is not run", "messages with text"),
        ({"update_id": 1, "message": {"chat": 5}}, "'message.message_id' is missing", "as Telegram sends it"),
        ({**update("/x"), "update_id": "1"}, "'update_id' is a string", "as Telegram sends it"),
        ({**update("/x"), "expect": 3}, "'expect' is no ending", '"expect": "succeeded"'),
    ],
)
def test_a_wrong_line_is_named_with_its_fix_and_nothing_is_run(
    line: Any, what: str, fix: str, script: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = script(ORDER, "", line)
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("botguard: [BG196] day.jsonl:3: ")
    before, _, after = told.err.partition("Fix: ")
    assert what in before
    assert fix in after
    assert getattr(sys.modules.get("demo_shop"), "effects", []) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "No such file or directory"), (b"\n\n", "the script is empty"), (b"\xff\xfe{", "not written in UTF-8")],
)
def test_a_file_that_is_no_script(content: bytes | None, what: str, tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=what) as raised:
        read_script(path)
    assert raised.value.code == "BG195"


def test_wiring_that_fails_only_when_it_is_used_names_the_line(
    script: Write, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = '@guard.command("orders.two")\ndef two(payload: dict, other: int) -> None: ...\n'
    (shop / "demo_shop.py").write_text(SHOP + more, encoding="utf-8")
    assert main(["demo", "--app", "demo_shop:guard", "--script", str(script({**ORDER, "command": "orders.two"}))]) == 2
    assert "[BG137] day.jsonl:1: orders.two" in capsys.readouterr().err


def test_a_guard_that_is_not_there(script: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--app", "demo_shop:gard", "--script", str(script(ORDER))]) == 2
    assert "--app demo_shop:guard" in capsys.readouterr().err


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_s_sample_prints_what_it_shows(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for language, name in (("python", "shop.py"), ("json", "day.jsonl")):
        (shop / name).write_text(text.partition(f"```{language}\n")[2].partition("```")[0], encoding="utf-8")
    assert main(["demo", "--app", "shop:guard", "--script", "day.jsonl"]) == 1
    shown = text.partition("```text\n")[2].partition("```")[0]
    assert capsys.readouterr().out.rpartition(", in ")[0] == shown.rpartition(", in ")[0]


# ── on a terminal ────────────────────────────────────────────────────────────────────────────────────────────────────


class Terminal(io.TextIOWrapper):
    """Says that it is one, and takes UTF-8."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_obeys_nobody_who_is_quoted_and_half_a_character_ends_nothing() -> None:
    out = Terminal(io.BytesIO(), encoding="utf-8")
    paper = Paper(out, colour=True)
    paper.row([("ann\x1b]0;owned\x07", 20, "")], "half \ud800, \x9b31m and na\u00efve")
    written = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert not {"\x1b", "\x9b"} & set(written)
    assert r"ann\x1b]0;owned\x07" in written
    assert "half \\ud800, \\x9b31m and naïve" in " ".join(written.split())
