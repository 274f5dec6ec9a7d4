"""Was it as if done one by one? Histories of several actors, and the search for an order that explains them.

Each call has a beginning and an end. An order explains a history if it puts no call before one that had ended when it
began, and a model that is asked in that order answers the same (linearizability, after Wing and Gong).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import Any, NamedTuple

__all__ = ["Call", "Recorder", "Step", "misfit"]


class Call(NamedTuple):
    """One call: who, when, what, and what was answered."""

    actor: int
    began: int
    ended: int
    what: tuple[Any, ...]
    answer: tuple[str, ...]


class Recorder:
    """Notes calls as they happen. Its clock only orders them."""

    def __init__(self) -> None:
        self._ticks = count()
        self.calls: list[Call] = []

    def begin(self) -> int:
        """A call is about to begin; another actor may take his turn first."""
        tick = next(self._ticks)
        time.sleep(0)
        return tick

    def end(self, actor: int, began: int, what: tuple[Any, ...], answer: tuple[str, ...]) -> None:
        """It has been answered."""
        self.calls.append(Call(actor, began, next(self._ticks), what, answer))

    def overlaps(self) -> int:
        """How many calls began while another one was under way."""
        calls = self.calls
        return sum(any(a.began < b.began < a.ended for a in calls) for b in calls)


#: From a state and a call to the next state and the answer.
Step = Callable[[Any, tuple[Any, ...]], tuple[Hashable, Hashable]]


def misfit(calls: Sequence[Call], state: Hashable, step: Step) -> str:
    """Empty if some order of the calls explains every answer; else the beginning of the history, up to the first answer
    that no order explains, for a person.

    Args:
        calls: each ended.
        state: at the beginning.
        step: the model.
    """
    if _explained(calls, state, step, max(call.ended for call in calls)):
        return ""
    ends = sorted(call.ended for call in calls)
    until = next(end for end in ends if not _explained(calls, state, step, end))
    lines = [
        f"  {call.began:>4}-{call.ended if call.ended <= until else '':<4} actor {call.actor}: "
        f"{' '.join(map(str, call.what))} -> {' '.join(map(str, call.answer)) if call.ended <= until else '…'}"
        for call in sorted(calls, key=lambda call: call.began)
        if call.began <= until
    ]
    return "\n".join(lines)


def _explained(calls: Sequence[Call], state: Hashable, step: Step, until: int) -> bool:
    """True if what was answered until then fits some order; what was still under way may or may not have happened."""
    begun = [call for call in calls if call.began <= until]
    answered = frozenset(n for n, call in enumerate(begun) if call.ended <= until)
    seen: set[tuple[frozenset[int], Hashable]] = set()
    places = [(frozenset(range(len(begun))), state)]
    while places:
        left, now = places.pop()
        if not left & answered:
            return True
        if (left, now) in seen:
            continue
        seen.add((left, now))
        first_end = min(begun[n].ended for n in left)
        for n in left:
            if begun[n].began < first_end:
                after, answer = step(now, begun[n].what)
                if n not in answered or answer == begun[n].answer:
                    places.append((left - {n}, after))
    return False
