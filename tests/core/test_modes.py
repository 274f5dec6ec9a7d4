"""enforce, shadow and off for each stage: a shadow's verdict is recorded, nothing is consumed, and the call goes on."""

from __future__ import annotations

from typing import Any

import pytest

from botguard import Ask, Check, ConfigurationError, Principal, Reason, Rule, Status
from core.support import Boom, Desk, ctx, reasons

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


def refusing(stage: str, mode: str, async_: bool = False) -> Desk:
    """A desk whose stage says no to everything, in a mode."""
    modes = {stage: mode}
    policies = [Rule(deny="closed")] if stage == "policy" else None
    desk = Desk(async_=async_, policies=policies)
    if stage in ("context", "consistency", "predict"):
        return desk.command(modes=modes, checks=[Check(lambda call: "no", stage)])
    if stage == "limit":
        desk.command(modes=modes, limits=["1/hour per user"])
        desk.run("B1")
        return desk
    if stage == "confirm":
        return desk.command(modes=modes, risk="high")
    return desk.command(modes=modes)


STAGES = {
    "limit": (Status.THROTTLED, "limit=rate_limited"),
    "policy": (Status.DENIED, "policy=policy_denied"),
    "context": (Status.DENIED, "context=context_refused"),
    "consistency": (Status.DENIED, "consistency=consistency_refused"),
    "predict": (Status.DENIED, "predict=prediction_refused"),
    "confirm": (Status.PENDING, "confirm=confirmation_required"),
}


@ASYNC
@pytest.mark.parametrize("stage", list(STAGES))
def test_enforce_refuses(stage: str, async_: bool) -> None:
    desk = refusing(stage, "enforce", async_)
    outcome = desk.run()
    assert outcome.status is STAGES[stage][0]
    assert "A1" not in desk.effects
    assert desk.last().shadow == ""


@ASYNC
@pytest.mark.parametrize("stage", list(STAGES))
def test_shadow_goes_on_and_is_in_the_event(stage: str, async_: bool) -> None:
    desk = refusing(stage, "shadow", async_)
    outcome = desk.run()
    if stage == "limit":  # in shadow nothing was counted, so nothing is full
        assert outcome.ok
        return
    assert (outcome.value, reasons(outcome)) == ("created A1", [])
    assert desk.last().shadow == STAGES[stage][1]
    assert desk.last().status == "succeeded"


@ASYNC
@pytest.mark.parametrize("stage", list(STAGES))
def test_off_does_not_ask(stage: str, async_: bool) -> None:
    desk = refusing(stage, "off", async_)
    outcome = desk.run()
    assert (outcome.value, desk.last().shadow) == ("created A1", "")
    names = [one["stage"] for one in desk.guard.describe()["commands"]["orders.create"]["stages"]]
    assert stage not in names


def test_a_shadow_limit_counts_nothing_and_says_what_it_would_have_said() -> None:
    """Its counters are those of the enforced limit of another command that shares the declaration's text? No: its own,
    which stay empty; so the verdict comes from a cap that something else holds."""
    from botguard.adapters.memory import MemoryStorage
    from botguard.limiter import LocalLimiter
    from botguard.ports.limits import Reservation
    from botguard.testing import FakeClock

    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    asked: list[str] = []

    class Full(LocalLimiter):
        def test(self, limits: Any, buckets: Any) -> Reservation:
            asked.append("test")
            return Reservation(False, limits[0], 9.0)

        def reserve(self, limits: Any, buckets: Any, token: str) -> Reservation:
            raise AssertionError("a shadow consumes nothing")

    storage.limits = Full(clock)  # type: ignore[assignment]
    desk = Desk(storage=storage, clock=clock).command(modes={"limit": "shadow"}, limits=["1/hour per user"])
    assert desk.run().ok
    assert asked == ["test"]
    assert desk.last().shadow == "limit=rate_limited"


def test_a_shadow_confirmation_asks_nobody_and_stores_nothing() -> None:
    desk = refusing("confirm", "shadow")
    opened: list[Any] = []
    desk.storage.approvals.open = lambda *args: opened.append(args)
    assert desk.run().ok
    assert opened == []


def test_what_a_shadow_rule_would_have_asked_is_recorded_and_not_asked() -> None:
    for policies, checks, stage in (
        ([Rule(confirm="Sure?")], [], "policy"),
        (None, [Check(lambda call: Ask("Sure?"), "predict")], "predict"),
    ):
        desk = Desk(policies=policies).command(modes={stage: "shadow"}, checks=checks)
        outcome = desk.run()
        assert outcome.ok
        assert desk.last().shadow.startswith(f"{stage}="), "the verdict of a shadow stage is recorded"


def test_several_shadows_are_all_recorded() -> None:
    desk = Desk(policies=[Rule(deny="no")]).command(
        modes={"policy": "shadow", "context": "shadow"}, checks=[Check(lambda call: "no", "context")]
    )
    desk.run()
    assert desk.last().shadow == "policy=policy_denied,context=context_refused"


def test_a_shadow_check_that_breaks_stops_nothing() -> None:
    def breaks(call: Any) -> None:
        raise Boom

    desk = Desk().command(modes={"context": "shadow"}, checks=[breaks])
    assert desk.run().ok
    assert desk.last().shadow == "context=check_error"


def test_an_enforced_stage_after_a_shadow_still_holds() -> None:
    desk = Desk(policies=[Rule(deny="no")]).command(modes={"policy": "shadow"}, checks=[lambda call: "closed"])
    outcome = desk.run()
    assert (outcome.status, reasons(outcome)) == (Status.DENIED, ["context_refused"])
    assert desk.last().shadow == "policy=policy_denied"


# ── authorize: enforce or shadow ────────────────────────────────────────────────────────────────────────────


def test_authorize_can_be_shadowed() -> None:
    desk = Desk().command(modes={"authorize": "shadow"})
    outcome = desk.run(roles=("audit",))
    assert outcome.ok
    assert desk.last().shadow == "authorize=missing_permission"


def test_strangers_of_a_shadowed_authorize_do_not_see_each_others_results() -> None:
    """The directory knows neither of them; they are still two people."""
    desk = Desk(directory=lambda org, actor: None).command(modes={"authorize": "shadow"})
    assert desk.run(actor="u1").ok
    other = desk.run(actor="u2")
    assert other.status is Status.CONFLICT
    assert other.value is None


def test_a_shadowed_authorize_without_actor_goes_on() -> None:
    desk = Desk().command(modes={"authorize": "shadow"})
    assert desk.run(actor=None).ok
    assert desk.last().shadow == "authorize=no_actor"


def test_a_shadowed_authorize_keeps_the_person_that_the_directory_knows() -> None:
    desk = Desk(directory=lambda org, actor: Principal(f"person-{actor}")).command(modes={"authorize": "shadow"})
    assert desk.run(actor="u1").ok
    assert desk.last().person == "person-u1"
    assert desk.run(actor="u2").status is Status.CONFLICT


@pytest.mark.parametrize(
    "modes",
    [
        {"authorize": "off"},
        {"claim": "shadow"},
        {"validate": "shadow"},
        {"peek": "off"},
        {"record": "off"},
        {"edge": "off"},
        {"nothing": "shadow"},
        {"policy": "warn"},
    ],
)
def test_what_cannot_be_softened_is_refused(modes: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="BG10[89]"):
        Desk().command(modes=modes)


def test_shadow_denials_cost_no_edge_budget() -> None:
    desk = Desk(refusals_per_minute=3).command(modes={"authorize": "shadow"})
    assert [desk.run(f"A{n}", roles=()).ok for n in range(10)] == [True] * 10


def test_shadow_reasons_do_not_leak_to_the_caller() -> None:
    desk = Desk(policies=[Rule(deny="no", message="Not allowed")]).command(modes={"policy": "shadow"})
    outcome = desk.run(context=ctx())
    assert outcome.details == ()
    assert Reason.POLICY_DENIED not in outcome.reasons
