"""The commands that are simulated: their options are real, their handlers ask a business system that is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from pydantic import BaseModel, Field
from tenacity import wait_exponential

from botguard.command import Command, CommandOptions, make_command
from botguard.errors import ConfigurationError, Rejected
from botguard.invocation import current
from botguard.options import Check, Effects, Retry, Risk
from botguard.reconcile import Happened, NotHappened
from botguard.testing.simulation.loop import ask
from botguard.testing.simulation.ports import point
from botguard.testing.simulation.runs import Run

__all__ = ["Order", "SimulatedCommand", "commands_given"]

#: An amount that the rules deny.
UNLUCKY = 13
BREAKER = "erp"


class Order(BaseModel):
    """What every simulated command takes."""

    order: str
    amount: int = Field(gt=0, lt=100)


_RETRY = Retry(attempts=3)
#: The built-in commands: one for each promise. A host's own options take their place.
BUILT_IN: dict[str, CommandOptions] = {
    "external": {"effects": "external", "retry": _RETRY},
    "reconciled": {"effects": "external"},
    "idempotent": {"effects": "idempotent", "retry": Retry(on=(OSError,), attempts=3)},
    "transactional": {"effects": "transactional", "retry": Retry(on=(OSError,), attempts=2)},
    "confirmed": {"effects": "external", "risk": "high", "confirm_within": 60.0, "limits": ["3/minute per user"]},
    "limited": {"effects": "external", "limits": ["2/minute per user", "1 concurrent per org"]},
    "joined": {"effects": "idempotent", "in_flight": "join", "wait": 2.0},
    "waiting": {"effects": "external", "in_flight": "wait", "wait": 2.0},
    "audited": {"effects": "external", "must_audit": True},
    "checked": {"effects": "external"},
    "shared": {"effects": "idempotent", "replay_to": "org", "breaker": BREAKER},
    "read": {"effects": "read"},
}
_OURS = ("key", "request", "bind", "reconcile", "permission", "public", "checks", "targets", "result", "breaker")


class SimulatedCommand:
    """A command's options, and what the checker must know of them."""

    unlucky = UNLUCKY

    def __init__(self, name: str, options: CommandOptions) -> None:
        given = {"deadline": 10.0, "grace": 5.0, "permission": "work", **options}
        self.reconciles = name == "reconciled" or given.pop("reconcile", None) is not None
        self.checks = name == "checked"
        retry: Any = given.get("retry")
        if retry is not None and retry.wait is None:  # the default draws its jitter from a generator that is not ours
            given["retry"] = replace(retry, wait=wait_exponential(multiplier=0.1, max=10.0))
        self.options: dict[str, Any] = {**given, "key": "{order}"}
        command: Command = make_command(name, cast("CommandOptions", self.options))
        self.name, self.effects = name, str(command.effects)
        self.confirmed, self.must_audit = command.risk is Risk.HIGH, command.must_audit
        self.to_org, self.limited, self.breaker = command.replay_to == "org", bool(command.limits), command.breaker
        self.in_flight = str(command.in_flight)
        self.lease = (command.deadline or 3600.0) + command.grace

    def declare(self, process: Any) -> None:
        """Make it a command of a process's guard."""
        options = dict(self.options)
        if self.reconciles:
            options["reconcile"] = lambda key: _reconcile(process, key)
        if self.checks:
            options["checks"] = [Check(lambda _: _already(process), stage="context")]

        async def handle(payload: Any) -> str:
            return await _carry_out(process, self, payload)

        process.guard.command(self.name, request=Order, **options)(handle)


def commands_given(given: Any, *, transactional: bool) -> tuple[SimulatedCommand, ...]:
    """What ``simulate(commands=…)`` takes: names of built-in ones, or options by name.

    Raises:
        ConfigurationError: a name that there is none of, or an option that the simulation sets itself.
    """
    if given is None:
        given = [name for name in BUILT_IN if transactional or name != "transactional"]
    made: list[SimulatedCommand] = []
    items: Iterable[tuple[str, Any]] = given.items() if isinstance(given, Mapping) else ((n, None) for n in given)
    for name, options in items:
        if options is None and name not in BUILT_IN:
            raise ConfigurationError(
                "BG230",
                f"commands={name!r} is no built-in command",
                fix=f"use {', '.join(BUILT_IN)}; or give a dict of names and options",
            )
        for option in options or ():
            if option in _OURS and option != "reconcile":
                raise ConfigurationError(
                    "BG230",
                    f"commands={{{name!r}: …}} sets {option}=, which the simulation sets itself",
                    fix="leave it out; its key is one order of one org",
                )
        command = SimulatedCommand(name, BUILT_IN[name] if options is None else options)
        if command.effects == Effects.TRANSACTIONAL and not transactional:
            raise ConfigurationError(
                "BG160", f"{name} is transactional, but the storage gives it no unit of work", fix="leave it out"
            )
        made.append(command)
    return tuple(made)


def value_of(run: Run) -> str:
    """What the handler returns: it tells one run from any other."""
    return f"{run.intent.org} {run.intent.command} {run.intent.order} {run.raw['amount']} by run {run.number}"


async def _carry_out(process: Any, command: SimulatedCommand, payload: Any) -> str:
    """The handler of all commands."""
    world = process.world
    run: Run = world.loop.current.run
    world.checker.allowed(run, payload.order, payload.amount)
    fault = await point(process, "handler")
    kind = fault.kind if fault is not None else ""
    if kind == "refused":
        raise ConnectionRefusedError("nobody listens")
    if kind == "rejected":
        raise Rejected("out of stock", "out_of_stock")
    if kind == "broken":
        raise OSError("broken before anything was sent")
    if command.effects != "read":
        await _ask_for_effect(process, command, run)
    value = run.value = value_of(run)
    return value


async def _ask_for_effect(process: Any, command: SimulatedCommand, run: Run) -> None:
    world = process.world
    fault = await point(process, "effect")
    kind = fault.kind if fault is not None else ""
    run.sent = True
    if command.effects == "transactional":
        world.ledger.write(current().work, run.number)
        if kind == "late" and fault is not None:
            await process.runtime.sleep(fault.seconds)
    else:
        world.outside.asks(run, current().key or "")
        if kind == "late" and fault is not None:
            await ask(world.later(run, fault.seconds))
        elif kind != "garbled":
            world.happen(run)
        if kind != "garbled" and run.barred and not run.made:
            raise OSError("the business system was told to refuse it")
    fault = await point(process, "answer")
    if kind == "garbled" or (fault is not None and fault.kind == "garbled"):
        raise OSError("the answer cannot be read")


async def _reconcile(process: Any, key: str) -> Happened | NotHappened:
    """Look the effect up, honestly."""
    world = process.world
    run: Run = world.loop.current.run
    fault = await point(process, "reconcile")
    if not world.up or (fault is not None and fault.kind == "down"):
        raise OSError("the business system is down")
    found: Run | None = world.outside.find(key, world.checker.owners(key, run))
    if found is None:
        world.checker.see("reconciled: did not happen")
        return NotHappened()
    world.checker.see("reconciled: happened")
    run.found = value_of(found)
    return Happened(run.found)


async def _already(process: Any) -> str | None:
    """A context check as hosts have them: an order that has this effect is not open for it any more."""
    world = process.world
    fault = await point(process, "check")
    if not world.up or (fault is not None and fault.kind == "down"):
        raise OSError("the business system is down")
    run: Run = world.loop.current.run
    if not world.outside.booked(run.intent):
        return None
    world.checker.refused_beside(run)
    return "already_booked"
