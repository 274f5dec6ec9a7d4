"""Section 2: the order of the stages, seen in what each of them asks of its surroundings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from botguard import ALLOW_ALL, Ask, Breaker, Check, Guard, Outcome, Principal, Status
from botguard.adapters.memory import MemoryStorage
from botguard.limiter import LocalLimiter
from botguard.pipeline.order import ORDER
from botguard.ports.policy import PERMIT, Decision
from botguard.testing import FakeClock
from core.support import Boom, ctx

LOG: list[str] = []
#: Which spy says no in the present test.
REFUSES: set[str] = set()


class Spied:
    """A port that writes down what it is asked."""

    colour = "any"

    def __init__(self, port: Any, name: str) -> None:
        self.port, self.name = port, name

    def __getattr__(self, method: str) -> Any:
        function = getattr(self.port, method)

        def spy(*args: Any, **kwargs: Any) -> Any:
            LOG.append(f"{self.name}.{method}")
            return function(*args, **kwargs)

        return spy


class SpiedStorage:
    colour = "any"
    work = None

    def __init__(self, clock: FakeClock) -> None:
        inner = MemoryStorage(clock=clock)
        self.inner, self.atomic, self.fingerprint_key = inner, inner.atomic, inner.fingerprint_key
        self.idempotency = Spied(inner.idempotency, "claims")
        self.events = Spied(inner.events, "events")
        self.approvals = Spied(inner.approvals, "approvals")
        self.limits = Spied(LocalLimiter(clock), "limits")

    def for_async(self) -> Any:
        return self


class Ship(BaseModel):
    order_id: str

    @field_validator("order_id")
    @classmethod
    def spy(cls, value: str) -> str:
        LOG.append("validate")
        if "validate" in REFUSES:
            raise ValueError("no")
        return value


class SpiedPolicies:
    digest = "p1"

    def concerns(self, command: str) -> bool:
        return True

    def decide(self, invocation: Any) -> Decision:
        LOG.append("policy")
        return Decision(permitted=False) if "policy" in REFUSES else PERMIT


def check(stage: str) -> Check:
    def spy(invocation: Any) -> Any:
        LOG.append(stage)
        if stage in REFUSES:
            return "no"
        return Ask("Sure?") if stage == "predict" and "confirm" in REFUSES else None

    return Check(spy, stage)


def directory(org: str, actor: str) -> Principal | None:
    LOG.append("authorize")
    return None if "authorize" in REFUSES else Principal(actor)


def key(order: Any) -> str | None:
    LOG.append("key")
    return None if "key" in REFUSES else str(order.order_id)


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.storage = SpiedStorage(self.clock)
        self.guard = Guard(
            storage=self.storage,  # type: ignore[arg-type]
            access=ALLOW_ALL,
            directory=directory,
            policies=SpiedPolicies(),
            breakers={"erp": Breaker(fail_max=1)},
            clock=self.clock,
        )
        stages = ("context", "consistency", "predict")
        checks = [check(stage) for stage in reversed(stages)]  # the order of declaration does not matter

        @self.guard.command(
            "orders.ship", key=key, checks=checks, limits=["2/minute per user"], breaker="erp", effects="idempotent"
        )
        def ship(order: Ship) -> str:
            LOG.append("handler")
            if "handler" in REFUSES:
                raise Boom
            return "shipped"

    def run(self, order_id: str = "A1", **fields: Any) -> Outcome:
        return self.guard.run("orders.ship", {"order_id": order_id}, context=ctx(**fields))

    def room(self) -> int:
        """How many calls of other orders the limit still admits; they all end before they are kept."""
        REFUSES.add("claims")
        admitted = 0
        while self.run(f"room-{admitted}").status is not Status.THROTTLED:
            admitted += 1
        return admitted


@pytest.fixture
def scene() -> Scene:
    LOG.clear()
    REFUSES.clear()
    return Scene()


FULL = [
    "authorize",
    "validate",
    "key",
    "claims.peek",
    "limits.reserve",
    "policy",
    "context",
    "consistency",
    "predict",
    "claims.claim",
    "handler",
    "claims.finish",
]


def test_a_run(scene: Scene) -> None:
    assert scene.run().value == "shipped"
    assert LOG == FULL  # the event went out with the completion, so nothing was appended beside it


def test_a_replay_stops_at_the_peek(scene: Scene) -> None:
    scene.run()
    LOG.clear()
    assert scene.run().replayed
    assert LOG == ["authorize", "validate", "key", "claims.peek", "events.append"]


@pytest.mark.parametrize(
    ("who", "status", "seen"),
    [
        ("authorize", Status.DENIED, 1),
        ("validate", Status.INVALID, 2),
        ("key", Status.INVALID, 3),
        ("policy", Status.DENIED, 6),
        ("context", Status.DENIED, 7),
        ("consistency", Status.DENIED, 8),
        ("predict", Status.DENIED, 9),
    ],
)
def test_a_refusal_is_the_last_thing_seen(scene: Scene, who: str, status: Status, seen: int) -> None:
    REFUSES.add(who)
    assert scene.run().status is status
    # Whoever refuses after the limits looks at the key once more: a twin may have finished meanwhile.
    again = ["claims.peek"] if seen >= 6 else []
    assert [*FULL[:seen], *again, "events.append"] == LOG
    assert len(scene.storage.inner.idempotency) == 0


def test_denied_and_invalid_cost_no_limit(scene: Scene) -> None:
    for who in ("authorize", "validate", "key"):
        REFUSES.add(who)
        for _ in range(5):
            scene.run()
        REFUSES.clear()
    assert "limits.reserve" not in LOG
    assert [scene.run(f"B{n}").status for n in range(3)] == [Status.SUCCEEDED, Status.SUCCEEDED, Status.THROTTLED]


def test_a_replay_costs_nothing(scene: Scene) -> None:
    scene.run()
    LOG.clear()
    for _ in range(10):
        assert scene.run().replayed
    assert not {"limits.reserve", "limits.refund", "policy", "predict", "claims.claim", "handler"} & set(LOG)
    assert [scene.run(f"B{n}").status for n in range(2)] == [Status.SUCCEEDED, Status.THROTTLED]


def test_a_conflict_costs_nothing_and_is_decided_before_in_flight(scene: Scene) -> None:
    scene.run()
    for _ in range(5):
        assert scene.run(actor="u2").status is Status.CONFLICT
    assert [scene.run(f"B{n}", actor="u2").status for n in range(3)] == [
        Status.SUCCEEDED,
        Status.SUCCEEDED,
        Status.THROTTLED,
    ]


@pytest.mark.parametrize("who", ["policy", "context", "consistency", "predict"])
def test_a_later_denial_keeps_its_charge(scene: Scene, who: str) -> None:
    REFUSES.add(who)
    assert [scene.run(f"A{n}").status for n in range(3)] == [Status.DENIED, Status.DENIED, Status.THROTTLED]


def test_an_open_breaker_refunds(scene: Scene) -> None:
    REFUSES.add("handler")
    scene.run("B1")
    REFUSES.clear()
    for n in range(5):
        assert scene.run(f"A{n}").status is Status.UNAVAILABLE
    LOG.clear()
    scene.clock.advance(31.0)
    assert scene.run("A1").ok  # five refusals in the same minute had cost the second of two calls


def test_an_open_breaker_is_seen_before_a_claim_is_written(scene: Scene) -> None:
    REFUSES.add("handler")
    scene.run("B1")
    LOG.clear()
    scene.run("A1")
    assert "claims.claim" not in LOG
    assert "limits.refund" in LOG


def test_pending_asks_after_every_automatic_refusal_and_before_the_claim(scene: Scene) -> None:
    REFUSES.add("confirm")
    asked = scene.run()
    assert asked.status is Status.PENDING
    assert [*FULL[:9], "approvals.open", "claims.peek", "events.append"] == LOG


def test_an_answer_is_checked_again_charges_nothing_and_keeps_the_key(scene: Scene) -> None:
    REFUSES.add("confirm")
    asked = scene.run()
    LOG.clear()
    assert asked.confirmation is not None
    done = scene.guard.confirm(asked.confirmation.token, context=ctx())
    assert done.ok
    seen = [name for name in LOG if not name.startswith("limits.")]
    assert seen == [
        "approvals.by_token",
        "authorize",
        "validate",
        "claims.peek",
        "policy",
        "context",
        "consistency",
        "predict",
        "approvals.decide",
        "approvals.spend",
        "claims.claim",
        "handler",
        "claims.finish",
    ]
    assert scene.run().replayed
    REFUSES.clear()
    assert [scene.run(f"B{n}").status for n in range(2)] == [Status.SUCCEEDED, Status.THROTTLED]


@pytest.mark.parametrize("who", ["authorize", "policy", "context", "predict"])
def test_state_moves_while_people_think(scene: Scene, who: str) -> None:
    REFUSES.add("confirm")
    asked = scene.run()
    REFUSES.add(who)
    assert asked.confirmation is not None
    refused = scene.guard.confirm(asked.confirmation.token, context=ctx())
    assert refused.status is Status.DENIED
    assert "handler" not in LOG
    assert "approvals.spend" not in LOG
    REFUSES.discard(who)
    assert scene.guard.confirm(asked.confirmation.token, context=ctx()).ok  # the answer was not used up


@pytest.mark.parametrize("who", ["policy", "context", "consistency", "predict", "confirm"])
def test_a_refusal_that_crosses_a_finished_twin_becomes_its_replay(scene: Scene, who: str) -> None:
    """The twin finishes while this call is at work between its peek and its refusal."""
    twin: list[Outcome] = []

    def meanwhile(invocation: Any) -> None:
        if not twin:
            twin.append(Outcome(Status.SUCCEEDED))  # only once
            REFUSES.clear()
            twin[0] = scene.run()
            REFUSES.add(who)

    scene.guard.check("orders.ship", stage="context")(lambda invocation: None)
    scene.storage.limits.port.reserve = _before(scene.storage.limits.port.reserve, lambda: meanwhile(None))
    outcome = scene.run()
    assert twin[0].value == "shipped"
    assert (outcome.value, outcome.replayed) == ("shipped", True)
    REFUSES.clear()
    # Only the twin was charged.
    assert [scene.run(f"B{n}").status for n in range(2)] == [Status.SUCCEEDED, Status.THROTTLED]


def _before(function: Any, act: Any) -> Any:
    def wrapped(*args: Any) -> Any:
        act()
        return function(*args)

    return wrapped


def test_a_throttled_call_that_crosses_a_finished_twin_becomes_its_replay(scene: Scene) -> None:
    """The twin, and another call, take the last room while this one is between its peek and the limits."""
    done: list[Outcome] = []

    def meanwhile() -> None:
        if not done:
            done.append(Outcome(Status.SUCCEEDED))
            done[:] = [scene.run("A1"), scene.run("B1")]

    scene.storage.limits.port.reserve = _before(scene.storage.limits.port.reserve, meanwhile)
    outcome = scene.run("A1")
    assert [one.status for one in done] == [Status.SUCCEEDED, Status.SUCCEEDED]
    assert (outcome.value, outcome.replayed) == ("shipped", True)


def test_a_twin_that_loses_the_claim_is_refunded(scene: Scene) -> None:
    done: list[Outcome] = []

    def meanwhile(invocation: Any) -> None:
        if not done:
            done.append(Outcome(Status.SUCCEEDED))
            done[:] = [scene.run("A1")]

    scene.guard.check("orders.ship", stage="predict")(meanwhile)
    LOG.clear()
    loser = scene.run("A1")
    assert (loser.value, loser.replayed) == ("shipped", True)
    assert LOG.count("handler") == 1
    assert [scene.run(f"B{n}").status for n in range(2)] == [Status.SUCCEEDED, Status.THROTTLED]


def test_every_place_in_the_order_gives_a_reason(scene: Scene) -> None:
    assert all(place.reason for place in ORDER)
    names = [stage["stage"] for stage in scene.guard.describe()["commands"]["orders.ship"]["stages"]]
    order = [place.stage for place in ORDER]
    assert names == sorted(names, key=order.index)
    assert names[:5] == ["record", "edge", "authorize", "validate", "peek"]
