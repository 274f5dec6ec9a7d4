"""Bugs to plant in a bot, each of a kind that a crash makes visible."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from botguard.outcome import Outcome
from botguard.pipeline.settle import Settlement
from botguard.ports.idempotency import Ack, RowState
from botguard.stages.claim import Claim
from botguard.stages.complete import Complete
from botguard.stages.work import Work


def _take_external_claims_over() -> None:
    """An abandoned claim of external effects is executed again, instead of being called unknown."""
    make = Claim.__init__

    def generous(self: Any, *of: Any, **more: Any) -> None:
        make(self, *of, **more)
        self._takeover = True

    Claim.__init__ = generous  # type: ignore[method-assign]


def _release_after_the_start() -> None:
    """The key is given back while the handler runs."""

    async def around(self: Any, proceed: Any, call: Any) -> Outcome:
        await self._settlement.release(call)
        return await proceed(call)

    Complete.around = around  # type: ignore[method-assign]


def _commit_before_the_completion() -> None:
    """The transaction with the effect ends first; the completion follows in one of its own."""

    async def late(self: Any, call: Any, unit: Any, outcome: Outcome) -> Outcome:
        await _settled(call, unit.commit())
        time.sleep(0.003)  # whatever else there is to do  # noqa: ASYNC251 - nobody else is on this loop
        await self._settlement.done(call, outcome)
        return outcome

    Work._commit = late  # type: ignore[method-assign]


def _never_look_at_the_fence() -> None:
    """A transaction completes whoever owns the key by now."""
    begin = Work._begin

    async def blind(self: Any, call: Any) -> Any:
        unit: Any = await begin(self, call)
        finish = unit.finish
        unit.finish = lambda *of: (finish(*of), Ack.APPLIED)[1]
        return unit

    Work._begin = blind  # type: ignore[method-assign]


def _leases_that_never_end() -> None:
    """A claim of a dead process stands in the way for ever."""
    make = Claim.__init__

    def endless(self: Any, *of: Any, **more: Any) -> None:
        make(self, *of, **more)
        self._lease = 1e6

    Claim.__init__ = endless  # type: ignore[method-assign]


def _park_what_succeeded() -> None:
    """A success is written down as unknown."""

    async def park(self: Any, call: Any, outcome: Outcome) -> None:
        await self.finish(call, RowState.UNKNOWN, None, self.event(call, outcome))

    Settlement.done = park  # type: ignore[method-assign]


async def _settled(call: Any, said: Any) -> Any:
    return await call.bridge(said) if hasattr(said, "__await__") else said


def _forget_the_completion() -> None:
    """The caller gets his value; the completion is forgotten."""

    async def around(self: Any, proceed: Any, call: Any) -> Outcome:
        outcome: Outcome = await proceed(call)
        return outcome

    Complete.around = around  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    "takes external claims over": _take_external_claims_over,
    "releases after the start": _release_after_the_start,
    "commits before the completion": _commit_before_the_completion,
    "never looks at the fence": _never_look_at_the_fence,
    "leases never end": _leases_that_never_end,
    "forgets the completion": _forget_the_completion,
    "parks what succeeded": _park_what_succeeded,
}


def plant(bug: str) -> None:
    """Make this process wrong on purpose; nothing for an empty name."""
    if bug:
        BUGS[bug]()
