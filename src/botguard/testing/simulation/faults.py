"""What may go wrong, how often, and where."""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random
from typing import NamedTuple

from botguard.errors import ConfigurationError

__all__ = ["CALM", "Fault", "Faults", "draw", "possible"]


class Fault(NamedTuple):
    """Something that befalls a task at a point, written ``kind`` or ``kind:seconds``."""

    kind: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind}:{self.seconds:g}" if self.seconds else self.kind

    @classmethod
    def read(cls, text: str) -> Fault:
        """The other way round. Raises ValueError for a number that is none."""
        kind, _, seconds = text.partition(":")
        return cls(kind, float(seconds or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each kind of fault is chosen, as weights; 0: never.

    Args:
        crash: the process is killed, before or after what it was about to do; its memory is lost, and the channel
            delivers again.
        lost: the store did it, but the caller saw an error; or saw the same error, and it was not done.
        outage: a call of the store fails, or all do for a while. The directory fails too.
        delay: whoever is about to act stands still, perhaps beyond his deadline or lease.
        duplicate: the channel delivers once more, while the first delivery is under way.
        clock: the store's clock jumps, forward or back.
        cancel: the caller is cancelled.
        handler: the handler raises, before or after its effect, or the outside system is late.
        most: how many strike one schedule at most.
    """

    crash: float = 1.0
    lost: float = 1.0
    outage: float = 1.0
    delay: float = 1.0
    duplicate: float = 1.0
    clock: float = 0.5
    cancel: float = 0.7
    handler: float = 1.0
    most: int = 5

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) >= 0:
                raise ConfigurationError(
                    "BG230",
                    f"Faults({field.name}={getattr(self, field.name)!r}) is no weight",
                    fix="give 0 for never, 1 for as often as the others",
                )


#: Nothing goes wrong.
CALM = Faults(crash=0, lost=0, outage=0, delay=0, duplicate=0, clock=0, cancel=0, handler=0, most=0)

_DAY = 86400.0
#: Kinds by the weight that governs them, and the seconds that they may have.
_EVERYWHERE: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "crash": (("crash", ()),),
    "delay": (("stall", (0.3, 3.0, 12.0, 40.0)),),
    "clock": (("jump", (20.0, 3600.0, -600.0, 8 * _DAY)),),
}
_INSIDE = {**_EVERYWHERE, "cancel": (("cancel", ()),)}
_READ = {**_INSIDE, "outage": (("down", ()), ("outage", (0.5, 5.0)))}
_WRITE = {
    **_READ,
    "crash": (("crash", ()), ("crashed", ())),
    "lost": (("lost", ()), ("lost", ()), ("doubt", ())),
    "delay": (*_READ["delay"], ("gap", ())),
    "cancel": (("cancel", ()), ("cancelled", ())),
}
_BOUNDARY = {"duplicate": (("twin", ()),), "delay": _EVERYWHERE["delay"], "clock": _EVERYWHERE["clock"]}
_HANDLER = {**_INSIDE, "handler": (("refused", ()), ("rejected", ()), ("broken", ()))}
_SENDING = {**_INSIDE, "handler": (("late", (2.0, 14.0)), ("garbled", ()))}
_ANSWER = {**_INSIDE, "handler": (("garbled", ()),)}

#: Points that are no call of a store's port; of those, look-ups are told apart from writes by their names.
_POINTS = {
    "begin": _BOUNDARY,
    "deliver": _BOUNDARY,
    "back": {},
    "nature": {},
    "directory": _READ,
    "check": _READ,
    "reconcile": _READ,
    "handler": _HANDLER,
    "effect": _SENDING,
    "answer": _ANSWER,
    "gap": _INSIDE,
    "nap": _INSIDE,
    "work.rollback": _EVERYWHERE,
}
_LOOKS = ("peek", "by_token", "by_subject", "tail", "test")


def _table(point: str) -> dict[str, tuple[tuple[str, tuple[float, ...]], ...]]:
    known = _POINTS.get(point)
    if known is not None:
        return known
    return _READ if point.rpartition(".")[2] in _LOOKS else _WRITE


def possible(point: str, faults: Faults) -> list[tuple[float, list[tuple[str, tuple[float, ...]]]]]:
    """The kinds that may strike at a point: (weight, kinds with their seconds)."""
    table = _table(point)
    weighed = [(getattr(faults, family), list(kinds)) for family, kinds in table.items()]
    return [(weight, kinds) for weight, kinds in weighed if weight > 0]


def draw(choices: list[tuple[float, list[tuple[str, tuple[float, ...]]]]], chance: Random) -> Fault:
    """One of them, by weight."""
    families = [kinds for _, kinds in choices]
    kind, seconds = chance.choice(chance.choices(families, [weight for weight, _ in choices])[0])
    return Fault(kind, chance.choice(seconds) if seconds else 0.0)
