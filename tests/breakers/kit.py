"""Guards that share a breaker store: one for each process, a store that counts what it is asked, or is down."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from botguard import Breaker, StoreUnavailable
from botguard.adapters.memory import MemoryBreakers
from botguard.testing import FakeClock
from core.support import Boom, Desk


class Watched:
    """A store between the guards and the real one.

    ``fault`` is asked before each call with the method's name; what it returns is raised. ``lost`` is how many answers are
    lost after they were given.
    """

    def __init__(self, inner: Any, colour: Any = "any") -> None:
        self.inner, self.colour = inner, colour
        self.asked: Counter[str] = Counter()
        self.down = False
        self.lost = 0
        self.fault: Any = lambda method: None

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_") or method == "for_async":
            raise AttributeError(method)

        def ask(*args: Any) -> Any:
            return self._later(method, args) if self.colour == "async" else self._now(method, args)

        return ask

    def _now(self, method: str, args: Any) -> Any:
        self.asked[method] += 1
        error = StoreUnavailable("down") if self.down else self.fault(method)
        if error is not None:
            raise error
        answer = getattr(self.inner, method)(*args)
        if self.lost:
            self.lost -= 1
            raise StoreUnavailable("the answer was lost", maybe_applied=True)
        return answer

    async def _later(self, method: str, args: Any) -> Any:
        await asyncio.sleep(0)
        answer = self._now(method, args)
        await asyncio.sleep(0)
        return answer

    def calls(self) -> int:
        """How often it was asked since this was asked last."""
        count = self.asked.total()
        self.asked.clear()
        return count


class Fleet:
    """Guards over one store and one clock, each as it would be in a process of its own."""

    def __init__(
        self, size: int = 2, *, async_: bool = False, store: Any = None, effects: str = "idempotent", **breaker: Any
    ) -> None:
        self.clock = FakeClock()
        self.store: Any = store or Watched(MemoryBreakers(self.clock), "async" if async_ else "any")
        self.effects = effects
        breaker.setdefault("fail_max", 2)
        breaker.setdefault("reset_after", 30.0)
        self.desks = [self._desk(async_, breaker) for _ in range(size)]

    def _desk(self, async_: bool, breaker: dict[str, Any]) -> Desk:
        desk = Desk(async_=async_, clock=self.clock, breakers={"erp": Breaker(**breaker)}, breaker_store=self.store)
        return desk.command(breaker="erp", effects=self.effects, key=None)

    def __iter__(self) -> Any:
        return iter(self.desks)

    def __getitem__(self, n: int) -> Desk:
        return self.desks[n]

    def states(self) -> list[str]:
        return [state(desk) for desk in self.desks]

    def open(self, n: int = 0) -> None:
        """Let one process open the breaker."""
        desk = self.desks[n]
        for _ in range(desk.guard._parts.breakers["erp"].options.fail_max):
            desk.fails(Boom()).run()
        assert state(desk) == "open"
        desk.works()
        for other in self.desks:
            other.effects.clear()
        self.store.calls()

    def refresh(self) -> None:
        """Let the time pass after which everybody looks."""
        self.clock.advance(1.0)


def state(desk: Desk) -> str:
    return str(desk.guard.describe()["breakers"]["erp"])
