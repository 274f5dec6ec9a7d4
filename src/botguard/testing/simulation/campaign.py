"""Many schedules, one after another, and what they came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from botguard.command import CommandOptions
from botguard.errors import ConfigurationError
from botguard.testing.simulation.coverage import unreached
from botguard.testing.simulation.decisions import Chance, Schedule, Script
from botguard.testing.simulation.faults import Faults
from botguard.testing.simulation.healing import heal
from botguard.testing.simulation.loop import Decider
from botguard.testing.simulation.memory import TransactionalMemory
from botguard.testing.simulation.outside import Ledger
from botguard.testing.simulation.report import Report, Violation
from botguard.testing.simulation.runs import Broken
from botguard.testing.simulation.scenario import draw_cast
from botguard.testing.simulation.shrinking import shrink
from botguard.testing.simulation.world import Stage, World

__all__ = ["simulate"]

#: Each so many seeds one is run twice, and must take the same course.
_TWICE = 100


def simulate(
    *,
    storage: Callable[..., Any] = TransactionalMemory,
    seeds: Iterable[int] = range(1000),
    steps: int = 400,
    faults: Faults | None = None,
    commands: Mapping[str, CommandOptions] | Iterable[str] | None = None,
    replay: str | None = None,
    ledger: Ledger | None = None,
    shown_as: str = "",
) -> Report:
    """Run guarded calls through many schedules: other calls at every call of a port, and faults there.

    Each seed is one schedule of a few callers over one store and two processes. Claims, effects, outcomes, limits,
    confirmations and the trail are checked at each step; in the end faults stop and everything must settle. It stops at
    the first broken rule and makes its schedule as short as it can.

    Args:
        storage: ``factory(clock)`` that returns a storage without rows; one is made and closed for each seed. It must
            answer at once: give the synchronous form of a store that has two.
        seeds: one schedule each.
        steps: how many steps a schedule may take before its faults stop.
        faults: how often which kind strikes; default: all of them.
        commands: names of built-in commands, or options by name, as for ``guard.command``; default: all built-in ones
            that the storage can hold.
        replay: decisions of a failed schedule, as they were printed; then ``seeds`` is its one seed.
        ledger: how a handler writes in the storage's unit of work, where its handle does not take SQL with ``?``.
        shown_as: the command line that a failure prints to be shown again, up to its seed.

    Raises:
        ConfigurationError: for options that contradict each other, or a storage that does not answer at once.
    """
    campaign = _Campaign(Stage(storage, commands, ledger), faults or Faults(), steps)
    given = Schedule.read(replay) if replay is not None else None
    violations: list[Violation] = []
    for number, seed in enumerate(seeds):
        found = campaign.run(seed, given, twice=number % _TWICE == 0)
        if found is not None:
            shortest = found[1] if given is not None else campaign.shortest(seed, *found)
            violations.append(campaign.violation(seed, found[0], shortest, shown_as))
            break
        if given is not None:
            break
    missing = () if given is not None or violations else unreached(campaign.seen, campaign.stage, campaign.faults)
    return Report(
        schedules=campaign.schedules,
        turns=campaign.turns,
        coverage=dict(campaign.seen),
        vacuous=missing,
        violations=tuple(violations),
    )


class _Campaign:
    """Counts what all schedules come to."""

    def __init__(self, stage: Stage, faults: Faults, steps: int) -> None:
        self.stage, self.faults, self.steps = stage, faults, steps
        self.seen: dict[str, int] = {}
        self.schedules = self.turns = 0

    def run(self, seed: int, given: Schedule | None, *, twice: bool) -> tuple[Broken, Schedule] | None:
        """One schedule; what it broke, and by which decisions."""
        broken, schedule, course, _ = self._course(seed, given, self.seen)
        self.schedules += 1
        self.turns += course[0]
        if broken is None and twice:
            _, _, again, _ = self._course(seed, given, {})
            if again != course:
                broken = Broken("0", f"seed {seed} took two courses: {course} and {again}")
        return (broken, schedule) if broken is not None else None

    def _course(
        self, seed: int, given: Schedule | None, seen: dict[str, int], *, story: bool = False
    ) -> tuple[Broken | None, Schedule, tuple[Any, ...], tuple[str, ...]]:
        chance = Random(seed)  # noqa: S311 - it must be possible to draw the same again
        cast = draw_cast(chance, self.stage.commands)
        decider: Decider = Script(given) if given is not None else Chance(chance, self.faults)
        world = World(self.stage, decider, seen)
        loop = world.loop
        if story:
            loop.story = []
        try:
            self._play(world, [(name, role) for name, role in cast if given is None or f"~{name}" not in given])
        finally:
            world.close()
        checker = world.checker
        marks = given if isinstance(decider, Script) and given is not None else Schedule(decider.marks)  # type: ignore[attr-defined]
        course = (loop.turns, round(loop.now, 6), len(checker.trail), tuple(task.turns for task in loop.tasks))
        return checker.broken, marks, course, tuple(loop.story or ())

    def _play(self, world: World, cast: Sequence[tuple[str, Any]]) -> None:
        loop, checker = world.loop, world.checker
        try:
            for name, role in cast:
                world.play(name, role)
            while checker.broken is None and loop.turns < self.steps and loop.turn():
                pass
            if checker.broken is None:
                heal(world)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - a guarded call never raises, so this is a finding too
            checker.fail("0", f"{type(error).__name__}: {error}")

    def shortest(self, seed: int, broken: Broken, schedule: Schedule) -> Schedule:
        """The fewest decisions with which the same rule is broken; deliveries that do not matter are left out."""

        def fails(marks: Sequence[str]) -> bool:
            again, _, _, _ = self._course(seed, Schedule(marks), {})
            return again is not None and again.rule == broken.rule

        if not fails(schedule):  # it cannot be told by its decisions: the seed alone shows it
            return schedule
        names = [name for name, _ in draw_cast(Random(seed), self.stage.commands)]  # noqa: S311 - as above
        kept = list(schedule)
        for name in names:
            without = [f"~{name}", *kept]
            if fails(without):
                kept = without
        absent = [mark for mark in kept if mark.startswith("~")]
        decisions = shrink(kept[len(absent) :], lambda marks: fails([*absent, *marks]))
        return Schedule([*absent, *decisions])

    def violation(self, seed: int, broken: Broken, schedule: Schedule, shown_as: str) -> Violation:
        """The finding, with the course of its shortest schedule."""
        again, _, _, story = self._course(seed, schedule, {}, story=True)
        if shown_as:
            line = f"{shown_as} --seed {seed} --replay '{schedule}'"
        else:
            line = f"simulate(…, seeds=[{seed}], replay={str(schedule)!r})"
        what = (again or broken).what
        return Violation(seed=seed, rule=broken.rule, what=what, schedule=schedule, command=line, story=story)
