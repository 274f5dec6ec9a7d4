"""Two deliveries of one update, stepped from one call of the store to the next in every order there is."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from faultkit import ALL_OVER, ALLOWED, STORES, Broken, Scene, chosen_point, hold, key_of

from botguard import Outcome, Status
from botguard.adapters.memory import MemoryStorage
from botguard.stages.limit import LimitStage
from botguard.testing import FakeClock, FaultyStorage, Moment

_who: ContextVar[int | None] = ContextVar("who", default=None)
#: Turns of the loop within which a delivery reaches its next call of the store.
_PATIENCE = 1000


class Stepper:
    """A hook at which deliveries wait until they are chosen. A schedule is the list of choices.

    Choices beyond the given ones are made by ``chance``, or else the first delivery that waits goes on.
    """

    def __init__(self, choices: list[int], chance: random.Random | None = None) -> None:
        self._given, self._chance = choices, chance
        self._waiting: dict[int, asyncio.Future[None]] = {}
        #: The choice made at each step, and how many there were.
        self.choices: list[int] = []
        self.widths: list[int] = []
        self.story: list[str] = []
        self._at: dict[int, str] = {}
        self._over = False

    async def __call__(self, moment: Moment) -> None:
        me = _who.get()
        if me is not None and not self._over:
            self._at[me] = f"{moment.when} {moment.name}"
            self._waiting[me] = asyncio.get_running_loop().create_future()
            await self._waiting[me]

    async def drive(self, *runs: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run all of them to their ends, one step at a time."""
        try:
            return await self._drive(runs)
        finally:
            self._over = True  # what still runs after a failure must not wait for a choice

    async def _drive(self, runs: tuple[Coroutine[Any, Any, Any], ...]) -> list[Any]:
        tasks = []
        for number, run in enumerate(runs):
            _who.set(number)
            tasks.append(asyncio.ensure_future(run))
        _who.set(None)
        while True:
            for _ in range(_PATIENCE):
                if all(task.done() or number in self._waiting for number, task in enumerate(tasks)):
                    break
                await asyncio.sleep(0)
            else:
                raise Broken(f"stuck after {self.choices}")
            if not self._waiting:
                return [task.result() for task in tasks]
            self._step()

    def _step(self) -> None:
        waiting = sorted(self._waiting)
        step = len(self.choices)
        if step < len(self._given):
            choice = self._given[step]
        else:
            choice = self._chance.randrange(len(waiting)) if self._chance is not None else 0
        chosen = waiting[choice]
        self.choices.append(choice)
        self.widths.append(len(waiting))
        self.story.append(f"{chr(65 + chosen)} {self._at[chosen]}")
        self._waiting.pop(chosen).set_result(None)

    def next_schedule(self) -> list[int] | None:
        """The next one in depth-first order, or None after the last."""
        for step in range(len(self.choices) - 1, -1, -1):
            if self.choices[step] + 1 < self.widths[step]:
                return [*self.choices[:step], self.choices[step] + 1]
        return None


class World:
    """Deliveries of one update after another over one store in memory, each update by a schedule of its own."""

    def __init__(
        self,
        store: Callable[[FakeClock, World], Any],
        effects: str,
        deliveries: int = 2,
        *,
        late: bool = False,
        limited: bool = True,
        after: bool = True,
    ) -> None:
        self.effects, self.deliveries, self.late, self.limited, self.after = effects, deliveries, late, limited, after
        self.clock = FakeClock()
        self.storage: Any = FaultyStorage(store(self.clock, self), self.step)
        limits = [f"{ALLOWED}/hour per user"] if limited else []
        self.scene = Scene(self.storage, self.clock, effects, colour="async", limits=limits)
        self.stepper = Stepper([])
        self.seen: Counter[str] = Counter()
        self.schedules = 0

    async def step(self, moment: Moment) -> None:
        """The hook: a call of the store is one step, or two with the way back of its answer."""
        if self.after or moment.when == "before":
            await self.stepper(moment)

    def run_all(self, most: int) -> None:
        """Every schedule, depth first."""
        chosen = chosen_point()
        asyncio.run(self._run(Stepper(list(chosen))) if chosen is not None else self._run_all(most))

    async def _run_all(self, most: int) -> None:
        schedule: list[int] | None = []
        while schedule is not None:
            assert self.schedules < most, f"more than {most} schedules"
            stepper = Stepper(schedule)
            await self._run(stepper)
            schedule = stepper.next_schedule()

    def run_some(self, number: int, seed: str) -> None:
        """Schedules by chance, the same ones for the same seed."""

        async def run() -> None:
            chosen, chance = chosen_point(), random.Random(seed)
            for _ in range(1 if chosen else number):
                await self._run(Stepper(list(chosen or ()), chance))

        asyncio.run(run())

    async def _run(self, stepper: Stepper) -> None:
        self.stepper = stepper
        self.schedules += 1
        order, user = f"o{self.schedules}", f"u{self.schedules}"
        runs: list[Any] = [self.scene.run_async(order, user) for _ in range(self.deliveries)]
        if self.late:
            runs.append(self._time_passes())
        outcomes = (await stepper.drive(*runs))[: self.deliveries]
        broken = await self._broken(order, user, outcomes)
        hold(broken, *stepper.choices, story=" → ".join(stepper.story))

    async def _time_passes(self) -> None:
        await self.stepper(Moment(0, "the end of all leases", "before"))
        self.clock.advance(ALL_OVER)

    async def _broken(self, order: str, user: str, outcomes: list[Outcome]) -> list[str]:
        effects = self.scene.effects_of(order)
        row = await self.storage.idempotency.peek(key_of(order))
        broken = []
        most = self.deliveries if self.late and self.effects == "idempotent" else 1
        if not 1 <= effects <= most:
            broken.append(f"{effects} effects")
        if row is None or row.state != "done":
            broken.append(f"the key is {row}")
        for outcome in outcomes:
            self.seen[f"{outcome.status}{' (replayed)' if outcome.replayed else ''}"] += 1
            if outcome.status is Status.SUCCEEDED:
                fits = outcome.value == f"made {order}"
            else:
                fits = outcome.status is Status.IN_FLIGHT or (self.late and outcome.status is Status.UNKNOWN)
            if not fits:
                broken.append(f"a delivery got {outcome!r}")
        fresh = [o for o in outcomes if o.status is Status.SUCCEEDED and not o.replayed]
        if len(fresh) != effects:
            broken.append(f"{len(fresh)} deliveries say that they were the first, of {effects} effects")
        if len(fresh) > 1 and sum("lease_lost" in o.reasons for o in fresh) != len(fresh) - 1:
            broken.append(f"overtaken without a word: {fresh!r}")
        if self.limited and not self.late:
            broken += await self._charged_once(order, user)
        return broken

    async def _charged_once(self, order: str, user: str) -> list[str]:
        """A replay, and a twin that loses, charge nobody."""
        left = 0
        while (await self.scene.run_async(f"after-{order}-{left}", user)).status is Status.SUCCEEDED:
            left += 1
        return [] if left == ALLOWED - 1 else [f"{left} of {ALLOWED} calls are left"]


def honest(clock: FakeClock, world: World) -> Any:
    return STORES["shared"](clock, Path())


class _LooksFirst:
    """The planted bug: a claim that reads the row and then writes it, with time to think between the two."""

    colour = "async"

    def __init__(self, claims: Any, world: World) -> None:
        self._claims, self._world = claims, world

    async def claim(self, request: Any, event: Any = None) -> Any:
        row = self._claims.peek(request.key)
        await self._world.step(Moment(0, "the INSERT after the SELECT", "before"))
        if row is None:
            self._claims._rows.pop(request.key, None)
        return self._claims.claim(request, event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._claims, name)


def looks_first(clock: FakeClock, world: World) -> Any:
    storage: Any = MemoryStorage(clock=clock)
    storage.idempotency = _LooksFirst(storage.idempotency, world)
    return storage


@pytest.mark.parametrize("effects", ["external", "idempotent"])
@pytest.mark.parametrize(
    ("limited", "after", "late"),
    [
        pytest.param(True, False, False, id="with limits"),
        pytest.param(False, True, False, id="and the answers' ways back"),
        pytest.param(False, False, True, id="and the end of all leases"),
    ],
)
def test_every_order_of_two_deliveries(effects: str, limited: bool, after: bool, late: bool) -> None:
    world = World(honest, effects, late=late, limited=limited, after=after)
    world.run_all(most=20_000)
    if chosen_point() is None:
        print(f"{world.schedules} schedules: {world.seen}")  # noqa: T201 - shown by pytest -s
        wanted = {"succeeded", "succeeded (replayed)", "in_flight"}
        wanted |= {"unknown"} if late and effects == "external" else set()
        assert set(world.seen) == wanted, f"vacuous: {world.seen}"
        assert world.schedules >= 50


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("effects", ["external", "idempotent"])
def test_random_orders_of_three_deliveries(effects: str, late: bool, seed: int) -> None:
    world = World(honest, effects, 3, late=late)
    world.run_some(250, seed=f"{effects} {late} {seed}")
    if chosen_point() is None:
        wanted = {"succeeded", "in_flight"} | ({"unknown"} if late and effects == "external" else set())
        assert wanted <= set(world.seen), f"vacuous: {world.seen}"


def test_it_finds_a_store_that_looks_and_then_inserts() -> None:
    with pytest.raises(Broken, match=r"2 effects.*reproduce: BOTGUARD_FAULT_AT="):
        World(looks_first, "external", limited=False).run_all(most=20_000)
    with pytest.raises(Broken, match=r"2 effects.*reproduce: BOTGUARD_FAULT_AT="):
        World(looks_first, "external", limited=False).run_some(200, seed="1")


def test_it_finds_a_twin_that_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def kept(*_: Any) -> None:
        return None

    monkeypatch.setattr(LimitStage, "_settle", kept)
    with pytest.raises(Broken, match="calls are left"):
        World(honest, "external", after=False).run_all(most=20_000)
