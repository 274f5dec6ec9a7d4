"""What all machines share: a store and its model, time for both, the story so far, and how a machine fails."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn, TypeAlias, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from botguard.testing.machines.story import Story, said
from botguard.testing.suites.base import StoreSuite

__all__ = ["Broken", "PortMachine", "Step", "StoreTime", "step"]

_T = TypeVar("_T")
#: A method of a machine, and what it was given.
Step: TypeAlias = tuple[str, tuple[Any, ...]]


class Broken(AssertionError):
    """A step was answered otherwise than the model would.

    Attributes:
        promise: which one is broken.
        steps: what was done until then: methods of the machine, and what they were given.
    """

    def __init__(self, promise: str, what: str, story: Story, steps: list[Step]) -> None:
        super().__init__(f"{promise}: {what}\nThe shortest history that shows it:\n{story}")
        self.promise, self.steps = promise, list(steps)


def step(method: Callable[..., _T]) -> Callable[..., _T]:
    """A method of a machine that asks the store something: it is noted, so that the history can be played again."""

    @functools.wraps(method)
    def noted(self: PortMachine, *args: Any) -> _T:
        self.steps.append((method.__name__, args))
        return method(self, *args)

    return noted


class StoreTime:
    """The model's clock, which passes as the store's does: only when told to, or by itself too.

    It counts from 0: stores and models share no origin of time, only its passing.
    """

    def __init__(self, suite: StoreSuite) -> None:
        self._suite, self._passed, self._began = suite, 0.0, time.monotonic()

    def time(self) -> float:
        """Seconds since the machine began."""
        return self._passed + (time.monotonic() - self._began if self._suite.drift else 0.0)

    monotonic = time

    def advance(self, seconds: float) -> None:
        """Let time pass for the store and for the model."""
        self._suite.elapse(seconds)
        self._passed += seconds

    def near(self, moments: Iterable[float]) -> bool:
        """True if one of the moments is too close to now to say on which side the store is."""
        now, drift = self.time(), self._suite.drift
        return any(abs(moment - now) <= drift for moment in moments)


class PortMachine(RuleBasedStateMachine):
    """Base of the machines."""

    suite: ClassVar[StoreSuite]
    #: How often each situation was met, in all histories.
    reached: ClassVar[Counter[str]]
    #: Every failure, in the order in which they happened.
    broken: ClassVar[list[Broken]]
    #: Situations without which a run has shown nothing.
    rare: ClassVar[tuple[str, ...]] = ()
    #: Those of them that only a still clock can come to.
    only_still: ClassVar[tuple[str, ...]] = ()
    #: True if nothing can be compared while time passes by itself.
    needs_a_still_clock: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.store: Any = self.suite.renew()
        self.clock = StoreTime(self.suite)
        self.model: Any = self.make_model()
        self.story = Story()
        self.steps: list[Step] = []
        self.failed = False

    def make_model(self) -> Any:
        """The model of this machine's port."""
        raise NotImplementedError

    def ends(self) -> Iterable[float]:
        """The moments, by the model's clock, at which an answer changes by itself."""
        return ()

    @invariant()
    def everything_agrees(self) -> None:
        """Look around after each step, unless nobody can say what should be seen."""
        if not self.suite.drift or not self.clock.near(self.ends()):
            self.look()

    def look(self) -> None:
        """Compare what the store shows with what the model shows."""

    def close(self) -> None:
        """Compare what can be seen at the end of a history."""

    def teardown(self) -> None:
        """See RuleBasedStateMachine; it is called after a failure too."""
        if not self.failed:
            self.close()

    def keep_off_boundaries(self) -> None:
        """Where time passes by itself: go past what is about to change."""
        while self.suite.drift and self.clock.near(self.ends()):
            self.clock.advance(2 * self.suite.drift)
            self.story.tell(f"{2 * self.suite.drift:g} s pass")

    def both(self, told: str, method: str, *args: Any) -> tuple[Any, Any]:
        """Ask the model and the store the same; returns (wanted, got)."""
        self.keep_off_boundaries()
        wanted = getattr(self.model, method)(*args)
        return wanted, self.ask(told, method, *args)

    def ask(self, told: str, method: str, *args: Any) -> Any:
        """Ask the store alone."""
        try:
            got = self.suite.ask(getattr(self.store, method), *args)
        except Exception as error:  # noqa: BLE001 - whatever a store raises belongs to the history
            self.story.tell(told, f"{type(error).__name__}: {error}")
            if isinstance(error, AssertionError):
                promise, _, what = str(error).partition(": ")
                self.fail(promise, what)
            self.fail("PORT", f"{method} raised {type(error).__name__}: {error}", error)
        self.story.tell(told, said(got))
        return got

    def agree(self, got: Any, wanted: Any, promise: str, what: str) -> None:
        """Fail unless the store has answered as the model."""
        if got != wanted or type(got) is not type(wanted):
            self.fail(promise, f"{what}: it is {said(got)}, and should be {said(wanted)}")

    @step
    def pass_time(self, seconds: float) -> None:
        """Let time pass, and say so."""
        self.clock.advance(seconds)
        self.story.tell(f"{seconds:g} s pass")

    def fail(self, promise: str, what: str = "", cause: BaseException | None = None) -> NoReturn:
        """Break off."""
        self.failed = True
        broken = Broken(promise, what, self.story, self.steps)
        self.broken.append(broken)
        raise broken from cause
