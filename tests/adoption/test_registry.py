"""One call puts a whole registry in shadow, whatever kind of registry it is; or it says what is wrong and changes nothing."""

from __future__ import annotations

import functools
import types
from collections import OrderedDict, UserDict, defaultdict
from typing import Any

import pytest

from adoption import legacy
from adoption.support import ACCESS, Approve, bind, ctx
from botguard import ConfigurationError, Guard, Retry
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.adoption.handlers import Shadowed


@pytest.fixture
def guard() -> Guard:
    return Guard(storage=MemoryStorage(), access=ACCESS)


def is_shadowed(handler: Any) -> bool:
    return issubclass(type(handler), Shadowed)


def first(ctx: dict[str, Any]) -> str:
    return "first"


def second(ctx: dict[str, Any]) -> str:
    return "second"


class Registry(dict):  # type: ignore[type-arg]
    """A host's own kind of dict."""


KINDS: dict[str, Any] = {
    "dict": lambda: {"a": first, "b": second},
    "OrderedDict": lambda: OrderedDict(a=first, b=second),
    "defaultdict": lambda: defaultdict(lambda: second, a=first, b=second),
    "subclass": lambda: Registry(a=first, b=second),
    "UserDict": lambda: UserDict(a=first, b=second),
    "proxy": lambda: types.MappingProxyType({"a": first, "b": second}),
    "list": lambda: [("a", first), ("b", second)],
    "tuple": lambda: (("a", first), ("b", second)),
}
SAME_KIND = {"dict", "OrderedDict", "defaultdict", "subclass", "list", "tuple"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_kind_of_registry_comes_back_and_the_old_one_is_untouched(guard: Guard, kind: str) -> None:
    legacy = KINDS[kind]()
    shadows = guard.shadow(legacy, bind=bind)
    assert type(shadows) is (type(legacy) if kind in SAME_KIND else dict)
    handlers = dict(shadows)
    assert list(handlers) == ["a", "b"]
    assert all(map(is_shadowed, handlers.values()))
    assert not any(map(is_shadowed, dict(legacy).values()))
    assert [handlers["a"](ctx()), handlers["b"](ctx())] == ["first", "second"]
    if kind == "defaultdict":
        assert shadows["new"] is second


@pytest.mark.parametrize("kind", ["dict", "OrderedDict", "defaultdict", "subclass", "UserDict", "list"])
def test_a_registry_can_be_changed_in_place(guard: Guard, kind: str) -> None:
    legacy = KINDS[kind]()
    assert guard.shadow(legacy, bind=bind, in_place=True) is legacy
    assert all(map(is_shadowed, dict(legacy).values()))


def test_twice_is_once(guard: Guard) -> None:
    once = guard.shadow({"a": first}, bind=bind)
    assert guard.shadow(once, bind=bind)["a"] is once["a"]
    once["a"](ctx())
    assert guard.shadow_report().calls == 1
    assert guard.shadow_report().left_alone == ()


def test_what_is_left_alone_is_named_with_the_reason(guard: Guard) -> None:
    @guard.command("guarded")
    def guarded(payload: dict[str, Any]) -> None: ...

    class Callable:
        def __call__(self, ctx: dict[str, Any]) -> None: ...

    registry = {
        "generator": legacy.generated,
        "async generator": legacy.generated_async,
        "partial": functools.partial(first),
        "object": Callable(),
        "class": Callable,
        "builtin": len,
        "nothing": None,
        "guarded": guarded,
        "works": first,
    }
    shadows = guard.shadow(registry, bind=bind)
    assert {name for name in registry if shadows[name] is registry[name]} == set(registry) - {"works"}
    left = dict(guard.shadow_report().left_alone)
    assert set(left) == set(registry) - {"works"}
    assert left["generator"].startswith("it is a generator")
    assert left["async generator"].startswith("it is an async generator")
    assert left["partial"] == "it is no function or method, but a partial"
    assert left["guarded"] == "it is guarded already"
    assert left["nothing"] == "it cannot be called"
    for name, why in left.items():
        assert f"{name}: {why}" in str(guard.shadow_report())


def test_names_become_commands(guard: Guard) -> None:
    names = {
        "orders.approve": "orders.approve", "/Approve": "approve", "Create Invoice!": "create_invoice", "APPROVE_ORDER": "approve_order",
        "one": "erp.one",
    }  # fmt: skip
    shadows = guard.shadow(dict.fromkeys(names, first), bind=bind, options={"one": {"command": "erp.one"}})
    for name in names:
        shadows[name](ctx())
    assert {row.command for row in guard.shadow_report().rows} == set(names.values())


def test_options_by_a_function(guard: Guard) -> None:
    def options(name: str) -> dict[str, Any] | None:
        return {"permission": "nobody"} if name == "b" else None

    shadows = guard.shadow({"a": first, "b": second}, bind=bind, options=options)
    for handler in shadows.values():
        handler(ctx(roles=("x",)))
    assert guard.shadow_report().count("b", "denied") == 1


def test_options_have_the_last_word_about_bind(guard: Guard) -> None:
    shadows = guard.shadow({"a": first}, bind=lambda c: 1 / 0, options={"a": {"bind": bind}})
    shadows["a"](ctx())
    assert guard.shadow_report().count("a", "passed") == 1


WRONG: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "no registry": ("BG185", 7, {}),
    "a string": ("BG185", "ab", {}),
    "no pairs": ("BG185", [first], {}),
    "no text": ("BG185", {1: first}, {}),
    "proxy in place": ("BG185", types.MappingProxyType({"a": first}), {"in_place": True}),
    "tuple in place": ("BG185", (("a", first),), {"in_place": True}),
    "misspelt handler": ("BG186", {"orders": first}, {"options": {"order": {}}}),
    "one command twice": ("BG187", {"a b": first, "A/B": second}, {}),
    "no name": ("BG100", {"!": first}, {}),
    "misspelt option": ("BG109", {"a": first}, {"options": {"a": {"limit": ["1/minute per user"]}}}),
    "bad limit": ("BG115", {"a": first}, {"options": {"a": {"limits": ["many"]}}}),
    "unknown breaker": ("BG163", {"a": first}, {"options": {"a": {"breaker": "erp"}}}),
    "retry without effects": ("BG101", {"a": first}, {"options": {"a": {"retry": Retry()}}}),
    "no unit of work": ("BG160", {"a": first}, {"options": {"a": {"effects": "transactional"}}}),
    "no template": ("BG114", {"a": first}, {"options": {"a": {"request": Approve, "key": "{nothing}"}}}),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_wiring_is_told_and_changes_nothing(guard: Guard, case: str) -> None:
    code, registry, more = WRONG[case]
    whole = {"zero": first, **registry} if isinstance(registry, dict) else registry
    before = dict(whole) if isinstance(whole, dict) else None
    with pytest.raises(ConfigurationError) as caught:
        guard.shadow(whole, bind=bind, **{"in_place": isinstance(whole, dict), **more})
    error = caught.value
    assert error.code == code
    assert error.fix
    assert before is None or (whole == before and not any(map(is_shadowed, whole.values())))


def test_what_enforcing_would_refuse_is_refused_in_shadow(tmp_path: Any) -> None:
    storage = SqliteStorage(tmp_path / "bot.db")

    async def directory(org: str, actor: str) -> None: ...

    guard = Guard(storage=storage, access=ACCESS, directory=directory)
    with pytest.raises(ConfigurationError) as caught:
        guard.shadow({"a": first}, bind=bind)
    assert caught.value.code == "BG140"
    with pytest.raises(ConfigurationError) as caught:
        guard.shadow({"a": legacy.awaited}, bind=bind, options={"a": {"effects": "transactional"}})
    assert caught.value.code == "BG160"
    only_async = Guard(storage=storage.for_async(), access=ACCESS)
    with pytest.raises(ConfigurationError) as caught:
        only_async.shadow({"a": first}, bind=bind)
    assert caught.value.code == "BG140"
    storage.close()


def test_without_bind_the_payload_is_found_as_for_a_command(guard: Guard) -> None:
    class Later:
        def approve(self, payload: NotYet, note: str = "") -> int:  # type: ignore[name-defined]  # noqa: F821 - nowhere
            return int(payload.order_id)

    def of_two(one: Any, two: Any) -> None: ...

    with pytest.raises(ConfigurationError) as caught:
        guard.shadow({"a": of_two})
    assert caught.value.code == "BG133"
    shadow = guard.shadow({"a": Later().approve})["a"]
    assert shadow(Approve(order_id=3)) == 3
    assert guard.shadow_report().count("a", "not_observed", "BG136") == 1
