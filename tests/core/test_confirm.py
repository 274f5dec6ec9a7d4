"""Section 6 for one slot: asked once per intent, bound to exactly what was shown, used for one key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from botguard import ALLOW_ALL, Ask, Breaker, Check, Guard, Outcome, Principal, Rejected, Rule, Status
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.ports.idempotency import RowState
from botguard.testing import FakeClock
from core.support import Boom, Desk, ctx, reasons, statuses, together

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


def high(async_: bool = False, guard: dict[str, Any] | None = None, **options: Any) -> Desk:
    return Desk(async_=async_, **(guard or {})).command(risk="high", **options)


def token(outcome: Outcome) -> str:
    assert outcome.confirmation is not None, outcome
    return outcome.confirmation.token


@ASYNC
def test_asked_then_done(async_: bool) -> None:
    desk = high(async_)
    asked = desk.run()
    assert (asked.status, desk.effects, desk.rows()) == (Status.PENDING, [], 0)
    request = asked.confirmation
    assert request is not None
    assert request.command == "orders.create"
    assert request.expires_at == dt.datetime.fromtimestamp(desk.clock.time() + 900.0, dt.UTC)
    assert asked.message() == request.text
    done = desk.confirm(asked)
    assert (done.value, desk.effects) == ("created A1", ["A1"])
    row = desk.row()
    assert row is not None
    assert row.state is RowState.DONE


@ASYNC
def test_a_delivery_again_shows_the_same_request(async_: bool) -> None:
    desk = high(async_)
    first = desk.run()
    desk.clock.advance(10.0)
    again = desk.run()
    assert again.confirmation == first.confirmation
    assert desk.confirm(again).ok
    assert desk.run().replayed


def test_after_the_answer_the_original_call_is_a_replay() -> None:
    desk = high()
    asked = desk.run()
    desk.confirm(asked)
    again = desk.run()
    assert (again.value, again.replayed) == ("created A1", True)


@ASYNC
def test_a_second_press_is_a_replay(async_: bool) -> None:
    desk = high(async_)
    asked = desk.run()
    desk.confirm(asked)
    again = desk.confirm(asked)
    assert (again.value, again.replayed, desk.effects) == ("created A1", True, ["A1"])


def test_sixteen_presses_at_once_run_once() -> None:
    desk = high(in_flight="reject")
    asked = desk.run()
    outcomes = together(*[lambda: desk.confirm(asked)] * 16)
    assert desk.effects == ["A1"]
    assert {outcome.status for outcome in outcomes} <= {Status.SUCCEEDED, Status.IN_FLIGHT}
    assert sum(outcome.ok and not outcome.replayed for outcome in outcomes) == 1


@ASYNC
def test_a_wrong_persons_press_changes_nothing(async_: bool) -> None:
    desk = high(async_)
    asked = desk.run()
    for other in (ctx("u2"), ctx("u1", "beta"), ctx(None), ctx("u1", roles=("audit",))):
        refused = desk.confirm(asked, other)
        assert refused.status is Status.DENIED
        assert refused.value is None
    assert desk.effects == []
    assert desk.run().confirmation == asked.confirmation
    assert desk.confirm(asked).ok


def test_another_account_of_the_same_person_may_answer() -> None:
    desk = high()
    asked = desk.run(actor="phone", person="maria")
    assert desk.confirm(asked, ctx("laptop", person="maria", channel="slack")).ok


def test_a_wrong_persons_decline_changes_nothing() -> None:
    desk = high()
    asked = desk.run()
    for other in (ctx("u2"), ctx("u1", "beta"), ctx(None)):
        assert desk.guard.decline(token(asked), context=other).status is Status.DENIED
    assert desk.confirm(asked).ok


def test_an_unknown_token_is_a_denial() -> None:
    desk = high()
    assert desk.guard.confirm("guessed", context=ctx()).status is Status.DENIED
    assert desk.guard.decline("guessed", context=ctx()).status is Status.DENIED


@pytest.mark.parametrize("odd", ["", "\ud800", "a\x00b", "x" * 100_000, None, 5])
def test_an_odd_token_is_a_denial(odd: Any, tmp_path: Path) -> None:
    clock = FakeClock()
    with SqliteStorage(tmp_path / "odd.db", clock=clock, synchronous="NORMAL") as storage:
        desk = Desk(storage=storage, clock=clock).command(risk="high")
        desk.run()
        assert desk.guard.confirm(odd, context=ctx()).status is Status.DENIED
        assert desk.guard.decline(odd, context=ctx()).status is Status.DENIED


def test_guessing_tokens_is_cut_off() -> None:
    desk = high(guard={"refusals_per_minute": 5})
    answers = [desk.guard.confirm(f"guess-{n}", context=ctx("stranger")).status for n in range(7)]
    assert answers == [Status.DENIED] * 5 + [Status.THROTTLED] * 2


def test_tokens_are_unguessable_and_differ() -> None:
    desk = high()
    tokens = {token(desk.run(f"A{n}")) for n in range(50)}
    assert len(tokens) == 50
    assert all(len(one) >= 22 for one in tokens)  # 128 bits in base 64


def test_a_changed_payload_is_a_new_request() -> None:
    desk = high()
    small = desk.run({"order_id": "A1", "amount": 1})
    large = desk.run({"order_id": "A1", "amount": 1000})
    assert token(small) != token(large)
    assert "1000" in large.message()
    assert desk.confirm(large).ok
    assert desk.confirm(small).status is Status.CONFLICT  # the key was used for the other payload
    assert desk.effects == ["A1"]


def test_a_payload_given_with_the_answer_must_be_the_one_that_was_shown() -> None:
    desk = high()
    asked = desk.run({"order_id": "A1", "amount": 1})
    swapped = desk.confirm(asked, payload={"order_id": "A1", "amount": 1000})
    assert (swapped.status, reasons(swapped)) == (Status.DENIED, ["confirmation_invalid"])
    assert desk.effects == []
    assert desk.confirm(asked, payload={"order_id": "A1", "amount": 1}).ok


def test_another_order_is_another_request() -> None:
    desk = high()
    assert token(desk.run("A1")) != token(desk.run("B1"))


def test_deliveries_of_two_buttons_are_two_requests() -> None:
    desk = high(key=None)
    assert token(desk.run(delivery="1:yes")) != token(desk.run(delivery="1:no"))
    assert token(desk.run(delivery="1:yes")) == token(desk.run(delivery="1:yes"))


@ASYNC
def test_an_answer_that_comes_too_late(async_: bool) -> None:
    desk = high(async_, confirm_within=60.0)
    asked = desk.run()
    desk.clock.advance(60.0)
    late = desk.confirm(asked)
    assert (late.status, reasons(late)) == (Status.DENIED, ["confirmation_expired"])
    assert desk.effects == []
    anew = desk.run()
    assert anew.status is Status.PENDING
    assert token(anew) != token(asked)
    assert desk.confirm(asked).status is Status.DENIED  # the old button does not press the new request
    assert desk.confirm(anew).ok


def test_just_in_time() -> None:
    desk = high(confirm_within=60.0)
    asked = desk.run()
    desk.clock.advance(59.999)
    assert desk.confirm(asked).ok


def test_declined() -> None:
    desk = high(confirm_within=60.0)
    asked = desk.run()
    declined = desk.guard.decline(token(asked), context=ctx())
    assert (declined.status, reasons(declined)) == (Status.DENIED, ["confirmation_declined"])
    assert declined.message()
    for outcome in (desk.confirm(asked), desk.run(), desk.guard.decline(token(asked), context=ctx())):
        assert (outcome.status, reasons(outcome)) == (Status.DENIED, ["confirmation_declined"])
    assert desk.effects == []
    desk.clock.advance(60.0)
    assert desk.run().status is Status.PENDING  # asked anew when its time is over


def test_a_decline_after_the_yes_comes_too_late() -> None:
    desk = high()
    asked = desk.run()
    desk.confirm(asked)
    assert desk.guard.decline(token(asked), context=ctx()).status is Status.DENIED
    assert desk.run().replayed


# ── single use for one key ──────────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_good_for_a_run_that_failed_and_is_tried_again() -> None:
    """The handler failed and gave the key back: the person need not be asked again for the same intent."""
    desk = high(effects="idempotent")
    asked = desk.run()
    failed = desk.fails(Boom()).confirm(asked)
    assert failed.status is Status.FAILED
    assert desk.works().run().ok
    assert desk.effects == ["A1", "A1"]


def test_an_answer_stays_good_for_its_key_after_its_time() -> None:
    desk = high(effects="idempotent", confirm_within=60.0)
    asked = desk.run()
    desk.fails(Boom()).confirm(asked)
    desk.clock.advance(120.0)
    assert desk.works().confirm(asked).ok


def test_a_final_failure_is_replayed_and_not_asked_again() -> None:
    desk = high()
    asked = desk.run()
    desk.fails(Rejected("no")).confirm(asked)
    assert statuses(desk.works().run(), desk.confirm(asked)) == ["failed", "failed"]
    assert desk.effects == ["A1"]


def test_an_approval_is_spent_on_one_key_only() -> None:
    desk = high()
    asked = desk.run()
    desk.confirm(asked)
    request = desk.storage.approvals.by_token(token(asked))
    assert request.spent_on == request.key
    assert not desk.storage.approvals.spend(request.subject, "another key")


# ── limits, breaker, look-ups ───────────────────────────────────────────────────────────────────────────────


def test_limits_are_charged_once() -> None:
    desk = high(limits=["2/hour per user"])
    asked = desk.run()
    for _ in range(5):
        assert desk.run().status is Status.PENDING  # showing it again is refunded
    assert desk.confirm(asked).ok
    assert desk.run().replayed
    assert desk.run("B1").status is Status.PENDING
    assert desk.run("C1").status is Status.THROTTLED


def test_caps_are_held_while_it_runs_and_not_while_people_think() -> None:
    desk = high(limits=["1 concurrent per org"])
    first, second = desk.run("A1"), desk.run("B1")
    assert statuses(first, second) == ["pending", "pending"]
    inner: list[Outcome] = []

    def then(order: Any) -> str:
        if order.order_id == "A1":
            inner.append(desk.confirm(second))
        return "done"

    desk.then = then
    assert desk.confirm(first).ok
    assert reasons(inner[0]) == ["concurrency_limited"]
    assert desk.confirm(second).ok


def test_nobody_is_asked_while_the_breaker_is_open() -> None:
    desk = high(guard={"breakers": {"erp": Breaker(fail_max=1)}}, effects="idempotent", breaker="erp")
    asked = desk.run("B1")
    desk.fails(Boom()).confirm(asked)
    outcome = desk.works().run("A1")
    assert (outcome.status, reasons(outcome)) == (Status.UNAVAILABLE, ["breaker_open"])
    assert outcome.retry_after is not None
    desk.clock.advance(31.0)
    waiting = desk.run("A1")
    assert waiting.status is Status.PENDING
    # Looking took no probe: the one that there is goes to the run.
    assert desk.confirm(waiting).ok
    assert desk.guard.describe()["breakers"]["erp"] == "closed"


def test_a_revoked_permission_stops_a_confirmed_call() -> None:
    roles = [frozenset({"sales"})]
    desk = high(guard={"directory": lambda org, actor: Principal(actor, roles[0])})
    asked = desk.run()
    roles[0] = frozenset()
    assert reasons(desk.confirm(asked)) == ["missing_permission"]
    roles[0] = frozenset({"sales"})
    assert desk.confirm(asked).ok


def test_targets_that_moved_are_a_new_request() -> None:
    version = [1]
    desk = high(targets=lambda order: (order.order_id, version[0]))
    asked = desk.run()
    version[0] = 2
    moved = desk.confirm(asked)
    assert (moved.status, reasons(moved)) == (Status.DENIED, ["confirmation_invalid"])
    assert token(desk.run()) != token(asked)
    version[0] = 1
    assert desk.confirm(asked).ok


@pytest.mark.parametrize("targets", [lambda order: order.missing, lambda order: object(), lambda order: 1 / 0])
def test_targets_that_cannot_be_told_refuse_and_never_raise(targets: Any) -> None:
    desk = high(targets=targets)
    outcome = desk.run()
    assert outcome.status in (Status.DENIED, Status.INVALID)
    assert desk.effects == []


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────


def test_obligations_of_rules_and_checks_are_gathered() -> None:
    desk = Desk(policies=[Rule(confirm="Over the limit?"), Rule(confirm="Over the limit?")]).command(
        checks=[
            Check(lambda call: Ask("Stock runs out in 48 hours. Go on?", "stock"), "predict"),
            Check(lambda call: Ask(code="stale"), "predict"),
        ]
    )
    asked = desk.run()
    assert asked.confirmation is not None
    assert asked.confirmation.text == "Over the limit?\nStock runs out in 48 hours. Go on?"
    assert asked.confirmation.reasons == ("confirmation_required", "stock", "stale")
    assert desk.confirm(asked).ok


def test_a_denial_beats_a_question() -> None:
    desk = Desk(policies=[Rule(confirm="Sure?"), Rule(deny="closed")]).command()
    assert desk.run().status is Status.DENIED


def test_an_obligation_that_is_gone_lets_the_answer_through() -> None:
    asks = [True]
    desk = Desk(policies=[Rule(when=lambda call: asks[0], confirm="Sure?")]).command()
    asked = desk.run()
    asks[0] = False
    assert desk.confirm(asked).ok


def test_a_read_can_be_confirmed_too() -> None:
    desk = Desk().command("orders.show", effects="read", key="{order_id}", risk="high")
    asked = desk.run()
    assert desk.confirm(asked).value == "created A1"


class Login(BaseModel):
    user: str
    pin: SecretStr


def test_a_secret_payload_is_not_stored_and_needed_again() -> None:
    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    guard = Guard(storage=storage, access=ALLOW_ALL, clock=clock)
    used: list[str] = []

    @guard.command("pins.change", key="{user}", risk="high")
    def change(login: Login) -> str:
        used.append(login.pin.get_secret_value())
        return "changed"

    asked = guard.run("pins.change", {"user": "u", "pin": "no-1234"}, context=ctx())
    assert "no-1234" not in asked.message()
    stored = storage.approvals.by_token(token(asked))
    assert stored is not None
    assert stored.payload is None
    assert "no-1234" not in repr(stored)
    without = guard.confirm(token(asked), context=ctx())
    assert without.status is Status.INVALID
    wrong = guard.confirm(token(asked), context=ctx(), payload={"user": "u", "pin": "9999"})
    assert wrong.status is Status.DENIED
    assert used == []
    right = guard.confirm(token(asked), context=ctx(), payload={"user": "u", "pin": "no-1234"})
    assert (right.value, used) == ("changed", ["no-1234"])


def test_a_command_that_is_gone_cannot_be_confirmed() -> None:
    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    asked = Desk(storage=storage, clock=clock).command(risk="high").run()
    other = Desk(storage=storage, clock=clock).command("orders.other", risk="high")
    assert other.confirm(asked).status is Status.DENIED


def test_purge_forgets_old_requests() -> None:
    desk = high(confirm_within=60.0)
    asked = desk.run()
    desk.clock.advance(60.0 + 86400.0)
    assert desk.guard.purge() == 1
    assert desk.confirm(asked).status is Status.DENIED
