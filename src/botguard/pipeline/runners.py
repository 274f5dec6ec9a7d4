"""Who steps the one async-shaped core: the caller's thread, or the caller's event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any, NoReturn

from botguard.errors import ConfigurationError
from botguard.outcome import Outcome
from botguard.pipeline.call import Call
from botguard.pipeline.stage import Proceed

__all__ = ["refuse_awaitable", "run_sync"]


def run_sync(entry: Proceed, call: Call) -> Outcome:
    """Run the pipeline to its end on this thread, with no event loop.

    Every port is synchronous here, so one ``send`` finishes the coroutine and its result comes with StopIteration.
    """
    core: Any = entry(call)
    try:
        core.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    core.close()
    raise ConfigurationError(
        "BG140",
        "something waited on an event loop inside a synchronous call",
        where=call.plan.command.name,
        why="a synchronous call has no event loop, and what waits only sometimes would fail only in production",
        fix="make the handler `async def` and call guard.run_async, or give the guard a synchronous port",
    )


def refuse_awaitable(awaitable: Awaitable[Any], command: str) -> NoReturn:
    """Close an awaitable unrun and say which one it was."""
    name = getattr(awaitable, "__qualname__", type(awaitable).__name__)
    if isinstance(awaitable, Coroutine):
        awaitable.close()
    raise ConfigurationError(
        "BG140",
        f"{name} returned an awaitable to a synchronous command",
        where=command,
        why="a synchronous call has no event loop to wait on; it would work until the first contention and then fail",
        fix="make the handler `async def` and call guard.run_async, or make the port, check or handler a plain function",
    )
