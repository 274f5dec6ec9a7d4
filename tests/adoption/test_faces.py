"""A handler in shadow cannot be told from the one it stands for: type, signature, name, attributes, colour, pickling."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import sys
import types
import warnings
import weakref
from typing import Any, get_type_hints

import pytest

from adoption import legacy
from adoption.support import ACCESS, bind, ctx
from botguard import Guard
from botguard.adapters.memory import MemoryStorage
from botguard.adoption.handlers import Shadowed

ORIGINALS = legacy.registry()
NAMES = list(ORIGINALS)
guard = Guard(storage=MemoryStorage(), access=ACCESS)
SHADOWS: dict[str, Any] = guard.shadow(ORIGINALS, bind=bind)

each = pytest.mark.parametrize("name", NAMES)


@each
def test_it_is_really_wrapped(name: str) -> None:
    assert type(SHADOWS[name]) is not type(ORIGINALS[name])
    assert issubclass(type(SHADOWS[name]), Shadowed)


#: What hosts and frameworks ask of a function.
QUESTIONS: dict[str, Any] = {
    "name": lambda h: (h.__name__, h.__qualname__, h.__module__),
    "doc": lambda h: (h.__doc__, inspect.getdoc(h)),
    "signature": inspect.signature,
    "argspec": inspect.getfullargspec,
    "hints": get_type_hints,
    "colour": lambda h: (
        inspect.iscoroutinefunction(h),
        asyncio.iscoroutinefunction(h) if sys.version_info < (3, 14) else 0,
    ),
    "kinds": lambda h: [
        ask(h) for ask in (inspect.isfunction, inspect.ismethod, inspect.isroutine, inspect.isgeneratorfunction)
    ],
    "instance": lambda h: [isinstance(h, kind) for kind in (types.FunctionType, types.MethodType, functools.partial)],
    "self": lambda h: getattr(h, "__self__", None),
    "dict": vars,
    "source": inspect.getsource,
    "code": lambda h: h.__code__,
    "defaults": lambda h: (h.__defaults__, h.__kwdefaults__),
    "hash": hash,
    "repr": repr,
    "dir": dir,
    "role": lambda h: getattr(h, "required_role", None),
    "callable": callable,
    "truth": bool,
    "wrapped for": lambda h: inspect.signature(functools.wraps(h)(lambda *a: None)),
}


@each
@pytest.mark.parametrize("question", QUESTIONS)
def test_it_answers_as_the_original(name: str, question: str) -> None:
    ask = QUESTIONS[question]
    assert ask(SHADOWS[name]) == ask(ORIGINALS[name])


@each
def test_it_equals_the_original_and_finds_its_place_in_sets(name: str) -> None:
    shadow, original = SHADOWS[name], ORIGINALS[name]
    assert shadow == original
    assert original == shadow
    assert shadow == guard.shadow({name: original}, bind=bind)[name]
    assert len({shadow, original}) == 1
    assert shadow != legacy.generated


@each
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_pickles_as_the_original(name: str, protocol: int) -> None:
    back, original = (pickle.loads(pickle.dumps(h[name], protocol)) for h in (SHADOWS, ORIGINALS))
    assert type(back) is type(original)
    assert getattr(back, "__func__", back) is getattr(original, "__func__", original)
    assert getattr(back, "__self__", None) == getattr(original, "__self__", None)


def test_what_could_not_be_pickled_cannot_be() -> None:
    shadow = guard.shadow({"local": lambda ctx: ctx}, bind=bind)["local"]
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(shadow)


@each
def test_copies_are_the_same_object_as_for_functions(name: str) -> None:
    assert copy.copy(SHADOWS[name]) is SHADOWS[name]
    assert copy.deepcopy(SHADOWS)[name] is SHADOWS[name]


def test_attributes_are_set_and_deleted_on_the_original() -> None:
    def handler(ctx: dict[str, Any]) -> Any:
        return handler.calls  # type: ignore[attr-defined]

    shadow: Any = guard.shadow({"counts": handler}, bind=bind)["counts"]
    shadow.calls = 3
    assert shadow(ctx()) == 3
    assert handler.calls == 3  # type: ignore[attr-defined]
    del shadow.calls
    assert not hasattr(handler, "calls")


def test_in_a_class_it_is_a_method() -> None:
    def handler(self: Any, ctx: dict[str, Any]) -> Any:
        return self, ctx

    def bind_method(self: Any, ctx: dict[str, Any]) -> Any:
        return bind(ctx)

    class Front:
        handle = guard.shadow({"front": handler}, bind=bind_method)["front"]
        desk = SHADOWS["desk.method"]

    front, given = Front(), ctx()
    assert front.handle(given) == (front, given)
    assert Front.handle is vars(Front)["handle"]
    assert front.desk(given) == ("front", given)
    assert guard.shadow_report().count("front", "denied") + guard.shadow_report().count("front", "passed") == 1


def test_calls_by_all_ways() -> None:
    given = ctx()
    assert SHADOWS["plain"](given, note="n") == legacy.plain(given, note="n")
    assert SHADOWS["plain"](ctx=given) == legacy.plain(given)
    assert SHADOWS["plain"].__call__(given) == legacy.plain(given)
    assert functools.partial(SHADOWS["plain"], note="p")(given) == legacy.plain(given, note="p")
    assert list(map(SHADOWS["marked"], [given])) == ["1"]
    assert asyncio.run(SHADOWS["awaited"](given, 1, 2)) == {**given, "extra": (1, 2)}
    assert SHADOWS["desk.static"](given) is given
    assert SHADOWS["desk.of_class"](given)[1] is given


@pytest.mark.parametrize("args", [(), (1, 2, 3), ({},)])
def test_wrong_arguments_are_refused_in_the_same_words_at_the_same_moment(args: tuple[Any, ...]) -> None:
    for name in ("plain", "awaited", "desk.awaited"):
        kwargs = {"unheard_of": 1}
        with pytest.raises(TypeError) as unguarded:
            ORIGINALS[name](*args, **kwargs)
        with pytest.raises(TypeError) as shadowed:
            SHADOWS[name](*args, **kwargs)
        assert str(shadowed.value) == str(unguarded.value)


def test_a_coroutine_that_is_never_awaited_warns_once_and_under_its_name() -> None:
    coroutine = SHADOWS["awaited"](ctx())
    assert inspect.iscoroutine(coroutine)
    assert (coroutine.__name__, coroutine.__qualname__) == ("awaited", "awaited")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del coroutine
        gc.collect()
    assert [str(one.message) for one in caught if "never awaited" in str(one.message)] == [
        "coroutine 'awaited' was never awaited"
    ]


def test_weak_references_work() -> None:
    shadow = guard.shadow({"weak": legacy.plain}, bind=bind)["weak"]
    assert weakref.ref(shadow)() is shadow
