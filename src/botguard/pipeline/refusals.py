"""Refusals counted: how many events they deserve, and when a caller is not heard any more.

Both counts are kept for the present minute only, are bounded, and belong to the guard, not to one command.
"""

from __future__ import annotations

from botguard.pipeline.call import Call

__all__ = ["RefusalBudget", "RefusalLog", "caller_of"]


class RefusalLog:
    """Per (org, actor, command, reason) the first few refusals a minute are events, the rest one counted summary.

    Kept for the present minute only, and bounded: beyond ``capacity`` names, strangers share one line.
    """

    def __init__(self, first: int = 5, capacity: int = 10_000) -> None:
        self._first, self._capacity = first, capacity
        self._end = 0.0
        self._counts: dict[tuple[str, str, str, str], int] = {}
        #: Summaries of past minutes that are still to be written.
        self.due: list[tuple[tuple[str, str, str, str], int]] = []

    def admit(self, name: tuple[str, str, str, str], now: float) -> bool:
        """True if this refusal, (org, actor, command, reason), is to be an event of its own."""
        if now >= self._end:
            self._turn(now)
        counts = self._counts
        count = counts.get(name, 0)
        if not count and len(counts) >= self._capacity:
            name = (name[0], "*", name[2], name[3])
            count = counts.get(name, 0)
        counts[name] = count + 1
        return count < self._first

    def _turn(self, now: float) -> None:
        ended, self._counts = self._counts, {}
        self._end = now - now % 60 + 60
        self.due.extend((name, count - self._first) for name, count in ended.items() if count > self._first)

    def take_due(self, limit: int = 4) -> list[tuple[tuple[str, str, str, str], int]]:
        """A few summaries of past minutes that are still to be written."""
        taken = self.due[:limit]
        del self.due[:limit]
        return taken

    def close_minute(self) -> None:
        """Make the present minute's summaries due now."""
        self._turn(0.0)


class RefusalBudget:
    """Refusals per minute and per (org, channel, address, actor); shared by all commands of a guard.

    Counts in fixed minutes, so that nothing has to be swept. Bounded: beyond ``capacity`` callers no new one is counted
    (they are refused by authorisation anyway).
    """

    __slots__ = ("_capacity", "_end", "counts", "limit")

    def __init__(self, per_minute: int = 60, capacity: int = 50_000) -> None:
        self.limit, self._capacity = per_minute, capacity
        self._end = 0.0
        #: Refusals of the present minute; empty while nobody is refused, which is the usual case.
        self.counts: dict[tuple[str | None, ...], int] = {}

    def wait(self, caller: tuple[str | None, ...], now: float) -> float:
        """Seconds until this caller is heard again, or 0."""
        return self._end - now if now < self._end and self.counts.get(caller, 0) >= self.limit else 0.0

    def charge(self, caller: tuple[str | None, ...], now: float) -> None:
        """Count one refusal."""
        if now >= self._end:
            self._end, self.counts = now - now % 60 + 60, {}
        counts = self.counts
        if caller in counts or len(counts) < self._capacity:
            counts[caller] = counts.get(caller, 0) + 1


def caller_of(call: Call) -> tuple[str | None, ...]:
    """Whom refusals are charged to: the channel's address and the actor."""
    caller = call.caller
    if caller is None:
        context = call.context
        actor = context.actor
        caller = call.caller = (context.org, context.channel, context.address, "" if actor is None else actor.id)
    return caller
