"""Every refusal, charge, replay and retry has its line in the report: each one is driven."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from pathlib import Path
from typing import Any

import pytest

from adoption.support import NAME, Approve, Office, answer, bind, ctx
from botguard import (
    Actor,
    Ask,
    Breaker,
    Check,
    Context,
    Principal,
    Reason,
    Rejected,
    Retry,
    Rule,
    StoreUnavailable,
    current,
)
from botguard.adapters.sqlite import SqliteStorage
from core.support import on_loop

PASSED = ("passed", "")


def refuse_stage(stage: str) -> dict[str, Any]:
    return {"checks": [Check(lambda call: "no", stage)]}


def person(org: str, actor: str) -> Principal | None:
    known = {"u1": Principal("u1", {"sales"}), "gone": Principal("gone", {"sales"}, active=False)}
    return known.get(actor)


def broken(*_: Any) -> Any:
    raise StoreUnavailable("the directory is down")


def nonsense(_: Any) -> Any:
    raise ZeroDivisionError


#: What is wrong with the first call: options, the guard's own, the ctx, and what the report says.
FIRST_CALL: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], tuple[str, str]]] = {
    "invalid": ({}, {}, {"entity_id": "many"}, ("invalid", "invalid_payload")),
    "too large": ({"request": None}, {}, {"entity_id": [0] * 10_001}, ("invalid", "payload_too_large")),
    "key missing": ({"key": lambda p: p.nothing}, {}, {}, ("invalid", "key_missing")),
    "no actor": ({"bind": lambda c: ({"order_id": 1}, Context(org="a", actor=None))}, {}, {}, ("denied", "no_actor")),
    "no context": ({"bind": lambda c: ({"order_id": 1}, None)}, {}, {}, ("denied", "no_context")),
    "not found": ({}, {"directory": person}, {"user": "stranger"}, ("denied", "not_found")),
    "inactive": ({}, {"directory": person}, {"user": "gone"}, ("denied", "actor_inactive")),
    "permission": ({}, {}, {"roles": ("guest",)}, ("denied", "missing_permission")),
    "channel": ({"channels": ["web"]}, {}, {}, ("denied", "wrong_channel")),
    "bot class": (
        {"bot_class": "sales", "bind": lambda c: ({"order_id": 1}, Context(org="a", actor=Actor("u", ("sales",)), bot_class="hr"))},
        {}, {}, ("denied", "wrong_bot_class"),
    ),
    "policy": ({}, {"policies": [Rule(deny="closed")]}, {}, ("denied", "policy_denied")),
    "visibility": (refuse_stage("visibility"), {}, {}, ("denied", "not_visible")),
    "context": (refuse_stage("context"), {}, {}, ("denied", "context_refused")),
    "consistency": (refuse_stage("consistency"), {}, {}, ("denied", "consistency_refused")),
    "predict": (refuse_stage("predict"), {}, {}, ("denied", "prediction_refused")),
    "check error": ({"checks": [nonsense]}, {}, {}, ("denied", "check_error")),
    "risk": ({"risk": "high"}, {}, {}, ("pending", "confirmation_required")),
    "rule asks": ({}, {"policies": [Rule(confirm="Really?")]}, {}, ("pending", "confirmation_required")),
    "check asks": ({"checks": [lambda call: Ask("Really?")]}, {}, {}, ("pending", "confirmation_required")),
    "directory down": ({}, {"directory": broken}, {}, ("unavailable", "store_unavailable")),
}  # fmt: skip


@pytest.mark.parametrize("case", FIRST_CALL)
def test_a_refusal_is_reported_and_not_made(case: str) -> None:
    options, guard, said, line = FIRST_CALL[case]
    office = Office(guard=guard, **options)
    given = ctx(**said)
    assert office.handler(given) is given
    assert dict(office.seen()) == {line: 1}
    assert (office.report.calls, office.report.refused) == (1, 1)


def test_throttled_names_the_limit_that_is_full_and_charged_those_that_count() -> None:
    office = Office(limits=["2/minute per user", "100/hour per org"])
    charged = {("charged", "2/minute per user"), ("charged", "100/hour per org")}
    assert office.says(1) == {PASSED, *charged}
    assert office.says(2) == {PASSED, *charged}
    assert office.says(3) == {("throttled", "rate_limited"), ("full", "2/minute per user")}
    assert office.says(3, user="u2") == {PASSED, *charged}
    office.clock.advance(120)
    assert office.says(4) == {PASSED, *charged}


def test_a_cap_is_held_while_the_handler_runs_and_charged_to_nobody() -> None:
    office = Office(limits=["1 concurrent per user"])
    inner: list[Any] = []

    def nested(ctx: dict[str, Any]) -> dict[str, Any]:
        inner.append(office.says(2))
        return ctx

    assert office.says(1, then=nested) == {
        PASSED,
        ("throttled", "concurrency_limited"),
        ("full", "1 concurrent per user"),
    }
    assert inner == [{("throttled", "concurrency_limited"), ("full", "1 concurrent per user")}]
    assert office.says(3) == {PASSED}


def test_refusals_in_a_row_are_cut_off_at_the_edge() -> None:
    office = Office(guard={"refusals_per_minute": 2})
    assert office.says(roles=("guest",)) == {("denied", "missing_permission")}
    office.call(roles=("guest",))
    assert office.says(roles=("guest",)) == {("throttled", "too_many_refusals")}


def test_a_duplicate_would_be_replayed_and_not_charged() -> None:
    office = Office(limits=["5/minute per user"])
    assert office.says(1) == {PASSED, ("charged", "5/minute per user")}
    assert office.says(1) == {("replayed", "")}
    assert office.report.count(NAME, "charged") == 1


def test_a_delivery_without_another_key_is_recognised() -> None:
    def delivered(ctx: dict[str, Any]) -> Any:
        return {"order_id": 1}, Context(org="acme", actor=Actor("u1", ("sales",)), delivery=ctx["update"])

    office = Office(key=None, bind=delivered)
    assert office.says(update="7") == {PASSED}
    assert office.says(update="8") == {PASSED}
    assert office.says(update="7") == {("replayed", "")}


@pytest.mark.parametrize("other", [{"user": "u2"}, {"amount": 2}], ids=["person", "payload"])
def test_a_key_that_is_reused_would_be_a_conflict(other: dict[str, Any]) -> None:
    office = Office()
    office.call(1)
    assert office.says(1, **other) == {("conflict", "key_reused")}


def test_the_same_key_inside_itself_is_in_flight() -> None:
    office = Office()
    inner: list[Any] = []

    def again(ctx: dict[str, Any]) -> dict[str, Any]:
        inner.append(office.says(1))
        return ctx

    office.call(1, then=again)
    assert inner == [{("in_flight", "running")}]


@pytest.mark.parametrize("in_flight", ["reject", "wait", "join"])
def test_a_twin_in_another_thread_is_in_flight_and_nobody_waits_for_it(in_flight: str) -> None:
    office = Office(in_flight=in_flight, wait=600)
    entered, leave = threading.Event(), threading.Event()

    def slow(ctx: dict[str, Any]) -> dict[str, Any]:
        entered.set()
        assert leave.wait(30)
        return ctx

    first = threading.Thread(target=office.call, args=(1,), kwargs={"then": slow})
    first.start()
    assert entered.wait(30)
    assert office.says(1) == {("in_flight", "running")}
    leave.set()
    first.join(30)
    assert office.says(1) == {("replayed", "")}


def test_an_error_of_unknown_effect_would_park_the_key() -> None:
    office = Office()
    assert office.says(1, then=ValueError()) == {PASSED, ("parked", "ValueError")}
    assert office.says(1) == {("unknown", "effect_unknown")}


def test_a_business_refusal_would_be_stored_and_replayed() -> None:
    office = Office()
    assert office.says(1, then=Rejected("Out of stock.")) == {PASSED}
    assert office.says(1) == {("replayed", "")}


def test_an_error_before_the_effect_gives_the_key_back() -> None:
    office = Office()
    assert office.says(1, then=ConnectionRefusedError()) == {PASSED}
    assert office.says(1) == {PASSED}


RETRIES = {
    "retryable": (Retry(on=(TimeoutError,)), {}, TimeoutError(), True),
    "another error": (Retry(on=(TimeoutError,)), {}, ValueError(), False),
    "one attempt": (Retry(on=(TimeoutError,), attempts=1), {}, TimeoutError(), False),
    "stopped": (Retry(on=(TimeoutError,), stop=lambda state: True), {}, TimeoutError(), False),
    "no time left": (Retry(on=(TimeoutError,), wait=lambda state: 11.0), {"deadline": 10}, TimeoutError(), False),
    "broken schedule": (Retry(on=(TimeoutError,), wait=lambda state: 1 / 0), {}, TimeoutError(), False),
    "final": (Retry(on=(TimeoutError,)), {"final": [TimeoutError]}, TimeoutError(), False),
}


@pytest.mark.parametrize("case", RETRIES)
def test_a_retry_is_reported_and_not_made(case: str) -> None:
    retry, options, error, retried = RETRIES[case]
    office = Office(effects="idempotent", retry=retry, **options)
    calls: list[Any] = []

    def fails(ctx: dict[str, Any]) -> Any:
        calls.append(ctx)
        raise error

    said = office.says(1, then=fails)
    assert said == {PASSED, ("retried", "TimeoutError")} if retried else said == {PASSED}
    assert len(calls) == 1
    assert office.clock.naps == []
    assert not hasattr(error, "__notes__")


def test_an_open_breaker_would_refuse_until_it_is_probed() -> None:
    office = Office(
        guard={"breakers": {"erp": Breaker(fail_max=2, reset_after=30)}}, breaker="erp", effects="idempotent"
    )
    for n in (1, 2):
        assert office.says(n, then=OSError()) == {PASSED}
    assert office.says(3) == {("unavailable", "breaker_open")}
    office.clock.advance(31)
    assert office.says(4) == {PASSED}
    assert office.says(5) == {PASSED}


def test_a_request_that_waits_is_shown_again_and_charged_once() -> None:
    office = Office(risk="high", limits=["5/minute per user"], confirm_within=60)
    assert office.says(1) == {("pending", "confirmation_required"), ("charged", "5/minute per user")}
    assert office.says(1) == {("pending", "confirmation_required")}
    office.clock.advance(61)
    assert office.says(1) == {("pending", "confirmation_required"), ("charged", "5/minute per user")}


def test_an_async_handler_that_takes_too_long_would_be_stopped() -> None:
    async def slow(ctx: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(ctx["takes"])
        return ctx

    office = Office(handler=slow, timeout=5, effects="idempotent")

    async def main() -> None:
        for n, takes in enumerate((4, 6)):
            given = ctx(n, takes=takes)
            assert await office.handler(given) is given

    on_loop(office.clock, main())
    assert dict(office.seen()) == {PASSED: 2, ("stopped", "deadline_exceeded"): 1}


def test_an_interrupted_handler_is_reported() -> None:
    office = Office()
    with pytest.raises(KeyboardInterrupt):
        office.handler(ctx(then=KeyboardInterrupt()))
    assert dict(office.seen()) == {PASSED: 1, ("interrupted", "KeyboardInterrupt"): 1}
    assert office.says(1) == {("unknown", "effect_unknown")}


def test_a_stage_in_shadow_mode_is_reported_by_its_name_and_refuses_nothing() -> None:
    office = Office(guard={"policies": [Rule(deny="closed")]}, modes={"policy": "shadow"})
    assert office.says(1) == {PASSED, ("policy", "policy_denied")}
    assert office.says(1) == {("replayed", "")}


def test_a_nested_call_finds_the_context_of_the_call_around_it() -> None:
    office = Office()
    outer = office.handler
    seen: list[Any] = []

    def inside(payload: dict[str, Any]) -> None:
        seen.append(payload)

    inner = office.guard.shadow({"orders.note": inside})["orders.note"]
    outer(ctx(1, then=lambda c: inner({"n": 1})))
    inner({"n": 2})
    rows = [(row.kind, row.reason) for row in office.report.rows if row.command == "orders.note"]
    assert rows == [("passed", ""), ("denied", "no_context")]
    assert seen == [{"n": 1}, {"n": 2}]


def test_an_enforced_command_inside_is_enforced_as_ever() -> None:
    office = Office()
    effects: list[Any] = []

    @office.guard.command("stock.take", key="{n}")
    def take(payload: dict[str, Any]) -> str:
        effects.append(current().key)
        return "taken"

    with office.guard.acting(Context(org="acme", actor=Actor("u1", roles=("sales",)))):
        for n in (1, 2):
            assert office.handler(ctx(n, then=lambda c: take({"n": 1}))) == "taken"
    assert len(effects) == 1


def test_a_command_in_shadow_inside_an_enforced_one_has_its_context() -> None:
    office = Office(bind=lambda c: ({"order_id": 1}, None))

    @office.guard.command("day.close")
    def close(payload: dict[str, Any]) -> Any:
        return office.says(1)

    done = office.guard.run("day.close", {}, context=Context(org="acme", actor=Actor("u1", roles=("sales",))))
    assert done.value == {PASSED}


def test_an_external_effect_inside_an_open_transaction_would_be_refused(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "bot.db")
    office = Office(storage=storage, effects="external", bind=lambda c: ({"order_id": 1}, None))

    @office.guard.command("day.close", effects="transactional")
    def close(payload: dict[str, Any]) -> Any:
        return sorted(office.says(1))

    done = office.guard.run("day.close", {}, context=Context(org="acme", actor=Actor("u1", roles=("sales",))))
    assert done.value == [("unavailable", "host_transaction_open")]
    storage.close()


def test_a_check_that_is_added_later_counts() -> None:
    office = Office()
    assert office.says(1) == {PASSED}
    office.guard.check("orders.*")(lambda call: "closed")
    assert office.says(2) == {("denied", "context_refused")}


def test_every_reason_of_a_refusal_was_driven_here() -> None:
    """What is missing belongs to answers, and nobody is asked anything in shadow."""
    driven = {line[1] for *_, line in FIRST_CALL.values()}
    driven |= {
        "rate_limited",
        "concurrency_limited",
        "too_many_refusals",
        "running",
        "key_reused",
        "effect_unknown",
        "breaker_open",
        "host_transaction_open",
    }
    elsewhere = {"confirmation_declined", "confirmation_expired", "confirmation_invalid"}
    order = list(Reason)
    refusals = {str(reason) for reason in order[: order.index(Reason.HANDLER_ERROR)]} | {"effect_unknown"}
    assert refusals - elsewhere == driven


def test_a_key_lives_as_long_as_the_command_says() -> None:
    office = Office(keep=60)
    office.call(1)
    office.clock.advance(61)
    assert office.says(1) == {PASSED}
    assert dt.timedelta(seconds=61) == office.report.rows[0].last - office.report.rows[0].first


def test_two_orgs_are_apart() -> None:
    office = Office()
    office.call(1)
    assert office.says(1, org="other") == {PASSED}


def test_the_model_may_come_from_the_annotation_and_the_context_from_a_block() -> None:
    office = Office()

    def pay(order: Approve) -> int:
        return order.order_id

    pay_now = office.guard.shadow({"orders.pay": pay})["orders.pay"]
    with office.guard.acting(bind(ctx())[1]):
        assert pay_now(Approve(order_id=3)) == 3
        with pytest.raises(AttributeError):
            pay_now(order={"order_id": "x"})
    assert office.report.count("orders.pay", "passed") == 1
    assert office.report.count("orders.pay", "invalid", "invalid_payload") == 1
    assert answer is office.legacy[NAME]
