"""Section 1: every status with its exception on a direct call and the state that it leaves the key in."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import botguard
from botguard import Breaker, Check, Context, Outcome, Principal, Reason, Rejected, Rule, Status
from botguard.errors import StoreUnavailable
from botguard.ports.idempotency import RowState
from core.support import Boom, Desk, Order, ctx, on_loop, reasons, together


class Scene(NamedTuple):
    """A desk, and the call that ends in a status."""

    desk: Desk
    order: Any = "A1"
    context: Context | None = None


ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


def ran(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command())


def replayed(async_: bool) -> Scene:
    desk = Desk(async_=async_).command()
    assert desk.run().ok
    return Scene(desk)


def bad_payload(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(key=lambda order: None))


def wrong_field(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(), order={"order_id": "A1", "amount": "many"})


def not_allowed(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(), context=ctx(roles=("audit",)))


def no_actor(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(), context=ctx(None))


def against_policy(async_: bool) -> Scene:
    return Scene(Desk(async_=async_, policies=[Rule(deny="too_late")]).command())


def out_of_context(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(checks=[lambda call: "order_closed"]))


def inconsistent(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(checks=[Check(lambda call: "no_such_sku", "consistency")]))


def unwise(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(checks=[Check(lambda call: "sold_out_soon", "predict")]))


def to_confirm(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(risk="high"))


def too_often(async_: bool) -> Scene:
    desk = Desk(async_=async_).command(limits=["1/minute per user"])
    assert desk.run("B1").ok
    return Scene(desk)


def dependency_down(async_: bool) -> Scene:
    desk = Desk(async_=async_, breakers={"erp": Breaker(fail_max=1)}).command(breaker="erp", effects="idempotent")
    assert desk.fails(Boom()).run("B1").status is Status.FAILED
    return Scene(desk.works())


def store_down(async_: bool) -> Scene:
    desk = Desk(async_=async_).command()

    def claim(*args: Any) -> Any:
        raise StoreUnavailable("the store is down")

    desk.storage.idempotency.claim = claim
    return Scene(desk)


def other_payload(async_: bool) -> Scene:
    desk = Desk(async_=async_).command()
    assert desk.run().ok
    return Scene(desk, order={"order_id": "A1", "amount": 2})


def other_person(async_: bool) -> Scene:
    desk = Desk(async_=async_).command()
    assert desk.run().ok
    return Scene(desk, context=ctx("u2"))


def raised(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command(effects="idempotent").fails(Boom("no")))


def rejected(async_: bool) -> Scene:
    return Scene(Desk(async_=async_).command().fails(Rejected("sold out", "sold_out")))


def known_unknown(async_: bool) -> Scene:
    desk = Desk(async_=async_).command()
    assert desk.fails(Boom("lost")).run().status is Status.FAILED
    return Scene(desk.works())


ABSENT, DONE, FAILED, PARKED = None, RowState.DONE, RowState.FAILED, RowState.UNKNOWN

TABLE: list[tuple[Callable[[bool], Scene], Status, type[BaseException] | None, RowState | None, Reason | None]] = [
    (ran, Status.SUCCEEDED, None, DONE, None),
    (replayed, Status.SUCCEEDED, None, DONE, None),
    (bad_payload, Status.INVALID, botguard.InvalidPayload, ABSENT, Reason.KEY_MISSING),
    (wrong_field, Status.INVALID, botguard.InvalidPayload, ABSENT, Reason.INVALID_PAYLOAD),
    (not_allowed, Status.DENIED, botguard.Denied, ABSENT, Reason.MISSING_PERMISSION),
    (no_actor, Status.DENIED, botguard.Denied, ABSENT, Reason.NO_ACTOR),
    (against_policy, Status.DENIED, botguard.Denied, ABSENT, Reason.POLICY_DENIED),
    (out_of_context, Status.DENIED, botguard.Denied, ABSENT, Reason.CONTEXT_REFUSED),
    (inconsistent, Status.DENIED, botguard.Denied, ABSENT, Reason.CONSISTENCY_REFUSED),
    (unwise, Status.DENIED, botguard.Denied, ABSENT, Reason.PREDICTION_REFUSED),
    (to_confirm, Status.PENDING, botguard.Pending, ABSENT, Reason.CONFIRMATION_REQUIRED),
    (too_often, Status.THROTTLED, botguard.RateLimited, ABSENT, Reason.RATE_LIMITED),
    (dependency_down, Status.UNAVAILABLE, botguard.Unavailable, ABSENT, Reason.BREAKER_OPEN),
    (store_down, Status.UNAVAILABLE, botguard.Unavailable, ABSENT, Reason.STORE_UNAVAILABLE),
    (other_payload, Status.CONFLICT, botguard.KeyReused, DONE, Reason.KEY_REUSED),
    (other_person, Status.CONFLICT, botguard.KeyReused, DONE, Reason.KEY_REUSED),
    (raised, Status.FAILED, Boom, ABSENT, Reason.HANDLER_ERROR),
    (rejected, Status.FAILED, Rejected, FAILED, Reason.REJECTED),
    (known_unknown, Status.UNKNOWN, botguard.OutcomeUnknown, PARKED, Reason.EFFECT_UNKNOWN),
]
BY_NAME = [pytest.param(*row, id=row[0].__name__) for row in TABLE]


@ASYNC
@pytest.mark.parametrize(("scene", "status", "exception", "key", "reason"), BY_NAME)
def test_at_the_edge(async_: bool, scene: Any, status: Status, exception: Any, key: Any, reason: Any) -> None:
    desk, order, context = scene(async_)
    before = list(desk.effects)
    outcome = desk.run(order, context)
    assert outcome.status is status
    assert reason is None or outcome.reasons[0] is reason
    row = desk.row()
    assert (row.state if row is not None else None) is key
    assert outcome.command == "orders.create"
    assert outcome.event_id == desk.last().id
    assert desk.last().status == status
    assert (outcome.value is not None) == (status is Status.SUCCEEDED)
    if status not in (Status.SUCCEEDED, Status.FAILED):
        assert desk.effects == before
        assert outcome.attempts == 0


@ASYNC
@pytest.mark.parametrize(("scene", "status", "exception", "key", "reason"), BY_NAME)
def test_on_a_direct_call(async_: bool, scene: Any, status: Status, exception: Any, key: Any, reason: Any) -> None:
    desk, order, context = scene(async_)
    if not isinstance(order, str):
        return  # a direct call with another payload is the same call
    if exception is None:
        assert desk.call(order, context) == "created A1"
    else:
        with pytest.raises(exception) as caught:
            desk.call(order, context)
        assert type(caught.value) is exception
        if isinstance(caught.value, botguard.OutcomeError):
            assert caught.value.outcome.status is status
    row = desk.row()
    assert (row.state if row is not None else None) is key


@ASYNC
@pytest.mark.parametrize(("scene", "status", "exception", "key", "reason"), BY_NAME)
def test_in_words(async_: bool, scene: Any, status: Status, exception: Any, key: Any, reason: Any) -> None:
    desk, order, context = scene(async_)
    outcome = desk.run(order, context)
    said = outcome.message()
    assert said
    jargon = "pydantic|idempoten|fingerprint|claim|lease|breaker|traceback|boom|none|botguard|handler|validator"
    assert re.search(rf"\b({jargon})", said, re.IGNORECASE) is None
    problem = outcome.problem()
    assert problem["outcome"] == status
    assert isinstance(problem["status"], int)
    if reason is Reason.KEY_REUSED:  # nothing about the stored outcome or its owner
        assert "A1" not in str(problem)
        assert outcome.details == ()
        assert outcome.value is None


def test_the_table_has_every_status() -> None:
    told = {row[1] for row in TABLE} | {Status.IN_FLIGHT, Status.CANCELLED}  # these two are below
    assert told == set(Status)


def test_in_flight_sync() -> None:
    desk = Desk().command()
    inside, go_on = threading.Event(), threading.Event()

    def then(order: Order) -> str:
        inside.set()
        assert go_on.wait(30)
        return "first"

    def second() -> Outcome:
        assert inside.wait(30)
        outcome = desk.run()
        with pytest.raises(botguard.AlreadyInProgress) as caught:
            desk.call()
        assert caught.value.retry_after is not None
        go_on.set()
        return outcome

    desk.then = then
    first, refused = together(desk.run, second)
    assert first.value == "first"
    assert refused.status is Status.IN_FLIGHT
    assert reasons(refused) == ["running"]
    assert refused.retry_after is not None
    assert 0 < refused.retry_after <= 1.0
    assert desk.effects == ["A1"]
    assert desk.run().replayed


def test_in_flight_async() -> None:
    desk = Desk(async_=True).command()

    async def main() -> list[Outcome]:
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> str:
            inside.set()
            await go_on.wait()
            return "first"

        desk.then = lambda order: wait()
        first = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
        await inside.wait()
        second = await desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx())
        go_on.set()
        return [await first, second]

    first, second = on_loop(desk.clock, main())
    assert (first.value, second.status) == ("first", Status.IN_FLIGHT)
    assert desk.effects == ["A1"]


def test_cancelled_before_the_handler_passes_through_and_releases() -> None:
    desk = Desk(async_=True, directory=lambda org, actor: wait_for_ever()).command()

    async def wait_for_ever() -> Any:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    on_loop(desk.clock, main())
    assert desk.rows() == 0
    assert (desk.last().status, desk.last().reasons) == ("cancelled", "cancelled")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_interruptions_pass_through_and_leave_one_event(error: type[BaseException]) -> None:
    desk = Desk().command().fails(error())
    with pytest.raises(error):
        desk.run()
    # The effect may have begun: nobody can know.
    row = desk.row()
    assert row is not None
    assert row.state is RowState.UNKNOWN
    assert [event.status for event in desk.events()] == ["unknown"]


@pytest.mark.parametrize(
    "error", [StopIteration("s"), StopAsyncIteration("a"), RuntimeError("generator raised StopIteration")]
)
@ASYNC
def test_odd_errors_pass_unchanged(error: Exception, async_: bool) -> None:
    if async_ and isinstance(error, StopIteration):
        pytest.skip("Python itself turns StopIteration in a coroutine into RuntimeError")
    desk = Desk(async_=async_).command(effects="idempotent").fails(error)
    with pytest.raises(type(error)) as caught:
        desk.call()
    assert caught.value is error


def test_without_context_a_direct_call_is_denied_and_told_so() -> None:
    desk = Desk().command()
    with pytest.raises(botguard.Denied) as caught:
        desk.handler(Order(order_id="A1"))
    assert reasons(caught.value.outcome) == ["no_context"]
    assert isinstance(caught.value.__cause__, botguard.ConfigurationError)
    assert caught.value.__cause__.code == "BG173"
    assert desk.effects == []


def test_unknown_command_is_a_denial() -> None:
    desk = Desk().command()
    outcome = desk.guard.run("orders.delete_everything", {}, context=ctx())
    assert (outcome.status, reasons(outcome)) == (Status.DENIED, ["not_found"])
    assert desk.last().command == "unknown-command"  # a caller's text is no label


def test_a_missing_directory_entry_reads_as_not_found() -> None:
    desk = Desk(directory=lambda org, actor: None).command()
    outcome = desk.run()
    assert (outcome.status, reasons(outcome), outcome.problem()["status"]) == (Status.DENIED, ["not_found"], 404)


def test_a_principal_of_another_org_reads_as_not_found() -> None:
    desk = Desk(directory=lambda org, actor: Principal(actor, frozenset({"sales"}), org="beta")).command()
    assert reasons(desk.run()) == ["not_found"]
    assert desk.run(org="beta").ok


@pytest.mark.parametrize(
    ("declared", "fields", "reason"),
    [
        ({"bot_class": "sales"}, {"bot_class": "support"}, "wrong_bot_class"),
        ({"bot_class": "sales"}, {"bot_class": "sales"}, None),
        ({"bot_class": "sales"}, {}, None),
        ({"channels": ["web", "slack"]}, {"channel": "telegram"}, "wrong_channel"),
        ({"channels": ["web", "slack"]}, {"channel": "slack"}, None),
        ({"permission": "orders.show"}, {"roles": ("audit",)}, None),
        ({"permission": "orders.cancel"}, {"roles": ("audit",)}, "missing_permission"),
        ({"permission": "ordersx.show"}, {"roles": ("sales",)}, "missing_permission"),
        ({"public": True}, {"roles": ()}, None),
    ],
)
def test_who_may_call_from_where(declared: Any, fields: Any, reason: str | None) -> None:
    outcome = Desk().command(**declared).run(**fields)
    assert (outcome.ok, reasons(outcome)) == ((True, []) if reason is None else (False, [reason]))
