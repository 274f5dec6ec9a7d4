"""examples/erp_flask_sqlalchemy: a legacy-shaped host, its handlers untouched, on each database that it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flaskserver import Server
from sqlalchemy import Engine, create_engine, func, inspect, select, text
from sqlalchemy.orm import Session

from adapters.sqlalchemy.databases import Place, place_for
from botguard import ConfigurationError
from docs.pages import ROOT, blocks
from examples.erp_flask_sqlalchemy import __main__ as program
from examples.erp_flask_sqlalchemy import guarding, mapping
from examples.erp_flask_sqlalchemy.books import faults
from examples.erp_flask_sqlalchemy.host import bots, handlers, post
from examples.erp_flask_sqlalchemy.host import database as db
from examples.erp_flask_sqlalchemy.host.models import (
    Base,
    BotEvent,
    BotJob,
    Conversation,
    IdempotencyKey,
    LedgerLine,
    Product,
    Question,
    RateCounter,
    StockMove,
)
from examples.erp_flask_sqlalchemy.host.seed import seed
from examples.erp_flask_sqlalchemy.host.web import SECRET, create_app
from examples.erp_flask_sqlalchemy.morning import Morning, Telegram

EXAMPLE = Path(program.__file__).parent
NUMBER = count()
AT_ONCE = 8


@contextmanager
def empty_database(place: Place) -> Iterator[str]:
    """The URL of a database, or of a schema, that only this run uses."""
    url, server, name = place.url, place.server, f"erp_{os.getpid()}_{next(NUMBER)}"
    if server == "sqlite":
        yield url.render_as_string(hide_password=False)
        return
    kind = {"postgresql": "SCHEMA", "mariadb": "DATABASE"}[server]
    around = create_engine(url, isolation_level="AUTOCOMMIT")
    with around.connect() as connection:
        connection.execute(text(f"CREATE {kind} {name}"))
    own = url.set(database=name)
    if server == "postgresql":
        own = url.update_query_dict({"options": f"-csearch_path={name}"})
    try:
        yield own.render_as_string(hide_password=False)
    finally:
        with around.connect() as connection:
            connection.execute(text(f"DROP {kind} {name}" + (" CASCADE" if server == "postgresql" else "")))
        around.dispose()


class Erp:
    """The guarded application on one database, and looks at its tables."""

    def __init__(self, url: str) -> None:
        self.url = url
        engine = db.connect(url)
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(text(mapping.MIGRATION))
        engine.dispose()
        self.engine: Engine = db.connect(url)
        self.app = create_app()
        self.app.config["PROPAGATE_EXCEPTIONS"] = False
        self.guard = guarding.enforce(self.app, self.engine)

    def begin(self) -> None:
        db.session.remove()
        db.session.configure(bind=self.engine)
        seed()
        db.session.remove()

    def close(self) -> None:
        db.session.remove()
        self.guard.storage.engine.dispose()  # type: ignore[attr-defined]
        self.engine.dispose()

    def telegram(self) -> Telegram:
        return Telegram(self.app.test_client())

    def say(self, who: str, words: str) -> str:
        telegram = self.telegram()
        return str(telegram.deliver(telegram.say(who, words)).get_json()["text"])

    def deliver(self, number: str, *skus: str) -> Any:
        lines = [{"sku": sku, "quantity": 5} for sku in skus]
        body = {"delivery_no": number, "lines": lines}
        return self.app.test_client().post("/api/deliveries", json=body, headers={"X-Api-Token": "t-ann"})

    def all(self, statement: Any) -> list[Any]:
        with Session(self.engine) as session:
            return list(session.scalars(statement))

    def amounts(self, order: int) -> list[int]:
        return sorted(self.all(select(LedgerLine.amount).where(LedgerLine.order_id == order)))

    def held(self) -> int:
        """Rows of the guard's whose key is not free: a released one keeps no owner."""
        keys = select(func.count()).select_from(IdempotencyKey).filter_by(bot_name="guard")
        return int(self.all(keys.where(IdempotencyKey.locked_by != ""))[0])

    def count(self, model: Any, **where: Any) -> int:
        return int(self.all(select(func.count()).select_from(model).filter_by(**where))[0])


def at_once(action: Any, times: int = AT_ONCE) -> list[Any]:
    """What several threads get that begin together."""
    gate = threading.Barrier(times)

    def one(number: int) -> Any:
        gate.wait(30)
        return action(number)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


@pytest.fixture(scope="module", params=["pysqlite", "psycopg", "pymysql"])
def built(request: pytest.FixtureRequest) -> Iterator[Erp]:
    with place_for(request.param) as place, empty_database(place) as url:
        made = Erp(url)
        yield made
        made.close()


@pytest.fixture
def erp(built: Erp) -> Erp:
    built.begin()
    return built


# -- one effect an intent -----------------------------------------------------------------------


def test_an_update_that_is_delivered_many_times_at_once_has_one_effect(erp: Erp) -> None:
    update = erp.telegram().say("ann", "/approve 17")
    answers = at_once(lambda _: erp.telegram().deliver(update))
    assert {answer.status_code for answer in answers} == {200}
    assert "Order #17 is approved." in [answer.get_json()["text"] for answer in answers]
    assert erp.amounts(17) == [-100, 100]
    assert erp.telegram().deliver(update).get_json()["text"] == "Order #17 is approved."
    assert erp.amounts(17) == [-100, 100]
    assert faults(erp.engine) == []


def test_presses_of_many_at_once_for_one_order_have_one_effect(erp: Erp) -> None:
    def press(number: int) -> Any:
        telegram = erp.telegram()
        return telegram.deliver({**telegram.say("ann", "/approve 17"), "update_id": 100 + number})

    assert {answer.status_code for answer in at_once(press)} == {200}
    assert erp.amounts(17) == [-100, 100]
    assert erp.count(BotJob) == AT_ONCE, "the outbox is not guarded yet: each delivery makes a job"


def test_a_delivery_that_is_posted_many_times_at_once_is_counted_once(erp: Erp) -> None:
    statuses = Counter(answer.status_code for answer in at_once(lambda _: erp.deliver("D-1", "tea", "salt"), 4))
    assert set(statuses) <= {200, 409, 503}, "counted, running, or refused because the database was busy"
    assert erp.deliver("D-1", "tea", "salt").status_code == 200
    assert sorted(erp.all(select(StockMove.sku))) == ["salt", "tea"]
    assert faults(erp.engine) == []


def test_a_letter_goes_out_once_and_only_after_the_button(erp: Erp) -> None:
    telegram = erp.telegram()
    asked = telegram.deliver(telegram.say("ann", "/cancel 22")).get_json()
    assert asked["text"] == "Cancel order #22, and write to the customer?"
    assert post.letters == []
    button = asked["keyboard"][0][1]
    stranger = telegram.deliver(telegram.press("bob", button)).get_json()["text"]
    assert post.letters == [], stranger
    pressed = telegram.press("ann", button)
    answers = at_once(lambda _: erp.telegram().deliver(pressed))
    assert {answer.status_code for answer in answers} == {200}
    assert post.letters == [22]
    assert telegram.deliver(pressed).get_json()["text"] == "Order #22 is cancelled."
    assert post.letters == [22]
    assert faults(erp.engine) == []


# -- transactions -------------------------------------------------------------------------------


def test_a_handler_that_fails_half_way_leaves_nothing_and_may_be_asked_again(erp: Erp) -> None:
    telegram = erp.telegram()
    update = telegram.say("ann", "/approve 19")
    failed = telegram.deliver(update)
    assert (failed.status_code, failed.get_json()) == (422, {"error": "no account for salt"})
    assert erp.amounts(19) == []
    assert not erp.held(), "the key is free again"
    with Session(erp.engine) as session:
        session.query(Product).filter_by(sku="salt").update({"account": "sales"})
        session.commit()
    assert telegram.deliver(update).get_json()["text"] == "Order #19 is approved."
    assert erp.amounts(19) == [-300, 300]
    assert faults(erp.engine) == []
    # The dispatcher wrote what it always writes, in its own transactions.
    assert erp.all(select(BotJob.status).order_by(BotJob.id)) == ["failed", "done"]


def test_a_rollback_of_the_hosts_cancels_what_was_done_inside(erp: Erp) -> None:
    refused = erp.deliver("D-1", "tea", "pepper")
    assert (refused.status_code, refused.get_json()) == (422, {"error": "no article pepper"})
    assert erp.count(StockMove) == 0
    assert not erp.held(), "the claim of the first line went with it"
    assert erp.deliver("D-1", "tea", "salt").status_code == 200
    assert erp.count(StockMove) == 2, "the first line ran again: it was no replay"
    assert erp.deliver("D-1", "tea", "salt").get_json() == ["5 x tea received.", "5 x salt received."]
    assert erp.count(StockMove) == 2
    assert faults(erp.engine) == []


def test_the_session_is_the_hosts_own_again_after_a_guarded_call(erp: Erp) -> None:
    for words in ("/approve 17", "/approve 19"):  # one that succeeds, one that fails
        with erp.app.test_request_context():
            before = db.session()
            telegram = erp.telegram()
            update = telegram.say("ann", words)
            try:
                bots.handle_update(erp.app.extensions["bot_commands"], update)
            except LookupError:
                assert words == "/approve 19"
            assert db.session() is before


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "words", "answer"),
    [
        ("bob", "/approve 18", "You are not allowed to do this."),
        ("eve", "/approve 18", "Your account is not active. Please ask your administrator."),
        ("ann", "please do not approve", "Order number: this is not a whole number. Send it like 12."),
    ],
)
def test_a_refusal_is_a_reply_that_the_dispatcher_knows(erp: Erp, who: str, words: str, answer: str) -> None:
    assert erp.say(who, words) == answer
    assert erp.amounts(18) == []
    assert erp.all(select(BotJob.status)) == ["done"]


def test_the_hosts_own_table_of_commands_decides(erp: Erp) -> None:
    with Session(erp.engine) as session:
        session.execute(
            text("UPDATE bot_command_registry SET is_active = :no WHERE command = 'approve'"), {"no": False}
        )
        session.commit()
    assert erp.say("ann", "/approve 17") == "You are not allowed to do this."


def test_a_stranger_is_denied_and_written_down_in_a_column_of_numbers(erp: Erp) -> None:
    with erp.app.test_request_context("/api/deliveries", method="POST"):
        erp.app.preprocess_request()
        assert erp.guard.run("stock", {"argument": "tea"}).reasons == ("no_actor",)
        db.session.remove()
    (event,) = erp.all(select(BotEvent))
    assert (event.org_id, event.payload_json["reasons"]) == (7, "no_actor")


def test_too_many_are_counted_in_the_hosts_table(erp: Erp) -> None:
    for order in (17, 18, 20, 21):
        assert erp.say("ann", f"/approve {order}") == f"Order #{order} is approved."
    assert erp.say("ann", "/approve 22").startswith("That was too often.")
    assert erp.all(select(RateCounter.hits)) == [4]
    assert erp.say("ann", "/approve 17") == "Order #17 is approved.", "a replay is not charged"


# -- rows in the host's tables ------------------------------------------------------------------


def test_rows_are_what_the_hosts_own_code_expects(erp: Erp) -> None:
    erp.say("ann", "/approve 17")
    erp.say("ann", "/cancel 22")
    key = erp.all(select(IdempotencyKey).where(IdempotencyKey.bot_name == "guard"))[0]
    assert (key.org_id, key.user_id, key.command, key.status, key.attempts) == (7, 1, "approve", "completed", 1)
    assert "Order #17 is approved." in key.response_json["text"]
    assert key.expires_at.tzinfo is None
    assert key.consumed_at is not None, "the server's default"
    events = erp.all(select(BotEvent).where(BotEvent.bot_name == "guard").order_by(BotEvent.id))
    assert [(event.org_id, event.event_type, event.severity) for event in events] == [(7, "run", "info")] * 2
    assert [event.payload_json["status"] for event in events] == ["succeeded", "pending"]
    assert [event.command for event in erp.guard.storage.events.tail()] == ["approve", "cancel"]
    question = erp.all(select(Question))[0]
    assert (question.org_id, question.user_id, question.answer) == (7, 1, "open")
    assert question.payload_json == {"text": '{"entity_id":22}'}


def test_rows_of_other_services_are_left_alone(erp: Erp) -> None:
    erp.say("ann", "/approve 17")
    assert [event.command for event in erp.guard.storage.events.tail()] == ["approve"]
    assert erp.count(BotEvent, bot_name="erp_bot") == 1
    erp.guard.purge()
    assert erp.all(select(IdempotencyKey.status).where(IdempotencyKey.bot_name == "billing")) == ["seen"]


def test_the_conversation_goes_on_as_it_did(erp: Erp) -> None:
    assert erp.say("ann", "/stock") == "Of which article?"
    assert erp.all(select(Conversation.state_key)) == ["awaiting_sku"]
    assert erp.say("ann", "/stock tea") == "tea: 40"
    assert erp.count(Conversation) == 0


# -- the handlers -------------------------------------------------------------------------------


def test_the_host_knows_nothing_of_a_guard() -> None:
    for path in (EXAMPLE / "host").rglob("*.py"):
        assert "botguard" not in path.read_text(encoding="utf-8"), path.name
    look = "import sys, examples.erp_flask_sqlalchemy.host.web, examples.erp_flask_sqlalchemy.host.seed; "
    look += "sys.exit(any(name.split('.')[0] == 'botguard' for name in sys.modules))"
    subprocess.run([sys.executable, "-c", look], cwd=ROOT, check=True, timeout=60)


def test_the_handlers_stay_what_they_are(erp: Erp) -> None:
    functions = {name: getattr(handlers, name) for name in bots.COMMANDS}
    assert functions == bots.COMMANDS, "guarding changes the application's table only"
    assert all(not hasattr(function, "__botguard__") for function in functions.values())
    assert create_app().extensions["bot_commands"] == functions


# -- the program --------------------------------------------------------------------------------


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.erp_flask_sqlalchemy"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(folder), **environment},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_one_command_shows_the_morning_twice_and_leaves_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, DATABASE_URL="")
    assert (done.returncode, done.stderr) == (0, "")
    watched, enforced = done.stdout.split("\nThe tables\n")
    assert "the books are wrong:" in watched
    assert "order 17 is approved, and the ledger has [-100, -100, -100, 100, 100, 100]" in watched
    assert "21 calls seen, 8 would have been refused; none was changed." in watched
    assert "has no column 'fence'" in enforced
    assert enforced.endswith("\n  the books are right\n")
    assert 'bot_command_replays_total{command="approve",module=""} 2.0' in enforced
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("driver", ["psycopg", "pymysql"])
def test_it_runs_on_the_servers_too(
    driver: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["erp"])
    monkeypatch.setattr(program.signal, "signal", lambda *_: None)  # that of this process stays
    with place_for(driver) as place, empty_database(place) as url:
        monkeypatch.setenv("DATABASE_URL", url)
        assert program.main() == 0
        assert capsys.readouterr().out.endswith("\n  the books are right\n")
        engine = create_engine(url)
        assert inspect(engine).get_table_names() == []
        Base.metadata.tables["orders"].create(engine)  # somebody's own: not ours to empty
        with pytest.raises(SystemExit, match="name another database"):
            program.main()
        assert inspect(engine).get_table_names() == ["orders"]
        engine.dispose()


def test_it_serves_the_guarded_erp(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "examples.erp_flask_sqlalchemy", "--serve", "0"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path), "DATABASE_URL": "", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    server = Server(process)
    try:
        update = {"update_id": 1, "message": {"message_id": 1, "chat": {"id": 501}, "text": "/approve 17"}}
        asked = urllib.request.Request(
            f"http://{server.address}/telegram/webhook",
            json.dumps(update).encode(),
            {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": SECRET},
        )
        for _ in range(2):
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert json.load(answer)["text"] == "Order #17 is approved."
        with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=30) as answer:
            assert b'bot_command_replays_total{command="approve",module=""} 1.0' in answer.read()
    finally:
        server.stop()
        assert process.stdout is not None
        process.stdout.close()
    assert list(tmp_path.iterdir()) == [], "it cleans up when it is told to end"


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [("approve", "key", None), ("receive", "key", None), ("approve", "limits", [])],
)
def test_wrong_books_are_told_by_the_exit_code(
    command: str, option: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teeth: with a key that is not the intent's, or a limit that is gone, the morning ends otherwise."""
    options = {name: item for name, item in guarding.OPTIONS[command].items() if name != option}
    monkeypatch.setitem(guarding.OPTIONS, command, options if value is None else {**options, option: value})
    assert program.rehearse(f"sqlite:///{tmp_path}/erp.db", tmp_path / "shadow.db") == 1


def test_in_shadow_the_morning_is_the_one_without_a_guard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for name in ("bare", "watched"):
        engine = db.connect(f"sqlite:///{tmp_path}/{name}.db")
        Base.metadata.create_all(engine)
        app = create_app()
        guard = guarding.watch(app, engine, tmp_path / "shadow.db") if name == "watched" else None
        seed()
        db.session.remove()
        Morning(app).spend()
        printed.append((capsys.readouterr().out, faults(engine)))
        if guard is not None:
            guard.storage.close()  # type: ignore[attr-defined]
        engine.dispose()
    assert printed[0] == printed[1]


def test_the_migration_is_what_the_error_prints(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/erp.db")
    with pytest.raises(ConfigurationError, match="BG147") as refused:
        mapping.storage(engine, IdempotencyKey)
    assert f"  {mapping.MIGRATION};" in refused.value.fix.splitlines()
    assert refused.value.fix.count("ADD COLUMN") == 2, "one column, for two families of servers"
    engine.dispose()


def test_the_page_quotes_the_example_to_the_letter() -> None:
    def lines(text: str) -> str:
        return "\n".join(line.strip() for line in text.strip().splitlines())

    source = "\n".join(lines(path.read_text(encoding="utf-8")) for path in EXAMPLE.glob("*.py"))
    quoted = [block for block in blocks(ROOT / "docs" / "how-to" / "legacy-tables.md") if block.not_run]
    assert len(quoted) >= 5
    for block in quoted:
        for part in block.code.strip().split("\n\n\n"):  # two blank lines: something may stand between
            assert lines(part) in source, f"legacy-tables.md:{block.line}"
