"""What all suites share: how a store is made, asked, aged and asked by many at once."""

from __future__ import annotations

import asyncio
import sys
import threading
import unittest
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["HARD_STRINGS", "StoreSuite", "equal", "must"]

_T = TypeVar("_T")

#: Texts that stores mix up: by case, by trailing blanks, by normalisation, by their own syntax.
HARD_STRINGS: tuple[str, ...] = (
    "a",
    "A",
    "a ",
    " a",
    "a\n",
    "a\t",
    "ab",
    "%",
    "_",
    "*",
    "a:b",
    "a|b",
    "1:a",
    "a\\b",
    'a"b',
    "'; DROP TABLE botguard_claims; --",
    "None",
    "null",
    "0",
    "-0",
    "1e3",
    "\u00e9",  # one character
    "e\u0301",  # the same to the eye, in two
    "\u00df",
    "ss",
    "\u0131",  # a dotless i
    "i",
    "I",
    "\u202egnp.exe",  # right to left
    "\u200b",  # no width
    "\u1230\u120b\u121d",
    "\U0001f600",
    "x" * 255,
    "x" * 254 + "y",
)


def must(condition: object, promise: str, what: str) -> None:
    """Fail in the name of a promise; not an ``assert``, so that ``python -O`` changes nothing."""
    if not condition:
        raise AssertionError(f"{promise}: {what}")


def equal(got: object, wanted: object, promise: str, what: str) -> None:
    """Fail unless both are equal and of one type."""
    if got != wanted or type(got) is not type(wanted):
        raise AssertionError(f"{promise}: {what}: it is {got!r}, not {wanted!r}")


class StoreSuite:
    """Base of the suites. A subclass says how a store is made and how its time passes; everything else has a default.

    Attributes:
        capabilities: what the store can do beyond its port, by name: ``reopen`` (:meth:`reopen` gives a second handle on
            the same rows), and what the suites add. Tests of what is not claimed are skipped and say so.
        tick: the smallest step of time that the store tells apart, in seconds; boundaries are tested to it.
        threads: how many ask at once.
    """

    capabilities: frozenset[str] = frozenset()
    tick: float = 0.001
    threads: int = 16

    # -- what a subclass supplies ---------------------------------------------------------

    def make_store(self) -> Any:
        """A store without rows; called once for each test."""
        raise NotImplementedError(f"{type(self).__name__} must define make_store(self): a new store without rows")

    def advance(self, seconds: float) -> None:
        """Let the store's time pass: move the clock it was given, or make its rows older."""
        raise NotImplementedError(
            f"{type(self).__name__} must define advance(self, seconds): move the clock that make_store gave the store"
        )

    def reopen(self, store: Any) -> Any:
        """Another handle on the same rows, as a second process would have; only with the capability ``reopen``."""
        raise NotImplementedError("the capability 'reopen' needs reopen(self, store)")

    def close_store(self, store: Any) -> None:
        """Called after each test."""
        close = getattr(store, "close", None)
        if close is not None:
            close()

    # -- what the tests use ---------------------------------------------------------------

    @property
    def store(self) -> Any:
        """The store of this test, made when it is first used."""
        made: dict[str, Any] = self.__dict__
        if "_store" not in made:
            made["_store"] = self.make_store()
        return made["_store"]

    def teardown_method(self, method: Any = None) -> None:
        """Close what this test has made; pytest calls it, and ``tearDown`` is the same for unittest."""
        made: dict[str, Any] = self.__dict__
        if "_store" in made:
            self.close_store(made.pop("_store"))
        loop = made.pop("_loop", None)
        if loop is not None:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    tearDown = teardown_method

    def elapse(self, seconds: float) -> None:
        """Let time pass in a test, also before it first asks its store."""
        _ = self.store
        self.advance(seconds)

    def needs(self, capability: str) -> None:
        """Skip the test if the store does not claim a capability."""
        if capability not in self.capabilities:
            raise unittest.SkipTest(f"{type(self).__name__} does not claim {capability!r}")

    def ask(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a store's method and wait for its answer; in a loop of this suite's own where the store is async."""
        colour = getattr(getattr(method, "__self__", None), "colour", None)
        if colour != "async":
            answer = method(*args, **kwargs)
            if not hasattr(answer, "__await__"):
                return answer
            if hasattr(answer, "close"):
                answer.close()
            raise AssertionError(
                f"COLOUR: {method.__name__} returned an awaitable, but the store's colour is {colour!r}"
            )

        async def wait() -> Any:
            answer = method(*args, **kwargs)  # inside the loop: a store may ask which one is running
            return await answer if hasattr(answer, "__await__") else answer

        return self._own_loop().run_until_complete(wait())

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        made: dict[str, Any] = self.__dict__
        if "_loop" not in made:
            made["_loop"] = asyncio.new_event_loop()
        loop: asyncio.AbstractEventLoop = made["_loop"]
        return loop

    def together(self, store: Any, actors: Sequence[Callable[[], Coroutine[Any, Any, _T]]]) -> list[_T]:
        """Run actors at the same moment: a thread for each, or a task where the store is async.

        An actor is an ``async def`` that passes every answer of the store through :func:`settled`.
        """
        if getattr(store, "colour", None) == "async":

            async def all_of_them() -> list[_T]:
                return list(await asyncio.gather(*[actor() for actor in actors]))

            return self._own_loop().run_until_complete(all_of_them())
        return _in_threads(actors)


async def settled(answer: Any) -> Any:
    """The answer of a store's method, waited for if it must be."""
    return await answer if hasattr(answer, "__await__") else answer


def _in_threads(actors: Sequence[Callable[[], Coroutine[Any, Any, _T]]]) -> list[_T]:
    answers: list[Any] = [None] * len(actors)
    errors: list[BaseException] = []
    start = threading.Barrier(len(actors))

    def act(n: int) -> None:
        try:
            start.wait()
            actors[n]().send(None)
        except StopIteration as stop:
            answers[n] = stop.value
        except BaseException as error:  # noqa: BLE001 - it is raised below, in the test's own thread
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=act, args=(n,), daemon=True) for n in range(len(actors))]
    with _restless():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
    if errors:
        raise errors[0]
    must(not any(thread.is_alive() for thread in threads), "IDEM-L2", "a call did not return within a minute")
    return answers


@contextmanager
def _restless() -> Iterator[None]:
    """Let threads take turns every few instructions, so that what is not atomic shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
