"""What all suites share: how a store is made, asked, aged, cut off, and asked by many at once."""

from __future__ import annotations

import asyncio
import inspect
import unittest
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.testing.clock import FakeClock
from botguard.testing.suites.actors import Actor, Way, as_tasks, bounded, in_threads
from botguard.testing.suites.checks import Vacuous

__all__ = ["CAPABILITIES", "StoreSuite"]

_T = TypeVar("_T")
#: Calls that may fail after an outage until every broken connection was found.
_STALE = 20

#: What a store can do beyond its port, and what its tests need for it.
CAPABILITIES = {
    "events": "claim and finish store the event that they are given; needs events_of(store)",
    "outage": "it can be cut off; needs outage(store)",
    "reopen": "its rows outlive a handle, and others see them; needs reopen(store)",
}


class StoreSuite:
    """Base of the suites. A subclass says how a store is made; everything else has a default.

    Each hook may be an ``async def``: it is awaited in the loop that the store is asked in.

    Attributes:
        capabilities: what the store can do beyond its port; see :data:`CAPABILITIES`. Tests of what is not claimed are
            skipped and say so.
        tick: the smallest step of time that the store tells apart, in seconds; boundaries are tested to it.
        drift: seconds that may pass by themselves while a few calls are made, where the store's time is a server's;
            0: it stands still between two calls of :meth:`age`. Boundaries are then tested to the drift.
        threads: how many ask at once.
        patience: seconds after which a call counts as hung.
        examples, steps: how many random histories are played, and how long each is.
        seed: draws other histories than the usual ones; None: the same in every run.
    """

    #: The port that the suite holds a store to: also the name of that store in a Storage.
    botguard_port: ClassVar[str] = ""

    capabilities: frozenset[str] = frozenset()
    tick: float = 0.001
    drift: float = 0.0
    threads: int = 16
    patience: float = 60.0
    examples: int = 100
    steps: int = 30
    seed: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = sorted(set(cls.capabilities) - set(CAPABILITIES))
        if unknown:  # a misspelt one would silently skip what it was meant to show
            raise ConfigurationError(
                "BG293",
                f"no suite knows the capability {unknown[0]!r}",
                where=cls.__name__,
                fix=f"use some of: {', '.join(CAPABILITIES)}",
            )

    # -- what a subclass supplies ---------------------------------------------------------

    def make_store(self) -> Any:
        """A store without rows; called once for each test, and for each random history."""
        raise NotImplementedError(f"{type(self).__name__} must define make_store(self): a new store without rows")

    @cached_property
    def clock(self) -> Any:
        """A clock to give to the store. ``make_store`` may set another one."""
        return FakeClock()

    def age(self, seconds: float) -> Any:
        """Let the store's time pass: make its rows so much older. By default :meth:`advance`."""
        return self.advance(seconds)

    def advance(self, seconds: float) -> Any:
        """Move the clock that the store was given; :meth:`age` is the hook for a store whose time is a server's."""
        self.clock.advance(seconds)

    def fresh_store(self, store: Any) -> Any:
        """A store without rows, after ``store`` was used. By default it is closed and a new one made; define it where
        emptying is cheaper."""
        self.wait(self.close_store(store))
        return self.make_store()

    def reopen(self, store: Any) -> Any:
        """Another handle on the same rows, as a second process would have; only with the capability ``reopen``."""
        raise NotImplementedError("the capability 'reopen' needs reopen(self, store)")

    def outage(self, store: Any) -> AbstractContextManager[Any]:
        """A block in which the store is cut off: its connections are gone, its server or its lock is not to be had.

        Calls in it may still be answered. Only with the capability ``outage``.
        """
        raise NotImplementedError("the capability 'outage' needs outage(self, store)")

    def close_store(self, store: Any) -> Any:
        """Called after each test."""
        close = getattr(store, "close", None)
        return close() if close is not None else None

    # -- what the tests use ---------------------------------------------------------------

    @property
    def store(self) -> Any:
        """The store of this test, made when it is first used."""
        made: dict[str, Any] = self.__dict__
        if "_store" not in made:
            made["_store"] = self.wait(self.make_store())
        return made["_store"]

    def renew(self) -> Any:
        """Another store without rows, in the place of this test's."""
        made: dict[str, Any] = self.__dict__
        if "_store" in made:
            made["_store"] = self.wait(self.fresh_store(made["_store"]))
        return self.store

    def teardown_method(self, method: Any = None) -> None:
        """Close what this test has made; pytest calls it, and ``tearDown`` is the same for unittest."""
        made: dict[str, Any] = self.__dict__
        if "_store" in made:
            self.wait(self.close_store(made.pop("_store")))
        loop = made.pop("_loop", None)
        if loop is not None:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    tearDown = teardown_method

    @property
    def hair(self) -> float:
        """The step to just before a boundary, and from there to it."""
        return max(self.tick, self.drift)

    def elapse(self, seconds: float) -> None:
        """Let time pass in a test, also before it first asks its store."""
        _ = self.store
        self.wait(self.age(seconds))

    def needs(self, capability: str) -> None:
        """Skip the test if the store does not claim a capability."""
        if capability not in self.capabilities:
            self.skip(f"does not claim {capability!r}")

    def needs_a_still_clock(self) -> None:
        """Skip the test if the store's time passes by itself."""
        if self.drift:
            self.skip("has a clock that does not stand still")

    def needs_tasks(self) -> None:
        """Skip the test if the store is not asynchronous."""
        if getattr(self.store, "colour", None) != "async":
            self.skip("has nothing to cancel: it is not async")

    def skip(self, why: str) -> None:
        """Skip the test; the reason follows the suite's name."""
        raise unittest.SkipTest(f"{type(self).__name__} {why}")

    def ask(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a store's method and wait for its answer; in a loop of this suite's own where the store is async."""
        # A method knows its store, unless a wrapper has made a plain function of it.
        colour = getattr(getattr(method, "__self__", None), "colour", None) or getattr(self.store, "colour", None)
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

        return self.wait(wait())

    def wait(self, answer: Any) -> Any:
        """What a hook or a call answers, awaited in this suite's own loop if it must be."""
        if not inspect.isawaitable(answer):
            return answer
        return self._own_loop().run_until_complete(bounded(answer, self.patience))

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        made: dict[str, Any] = self.__dict__
        if "_loop" not in made:
            made["_loop"] = asyncio.new_event_loop()
        loop: asyncio.AbstractEventLoop = made["_loop"]
        return loop

    def ways(self) -> tuple[Way, ...]:
        """How many can ask this store at once: threads, tasks, or (one that never waits) both."""
        by_colour: dict[Any, tuple[Way, ...]] = {"async": ("tasks",), "sync": ("threads",)}
        return by_colour.get(getattr(self.store, "colour", None), ("threads", "tasks"))

    def together(self, store: Any, actors: Sequence[Actor[_T]], way: Way | None = None) -> list[_T]:
        """Run actors at the same moment: a thread for each, or a task where the store is async, or now one and now the
        other where it never waits.

        An actor is an ``async def`` that passes every answer of the store through ``settled``.
        """
        if way is None:
            ways, made = self.ways(), self.__dict__
            made["_races"] = made.get("_races", -1) + 1
            way = ways[made["_races"] % len(ways)]
        if way == "tasks":
            answers: list[_T] = self._own_loop().run_until_complete(as_tasks(actors, self.patience))
            return answers
        return in_threads(actors, self.patience)

    def cut_off(self, *calls: Callable[[], Any]) -> list[tuple[Any, StoreUnavailable | None]]:
        """Make calls while the store is cut off: what each answered, or how it was refused."""
        self.needs("outage")
        found: list[tuple[Any, StoreUnavailable | None]] = []
        with self.outage(self.store):
            for call in calls:
                try:
                    found.append((call(), None))
                except StoreUnavailable as error:
                    found.append((None, error))
                except AssertionError:
                    raise
                except Exception as error:
                    raise AssertionError(
                        f"IDEM-19: a store that is cut off raises StoreUnavailable, not {type(error).__name__}: {error}"
                    ) from error
        if all(refused is None for _, refused in found):
            raise Vacuous("IDEM-19", "the outage refused no call")
        return found

    @staticmethod
    def recovered(look: Callable[[], Any]) -> None:
        """Insist that the store is back; some calls may still meet connections that were broken meanwhile."""
        for _ in range(_STALE):
            try:
                look()
            except StoreUnavailable:
                continue
            return
        raise AssertionError(f"IDEM-L4: the outage is over, and {_STALE} calls in a row were refused")

    def play(self, machine: str) -> None:
        """Random histories by a state machine of ``botguard.testing.machines``, each compared with a model."""
        __tracebackhide__ = True
        try:
            from botguard.testing.machines.running import play
        except ModuleNotFoundError as missing:
            if missing.name != "hypothesis":
                raise
            self.skip("plays no random histories: hypothesis is missing; pip install 'botguard[testing]'")
            return
        play(machine, self)
