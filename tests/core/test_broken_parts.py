"""`run` never raises for what happens inside, even where a part breaks its own port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from botguard import ALLOW_ALL, Actor, Context, Guard, Status, Unavailable
from botguard.adapters.memory import MemoryStorage

ANN = Context(org="acme", actor=Actor("ann"))


class Broken(Exception):
    """What no port may raise."""


def raises(*args: Any, **kwargs: Any) -> Any:
    raise Broken


def guard_with(**options: Any) -> tuple[Guard, list[str]]:
    guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL, **options)
    effects: list[str] = []

    @guard.command("orders.create", key=lambda payload: payload["id"], limits=["1/day per user"])
    def create(payload: dict[str, Any]) -> str:
        effects.append(payload["id"])
        return "done"

    return guard, effects


def breaks_claim(guard: Guard) -> None:
    guard.storage.idempotency.claim = raises  # type: ignore[method-assign]


def breaks_peek(guard: Guard) -> None:
    guard.storage.idempotency.peek = raises  # type: ignore[method-assign]


@pytest.mark.parametrize("breaks", [breaks_claim, breaks_peek])
def test_a_store_that_raises_something_else_is_unavailable(breaks: Callable[[Guard], None]) -> None:
    guard, effects = guard_with()
    breaks(guard)
    outcome = guard.run("orders.create", {"id": "A"}, context=ANN)
    assert (outcome.status, [str(r) for r in outcome.reasons]) == (Status.UNAVAILABLE, ["store_unavailable"])
    assert isinstance(outcome.error, Broken)
    assert effects == []
    assert guard.storage.events.tail()[-1].status == "unavailable"  # type: ignore[index, union-attr]


def test_what_a_broken_store_refused_is_charged_to_nobody() -> None:
    guard, effects = guard_with()
    claim = guard.storage.idempotency.claim
    breaks_claim(guard)
    guard.run("orders.create", {"id": "A"}, context=ANN)
    guard.storage.idempotency.claim = claim  # type: ignore[method-assign]
    assert guard.run("orders.create", {"id": "A"}, context=ANN).ok
    assert effects == ["A"]


@pytest.mark.parametrize(
    "options", [{"directory": lambda org, actor: {"person": "p"}}, {"directory": lambda o, a: "p"}]
)
def test_a_directory_that_answers_with_something_else_admits_nobody(options: dict[str, Any]) -> None:
    guard, effects = guard_with(**options)
    outcome = guard.run("orders.create", {"id": "A"}, context=ANN)
    assert outcome.status in (Status.UNAVAILABLE, Status.DENIED)
    assert effects == []


class SaysNothing:
    digest = "0"

    def concerns(self, command: str) -> bool:
        return True

    def decide(self, invocation: Any) -> None:
        return None


def test_a_policy_that_says_nothing_permits_nothing() -> None:
    guard, effects = guard_with(policies=SaysNothing())
    outcome = guard.run("orders.create", {"id": "A"}, context=ANN)
    assert outcome.status in (Status.UNAVAILABLE, Status.DENIED)
    assert effects == []


def test_a_direct_call_raises_our_error_with_its_cause() -> None:
    guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL)

    @guard.command("orders.create")
    def create(payload: dict[str, Any]) -> str:
        return "done"

    breaks_claim(guard)
    with guard.acting(ANN), pytest.raises(Unavailable) as caught:
        create({"id": "A"})
    assert isinstance(caught.value.__cause__, Broken)
