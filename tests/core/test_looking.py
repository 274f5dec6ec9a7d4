"""explain, describe and purge: looking and tidying, without a trace in what callers get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from botguard import Ask, Breaker, Check, ConfigurationError, Retry, Rule, Status
from core.support import Boom, Desk, Order, ctx, on_loop

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


def explain(desk: Desk, order: Any = "A1", **fields: Any) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    payload = {"order_id": order} if isinstance(order, str) else order
    verdicts = (
        on_loop(desk.clock, desk.guard.explain_async(desk.name, payload, context=ctx(**fields)))
        if desk.async_
        else desk.guard.explain(desk.name, payload, context=ctx(**fields))
    )
    return {verdict.stage: (verdict.status, verdict.reasons) for verdict in verdicts}


@ASYNC
def test_explain_tells_every_stage(async_: bool) -> None:
    desk = Desk(async_=async_, policies=[Rule(deny="closed")], breakers={"erp": Breaker()}).command(
        checks=[lambda call: "no_stock"], limits=["1/minute per user"], breaker="erp", risk="high", effects="idempotent"
    )
    said = explain(desk, roles=("audit",))
    assert said["authorize"] == ("denied", ("missing_permission",))
    assert said["policy"] == ("denied", ("policy_denied",))
    assert said["context"] == ("denied", ("context_refused",))
    assert said["confirm"] == ("pending", ("confirmation_required",))
    assert said["limit"] == said["peek"] == said["validate"] == (None, ())


@ASYNC
def test_explain_consumes_nothing(async_: bool) -> None:
    desk = Desk(async_=async_, breakers={"erp": Breaker(fail_max=1, reset_after=30.0)}, refusals_per_minute=2).command(
        limits=["1/minute per user", "1 concurrent per org"], breaker="erp", risk="high", effects="idempotent"
    )
    before = repr(desk.guard.metrics.totals())
    for n in range(20):
        explain(desk, f"A{n}")
        explain(desk, "A1", roles=("audit",))  # nor the budget of refusals
        explain(desk, {"order_id": 5})
    assert desk.effects == []
    assert desk.events() == []
    assert desk.rows() == 0
    assert repr(desk.guard.metrics.totals()) == before
    asked = desk.run("B1")
    assert asked.status is Status.PENDING  # limits, caps, budget and requests are untouched
    assert desk.fails(Boom()).confirm(asked).status is Status.FAILED
    desk.clock.advance(60.0)
    for _ in range(5):
        explain(desk)
    assert desk.guard.describe()["breakers"]["erp"] == "open"  # no probe was taken
    assert desk.works().confirm(asked).ok


@ASYNC
def test_explain_shows_what_stands_in_the_way(async_: bool) -> None:
    desk = Desk(async_=async_, breakers={"erp": Breaker(fail_max=1)}, refusals_per_minute=1).command(
        limits=["3/hour per user"], breaker="erp"
    )
    desk.run("A1")
    assert explain(desk, "A1")["peek"][0] == "succeeded"
    assert explain(desk, "A1", actor="u2")["peek"] == ("conflict", ("key_reused",))
    desk.run("B1")
    desk.fails(Boom()).run("C1")
    said = explain(desk, "D1")
    assert said["limit"] == ("throttled", ("rate_limited",))
    assert said["breaker"] == said["claim"] == ("unavailable", ("breaker_open",))
    desk.run(actor="g", roles=())
    assert explain(desk, actor="g", roles=()) == {
        "record": (None, ()),
        "edge": ("throttled", ("too_many_refusals",)),
    } or explain(desk, actor="g", roles=())["edge"] == ("throttled", ("too_many_refusals",))


def test_explain_stops_at_a_payload_that_cannot_be_read() -> None:
    desk = Desk().command(checks=[lambda call: call.payload.order_id and None])
    said = explain(desk, {"order_id": 5})
    assert said["validate"][0] == "invalid"
    assert "context" not in said


def test_explain_knows_modes() -> None:
    desk = Desk(policies=[Rule(deny="closed")]).command(modes={"policy": "shadow"})
    verdicts = {v.stage: v for v in desk.guard.explain(desk.name, {"order_id": "A1"}, context=ctx())}
    assert (verdicts["policy"].status, verdicts["policy"].mode, verdicts["policy"].passes) == ("denied", "shadow", True)
    assert verdicts["authorize"].passes
    assert verdicts["policy"].why_here


def test_explain_does_not_ask_what_a_shadow_would_have_asked() -> None:
    desk = Desk().command(checks=[Check(lambda call: Ask("Sure?"), "predict")], modes={"predict": "shadow"})
    assert explain(desk)["confirm"] == (None, ())
    assert desk.run().ok


def test_explain_runs_no_handler_and_no_reconciler() -> None:
    asked: list[str] = []
    desk = Desk().command(reconcile=asked.append)
    desk.fails(Boom()).run()
    explain(desk.works())
    assert (desk.effects, asked) == (["A1"], [])


def test_describe_is_plain_data_in_order() -> None:
    desk = Desk(breakers={"erp": Breaker()}, policies=[Rule(confirm="Sure?")]).command(
        effects="idempotent",
        retry=Retry(on=Boom, attempts=4),
        breaker="erp",
        limits=["5/minute per user"],
        deadline=20.0,
    )

    @desk.guard.command("orders.show", effects="read")
    def show(order: Order) -> str:
        return "shown"

    told = desk.guard.describe()
    assert json.loads(json.dumps(told)) == told
    create, shown = told["commands"]["orders.create"], told["commands"]["orders.show"]
    assert "core" in create["handler"] or "support" in create["handler"]
    assert create["colour"] == "sync"
    assert {"effects", "retry", "breaker", "limits", "deadline", "key"} == set(create["declared"])
    stages = [stage["stage"] for stage in create["stages"]]
    assert stages == [
        "record", "edge", "authorize", "validate", "peek", "limit", "look again", "policy", "confirm", "claim", "complete",
        "retry", "breaker",
    ]  # fmt: skip
    assert not {"claim", "complete", "peek", "limit"} & {stage["stage"] for stage in shown["stages"]}
    options = {stage["stage"]: stage["options"] for stage in create["stages"]}
    assert options["retry"]["attempts"] == 4
    assert options["claim"] == {"effects": "idempotent", "lease": 50.0, "must_audit": False}
    assert options["limit"]["limits"] == ["5/minute per user (sliding-window-counter)"]


def test_describe_and_explain_leave_no_trace() -> None:
    desk = Desk().command()
    desk.guard.describe()
    explain(desk)
    assert desk.events() == []


def test_explain_of_an_unknown_command_is_a_denial() -> None:
    desk = Desk().command()
    verdicts = desk.guard.explain("orders.nothing", {}, context=ctx())
    assert isinstance(verdicts, list)


def test_explain_of_async_inside_a_loop_says_what_to_call() -> None:
    desk = Desk(async_=True).command()

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="explain_async"):
            desk.guard.explain(desk.name, {"order_id": "A1"}, context=ctx())

    on_loop(desk.clock, main())


def test_purge_deletes_what_is_over_and_nothing_else() -> None:
    desk = Desk().command(keep=100.0, risk="high", confirm_within=50.0)
    for n in range(25):
        desk.confirm(desk.run(f"A{n}"))
    desk.fails(Boom()).confirm(desk.run("unknown"))
    pending = desk.run("pending")
    desk.clock.advance(99.0)
    assert desk.guard.purge() == 0
    desk.clock.advance(1.0)
    assert desk.guard.purge(batch=10) == 25
    assert desk.rows() == 1  # the unknown one
    desk.clock.advance(86400.0)
    assert desk.guard.purge(batch=10) == 27  # requests that have been over for a day
    assert desk.rows() == 1
    assert desk.confirm(pending).status is Status.DENIED


def test_purge_on_an_async_storage_says_what_to_do() -> None:
    desk = Desk().command()

    async def purge(limit: int) -> int:
        return 0

    desk.storage.idempotency.purge = purge
    with pytest.raises(ConfigurationError, match="BG165"):
        desk.guard.purge()
