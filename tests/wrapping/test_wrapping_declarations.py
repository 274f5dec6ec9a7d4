"""Names, registries and options: every mistake is found where it is written, and told with code, reason and fix."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import botguard
from botguard import (
    ALLOW_ALL,
    Breaker,
    Check,
    CommandRegistry,
    ConfigurationError,
    Guard,
    Retry,
    Rule,
    default_registry,
    guarded,
)
from botguard.adapters.memory import MemoryStorage
from botguard.command import CommandOptions
from wrapping.setting import ANN, make_guard, refused, run, tells_all


def handle(payload: dict[str, Any]) -> str:
    return "done"


async def handle_awaited(payload: dict[str, Any]) -> str:
    return "done"


class Order(BaseModel):
    order_id: str


# -- names and registries ---------------------------------------------------------------------------------------------


def test_a_name_twice() -> None:
    guard = make_guard()
    guard.command("orders.create")(handle)
    with refused("BG131", "orders.create", f"{__name__}.handle", "handle_awaited", __file__):
        guard.command("orders.create")(handle_awaited)
    assert len(guard.registry) == 1
    assert guard.run("orders.create", {}, context=ANN).value == "done"


def test_two_guards_on_one_registry() -> None:
    registry = CommandRegistry()
    handler = guarded("orders.create", registry=registry)(handle)
    first = make_guard(registry=registry)
    with refused("BG132", "CommandRegistry()"):
        make_guard(registry=registry)
    with first.acting(ANN):
        assert handler({}) == "done"


def test_one_handler_in_two_registries_is_two_declarations() -> None:
    one, other = CommandRegistry(), CommandRegistry()
    first, second = guarded("a", registry=one)(handle), guarded("b", registry=other)(handle)
    guard, stranger = make_guard(registry=one), make_guard(registry=other)
    assert guard.run(first, {}, context=ANN).ok
    with refused("BG132", "a ", "handle"):
        stranger.run(first, {}, context=ANN)
    assert stranger.run(second, {}, context=ANN).ok


def test_a_declaration_belongs_to_one_guard() -> None:
    guard, stranger = make_guard(), make_guard()
    guard.command("orders.create")(handle)
    with refused("BG132", "orders.create"):
        stranger.bind(guard.registry.get("orders.create"))
    with refused("BG132"):
        stranger.registry.add(guard.registry.get("orders.create"))
    assert "orders.create" not in stranger.registry


def test_an_unbound_call_says_how_to_bind() -> None:
    registry = CommandRegistry()
    handler = guarded("orders.create", registry=registry)(handle)
    awaited = guarded("orders.awaited", registry=registry)(handle_awaited)

    with refused("BG130", "orders.create", f"{__name__}.handle", __file__, "Guard(", "registry="):
        handler({})
    with refused("BG130", "orders.awaited"):
        run(awaited({}))
    guard = make_guard()
    with refused("BG130", "orders.create"):
        guard.run(handler, {}, context=ANN)


def test_declarations_that_come_after_the_guard_are_bound_at_once() -> None:
    registry = CommandRegistry()
    guard = make_guard(registry=registry)
    handler = guarded("late", registry=registry)(handle)
    with guard.acting(ANN):
        assert handler({}) == "done"
    assert {declaration.command.name for declaration in registry} == {"late"}


def test_the_default_registry_is_used_only_when_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_registry, "_declarations", {})
    monkeypatch.setattr(default_registry, "_binder", None)
    handler = guarded("by.default")(handle)
    make_guard()
    with refused("BG130"):
        handler({})
    guard = make_guard(registry=botguard.default_registry)
    with guard.acting(ANN):
        assert handler({}) == "done"


def test_run_of_what_is_not_guarded() -> None:
    guard = make_guard()
    with refused("BG138", "handle", "@guard.command"):
        guard.run(handle, {}, context=ANN)
    outcome = guard.run("no.such.command", {}, context=ANN)
    assert str(outcome.reasons[0]) == "not_found"
    assert str(run(guard.run_async("no.such.command", {}, context=ANN)).reasons[0]) == "not_found"


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decorate", ["guard.command", "guarded"])
@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ({"permision": "x"}, "permission"),
        ({"effect": "read"}, "effects"),
        ({"idempotency_key": "x"}, "there are"),
        ({"retries": 3}, "retry"),
        ({"time_out": 3}, "timeout"),
        ({"effects": "extrenal"}, "external"),
        ({"effects": "none"}, "there are: read, transactional, idempotent, external"),
        ({"risk": "hihg"}, "high"),
        ({"in_flight": "joined"}, "join"),
        ({"modes": {"policy": "shadw"}}, "shadow"),
    ],
)
def test_option_typos_suggest_what_was_meant(decorate: str, typo: dict[str, Any], meant: str) -> None:
    make = make_guard().command if decorate == "guard.command" else guarded
    with refused("BG109", "orders.create", meant) as found:
        make("orders.create", **typo)
    assert found.value.where == "orders.create"
    if meant in CommandOptions.__annotations__:
        assert f"did you mean {meant!r}?" in found.value.fix


WRONG: list[tuple[str, dict[str, Any], str, tuple[str, ...]]] = [
    ("Orders.Create", {}, "BG100", ("dotted lower case",)),
    ("", {}, "BG100", ()),
    ("orders create", {}, "BG100", ()),
    ("x" * 201, {}, "BG100", ()),
    ("orders.create", {"retry": Retry()}, "BG101", ("effects",)),
    (
        "orders.create",
        {"retry": Retry(on=(OSError, ValueError)), "effects": "external"},
        "BG102",
        ("OSError", "before_effect"),
    ),
    ("orders.create", {"permission": None}, "BG103", ("public=True",)),
    ("orders.create", {"effects": "read", "reconcile": handle}, "BG104", ("reconcile",)),
    ("orders.create", {"deadline": 0}, "BG105", ("deadline",)),
    ("orders.create", {"deadline": float("nan")}, "BG105", ("deadline",)),
    ("orders.create", {"timeout": -1}, "BG105", ("timeout",)),
    ("orders.create", {"keep": 0}, "BG105", ("keep",)),
    ("orders.create", {"grace": -1}, "BG105", ("grace",)),
    ("orders.create", {"confirm_within": 0}, "BG105", ("confirm_within",)),
    ("orders.create", {"replay_to": "everybody"}, "BG106", ("person", "org")),
    ("orders.create", {"result": "keep"}, "BG107", ("discard", "codec")),
    ("orders.create", {"modes": {"claim": "shadow"}}, "BG108", ("policy",)),
    ("orders.create", {"modes": {"validate": "off"}}, "BG108", ("policy",)),
    ("orders.create", {"modes": {"authorize": "off"}}, "BG108", ("authorize",)),
    ("orders.create", {"final": KeyboardInterrupt}, "BG110", ("final",)),
    ("orders.create", {"before_effect": ["OSError"]}, "BG110", ("before_effect",)),
    ("orders.create", {"breaker": "erp"}, "BG163", ("erp", "Breaker()")),
    ("orders.create", {"effects": "transactional"}, "BG160", ("SqliteStorage",)),
    ("orders.create", {"retry": 3}, "BG117", ("Retry(...)",)),
    ("orders.create", {"limits": "5/minute"}, "BG117", ("list of strings",)),
    ("orders.create", {"limits": [5]}, "BG117", ("list of strings",)),
    ("orders.create", {"channels": "web"}, "BG117", ("list of strings",)),
    ("orders.create", {"checks": handle}, "BG117", ("list of functions",)),
    ("orders.create", {"checks": ["stock"]}, "BG117", ("list of functions",)),
    ("orders.create", {"checks": [Check("stock")]}, "BG117", ("list of functions",)),
    ("orders.create", {"modes": "shadow"}, "BG117", ("a dict",)),
    ("orders.create", {"deadline": "10"}, "BG117", ("seconds",)),
    ("orders.create", {"timeout": True}, "BG117", ("seconds",)),
    ("orders.create", {"keep": None}, "BG117", ("seconds",)),
    ("orders.create", {"public": "yes"}, "BG117", ("True or False",)),
    ("orders.create", {"permission": {"a", "b"}}, "BG117", ("a string",)),
    ("orders.create", {"breaker": Breaker()}, "BG117", ("a string",)),
    ("orders.create", {"bind": "payload"}, "BG117", ("plain function",)),
    ("orders.create", {"bind": handle_awaited}, "BG117", ("async def",)),
    ("orders.create", {"key": handle_awaited}, "BG117", ("async def",)),
    ("orders.create", {"key": 5}, "BG117", ("template",)),
    ("orders.create", {"targets": handle_awaited}, "BG117", ("async def",)),
    ("orders.create", {"reconcile": "later"}, "BG117", ("function",)),
    ("orders.create", {"request": dict}, "BG117", ("pydantic model",)),
    ("orders.create", {"request": Order(order_id="A")}, "BG117", ("pydantic model",)),
    ("orders.create", {"module": None}, "BG117", ("a string",)),
]


@pytest.mark.parametrize(("name", "options", "code", "words"), WRONG, ids=[f"{c}-{[*o]}" for _, o, c, _ in WRONG])
def test_options_that_could_not_keep_their_promises(
    name: str, options: dict[str, Any], code: str, words: tuple[str, ...]
) -> None:
    guard = make_guard()
    with refused(code, *words) as found:
        guard.command(name, **options)(handle)
    assert found.value.where.startswith(name)
    assert len(guard.registry) == 0


def test_retries_that_are_safe_are_accepted() -> None:
    guard = make_guard()
    on = (OSError,)
    guard.command("external", effects="external", retry=Retry(before_effect=on))(handle)
    guard.command("idempotent", effects="idempotent", retry=Retry(on=on))(handle)
    guard.command("read", effects="read", retry=Retry(on=on))(handle)


def test_a_decorator_without_parentheses() -> None:
    guard = make_guard()
    with refused("BG100", '@guard.command("orders.create")'):

        @guard.command
        def create(payload: dict[str, Any]) -> None: ...

    with refused("BG100"):

        @guarded
        def create_too(payload: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Guard(access=ALLOW_ALL), "BG170"),
        (lambda: Guard(storage=MemoryStorage()), "BG171"),
        (lambda: make_guard(secret=b"short"), "BG172"),
        (lambda: make_guard(secret="a text of the right length"), "BG172"),
        (lambda: make_guard(access={"sales": "orders.create"}), "BG150"),
        (lambda: make_guard(policies="automation_policies.yaml"), "BG152"),
        (lambda: make_guard(policies=["deny all"]), "BG152"),
        (lambda: Rule(commands="*"), "BG151"),
        (lambda: Rule(deny="a", confirm="b"), "BG151"),
        (lambda: Retry(attempts=0), "BG111"),
        (lambda: Retry(on=BaseException), "BG110"),
        (lambda: Check(handle, "later"), "BG113"),
        (lambda: make_guard().check("*", stage="later"), "BG113"),
        (lambda: botguard.Actor(""), "BG120"),
        (lambda: botguard.Actor("ann", roles="sales"), "BG121"),
        (lambda: botguard.Context(org="", actor=None), "BG120"),
        (lambda: botguard.Context(org="acme", actor="ann"), "BG122"),
    ],
)
def test_guards_and_values(make: Any, code: str) -> None:
    with refused(code):
        make()


# -- all errors alike -------------------------------------------------------------------------------------------------

SOURCE = Path(inspect.getfile(botguard)).parent


def raised_in(name: str) -> list[tuple[str, set[str]]]:
    """Each ConfigurationError that a file makes: its code, and the parts it tells."""
    found = []
    for node in ast.walk(ast.parse((SOURCE / name).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in ("ConfigurationError", "wrong"):
            continue
        code, *rest = node.args
        if isinstance(code, ast.Constant):
            by_place = ["what", "why", "fix"] if node.func.id == "wrong" else ["what"]
            found.append((code.value, {*by_place[: len(rest)], *(keyword.arg for keyword in node.keywords)}))
    return found


@pytest.mark.parametrize("name", ["wrapping.py", "guard.py", "command.py", "pipeline/runners.py"])
def test_every_configuration_error_of_the_wiring_tells_a_fix(name: str) -> None:
    errors = raised_in(name)
    assert errors
    for code, parts in errors:
        assert re.fullmatch(r"BG\d{3}", code)
        assert {"what", "fix"} <= parts, (name, code, parts)


def test_a_configuration_error_survives_pickling_and_is_a_botguard_error() -> None:
    error = ConfigurationError("BG999", "it is wrong", where="orders.create", why="it would break", fix="mend it")
    tells_all(error)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (twin.code, twin.what, twin.where, twin.why, twin.fix) == (
            "BG999",
            "it is wrong",
            "orders.create",
            "it would break",
            "mend it",
        )
        assert str(twin) == str(error) == "[BG999] orders.create: it is wrong. It would break. Fix: mend it."
    assert isinstance(error, botguard.BotguardError)
    assert importlib.import_module("botguard.errors").ConfigurationError is ConfigurationError
