"""Who decides a course: chance, which writes down what it decides, or a schedule that was written down.

A schedule holds only what differs from the *calm course*, in which the task that goes on is the one that went on
before, or else the first that can, and nothing goes wrong. Each decision is named by a task and its own turn and not
by a step of the whole, so that it keeps its meaning when others are taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

from botguard.errors import ConfigurationError
from botguard.testing.simulation.faults import Fault, Faults, draw, possible
from botguard.testing.simulation.loop import Task

__all__ = ["Chance", "Mark", "Schedule", "Script"]

#: One decision as text: ``b7>c`` (after b's 7th turn c goes on), ``b7!stall:3`` (b's 7th turn is struck), ``~d`` (there
#: is no d at all).
Mark = str
_MARK = re.compile(r"(?P<task>[a-z]+)(?P<turn>\d+)(?:>(?P<next>[a-z]+)|!(?P<fault>[a-z]+(?::-?[\d.e+]+)?))")
_LEFT_OUT = re.compile(r"~[a-z]+")


class Schedule(tuple[Mark, ...]):
    """What was decided, in the order in which it was."""

    __slots__ = ()

    def __str__(self) -> str:
        return ",".join(self) or "-"

    @classmethod
    def read(cls, text: str) -> Schedule:
        """From what ``str`` makes of one.

        Raises:
            ConfigurationError: it is none.
        """
        marks = [mark.strip() for mark in text.split(",")] if text.strip() not in ("", "-") else []
        for mark in marks:
            if not (_MARK.fullmatch(mark) or _LEFT_OUT.fullmatch(mark)):
                raise ConfigurationError(
                    "BG231",
                    f"{mark!r} is no decision of a schedule",
                    where="replay",
                    fix="copy the whole of what a failed simulation printed after --replay",
                )
        return cls(marks)


def _calmly(ready: list[Task], current: Task | None) -> Task:
    return current if current is not None and current.ready else ready[0]


class Chance:
    """Decides at random, in a manner of its own for each seed: from hardly any switches to one at each step."""

    def __init__(self, chance: Random, faults: Faults) -> None:
        self._random, self._draw, self._faults = chance.random, chance, faults
        self._switching = (0.05, 0.25, 0.6, 0.95)[chance.randrange(4)]
        self._left = chance.randint(0, faults.most) if faults.most else 0
        self._striking = (0.03, 0.08, 0.2)[chance.randrange(3)]
        self._possible: dict[str, list[tuple[float, list[tuple[str, tuple[float, ...]]]]]] = {}
        self.marks: list[Mark] = []

    def follow(self, ready: list[Task], current: Task | None) -> Task:
        """See :class:`botguard.testing.simulation.loop.Decider`."""
        calm = current if current is not None and current.ready else ready[0]
        if len(ready) == 1 or self._random() >= self._switching:
            return calm
        chosen = ready[int(self._random() * len(ready))]
        if chosen is not calm:
            before = f"{current.name}{current.turns}" if current is not None else "a0"
            self.marks.append(f"{before}>{chosen.name}")
        return chosen

    def strike(self, task: Task) -> Fault | None:
        """See :class:`botguard.testing.simulation.loop.Decider`."""
        if not self._left or self._random() >= self._striking:
            return None
        choices = self._possible.get(task.at)
        if choices is None:
            choices = self._possible[task.at] = possible(task.at, self._faults)
        if not choices:
            return None
        self._left -= 1
        fault = draw(choices, self._draw)
        self.marks.append(f"{task.name}{task.turns}!{fault}")
        return fault


class Script:
    """Decides as it is written down; what is not is calm. Decisions that do not fit any more are passed over."""

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        self._next: dict[str, str] = {}
        self._faults: dict[str, Fault] = {}
        for mark in marks:
            found = _MARK.fullmatch(mark)
            if found is None:
                continue
            turn = f"{found['task']}{found['turn']}"
            if found["next"]:
                self._next[turn] = found["next"]
            else:
                self._faults[turn] = Fault.read(found["fault"])

    def follow(self, ready: list[Task], current: Task | None) -> Task:
        """See :class:`botguard.testing.simulation.loop.Decider`."""
        if self._next:
            wanted = self._next.get(f"{current.name}{current.turns}" if current is not None else "a0")
            for task in ready:
                if task.name == wanted:
                    return task
        return _calmly(ready, current)

    def strike(self, task: Task) -> Fault | None:
        """See :class:`botguard.testing.simulation.loop.Decider`."""
        return self._faults.get(f"{task.name}{task.turns}") if self._faults else None
