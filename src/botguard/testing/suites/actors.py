"""Many at the same moment: threads that take turns every few instructions, or tasks of one loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from botguard.testing.suites.checks import must

__all__ = ["Actor", "Way", "as_tasks", "bounded", "in_threads", "settled"]

_T = TypeVar("_T")
#: An ``async def`` that passes every answer of the store through :func:`settled`.
Actor = Callable[[], Coroutine[Any, Any, _T]]
Way = Literal["threads", "tasks"]


async def settled(answer: Any) -> Any:
    """The answer of a store's method, waited for if it must be."""
    return await answer if hasattr(answer, "__await__") else answer


async def bounded(answer: Awaitable[_T], patience: float) -> _T:
    """Wait so many seconds at most."""
    scope = asyncio.timeout(patience)
    try:
        async with scope:
            return await answer
    except TimeoutError:
        if not scope.expired():
            raise
        raise AssertionError(f"IDEM-L2: a call did not return within {patience:g} s") from None


async def as_tasks(actors: Sequence[Actor[_T]], patience: float) -> list[_T]:
    """Run each in a task; their answers in the order of the actors."""
    return list(await bounded(asyncio.gather(*[_turning(actor) for actor in actors]), patience))


async def _turning(actor: Actor[_T]) -> _T:
    await asyncio.sleep(0)  # all of them exist before the first begins
    return await actor()


def in_threads(actors: Sequence[Actor[_T]], patience: float) -> list[_T]:
    """Run each in a thread of its own, from the same moment on; their answers in the order of the actors."""
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
            thread.join(patience)
    if errors:
        raise errors[0]
    must(not any(thread.is_alive() for thread in threads), "IDEM-L2", f"a call did not return within {patience:g} s")
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
