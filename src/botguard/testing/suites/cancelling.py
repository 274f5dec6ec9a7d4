"""One call, cancelled at each of its awaits in turn; and again while it cleans up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from botguard.testing.faults import CancelAt
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.checks import must

__all__ = ["cancel_everywhere"]

#: More awaits than any call of a store has; a call that never ends is caught by the suite's patience.
_MOST = 200
#: How often a call gets through undisturbed before it counts as having no further await: a store with a thread behind it
#: may have its answer ready before anybody waits.
_CALM = 5


def cancel_everywhere(
    suite: StoreSuite, call: Callable[[int], Awaitable[Any]], then: Callable[[int], None], *, twice: bool = False
) -> int:
    """Make a call again and again, cancelled one await later each time, until it gets through undisturbed.

    Args:
        suite: in whose loop it runs.
        call: makes the n-th call; n tells its key from others.
        then: looks at what the n-th call left behind.
        twice: cancel it again at its next await.

    Returns:
        At how many awaits it was cancelled.
    """
    at, calm = 1, 0
    for n in count(1):
        delivered, cancelled = suite.wait(_one(call, n, (at, at + 1) if twice else (at,)))
        then(n)
        if not delivered:
            calm += 1
            if calm == _CALM:
                return at - 1
            continue
        must(cancelled, "IDEM-18", f"a call that is cancelled at await {at} must let the cancellation through")
        must(at < _MOST, "IDEM-L2", f"a call is still waiting after {_MOST} awaits")
        at, calm = at + 1, 0
    raise AssertionError("unreachable")  # pragma: no cover


async def _one(call: Callable[[int], Awaitable[Any]], n: int, at: tuple[int, ...]) -> tuple[int, bool]:
    answer = call(n)
    if not hasattr(answer, "__await__"):
        return 0, False  # it answers at once: there is nothing to cancel
    run = CancelAt(answer, *at)
    try:
        await run
    except asyncio.CancelledError:
        return run.delivered, True
    return run.delivered, False
