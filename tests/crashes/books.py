"""What must hold when everything is over: for each order the effects, the row, the answers and the trail agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from botguard.ports.events import Event
from botguard.ports.idempotency import RowState
from crashes.shop import effects_of, key_of, kind_of

if TYPE_CHECKING:
    from crashes.places import Outside
    from crashes.shop import Shop


class Broken(AssertionError):
    """A promise was broken, or the run was vacuous. One line, which says how to see it again."""


@dataclass
class Answer:
    """What one delivery was answered."""

    status: str
    value: Any
    replayed: bool
    degraded: bool
    reasons: list[str]
    error: str

    def __str__(self) -> str:
        flags = [name for name in ("replayed", "degraded") if getattr(self, name)]
        return " ".join(
            [self.status, *([str(self.value)] if self.value else []), *flags, *self.reasons, self.error]
        ).strip()


@dataclass
class Order:
    """One update, and all that became of it."""

    name: str
    #: An answer has said that it is over: done, or visibly unknown.
    settled: bool = False
    #: How often a handler began.
    runs: int = 0
    #: What was done to the bots that had it in their hands: the explanations of an unknown end.
    struck: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def history(self) -> str:
        """For whoever has to find out."""
        answers = [f"{len(list(same))} × {text}" for text, same in groupby(str(answer) for answer in self.answers)]
        struck = [f"{n} × {what}" for what, n in Counter(self.struck).items()]
        return f"{self.name}: {self.runs} runs; {', '.join(struck) or 'left in peace'}; answered {', '.join(answers)}"


class Books:
    """Looks at every order once more, through a guard that must not run anything."""

    def __init__(self, shop: Shop, outside: Outside, orders: Mapping[str, Order]) -> None:
        self._shop, self._orders = shop, orders
        self._inside, self._out = outside.effects(), shop.world.effects()
        self._events: dict[str, list[Event]] = {}
        for event in shop.storage.events.tail(1_000_000):
            self._events.setdefault(event.key, []).append(event)

    def check(self, seen: Counter[str]) -> None:
        """Raise Broken for the first promises that do not hold; count what was seen on the way."""
        broken = []
        self._shop.closed = True
        for order in self._orders.values():
            wrong = self._wrong(order, seen)
            if wrong:
                broken.append(f"{'; '.join(wrong)} [{order.history()}]")
        seen["orders"] = len(self._orders)
        if broken:
            more = f" (and {len(broken) - 3} orders more)" if len(broken) > 3 else ""
            raise Broken(" // ".join(broken[:3]) + more)

    def _wrong(self, order: Order, seen: Counter[str]) -> list[str]:
        row = self._shop.storage.idempotency.peek(key_of(order.name))
        effects = effects_of(kind_of(order.name))
        runs = (self._inside if effects == "transactional" else self._out).get(order.name, [])
        if order.runs > 1:
            seen["orders that ran again"] += 1
        if row is None or row.state is RowState.CLAIMED:
            return [f"lost: its key is {'absent' if row is None else 'claimed'} in the end, with {len(runs)} effects"]
        if row.state is RowState.UNKNOWN:
            seen["visibly unknown in the end"] += 1
            return self._wrong_unknown(order, effects, runs)
        seen["done in the end"] += 1
        return self._wrong_done(order, effects, runs, row)

    def _wrong_unknown(self, order: Order, effects: str, runs: list[str]) -> list[str]:
        wrong = []
        if effects != "external" or kind_of(order.name) == "reconciled":
            wrong.append(f"a {kind_of(order.name)} command is unknown")
        if not order.struck:
            wrong.append("unknown, and nothing that was done to it can explain that")
        if len(runs) > 1:
            wrong.append(f"{len(runs)} effects: {runs}")
        said = self._shop.deliver(order.name)
        if str(said.status) != "unknown":
            wrong.append(f"its key is unknown, and a caller is told {said!r}")
        return wrong

    def _wrong_done(self, order: Order, effects: str, runs: list[str], row: Any) -> list[str]:
        wrong = []
        said = self._shop.deliver(order.name)
        if str(said.status) != "succeeded" or not said.replayed or said.value not in runs:
            wrong.append(f"done, with effects {runs}, and a caller is told {said!r}")
        if len(runs) != 1 and not (effects == "idempotent" and runs):
            wrong.append(f"{len(runs)} effects: {runs}")
        # Whoever was overtaken is told so; everybody else has been given what stands.
        told = {answer.value for answer in order.answers if answer.status == "succeeded" and not answer.degraded}
        wrong += [f"somebody was told {value}, and {said.value} stands" for value in told - {said.value}]
        return wrong + self._wrong_trail(order, row)

    def _wrong_trail(self, order: Order, row: Any) -> list[str]:
        """The run that stands is in the trail once; a completion that was spooled has left its event elsewhere.

        Who could not learn whether his completion was stored, with its event, writes down what his caller was told, under
        the same id: that takes a broken network or disk, and a process that lives on.
        """
        events = self._events.get(key_of(order.name), [])
        ended = [event for event in events if row.event_id and event.id == row.event_id]
        fresh = [event for event in events if event.kind == "run" and event.success and not event.replayed]
        clean = [event for event in fresh if not event.degraded]
        lives_on = any(not what.startswith(("Kill", "Stop")) for what in order.struck)
        named = not row.event_id or len(ended) == 1 or (bool(ended) and lives_on)
        if not named or len(clean) > 1:
            told = [(event.id, event.kind, event.status, event.degraded) for event in events]
            return [f"its row names the event {row.event_id or 'none'}, its trail is {told}"]
        return []
