"""Who does what in a schedule: drawn from the seed, and played by tasks. A new kind of task is a class with ``play``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from string import ascii_lowercase
from typing import Any, Protocol

from botguard.outcome import Outcome, Status
from botguard.testing.simulation.commands import UNLUCKY, SimulatedCommand
from botguard.testing.simulation.loop import Wait, ask
from botguard.testing.simulation.outside import directory_of_people
from botguard.testing.simulation.runs import Run

__all__ = ["Delivery", "Revocation", "Role", "Sweep", "draw_cast"]

#: After these the channel does not deliver again.
_FINAL = frozenset(
    (Status.SUCCEEDED, Status.DENIED, Status.INVALID, Status.CONFLICT, Status.FAILED, Status.UNKNOWN, Status.PENDING)
)


class Role(Protocol):
    """Something that happens during a schedule."""

    async def play(self, world: Any) -> None:
        """From its beginning to its end; asks the world for everything."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A channel delivers a person's wish until it gets an answer that is one; the person may have to confirm.

    Args:
        answer: ``yes``, ``no``, ``late`` (after the time for it), ``tampered`` (yes to another amount), ``other``
            (somebody else presses), ``again`` (the message is sent again instead, then yes).
    """

    command: SimulatedCommand
    org: str
    actor: str
    order: str
    amount: int
    process: int = 0
    tries: int = 3
    answer: str = "yes"

    def again(self) -> Delivery:
        """The same wish, delivered once more, to another process."""
        return replace(self, process=self.process + 1)

    async def play(self, world: Any) -> None:
        """See :class:`Role`."""
        for attempt in range(self.tries):
            await ask("deliver")
            outcome = await self._deliver(world, attempt)
            if outcome is not None and outcome.confirmation is not None:
                await self._respond(world, outcome, attempt)
            if outcome is not None and outcome.status in _FINAL:
                return
            await ask(Wait(world.loop.now + ((outcome and outcome.retry_after) or 1.0)))

    async def _deliver(self, world: Any, attempt: int) -> Outcome | None:
        outcome: Outcome | None = await world.call(self._at(world, attempt), self._run(world, self.actor))
        return outcome

    def _at(self, world: Any, attempt: int) -> Any:
        return world.processes[(self.process + attempt) % len(world.processes)]

    def _run(self, world: Any, actor: str) -> Run:
        run: Run = world.run_of(
            self.command, world.context(self.org, actor), {"order": self.order, "amount": self.amount}
        )
        return run

    async def _respond(self, world: Any, outcome: Outcome, attempt: int) -> None:
        """What the person does about the question."""
        await ask("deliver")
        if self.answer == "again":
            await self._deliver(world, attempt + 1)
        elif self.answer == "late":
            await ask(Wait(world.loop.now + 90.0))
        await self._press(world, outcome, attempt)
        if self.answer == "yes":  # a press may be lost or doubled like anything else
            await ask("deliver")
            await self._press(world, outcome, attempt + 1)

    async def _press(self, world: Any, outcome: Outcome, attempt: int) -> None:
        assert outcome.confirmation is not None
        process, token = self._at(world, attempt), outcome.confirmation.token
        actor = self.actor if self.answer != "other" else "bob" if self.actor != "bob" else "ann"
        run = self._run(world, actor)
        run.way = "decline" if self.answer == "no" else "confirm"
        if self.answer == "no":
            work = process.guard.decline_async(token, context=run.context)
        elif self.answer == "tampered":
            run.raw = {**run.raw, "amount": 99 - self.amount % 50}
            work = process.guard.confirm_async(token, context=run.context, payload=run.raw)
        else:
            work = process.guard.confirm_async(token, context=run.context)
        await world.inside(process, work, run)
        world.checker.see(f"answered: {self.answer}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Somebody loses his role, or his account, and perhaps gets it back."""

    org: str
    actor: str
    role_only: bool

    def again(self) -> Revocation:
        """The same."""
        return self

    async def play(self, world: Any) -> None:
        """See :class:`Role`."""
        people, who = world.outside.people, (self.org, self.actor)
        await ask("nature")
        first = directory_of_people()[who]  # a second revocation must not find, and then give back, a revoked one
        people[who] = replace(first, roles=frozenset()) if self.role_only else replace(first, active=False)
        world.checker.see("revocation")
        await ask("nature")
        await ask("nature")
        people[who] = first


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The host's timer: purge, and write down what was spooled."""

    process: int

    def again(self) -> Sweep:
        """The same."""
        return self

    async def play(self, world: Any) -> None:
        """See :class:`Role`."""
        await ask("nature")
        process = world.processes[self.process % len(world.processes)]
        await world.inside(process, process.sweep())


_ANSWERS = ("yes", "yes", "yes", "no", "late", "tampered", "other", "again")


def draw_cast(chance: Random, commands: tuple[SimulatedCommand, ...]) -> list[tuple[str, Role]]:
    """A few deliveries that get into each other's way, and sometimes a revocation and a sweep, by their names."""
    command = commands[int(chance.random() * len(commands))]
    org, actor, amount = "acme", "ann", 1 + int(chance.random() * 9)
    roles: list[Role] = []
    for number in range(2 + int(chance.random() * 3)):
        like = chance.random()
        delivery = Delivery(
            command=command,
            org=org,
            actor=actor,
            order="A-17",
            amount=amount,
            process=number,
            answer=_ANSWERS[int(chance.random() * len(_ANSWERS))] if command.confirmed else "yes",
        )
        if number and like >= 0.5:  # else the same again
            delivery = _another(chance, delivery, commands)
        roles.append(delivery)
    if chance.random() < 0.2:
        roles.append(Revocation(org=org, actor=actor, role_only=chance.random() < 0.5))
    if chance.random() < 0.2:
        roles.append(Sweep(process=int(chance.random() * 2)))
    return list(zip(ascii_lowercase, roles, strict=False))


def _another(chance: Random, delivery: Delivery, commands: tuple[SimulatedCommand, ...]) -> Delivery:
    """A delivery that differs in one thing."""
    match int(chance.random() * 8):
        case 0:
            return replace(delivery, actor="ann-web")  # the same person
        case 1:
            return replace(delivery, actor="bob")
        case 2:
            return replace(delivery, org="umbra")
        case 3:
            return replace(delivery, amount=delivery.amount + 20)
        case 4:
            return replace(delivery, amount=(0, UNLUCKY)[int(chance.random() * 2)])
        case 5:
            return replace(delivery, actor="guest")
        case 6:
            return replace(delivery, order="A-18")
        case _:
            return replace(delivery, command=commands[int(chance.random() * len(commands))])
