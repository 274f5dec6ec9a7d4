"""Who may see a stored result, and who is told what."""

from __future__ import annotations

from typing import Any

import pytest

from botguard import Check, Outcome, Principal, Reason, Rejected, Status
from botguard.adapters.memory import MemoryStorage
from botguard.testing import FakeClock
from core.support import ACCESS, Boom, Desk, Order, ctx, reasons, statuses

ASYNC = pytest.mark.parametrize("async_", [False, True], ids=["sync", "async"])


def silent(outcome: Outcome) -> bool:
    """It says nothing of what is stored, nor of who stored it."""
    shown = f"{outcome.value} {outcome.error} {outcome.details} {outcome.message()} {outcome.problem()}"
    return outcome.value is None and "created" not in shown and "u1" not in shown


@ASYNC
def test_the_first_runs_outcome_is_replayed(async_: bool) -> None:
    desk = Desk(async_=async_).command()
    first = desk.run()
    again = desk.run(channel="slack", delivery="another", actor="u1")
    assert (again.value, again.replayed, again.attempts) == (first.value, True, 1)
    assert again.event_id != first.event_id
    assert desk.last().replayed
    assert desk.effects == ["A1"]


def test_replays_show_the_first_runs_attempts() -> None:
    from botguard import Retry

    desk = Desk().command(effects="idempotent", retry=Retry(on=Boom, attempts=3))
    ends = [Boom(), Boom()]

    def then(order: Order) -> str:
        if ends:
            raise ends.pop()
        return "third"

    desk.then = then
    assert desk.run().attempts == 3
    assert desk.run().attempts == 3


@ASYNC
def test_after_the_permission_was_revoked_a_replay_is_denied(async_: bool) -> None:
    roles = {"u1": frozenset({"sales"})}
    desk = Desk(async_=async_, directory=lambda org, actor: Principal(actor, roles[actor])).command()
    assert desk.run().ok
    roles["u1"] = frozenset()
    revoked = desk.run()
    assert (revoked.status, reasons(revoked)) == (Status.DENIED, ["missing_permission"])
    assert silent(revoked)
    roles["u1"] = frozenset({"sales"})
    assert desk.run().replayed


def test_an_account_that_is_no_longer_active_is_denied_its_replay() -> None:
    active = [True]
    desk = Desk(directory=lambda org, actor: Principal(actor, frozenset({"sales"}), active=active[0])).command()
    assert desk.run().ok
    active[0] = False
    assert reasons(desk.run()) == ["actor_inactive"]


@ASYNC
def test_another_person_gets_a_conflict_without_detail(async_: bool) -> None:
    desk = Desk(async_=async_).command()
    desk.run()
    other = desk.run(actor="u2")
    assert (other.status, reasons(other)) == (Status.CONFLICT, ["key_reused"])
    assert silent(other)


def test_another_person_is_told_the_same_about_a_failure_and_an_unknown() -> None:
    for error in (Rejected("u1 has no credit", "u1"), Boom("u1")):
        desk = Desk().command().fails(error)
        desk.run()
        other = desk.works().run(actor="u2")
        assert (other.status, reasons(other)) == (Status.CONFLICT, ["key_reused"])
        assert silent(other)


def test_one_person_with_two_accounts_is_one_person() -> None:
    desk = Desk().command()
    desk.run(actor="phone", person="maria")
    assert desk.run(actor="laptop", person="maria").replayed
    assert desk.run(actor="phone", person="peter").status is Status.CONFLICT


def test_the_directory_says_who_the_person_is() -> None:
    people = {"phone": "maria", "laptop": "maria", "u2": "peter"}
    desk = Desk(directory=lambda org, actor: Principal(people[actor], frozenset({"sales"}))).command()
    desk.run(actor="phone")
    assert desk.run(actor="laptop", person="somebody else says the channel").replayed
    assert desk.run(actor="u2", person="maria").status is Status.CONFLICT


def test_another_payload_is_a_conflict_whoever_asks() -> None:
    desk = Desk().command(replay_to="org")
    desk.run()
    for actor in ("u1", "u2"):
        outcome = desk.run({"order_id": "A1", "amount": 2}, actor=actor)
        assert outcome.status is Status.CONFLICT
        assert silent(outcome)


def test_another_payload_is_a_conflict_before_the_first_has_finished() -> None:
    desk = Desk().command(in_flight="wait")
    seen: list[Outcome] = []

    def then(order: Order) -> str:
        seen.append(desk.guard.run(desk.name, {"order_id": "A1", "amount": 2}, context=ctx()))
        seen.append(desk.guard.run(desk.name, {"order_id": "A1"}, context=ctx("u2")))
        return "first"

    desk.then = then
    assert desk.run().ok
    assert statuses(*seen) == ["conflict", "conflict"]
    assert desk.clock.naps == []  # nobody waited to be told


def test_equal_payloads_in_other_words_are_one_payload() -> None:
    desk = Desk().command()
    desk.run({"order_id": "A1", "amount": 1})
    assert desk.run({"amount": "1", "order_id": "A1"}).replayed
    assert desk.run(Order(order_id="A1")).replayed


@ASYNC
def test_another_org_is_separate(async_: bool) -> None:
    desk = Desk(async_=async_).command(replay_to="org")
    assert [desk.run(org=org).replayed for org in ("acme", "beta", "ac", "acme")] == [False, False, False, True]
    assert len(desk.effects) == 3


def test_orgs_and_keys_cannot_run_into_each_other() -> None:
    desk = Desk().command(key=lambda order: order.order_id)
    pairs = [
        ("a", "b1"),
        ("ab", "1"),
        ("a", "b:1"),
        ("a:b", "1"),
        ("1:a", "b"),
        ("1", ":ab"),
        ("a|b", "c"),
        ("a", "|bc"),
    ]
    assert [desk.run(key, org=org).replayed for org, key in pairs] == [False] * len(pairs)


def test_commands_are_separate() -> None:
    desk = Desk().command("orders.create")
    guard = desk.guard

    @guard.command("orders.cancel", key="{order_id}")
    def cancel(order: Order) -> str:
        return "cancelled"

    desk.run()
    outcome = guard.run("orders.cancel", {"order_id": "A1"}, context=ctx())
    assert (outcome.value, outcome.replayed) == ("cancelled", False)


def test_replay_to_org_shows_it_to_colleagues_who_hold_the_permission() -> None:
    desk = Desk().command(replay_to="org")
    desk.run()
    colleague = desk.run(actor="u2")
    assert (colleague.value, colleague.replayed) == ("created A1", True)
    assert desk.run(actor="u3", roles=("audit",)).status is Status.DENIED
    assert desk.last().person == "u3"


def test_visibility_checks_are_asked_before_a_replay_is_shown() -> None:
    visible = [True]
    desk = Desk().command(
        replay_to="org", checks=[Check(lambda call: None if visible[0] else "not_yours", "visibility")]
    )
    desk.run()
    assert desk.run(actor="u2").replayed
    visible[0] = False
    hidden = desk.run(actor="u2")
    assert (hidden.status, reasons(hidden), hidden.problem()["status"]) == (Status.DENIED, ["not_visible"], 404)
    assert hidden.value is None


def test_visibility_checks_are_asked_before_the_first_run_too() -> None:
    """`Check` says "visibility (also before a replay is shown)": what must not be seen must not be done either."""
    desk = Desk().command(checks=[Check(lambda call: "not_yours", "visibility")])
    outcome = desk.run()
    assert (outcome.status, reasons(outcome)) == (Status.DENIED, ["not_visible"])
    assert desk.effects == []


def test_a_visibility_check_that_breaks_shows_nothing() -> None:
    broken: list[Exception] = []

    def check(call: Any) -> None:
        if broken:
            raise broken[0]

    desk = Desk().command(checks=[Check(check, "visibility")])
    desk.run()
    broken.append(Boom("no"))
    outcome = desk.run()
    assert (outcome.status, outcome.value) == (Status.DENIED, None)


def test_a_replay_ends_with_its_lifetime() -> None:
    desk = Desk().command(keep=3600.0)
    desk.run()
    desk.clock.advance(3599.0)
    assert desk.run().replayed
    desk.clock.advance(1.0)  # showing it has not lengthened its life
    assert not desk.run().replayed
    assert len(desk.effects) == 2


def test_another_schema_version_is_not_compared() -> None:
    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    old = Desk(storage=storage, clock=clock, access=ACCESS).command(version="1")
    old.run({"order_id": "A1", "amount": 5})
    new = Desk(storage=storage, clock=clock, access=ACCESS).command(version="2")
    again = new.run({"order_id": "A1", "amount": 6})
    assert (again.value, again.replayed) == ("created A1", True)
    assert new.effects == []


@pytest.mark.parametrize("effects", ["idempotent", "external"])
def test_a_crash_under_the_old_version_does_not_block_the_key_for_ever(effects: str) -> None:
    """Invariant 9: every key becomes usable again or is visibly parked."""
    clock = FakeClock()
    storage = MemoryStorage(clock=clock)
    old = Desk(storage=storage, clock=clock).command(effects=effects, version="1", deadline=20.0, grace=10.0)
    finish, release = storage.idempotency.finish, storage.idempotency.release
    old.fails(KeyboardInterrupt())

    def dead(*args: Any) -> Any:
        raise SystemExit

    storage.idempotency.finish = storage.idempotency.release = dead  # type: ignore[method-assign]
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        old.run()
    storage.idempotency.finish, storage.idempotency.release = finish, release  # type: ignore[method-assign]
    new = Desk(storage=storage, clock=clock).command(effects=effects, version="2", deadline=20.0, grace=10.0)
    clock.advance(10 * 86400.0)
    assert new.run().status in (Status.SUCCEEDED, Status.UNKNOWN)


def test_peeking_is_open_where_claiming_decides() -> None:
    """A peek that cannot be answered is no refusal: the claim asks again, and meets the row."""
    from botguard.errors import StoreUnavailable

    desk = Desk().command(effects="idempotent")
    desk.run()

    def down(key: str) -> Any:
        raise StoreUnavailable("down")

    desk.storage.idempotency.peek = down
    again = desk.run()
    assert (again.value, again.replayed) == ("created A1", True)
    assert Reason.CLAIM_SKIPPED not in again.reasons
