"""Group commit: one thread writes for any number of tasks, and one commit makes everything that waits durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from botguard.adapters.sqlite.bulk import apply_all
from botguard.adapters.sqlite.connection import Execute
from botguard.adapters.sqlite.gate import Gate
from botguard.adapters.sqlite.readers import Readers
from botguard.adapters.sqlite.writer import Writer
from botguard.errors import StoreUnavailable
from botguard.ports.colour import Colour

__all__ = ["GroupDriver"]

_Ts = TypeVarTuple("_Ts")
_T = TypeVar("_T")

#: Operations in one commit: more would only make the first of them wait longer.
_MOST = 256


_Call = tuple[Callable[..., Any], tuple[Any, ...]]
#: An operation, its arguments, and the loop and future that want its answer.
_Item = tuple[Callable[..., Any], tuple[Any, ...], asyncio.AbstractEventLoop, asyncio.Future[Any]]


class _Failed(NamedTuple):
    """In place of an answer."""

    error: BaseException


class GroupDriver:
    """Runs operations for event loops, however many there are.

    The thread starts with the first operation, and again in a child after a fork. An operation that was handed over is
    carried out, also if nobody waits for it any more.
    """

    colour: Colour = "async"

    def __init__(self, path: str, writer: Writer, readers: Readers, gate: Gate) -> None:
        self._path, self._writer = path, writer
        self.look = readers.look
        self._closed = False
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._starting = Lock()
        gate.join(self)

    def run(self, op: Callable[[Execute, *_Ts], _T], /, *args: *_Ts) -> asyncio.Future[_T]:
        """See :class:`Driver`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._queue.put((op, args, loop, future))
        if self._thread is None:
            self._start()
        return future

    def scan(self, op: Callable[[Execute, *_Ts], _T], /, *args: *_Ts) -> Awaitable[_T]:
        """See :class:`Driver`."""
        return asyncio.to_thread(partial(self.look, op, *args))

    async def sweep(self, find: Callable[[Execute], list[Any]], delete: Callable[[Execute, list[Any]], int]) -> int:
        """See :class:`Driver`."""
        rows = await self.scan(find)
        return await self.run(delete, rows) if rows else 0

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        with self._starting:
            if self._closed:
                self._refuse_rest()
            elif self._thread is None:
                name = f"botguard-sqlite-{id(self):x}"
                self._thread = Thread(target=_work, args=(self._queue, self._writer), name=name, daemon=True)
                self._thread.start()

    def _refuse_rest(self) -> None:
        rest = [item for item in _take(self._queue, self._queue.qsize()) if item is not None]
        error = StoreUnavailable(f"the SQLite store {self._path} was closed")
        _deliver(rest, [_Failed(error)] * len(rest))

    def close(self) -> None:
        """Carry out what was handed over, and end the thread."""
        with self._starting:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()
            self._refuse_rest()

    def __del__(self) -> None:
        self._queue.put(None)

    def before_fork(self) -> bool:
        """See :class:`Member`: the writer's connection is the writer's to close."""
        return True

    def after_fork(self) -> None:
        """See :class:`Member`: the parent's thread and what waits for it are the parent's."""
        self._queue, self._thread, self._starting = SimpleQueue(), None, Lock()


def _work(queue: SimpleQueue[_Item | None], writer: Writer) -> None:
    """The thread's life. It knows the queue and the writer only, so that a forgotten storage can go."""
    while True:
        batch = [queue.get(), *_take(queue, min(queue.qsize(), _MOST - 1))]
        items = [item for item in batch if item is not None]
        if items:
            _commit(writer, items)
        if len(items) < len(batch):
            return
        del batch, items  # no future is kept alive while the queue is empty


def _take(queue: SimpleQueue[_Item | None], count: int) -> list[_Item | None]:
    return [queue.get_nowait() for _ in range(count)]


def _commit(writer: Writer, items: list[_Item]) -> None:
    calls = [(op, args) for op, args, _, _ in items]
    answers: list[Any]
    try:
        answers = writer.transact(apply_all, calls)
    except StoreUnavailable as error:
        answers = [_Failed(error)] * len(items)
    except BaseException:  # noqa: BLE001 - one operation is at fault: the others must not suffer for it
        try:
            answers = writer.transact(_each, calls)
        except BaseException as error:  # noqa: BLE001 - whoever waits must learn of it
            answers = [_Failed(error)] * len(items)
    _deliver(items, answers)


def _each(execute: Execute, calls: list[_Call]) -> list[Any]:
    """As ``apply_all``, but one by one, each in a savepoint of its own."""
    answers: list[Any] = []
    for op, args in calls:
        execute("SAVEPOINT botguard_each")
        try:
            answers.append(op(execute, *args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked for this
            execute("ROLLBACK TO botguard_each")
            answers.append(_Failed(error))
        execute("RELEASE botguard_each")
    return answers


def _deliver(items: list[_Item], answers: list[Any]) -> None:
    """Wake each loop once, whatever number of its tasks are waiting."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for (_, _, loop, future), answer in zip(items, answers, strict=True):
        by_loop.setdefault(loop, []).append((future, answer))
    for loop, pairs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, pairs)
        except RuntimeError:  # the loop was closed: nobody waits there
            pass


def _resolve(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in pairs:
        if future.done():  # whoever waited was cancelled
            continue
        if type(answer) is _Failed:
            future.set_exception(_own(answer.error))
        else:
            future.set_result(answer)


def _own(error: BaseException) -> BaseException:
    """An exception of one's own: raised in many tasks, a shared one would collect all their tracebacks."""
    if not isinstance(error, StoreUnavailable):
        return error
    made = StoreUnavailable(
        str(error.args[0]), maybe_applied=error.maybe_applied, host_transaction=error.host_transaction
    )
    made.fix = error.fix
    made.__cause__ = error.__cause__
    return made
