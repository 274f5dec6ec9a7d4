"""A loop in virtual time that steps coroutines one at a time; who goes on, and what befalls him, is decided outside.

It is no asyncio: nothing here waits, and one seed always gives one course. A coroutine hands over what it asks for: a
*point* (a name: others may go first, and a fault may strike here), a :class:`Wait`, or an :class:`Enter` into a process.
"""

from __future__ import annotations

from asyncio import CancelledError
from bisect import insort
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context
from heapq import heappop, heappush
from operator import attrgetter
from types import coroutine
from typing import Any, Protocol

from botguard.testing.simulation.faults import Fault

__all__ = ["CRASH", "TICK", "Decider", "Dropped", "Enter", "Latch", "Loop", "ProcessDied", "Task", "Wait", "ask"]

#: Seconds of virtual time that each step takes.
TICK = 0.001
_NEVER = float("inf")
_by_index: Callable[[Task], int] = attrgetter("index")


class ProcessDied(BaseException):
    """Told to whoever called into a process that was killed: the connection is gone, and nobody knows the answer."""


class Dropped(BaseException):
    """Unwinds the coroutines of a killed process. Whatever they call while they unwind raises it again at once."""


class Latch:
    """Something that tasks wait for."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Task] = []


class Wait:
    """Wait until a moment, for a latch, or for whichever comes first."""

    __slots__ = ("latch", "until")

    def __init__(self, until: float = _NEVER, latch: Latch | None = None) -> None:
        self.until, self.latch = until, latch


class Enter:
    """Run a coroutine inside a process. It dies with the process, and then the asker gets ProcessDied."""

    __slots__ = ("coroutine", "process")

    def __init__(self, process: Any, inner: Coroutine[Any, Any, Any]) -> None:
        self.process, self.coroutine = process, inner


#: Handed over by whoever kills his own process after having done something there.
CRASH = object()


@coroutine
def ask(request: Any) -> Generator[Any, Any, Any]:
    """Hand a request to the loop; the answer of a point is the fault that strikes there, or None."""
    return (yield request)


class Task:
    """One coroutine of the course: a delivery, a sweeper, whatever a scenario puts on stage.

    ``outer`` lives outside of all processes, as a channel does; ``inner`` is what it runs inside one at this moment.
    """

    __slots__ = (
        "at",
        "cancelled",
        "context",
        "done",
        "error",
        "index",
        "inner",
        "name",
        "outer",
        "process",
        "ready",
        "run",
        "scopes",
        "shields",
        "turns",
        "waits",
        "wake",
    )

    def __init__(self, name: str, index: int, outer: Coroutine[Any, Any, Any]) -> None:
        self.name, self.index, self.outer = name, index, outer
        self.inner: Coroutine[Any, Any, Any] | None = None
        self.process: Any = None
        #: The guarded call that it is making, as the checker knows it.
        self.run: Any = None
        self.context = Context()  # handlers set context variables, and tasks take turns
        self.turns = 0
        self.at = "begin"
        self.ready, self.done = True, False
        #: Raised where he is, at his next turn.
        self.error: BaseException | None = None
        #: Cancelled under a shield, which will tell him at its end.
        self.cancelled = False
        self.wake = _NEVER
        self.waits: Latch | None = None
        #: Open time limits, outermost first, and how many shields it is under.
        self.scopes: list[Any] = []
        self.shields = 0

    def __repr__(self) -> str:
        return f"<task {self.name} at {self.at}>"

    def cancel(self) -> bool:
        """His caller does not want him any more. True if he is told now, False at the end of the shield he is under."""
        for scope in self.scopes:
            scope.foreign = True
        self.cancelled = self.shields > 0
        return not self.cancelled

    def overdue(self, now: float) -> bool:
        """True if a time limit is over and says so now, which it does once."""
        for scope in self.scopes:
            if not scope.over and scope.until <= now:
                scope.over = True
                return True
        return False


class Decider(Protocol):
    """Decides the course: at random, or as it is written down."""

    def follow(self, ready: list[Task], current: Task | None) -> Task:
        """Who goes on."""
        ...

    def strike(self, task: Task) -> Fault | None:
        """What befalls him at the point where he is."""
        ...


class Loop:
    """Tasks, virtual time, and whose turn it is."""

    def __init__(self, decider: Decider) -> None:
        self.decider = decider
        self.tasks: list[Task] = []
        self.ready: list[Task] = []
        self.current: Task | None = None
        self.now = 0.0
        self.turns = 0
        #: True while the coroutines of a killed process unwind: whatever they call raises Dropped.
        self.dropping = False
        self._wakes: list[tuple[float, int, Task]] = []
        #: What each turn was, for the story of a failure; None: not wanted.
        self.story: list[str] | None = None
        #: Carries out the faults that strike a task from outside, and returns those that are left to itself.
        self.befall: Callable[[Task, Fault], Fault | None] = lambda _, fault: fault

    def start(self, name: str, play: Coroutine[Any, Any, Any]) -> Task:
        """Put a coroutine on stage."""
        task = Task(name, len(self.tasks), play)
        self.tasks.append(task)
        self.ready.append(task)  # its index is the highest
        return task

    @property
    def busy(self) -> bool:
        """True while a task has something left to do."""
        return not all(task.done for task in self.tasks)

    # -- one turn -------------------------------------------------------------------------------------------------

    def turn(self) -> bool:
        """One task goes on by one step; False when there is none that ever will."""
        if self._wakes:
            self._wake()
        if not self.ready:
            return False
        task = self.decider.follow(self.ready, self.current)
        self.current = task
        task.turns += 1
        self.turns += 1
        self.now += TICK
        fault: Fault | None = None
        if task.error is None:
            if task.scopes and not task.shields and task.overdue(self.now):
                task.error = CancelledError()
            else:
                fault = self.decider.strike(task)
        if self.story is not None:
            self._tell(task, fault)
        if fault is not None:
            fault = self.befall(task, fault)
            if not task.ready:
                return True
        error, task.error = task.error, None
        self._step(task, fault if task.at != "begin" else None, error)  # it has asked for nothing yet
        return True

    def _tell(self, task: Task, fault: Fault | None) -> None:
        what = f" ! {fault}" if fault is not None else f" ! {type(task.error).__name__}" if task.error else ""
        self.story.append(f"{self.now:10.3f}  {task.name:<4} {task.at}{what}")  # type: ignore[union-attr]

    def _step(self, task: Task, value: Any, error: BaseException | None) -> None:
        run = task.context.run
        while True:
            inner = task.inner
            side = task.outer if inner is None else inner
            try:
                request = run(side.send, value) if error is None else run(side.throw, error)
            except StopIteration as stop:
                if inner is None:
                    return self._end(task)
                task.inner, task.at = None, "back"
                value, error = stop.value, None
                continue
            except BaseException as raised:
                if inner is None:
                    self._end(task)
                    raise
                task.inner, task.at = None, "back"
                value, error = None, raised
                continue
            if type(request) is str:
                task.at = request
                return None
            if type(request) is Enter:
                task.inner, task.process = request.coroutine, request.process
                value, error = None, None
                continue
            if type(request) is Wait:
                return self._rest(task, request)
            return self.kill(task.process)  # CRASH

    def _end(self, task: Task) -> None:
        task.done = True
        if task.ready:
            task.ready = False
            self.ready.remove(task)

    # -- waiting --------------------------------------------------------------------------------------------------

    def _rest(self, task: Task, wait: Wait) -> None:
        task.at = "nap"
        self.stall(task, wait.until)
        if wait.latch is not None:
            task.waits = wait.latch
            wait.latch.waiting.append(task)

    def stall(self, task: Task, until: float) -> None:
        """He does not go on before then, unless a time limit of his ends earlier."""
        if task.scopes and not task.shields:
            until = min(until, *(scope.until for scope in task.scopes if not scope.over), _NEVER)
        task.wake = until
        task.ready = False
        self.ready.remove(task)
        if until < _NEVER:
            heappush(self._wakes, (until, task.index, task))

    def _wake(self) -> None:
        """Rouse whoever is due; where nobody could go on otherwise, the time jumps to the next one."""
        wakes = self._wakes
        while wakes:
            when, _, task = wakes[0]
            if not task.ready and not task.done and task.wake == when:
                if when > self.now:
                    if self.ready:
                        return
                    self.now = when
                self.rouse(task)
            heappop(wakes)

    def rouse(self, task: Task) -> None:
        """He can go on."""
        if task.ready or task.done:
            return
        task.ready, task.wake = True, _NEVER
        insort(self.ready, task, key=_by_index)
        if task.waits is not None:
            task.waits.waiting.remove(task)
            task.waits = None

    def open(self, latch: Latch) -> None:
        """Rouse everybody who waits for it."""
        for task in list(latch.waiting):
            self.rouse(task)

    # -- interruptions --------------------------------------------------------------------------------------------

    def kill(self, process: Any) -> None:
        """The process is gone: what it ran is dropped without having any further effect, and its callers are told."""
        self.dropping = True
        try:
            for task in self._inside(process):
                self._drop(task)
        finally:
            self.dropping = False
        process.died()

    def _inside(self, process: Any) -> Iterator[Task]:
        return (task for task in self.tasks if task.process is process and task.inner is not None)

    def _drop(self, task: Task) -> None:
        inner, task.inner = task.inner, None
        try:
            if inner is not None:
                task.context.run(inner.close)
        except Dropped:
            pass
        task.scopes.clear()
        task.shields, task.cancelled = 0, False
        task.error, task.at = ProcessDied(), "back"
        self.rouse(task)
