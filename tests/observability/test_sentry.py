"""Sentry: one transaction a run, one report of what is swallowed, and nothing where the host does not use it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk

from botguard import Check, Guard, Rejected, Retry, Rule, Status
from botguard.adapters.memory import MemoryStorage
from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.observability.tracing import OPERATION
from botguard.pipeline.call import Call
from core.support import Boom, Desk, Order, ctx, on_loop, together
from observability.sentry_outbox import Outbox, listening

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])
STREAMED = pytest.mark.skipif(not hasattr(sentry_sdk, "traces"), reason="this SDK has no streamed spans")


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    with listening() as outbox:
        yield outbox


class OutOfStock(Exception):
    """A host's own refusal."""


# ── where Sentry is not used ────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_imports_the_sdk_for_the_host() -> None:
    script = """
        import asyncio, sys
        from botguard import ALLOW_ALL, Actor, Context, Guard
        from botguard.adapters.memory import MemoryStorage

        guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL)

        @guard.command("a.sync", effects="idempotent")
        def sync(payload: dict) -> int:
            return 1 // payload["by"]

        @guard.command("a.async", effects="idempotent")
        async def coroutine(payload: dict) -> int:
            return 1 // payload["by"]

        context = Context(org="acme", actor=Actor("ann"))
        for by in (1, 0):
            guard.run("a.sync", {"by": by}, context=context)
            asyncio.run(guard.run_async("a.async", {"by": by}, context=context))
        assert "sentry_sdk" not in sys.modules and "prometheus_client" not in sys.modules
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], check=True, timeout=60)


@ASYNC
@pytest.mark.parametrize("state", ["imported", "without a DSN", "closed"])
def test_a_sentry_that_does_not_listen_is_not_asked_to_do_anything(state: str, async_: bool) -> None:
    desk = Desk(async_=async_).command(effects="idempotent").fails(Boom())
    with sentry_sdk.isolation_scope():
        try:
            if state == "without a DSN":
                sentry_sdk.init(default_integrations=False, auto_enabling_integrations=False)
            elif state == "closed":
                with listening() as outbox:
                    sentry_sdk.get_client().close()
                    assert desk.run().sentry_event_id == ""
                assert outbox.items == []
            plan = desk.guard._plan(desk.name)
            core: Any = plan.entry(Call(plan, {}, ctx(), None, None, 0.0, plan.storage))
            assert core.__qualname__ == "Record.around"  # the pipeline itself, with nothing around it
            core.close()
            assert desk.run().sentry_event_id == ""
        finally:
            sentry_sdk.Scope.get_global_scope().set_client(None)


# ── transactions ────────────────────────────────────────────────────────────────────────────────────────────────────


@ASYNC
def test_a_run_is_one_transaction(async_: bool, outbox: Outbox) -> None:
    desk = Desk(async_=async_).command(module="orders", bot_class=None, flag="new-orders")
    outcome = desk.run(channel="telegram")
    (sent,) = outbox.transactions
    assert (sent["transaction"], sent["transaction_info"]["source"]) == ("orders.create", "task")
    assert (sent["contexts"]["trace"]["op"], sent["contexts"]["trace"]["status"]) == ("bot.command", "ok")
    tags = dict(sent["tags"])
    assert {name: tags[name] for name in ("command", "module", "flag", "channel", "status")} == {
        "command": "orders.create",
        "module": "orders",
        "flag": "new-orders",
        "channel": "telegram",
        "status": "succeeded",
    }
    assert str(tags["attempts"]) == "1"
    assert sent["contexts"]["bot.command"] == {"event_id": outcome.event_id, "reasons": []}
    assert outbox.errors == []
    assert outcome.sentry_event_id == ""


@ASYNC
def test_a_direct_call_is_one_transaction_too(async_: bool, outbox: Outbox) -> None:
    Desk(async_=async_).command().call()
    assert [sent["transaction"] for sent in outbox.transactions] == ["orders.create"]


def test_a_sync_handler_in_a_thread_is_one_transaction_too(outbox: Outbox) -> None:
    desk = Desk().command()
    outcome = asyncio.run(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
    assert outcome.ok
    assert [sent["transaction"] for sent in outbox.transactions] == ["orders.create"]


def test_names_that_no_command_has_share_one(outbox: Outbox) -> None:
    desk = Desk().command()
    for n in range(3):
        desk.guard.run(f"guess.{n}", {}, context=ctx())
    assert {sent["transaction"] for sent in outbox.transactions} == {"unknown-command"}


def test_a_no_is_a_run_like_any_other(outbox: Outbox) -> None:
    desk = Desk().command(risk="high")
    asked = desk.run()
    assert asked.confirmation is not None
    desk.guard.decline(asked.confirmation.token, context=ctx())
    assert [dict(sent["tags"])["status"] for sent in outbox.transactions] == ["pending", "denied"]


SPAN_STATUS = {
    "succeeded": "ok",
    "invalid": "invalid_argument",
    "denied": "permission_denied",
    "pending": "ok",
    "throttled": "resource_exhausted",
    "unavailable": "unavailable",
    "in_flight": "aborted",
    "conflict": "already_exists",
    "failed": "internal_error",
    "rejected": "failed_precondition",
    "deadline": "deadline_exceeded",
    "unknown": "unknown_error",
}


@pytest.mark.parametrize("end", list(SPAN_STATUS))
def test_the_status_is_told_in_sentrys_words(end: str, outbox: Outbox) -> None:
    desk = Desk(async_=True).command(
        limits=["1/hour per user"] if end == "throttled" else [],
        risk="high" if end == "pending" else "low",
        deadline=1.0 if end == "deadline" else 60.0,
    )
    match end:
        case "failed":
            desk.fails(Boom())
        case "rejected":
            desk.fails(Rejected("out of stock"))
        case "deadline":
            desk.then = lambda order: asyncio.sleep(5)
        case "unknown":
            desk.fails(Boom()).run()
        case "throttled" | "conflict":
            desk.run("A2" if end == "throttled" else "A1")
        case "unavailable":
            desk.storage.idempotency.claim = desk.storage.idempotency.peek = _down
        case "in_flight":
            desk.then = lambda order: desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx())
    payload = {"invalid": {}, "conflict": {"order_id": "A1", "amount": 7}}.get(end, "A1")
    desk.run(payload, roles=() if end == "denied" else ("sales",))
    statuses = [sent["contexts"]["trace"]["status"] for sent in outbox.transactions]
    spans = [span["tags"]["status"] for sent in outbox.transactions for span in sent["spans"]]
    assert SPAN_STATUS[end] in (spans if end == "in_flight" else statuses[-1:])


def _down(*_: Any) -> Any:
    raise StoreUnavailable("down")


def test_no_payload_no_key_no_name_of_org_or_actor_is_sent(outbox: Outbox) -> None:
    desk = Desk().command(effects="idempotent", retry=Retry(attempts=2, on=Boom, wait=lambda state: 0.0))
    desk.fails(Boom("told by the handler"))
    context = ctx("secret-actor", "secret-org", person="secret-person", address="secret-address", delivery="secret-d")
    desk.run({"order_id": "secret-order", "amount": 77777}, context)
    assert len(outbox.errors) == len(outbox.transactions) == 1
    for word in ("secret", "77777", desk.last().key):
        assert word not in repr(outbox.items)
    assert "told by the handler" in repr(outbox.errors)


def test_the_runs_of_one_org_belong_together(outbox: Outbox) -> None:
    desk = Desk().command()
    for org in ("acme", "acme", "beta"):
        desk.run(f"A-{org}", org=org)
    first, second, third = [dict(sent["tags"])["org"] for sent in outbox.transactions]
    assert first == second != third
    other = Desk(storage=MemoryStorage()).command()
    other.run(org="acme")
    assert dict(outbox.transactions[-1]["tags"])["org"] != first  # it cannot be guessed without the storage's key


@ASYNC
def test_inside_a_web_request_a_run_is_a_span(async_: bool, outbox: Outbox) -> None:
    desk = Desk(async_=async_).command(module="orders")
    desk.then = lambda order: sentry_sdk.set_tag("noted", "by the handler")
    with sentry_sdk.start_transaction(op="http.server", name="/orders"):
        desk.run()
        desk.run("A2")
    (sent,) = outbox.transactions
    assert sent["transaction"] == "/orders"
    assert [(span["op"], span["description"]) for span in sent["spans"]] == [(OPERATION, "orders.create")] * 2
    data = sent["spans"][0]["data"]
    assert (data["module"], data["status"], data["attempts"]) == ("orders", "succeeded", 1)
    assert "command" not in dict(sent["tags"])  # the run's tags are not the request's
    if not async_:  # an event loop of the test's own has a context of its own
        assert dict(sent["tags"])["noted"] == "by the handler"


def test_a_run_inside_a_run_is_a_span_of_it(outbox: Outbox) -> None:
    desk = Desk().command()
    inner = desk.guard.command("orders.check", effects="read")(lambda payload: 1)
    desk.then = lambda order: inner({})
    assert desk.run().ok
    (sent,) = outbox.transactions
    assert [span["description"] for span in sent["spans"]] == ["orders.check"]


def test_each_run_of_a_polling_bot_has_a_trace_of_its_own(outbox: Outbox) -> None:
    desk = Desk().command()
    desk.run("A1")
    desk.run("A2")
    assert len({sent["contexts"]["trace"]["trace_id"] for sent in outbox.transactions}) == 2


# ── what is reported ────────────────────────────────────────────────────────────────────────────────────────────────


@ASYNC
def test_what_the_guard_swallows_is_reported_once(async_: bool, outbox: Outbox) -> None:
    desk = Desk(async_=async_).command(module="orders").fails(Boom("broken"))
    outcome = desk.run(channel="telegram")
    (event,) = outbox.errors
    assert outcome.sentry_event_id == event["event_id"] != ""
    assert event["exception"]["values"][-1]["type"] == "Boom"
    assert event["transaction"] == "orders.create"
    tags = event["tags"] if isinstance(event["tags"], dict) else dict(event["tags"])
    assert (tags["command"], tags["channel"], tags["status"]) == ("orders.create", "telegram", "failed")
    assert event["contexts"]["bot.command"]["event_id"] == outcome.event_id == desk.last().id
    assert event["contexts"]["trace"]["trace_id"] == outbox.transactions[0]["contexts"]["trace"]["trace_id"]


@ASYNC
def test_only_the_last_attempt_is_reported(async_: bool, outbox: Outbox) -> None:
    desk = Desk(async_=async_).command(effects="idempotent", retry=Retry(on=Boom, attempts=3, wait=lambda state: 1.0))
    attempts = iter(range(1, 10))

    def then(order: Any) -> None:
        raise Boom(f"attempt {next(attempts)}")

    desk.then = then
    assert desk.run().attempts == 3
    assert [event["exception"]["values"][-1]["value"] for event in outbox.errors] == ["attempt 3"]
    desk.then = lambda order: next(attempts) > 4 or desk.fails(Boom()).then(order)
    desk.run("A2")
    assert len(outbox.errors) == 2


@ASYNC
def test_a_direct_call_leaves_its_exception_to_the_host(async_: bool, outbox: Outbox) -> None:
    desk = Desk(async_=async_).command().fails(Boom())
    with pytest.raises(Boom) as raised:
        desk.call()
    assert outbox.errors == []
    sentry_sdk.capture_exception(raised.value)  # as a web framework does
    assert len(outbox.errors) == 1


@pytest.mark.parametrize("effects", ["external", "idempotent", "read"])
@pytest.mark.parametrize("error", [Rejected("out of stock"), OutOfStock()])
def test_a_business_refusal_is_never_reported(error: Exception, effects: str, outbox: Outbox) -> None:
    key = {} if effects == "read" else {"key": "{order_id}"}
    desk = Desk().command(effects=effects, final=OutOfStock, **({"key": None} | key)).fails(error)
    assert desk.run().status is desk.run().status is Status.FAILED
    assert outbox.errors == []


def test_a_stop_by_the_guard_is_reported_though_time_outs_are_final(outbox: Outbox) -> None:
    desk = Desk(async_=True).command(final=TimeoutError, timeout=1.0)
    desk.then = lambda order: asyncio.sleep(5)
    assert desk.run().status is Status.FAILED
    assert [event["exception"]["values"][-1]["type"] for event in outbox.errors] == ["DeadlineExceeded"]


def test_refusals_are_no_errors(outbox: Outbox) -> None:
    desk = Desk(policies=[Rule(when=lambda call: call.payload.amount > 5, deny="large")]).command(
        limits=["3/hour per user"]
    )
    desk.run({"order_id": "A1", "amount": "many"})
    desk.run(roles=())
    desk.run({"order_id": "A2", "amount": 9})
    for n in range(4):
        desk.run(f"B{n}")
    desk.run({"order_id": "B1", "amount": 2})
    desk.guard.run("guess", {}, context=ctx())
    assert {"invalid", "denied", "throttled"} <= {dict(sent["tags"])["status"] for sent in outbox.transactions}
    assert outbox.errors == []


def test_a_check_that_broke_is_a_denial_for_the_caller_and_a_report_for_the_host(outbox: Outbox) -> None:
    def breaks(call: Any) -> None:
        raise Boom("a bug in the check")

    outcome = Desk().command(checks=[Check(breaks)]).run()
    assert outcome.status is Status.DENIED
    assert [event["event_id"] for event in outbox.errors] == [outcome.sentry_event_id]


def test_a_store_that_is_down_is_reported(outbox: Outbox) -> None:
    desk = Desk().command()
    desk.storage.idempotency.claim = desk.storage.idempotency.peek = _down
    outcome = desk.run()
    assert (outcome.status, len(outbox.errors)) == (Status.UNAVAILABLE, 1)
    assert outcome.sentry_event_id == outbox.errors[0]["event_id"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_that_passes_two_guarded_calls_is_reported_once(wrapped: bool, outbox: Outbox) -> None:
    desk = Desk().command()

    @desk.guard.command("orders.inner", key="{order_id}", permission="orders.create")
    def inner(payload: Order) -> None:
        raise Boom("inner")

    def then(order: Any) -> None:
        try:
            desk.guard.run("orders.inner", {"order_id": "A1"}).unwrap()
        except Boom as error:
            if wrapped:
                raise RuntimeError("outer") from error
            raise

    desk.then = then
    outcome = desk.run()
    assert outcome.status is Status.FAILED
    assert [event["event_id"] for event in outbox.errors] == [outcome.sentry_event_id]


def test_an_error_of_its_own_after_an_inner_one_is_reported_too(outbox: Outbox) -> None:
    desk = Desk().command()

    @desk.guard.command("orders.inner", key="{order_id}", permission="orders.create")
    def inner(payload: Order) -> None:
        raise Boom("inner")

    def then(order: Any) -> None:
        assert desk.guard.run("orders.inner", {"order_id": "A1"}).sentry_event_id
        raise RuntimeError("outer")

    desk.then = then
    outcome = desk.run()
    assert [event["exception"]["values"][-1]["type"] for event in outbox.errors] == ["Boom", "RuntimeError"]
    assert outcome.sentry_event_id == outbox.errors[1]["event_id"]


def test_a_replayed_failure_is_not_reported_again(outbox: Outbox) -> None:
    desk = Desk().command(final=OutOfStock).fails(OutOfStock())
    first, second = desk.run(), desk.run()
    assert (first.replayed, second.replayed) == (False, True)
    assert outbox.errors == []


def test_an_interrupted_run_is_closed_and_not_reported(outbox: Outbox) -> None:
    desk = Desk(async_=True).command()

    async def main() -> None:
        begun = asyncio.Event()

        async def hang() -> None:
            begun.set()
            await asyncio.sleep(1000)

        desk.then = lambda order: hang()
        task = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sentry_sdk.get_current_span() is None

    on_loop(desk.clock, main())
    (sent,) = outbox.transactions
    assert (sent["contexts"]["trace"]["status"], dict(sent["tags"])["status"]) == ("cancelled", "unknown")
    assert outbox.errors == []


def test_a_wiring_error_goes_on_to_the_host(outbox: Outbox) -> None:
    desk = Desk().command(checks=[lambda call: 5])
    with pytest.raises(ConfigurationError, match="BG116"):
        desk.run()
    assert [sent["contexts"]["trace"]["status"] for sent in outbox.transactions] == ["internal_error"]
    assert outbox.errors == []


# ── apart from each other, and harmless ─────────────────────────────────────────────────────────────────────────────


def test_tasks_do_not_see_each_others_tags(outbox: Outbox) -> None:
    desk = Desk(async_=True).command()

    async def main() -> list[Any]:
        arrived: list[str] = []
        together = asyncio.Event()

        async def then(order: Any) -> None:
            sentry_sdk.set_tag("who", order.order_id)
            sentry_sdk.add_breadcrumb(message=order.order_id)
            arrived.append(order.order_id)
            if len(arrived) == 5:
                together.set()
            await together.wait()
            raise Boom(order.order_id)

        desk.then = then
        runs = [desk.guard.run_async(desk.name, {"order_id": f"A{n}"}, context=ctx()) for n in range(5)]
        return list(await asyncio.gather(*runs))

    outcomes = on_loop(desk.clock, main())
    assert len({outcome.sentry_event_id for outcome in outcomes}) == 5
    _each_its_own(outbox)


def test_threads_and_runs_one_after_another_do_not_see_each_others_tags(outbox: Outbox) -> None:
    desk = Desk().command()

    def then(order: Any) -> None:
        sentry_sdk.set_tag("who", order.order_id)
        sentry_sdk.add_breadcrumb(message=order.order_id)
        raise Boom(order.order_id)

    desk.then = then
    sentry_sdk.add_breadcrumb(message="long before")
    together(*[lambda n=n: [desk.run(f"A{n}-{m}") for m in range(3)] for n in range(4)])  # type: ignore[misc]
    desk.run("B1")
    assert len(outbox.errors) == 13
    _each_its_own(outbox)
    assert "who" not in sentry_sdk.Scope.get_isolation_scope()._tags


def _each_its_own(outbox: Outbox) -> None:
    for event in outbox.errors:
        (who,) = [value["value"] for value in event["exception"]["values"][-1:]]
        assert dict(event["tags"])["who"] == who
        assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == [who]


@ASYNC
@pytest.mark.parametrize("broken", ["traces_sampler", "before_send", "transport", "set_status", "capture_exception"])
def test_a_broken_sentry_breaks_no_call(broken: str, async_: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    with listening(**({broken: breaks} if broken in ("traces_sampler", "before_send") else {})) as outbox:
        if broken == "transport":
            outbox.capture_envelope = breaks  # type: ignore[method-assign]
        elif broken == "set_status":  # as it would be if the SDK changed its interface
            monkeypatch.setattr(sentry_sdk.tracing.Span, "set_status", breaks)
        elif broken == "capture_exception":
            monkeypatch.setattr(sentry_sdk, "capture_exception", breaks)
        scope = sentry_sdk.Scope.get_isolation_scope()
        desk = Desk(async_=async_).command(effects="idempotent")
        assert desk.run().value == "created A1"
        desk.fails(Boom())
        outcome = desk.run("A2")
        assert (outcome.status, type(outcome.error)) == (Status.FAILED, Boom)
        assert sentry_sdk.get_current_span() is None
        assert sentry_sdk.Scope.get_isolation_scope() is scope
    assert len(desk.events()) == 2


def test_errors_only_without_tracing() -> None:
    with listening(traces_sample_rate=None) as outbox:
        outcome = Desk().command().fails(Boom()).run()
    assert (outbox.transactions, [event["event_id"] for event in outbox.errors]) == ([], [outcome.sentry_event_id])
    assert outbox.errors[0]["transaction"] == "orders.create"


# ── streamed spans ──────────────────────────────────────────────────────────────────────────────────────────────────


@STREAMED
@ASYNC
def test_streamed_spans_tell_the_same(async_: bool) -> None:
    with listening(trace_lifecycle="stream") as outbox:
        sentry_sdk.get_traceparent()  # from here on there is a trace in this thread, as in any that lives long
        desk = Desk(async_=async_).command(module="orders")
        desk.run()
        outcome = desk.fails(Boom()).run("A2")
        good, bad = outbox.streamed
        assert outbox.transactions == []
    assert (good["name"], good["is_segment"], good["status"], bad["status"]) == ("orders.create", True, "ok", "error")
    assert good["attributes"]["sentry.op"]["value"] == OPERATION
    assert {name: bad["attributes"][name]["value"] for name in ("command", "module", "status", "attempts")} == {
        "command": "orders.create",
        "module": "orders",
        "status": "failed",
        "attempts": 1,
    }
    assert good["trace_id"] != bad["trace_id"]
    assert [event["event_id"] for event in outbox.errors] == [outcome.sentry_event_id]


@STREAMED
def test_inside_a_streamed_request_a_run_is_a_child() -> None:
    with listening(trace_lifecycle="stream") as outbox:
        with sentry_sdk.traces.start_span(name="/orders"):
            Desk().command().run()
        run, request = outbox.streamed
    assert (run["name"], request["name"]) == ("orders.create", "/orders")
    assert (run["parent_span_id"], run["trace_id"]) == (request["span_id"], request["trace_id"])


def test_the_outbox_hears() -> None:
    """A positive control: the same outbox hears the host's own errors."""
    with listening() as outbox:
        sentry_sdk.capture_exception(Boom())
    assert len(outbox.errors) == 1
    assert isinstance(Desk().guard, Guard)
