"""The mistakes of the first hour: each is told at once, with what, where, why, one fix and a stable code."""

from __future__ import annotations

import ast
import functools
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import celery
import click
import pytest
import tenacity
from pydantic import BaseModel

from botguard import (
    ALLOW_ALL,
    Actor,
    CommandRegistry,
    ConfigurationError,
    Context,
    Denied,
    Guard,
    Phone,
    Retry,
    guarded,
)
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.integrations.celery import check_tasks

ANN = Context(org="acme", actor=Actor("ann"))


class Order(BaseModel):
    order_id: str
    phone: Annotated[str, Phone(region="GB")]


def make_guard(**options: Any) -> Guard:
    return Guard(**{"storage": MemoryStorage(), "access": ALLOW_ALL, **options})


def told(mistake: Callable[[], object], code: str, *, where: str, what: str, fix: str) -> ConfigurationError:
    """The error of a mistake: all five parts are there, and its text has them in this order."""
    with pytest.raises(ConfigurationError) as caught:
        mistake()
    error = caught.value
    assert error.code == code
    assert where in error.where
    assert what in error.what
    assert error.why
    assert fix in error.fix
    parts = [f"[{code}]", error.where, error.what, error.why[1:], "Fix: ", error.fix.rstrip(".")]
    places = [str(error).index(part) for part in parts]
    assert places == sorted(places), str(error)
    assert str(error).endswith(".")
    assert not re.search(r"\. [a-z]|[^.]\.\.[^.]", str(error)), str(error)
    return error


def declare(function: Any = None, *, name: str = "orders.create", **options: Any) -> Callable[[], object]:
    def create_order(order: Order) -> str:
        return order.order_id

    return lambda: make_guard().command(name, **options)(function or create_order)


HERE = f"create_order ({Path(__file__)}"


@pytest.mark.parametrize(
    ("options", "code", "what", "fix"),
    [
        ({"key": "{id}"}, "BG114", "Order has no field 'id'", "order_id, phone"),
        ({"key": "{order.id}"}, "BG114", "{order.id} must be a bare field name", "function"),
        ({"key": "order"}, "BG114", "it names no field", "{order_id}"),
        ({"retry": Retry(attempts=3)}, "BG101", "does not say what its effects are", 'effects="external"'),
        (
            {"retry": Retry(on=TimeoutError), "effects": "external"},
            "BG102",
            "external effects and is retried on TimeoutError",
            "Retry(before_effect=…)",
        ),
        ({"attemps": 3}, "BG109", "'attemps' is not an option here", "there are: "),
        ({"effect": "read"}, "BG109", "'effect' is not an option here", "did you mean 'effects'?"),
        ({"effects": "idempotant"}, "BG109", "effects='idempotant' does not exist", "did you mean 'idempotent'?"),
        ({"limits": ["5/minute"]}, "BG115", "'5/minute'", '"5/minute per user"'),
        ({"limits": "5/minute per user"}, "BG117", "limits='5/minute per user'", "a list of strings"),
        ({"breaker": "erp"}, "BG163", "breaker 'erp'", "Breaker()} to the Guard"),
        ({"effects": "transactional"}, "BG160", "no unit of work", "SqliteStorage"),
    ],
)
def test_options_of_a_command(options: dict[str, Any], code: str, what: str, fix: str) -> None:
    told(declare(**options), code, where="orders.create", what=what, fix=fix)


@pytest.mark.parametrize("options", [{"key": "{id}"}, {"breaker": "erp"}, {"effects": "transactional"}])
def test_what_shows_when_a_command_is_bound_names_its_function_and_line(options: dict[str, Any]) -> None:
    told(declare(**options), next(iter({"key": "BG114", "breaker": "BG163", "effects": "BG160"}[o] for o in options)),
         where=HERE, what="", fix="")  # fmt: skip


def test_a_guard_without_what_it_needs() -> None:
    told(lambda: Guard(access=ALLOW_ALL), "BG170", where="", what="has no storage", fix="MemoryStorage()")
    told(lambda: make_guard(storage="shop.db"), "BG170", where="", what="storage='shop.db'", fix="SqliteStorage(")
    told(lambda: make_guard(storage=MemoryStorage), "BG170", where="", what="which is none", fix="MemoryStorage()")
    told(lambda: make_guard(access=None), "BG171", where="", what="no access=", fix="ALLOW_ALL on purpose")
    told(lambda: make_guard(access=["orders.create"]), "BG171", where="", what="['orders.create']", fix='{"sales": {')
    told(
        lambda: make_guard(access={"sales": "orders"}), "BG150", where="", what="the string 'orders'", fix="{'orders'}"
    )


def test_a_decorator_above_a_task_or_a_command() -> None:
    app = celery.Celery("shop", broker="memory://", set_as_current=False)

    @app.task
    def create_order(order: Order) -> None: ...

    @click.command()
    def create() -> None: ...

    for made in (create_order, create, functools.partial(print)):
        told(
            declare(made),
            "BG135",
            where="orders.create",
            what="already, not a function",
            fix="put the framework's decorator above ours",
        )


def test_two_retry_owners_where_tenacity_is_one() -> None:
    options: dict[str, Any] = {"effects": "idempotent", "retry": Retry(on=OSError)}

    @tenacity.retry(stop=tenacity.stop_after_attempt(3))
    def create_order(order: Order) -> None: ...

    @functools.wraps(create_order)
    def logged(order: Order) -> None: ...

    @tenacity.retry
    async def create_later(order: Order) -> None: ...

    for function in (create_order, logged, create_later):
        told(declare(function, **options), "BG125", where="orders.create", what="two retry owners", fix="Retry(wait=…")
        declare(function, effects="idempotent")()  # one owner is fine


def test_two_retry_owners_where_celery_is_one() -> None:
    guard = make_guard()
    app = celery.Celery("shop", broker="memory://", set_as_current=False)
    retry = Retry(on=OSError)

    @app.task(autoretry_for=(OSError,))
    @guard.command("one.celery", effects="idempotent")
    def one(payload: dict[str, Any]) -> None: ...

    @app.task
    @guard.command("one.guard", effects="idempotent", retry=retry)
    def other(payload: dict[str, Any]) -> None: ...

    @app.task(autoretry_for=(OSError,))
    def unguarded() -> None: ...

    check_tasks(app)

    @app.task(bind=True, autoretry_for=(OSError,), max_retries=7)
    @guard.command("two", effects="idempotent", retry=retry, bind=lambda task, payload: (payload, ANN))
    def two(self: Any, payload: dict[str, Any]) -> None: ...

    told(lambda: check_tasks(app), "BG125", where="two ", what="up to 24 calls", fix="drop autoretry_for=")


def test_nobody_has_bound_it_or_says_who_asks() -> None:
    @guarded("orders.create", registry=CommandRegistry())
    def create_order(order: Order) -> None: ...

    order = Order.model_construct(order_id="A-17", phone="020 7946 0958")
    told(lambda: create_order(order), "BG130", where=HERE, what="no guard has bound it", fix="registry=")

    guard = make_guard()
    show = guard.command("orders.show")(lambda payload: None)
    with pytest.raises(Denied) as caught:
        show({})
    error = caught.value.__cause__
    assert isinstance(error, ConfigurationError)
    assert (error.code, "guard.acting" in error.fix) == ("BG173", True)


def test_a_colour_that_does_not_fit() -> None:
    guard = make_guard()

    @guard.command("orders.create")
    async def create_order(order: Order) -> None: ...

    told(lambda: guard.run("orders.create", {}, context=ANN), "BG165", where="orders.create", what="async def",
         fix="await guard.run_async")  # fmt: skip


@pytest.mark.parametrize("path", [":memory:", "", "file:shop?mode=memory&cache=shared"])
def test_sqlite_in_memory(path: str) -> None:
    told(lambda: SqliteStorage(path), "BG145", where="", what="names no file", fix="MemoryStorage")


def test_sqlite_settings_that_would_lose_effects(tmp_path: Path) -> None:
    told(lambda: SqliteStorage(tmp_path / "a.db", synchronous="OFF"), "BG145", where="", what="'OFF'", fix="'FULL'")
    guard = make_guard(storage=SqliteStorage(tmp_path / "a.db"))

    @guard.command("orders.create", effects="transactional")
    def create_order(payload: dict[str, Any]) -> None: ...

    @guard.command("orders.send")
    def send_order(payload: dict[str, Any]) -> None: ...

    other = sqlite3.connect(tmp_path / "other.db")
    own = sqlite3.connect(tmp_path / "a.db")
    try:
        mistakes = (
            (lambda: guard.run("orders.create", {}, context=ANN, session=other), "BG141"),
            (lambda: guard.run("orders.create", {}, context=ANN, session="a.db"), "BG141"),
            (lambda: guard.run("orders.send", {}, context=ANN, session=own), "BG143"),
        )
        for mistake, code in mistakes:
            told(mistake, code, where="", what="", fix="")
    finally:
        other.close()
        own.close()
        guard.storage.close()


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("botguard.integrations.flask", "flask", "flask"),
        ("botguard.integrations.fastapi", "fastapi", "fastapi"),
        ("botguard.integrations.aiogram", "aiogram", "aiogram"),
        ("botguard.integrations.celery", "celery", "celery"),
        ("botguard.adapters.sqlalchemy", "sqlalchemy", "sqlalchemy"),
    ],
)
def test_an_extra_that_is_not_installed_is_named_with_the_command(module: str, library: str, extra: str) -> None:
    program = (
        "import pickle, sys\n"
        f"sys.modules[{library!r}] = None\n"
        f"try:\n    import {module}\n"
        "except ImportError as error:\n"
        "    print(error.code, error.name, pickle.loads(pickle.dumps(error)))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"BG199 {library} [BG199] {module} needs ")
    assert said.endswith(f"Fix: pip install 'botguard[{extra}]'.\n")
    assert said.count("\n") == 1


def incomplete(source: str) -> list[int]:
    """Lines where a ConfigurationError is made without a why or a fix."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    made = [call for call in calls if getattr(call.func, "id", "") == "ConfigurationError"]
    return [call.lineno for call in made if not {"why", "fix"} <= {keyword.arg for keyword in call.keywords}]


def test_every_error_of_the_library_says_why_and_what_to_do() -> None:
    package = Path(__file__).parents[2] / "src" / "botguard"
    # Less what tests and the command line say of their own input, and notes that are never raised.
    others = ("testing", "cli", "adoption")
    paths = [path for path in sorted(package.rglob("*.py")) if path.relative_to(package).parts[0] not in others]
    sources = {path: path.read_text(encoding="utf-8") for path in paths}
    assert sum(source.count("ConfigurationError(") for source in sources.values()) > 60
    assert {str(path): incomplete(source) for path, source in sources.items() if incomplete(source)} == {}
    assert incomplete("ConfigurationError('BG1', 'what', why='w')\nConfigurationError('BG1', 'x', why='', fix='')") == [
        1
    ]


def test_a_person_reads_their_own_mistake_in_their_own_words() -> None:
    guard = make_guard()

    @guard.command("orders.call")
    def call(order: Order) -> None: ...

    outcome = guard.run("orders.call", {"order_id": "A-17", "phone": "12"}, context=ANN)
    assert outcome.message() == "Phone number: '12' is too short for the United Kingdom. Send it like 020 7946 0958."
