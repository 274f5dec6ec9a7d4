"""Section 3: what each kind of effects makes of each kind of end, and what the next delivery of the same intent gets."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import botguard
from botguard import ALLOW_ALL, Context, Guard, Happened, NotHappened, Outcome, Reason, Rejected, Retry, Status
from botguard.adapters.sqlite import SqliteStorage
from botguard.errors import StoreUnavailable
from botguard.ports.idempotency import RowState
from botguard.testing import FakeClock
from core.support import Boom, Desk, Order, ctx, on_loop, reasons


class Early(Exception):
    """Only raised before the effect."""


class Final(Exception):
    """Final for this command."""


class Hang(BaseException):
    """Stands for a handler that never answers."""


async def hang() -> None:
    await asyncio.sleep(10_000)


ENDS: dict[str, Any] = {
    "value": None,
    "plain": Boom("plain"),
    "before_effect": Early("early"),
    "refused connection": ConnectionRefusedError("early"),
    "final": Final("final"),
    "Rejected": Rejected("no", "no"),
    "time-out": Hang(),
    "cancelled": Hang(),
}

C, D, F, U = RowState.CLAIMED, RowState.DONE, RowState.FAILED, RowState.UNKNOWN
#: end → state of the key for read, idempotent, external.
TABLE: dict[str, tuple[RowState | None, RowState | None, RowState | None]] = {
    "value": (None, D, D),
    "plain": (None, None, U),
    "before_effect": (None, None, None),
    "refused connection": (None, None, None),
    "final": (None, F, F),
    "Rejected": (None, F, F),
    "time-out": (None, C, U),
    "cancelled": (None, C, U),
}
KINDS = ("read", "idempotent", "external")


def desk_for(kind: str, **options: Any) -> Desk:
    made = Desk(async_=True)
    if kind != "read":
        options.setdefault("key", "{order_id}")
    else:
        options.setdefault("key", None)
    return made.command(effects=kind, final=Final, before_effect=Early, deadline=20.0, grace=10.0, **options)


def arrange(desk: Desk, end: str) -> None:
    error = ENDS[end]
    if isinstance(error, Hang):
        desk.then = lambda order: hang()
    elif error is not None:
        desk.fails(error)
    else:
        desk.works()


def run(desk: Desk, end: str) -> Outcome | None:
    arrange(desk, end)
    if end != "cancelled":
        return desk.run()

    async def main() -> None:
        task = asyncio.create_task(desk.guard.run_async(desk.name, {"order_id": "A1"}, context=ctx()))
        while not desk.effects:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    on_loop(desk.clock, main())
    return None


@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize(("place", "kind"), list(enumerate(KINDS)))
def test_state_of_the_key(place: int, kind: str, end: str) -> None:
    desk = desk_for(kind)
    outcome = run(desk, end)
    row = desk.row()
    assert (None if row is None else row.state) == TABLE[end][place]
    assert desk.effects == ["A1"]
    if outcome is not None:
        assert outcome.status is (Status.SUCCEEDED if end == "value" else Status.FAILED)
        assert (Reason.EFFECT_UNKNOWN in outcome.reasons) == (row is not None and row.state is U)
    assert len(desk.events()) == 1
    assert desk.last().status == ("unknown" if outcome is None else outcome.status)


@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize(("place", "kind"), list(enumerate(KINDS)))
def test_the_caller_gets_the_handlers_own_error(place: int, kind: str, end: str) -> None:
    if end == "cancelled":
        return
    desk = desk_for(kind)
    outcome = run(desk, end)
    assert outcome is not None
    if end == "time-out":
        assert isinstance(outcome.error, botguard.DeadlineExceeded)
        assert isinstance(outcome.error, TimeoutError)
        assert Reason.DEADLINE_EXCEEDED in outcome.reasons
        assert outcome.duration == pytest.approx(20.0)
    else:
        assert outcome.error is ENDS[end]


@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize(("place", "kind"), list(enumerate(KINDS)))
def test_the_next_delivery(place: int, kind: str, end: str) -> None:
    desk = desk_for(kind)
    run(desk, end)
    again = desk.works().run()
    state = TABLE[end][place]
    expected = {None: "succeeded", D: "succeeded", F: "failed", U: "unknown", C: "in_flight"}[state]
    assert again.status == expected
    assert again.replayed == (state in (D, F))
    assert len(desk.effects) == (2 if state is None else 1)


def test_a_stopped_idempotent_handler_runs_again_when_its_lease_is_over() -> None:
    desk = desk_for("idempotent")
    run(desk, "time-out")
    desk.works()
    desk.clock.advance(30.0 - 20.0 - 0.001)  # lease = deadline + grace, from the claim
    assert desk.run().status is Status.IN_FLIGHT
    desk.clock.advance(0.001)
    assert desk.run().ok
    assert desk.effects == ["A1", "A1"]


def test_time_does_not_resolve_unknown_and_purge_keeps_it() -> None:
    desk = desk_for("external")
    run(desk, "plain")
    desk.clock.advance(400 * 86400.0)
    assert desk.guard.purge() == 0
    again = desk.works().run()
    assert (again.status, reasons(again)) == (Status.UNKNOWN, ["effect_unknown"])
    with pytest.raises(botguard.OutcomeUnknown):
        desk.call()
    assert desk.effects == ["A1"]


# ── time-outs are the guard's own word, whatever the host has declared ──────────────────────────────────────


@pytest.mark.parametrize("declared", [TimeoutError, OSError, botguard.DeadlineExceeded])
def test_a_stopped_external_handler_is_unknown_though_timeouts_are_declared_early(declared: type[Exception]) -> None:
    """`before_effect=TimeoutError` speaks of errors that the handler raises; nobody can say what a stopped one did."""
    desk = Desk(async_=True).command(effects="external", before_effect=declared, deadline=20.0)
    desk.then = lambda order: hang()
    outcome = desk.run()
    assert reasons(outcome) == ["deadline_exceeded", "effect_unknown"]
    row = desk.row()
    assert row is not None
    assert row.state is U


def test_a_stopped_external_handler_is_unknown_though_timeouts_are_declared_final() -> None:
    desk = Desk(async_=True).command(effects="external", final=TimeoutError, deadline=20.0)
    desk.then = lambda order: hang()
    assert Reason.EFFECT_UNKNOWN in desk.run().reasons


def test_a_stopped_external_attempt_is_not_tried_again_though_timeouts_are_declared_early() -> None:
    desk = Desk(async_=True).command(
        effects="external", retry=Retry(before_effect=TimeoutError, attempts=3), timeout=5.0, deadline=100.0
    )
    desk.then = lambda order: hang()
    outcome = desk.run()
    assert desk.effects == ["A1"]
    assert Reason.EFFECT_UNKNOWN in outcome.reasons


def test_a_handlers_own_early_timeout_is_released_and_tried_again() -> None:
    desk = Desk(async_=True).command(
        effects="external", retry=Retry(before_effect=TimeoutError, attempts=3), timeout=5.0, deadline=100.0
    )
    desk.fails(TimeoutError("connect timed out"))
    desk.run()
    assert desk.effects == ["A1"] * 3
    assert desk.row() is None


def test_an_idempotent_attempt_that_was_stopped_may_be_tried_again() -> None:
    desk = Desk(async_=True).command(
        effects="idempotent", retry=Retry(on=TimeoutError, attempts=3), timeout=5.0, deadline=100.0
    )
    desk.then = lambda order: hang()
    outcome = desk.run()
    assert (outcome.status, outcome.attempts, desk.effects) == (Status.FAILED, 3, ["A1"] * 3)


def test_a_sync_handler_that_overruns_keeps_its_value_and_says_so() -> None:
    desk = Desk().command(effects="external", deadline=20.0)

    def slow(order: Order) -> str:
        desk.clock.advance(21.0)
        assert botguard.current().remaining == -1.0
        return "late"

    desk.then = slow
    outcome = desk.run()
    assert (outcome.value, reasons(outcome)) == ("late", ["overran"])
    assert desk.run().value == "late"


# ── crashes: the row stays claimed ──────────────────────────────────────────────────────────────────────────


def crashed(effects: str, **options: Any) -> Desk:
    """A desk whose first run had its effect, and died before it could say so."""
    desk = Desk().command(effects=effects, deadline=20.0, grace=10.0, **options)
    store = desk.storage.idempotency
    finish, release = store.finish, store.release

    def dead(*args: Any) -> Any:
        raise StoreUnavailable("the process is gone")

    store.finish = store.release = dead
    outcome = desk.run()
    assert (outcome.status, Reason.COMPLETION_LOST in outcome.reasons) == (Status.SUCCEEDED, True)
    assert outcome.degraded
    store.finish, store.release = finish, release
    return desk


def test_crash_idempotent_runs_again() -> None:
    desk = crashed("idempotent")
    desk.clock.advance(29.9)
    assert desk.run().status is Status.IN_FLIGHT
    desk.clock.advance(0.1)
    assert desk.run().ok
    assert desk.effects == ["A1", "A1"]


def test_crash_external_is_unknown_and_visible() -> None:
    desk = crashed("external")
    desk.clock.advance(30.0)
    assert desk.run().status is Status.UNKNOWN
    row = desk.row()
    assert row is not None
    assert row.state is U
    assert desk.effects == ["A1"]


def test_crash_external_is_reconciled_as_happened() -> None:
    asked: list[str] = []

    def reconcile(key: str) -> Happened:
        asked.append(key)
        return Happened("found it")

    desk = crashed("external", reconcile=reconcile)
    desk.clock.advance(30.0)
    outcome = desk.run()
    assert (outcome.value, outcome.replayed) == ("found it", True)
    assert desk.effects == ["A1"]
    assert asked == [desk.last().key]
    assert [event.kind for event in desk.events()][-2:] == ["reconciled", "run"]
    assert desk.run().value == "found it"
    assert len(asked) == 1


@pytest.mark.parametrize("answer", [NotHappened(), NotHappened])
def test_crash_external_is_reconciled_as_not_happened(answer: Any) -> None:
    desk = crashed("external", reconcile=lambda key: answer)
    desk.clock.advance(30.0)
    outcome = desk.run()
    assert (outcome.value, outcome.replayed) == ("created A1", False)
    assert desk.effects == ["A1", "A1"]


@pytest.mark.parametrize("answer", [None, "yes", True, Boom("erp is down"), Happened])
def test_who_cannot_say_leaves_it_unknown(answer: Any) -> None:
    def reconcile(key: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    desk = crashed("external", reconcile=reconcile)
    desk.clock.advance(30.0)
    assert desk.run().status is Status.UNKNOWN
    assert desk.effects == ["A1"]


def test_a_lost_answer_of_the_claim_is_asked_for_again_with_the_same_claim() -> None:
    desk = Desk().command(effects="external")
    claim, asked = desk.storage.idempotency.claim, []

    def lossy(request: Any, event: Any = None) -> Any:
        asked.append(request.claim_id)
        answer = claim(request, event)
        if len(asked) == 1:
            raise StoreUnavailable("connection lost", maybe_applied=True)
        return answer

    desk.storage.idempotency.claim = lossy
    assert desk.run().ok
    assert len(asked) == 2
    assert len(set(asked)) == 1


def test_a_completion_that_came_too_late_is_audited_and_overwrites_nothing() -> None:
    desk = Desk().command(effects="idempotent", deadline=20.0, grace=10.0)
    inner: list[Outcome] = []

    def slow(order: Order) -> str:
        desk.clock.advance(30.0)  # the lease is over
        desk.then = lambda order: "second"
        inner.append(desk.guard.run(desk.name, {"order_id": "A1"}, context=ctx()))
        return "first"

    desk.then = slow
    outcome = desk.run()
    assert inner[0].value == "second"
    assert (outcome.value, outcome.degraded) == ("first", True)
    assert Reason.LEASE_LOST in outcome.reasons
    assert desk.run().value == "second"


# ── transactional: effect and completion in one transaction ─────────────────────────────────────────────────


class Till:
    """A transactional command that writes a row, on SQLite."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.clock = FakeClock()
        self.storage = SqliteStorage(path, clock=self.clock, synchronous="NORMAL")
        self.around = sqlite3.connect(path, isolation_level=None)
        self.around.execute("CREATE TABLE sold (order_id TEXT)")
        self.guard = Guard(storage=self.storage, access=ALLOW_ALL, clock=self.clock)
        self.runs = 0
        self.end: Any = None

        @self.guard.command(
            "orders.sell", effects="transactional", key="{order_id}", final=Final, before_effect=Early,
            deadline=20.0, grace=10.0, **options,
        )  # fmt: skip
        def sell(order: Order) -> str:
            self.runs += 1
            botguard.current().work.execute("INSERT INTO sold VALUES (?)", (order.order_id,))
            end = self.end(self.runs) if callable(self.end) else self.end
            if isinstance(end, BaseException):
                raise end
            return f"sold {self.runs}"

    def run(self, context: Context | None = None) -> Outcome:
        return self.guard.run("orders.sell", {"order_id": "A1"}, context=context or ctx())

    @property
    def sold(self) -> int:
        return int(self.around.execute("SELECT COUNT(*) FROM sold").fetchone()[0])

    @property
    def states(self) -> list[str]:
        return [state for (state,) in self.around.execute("SELECT state FROM botguard_claims")]

    def close(self) -> None:
        self.around.close()
        self.storage.close()


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    made = Till(tmp_path / "till.db")
    yield made
    made.close()


def test_transactional_commits_effect_and_completion_together(till: Till) -> None:
    assert till.run().value == "sold 1"
    assert till.run().replayed
    assert (till.sold, till.states) == (1, ["done"])


@pytest.mark.parametrize("error", [Boom("no"), Early("no"), KeyboardInterrupt()])
def test_transactional_rolls_back_and_releases(till: Till, error: BaseException) -> None:
    till.end = error
    if isinstance(error, Exception):
        outcome = till.run()
        assert (outcome.status, outcome.error) == (Status.FAILED, error)
    else:
        with pytest.raises(KeyboardInterrupt):
            till.run()
    assert (till.sold, till.states) == (0, [])
    till.end = None
    assert till.run().value == "sold 2"
    assert till.sold == 1


@pytest.mark.parametrize("error", [Rejected("no"), Final("no")])
def test_transactional_final_failures_are_stored_and_roll_back(till: Till, error: Exception) -> None:
    till.end = error
    assert till.run().error is error
    assert (till.sold, till.states) == (0, ["failed"])
    till.end = None
    assert till.run().status is Status.FAILED
    assert (till.runs, till.sold) == (1, 0)


def test_transactional_attempts_have_a_transaction_each(tmp_path: Path) -> None:
    till = Till(tmp_path / "retry.db", retry=Retry(on=Boom, attempts=3))
    till.end = lambda run: Boom("no") if run < 3 else None
    outcome = till.run()
    assert (outcome.value, outcome.attempts, till.sold) == ("sold 3", 3, 1)
    till.close()


def test_transactional_whose_lease_was_taken_rolls_back(till: Till) -> None:
    """A second owner ran to its end before the first one came to complete: his effect must not be added."""
    claims = till.storage.idempotency

    def overtaken(run: int) -> None:
        if run > 1:
            return
        till.clock.advance(30.0)

    till.end = overtaken
    work = till.storage.work
    begin, second = work.begin, []

    def begin_late() -> Any:
        if not second:
            second.append(None)
            till.clock.advance(30.0)
            second[0] = till.run()
        return begin()

    work.begin = begin_late  # type: ignore[method-assign]
    outcome = till.run()
    assert second[0] is not None
    assert second[0].value == "sold 1"
    assert (outcome.value, outcome.replayed) == ("sold 1", True)
    assert Reason.LEASE_LOST in outcome.reasons
    assert (till.runs, till.sold, till.states) == (2, 1, ["done"])
    assert claims is till.storage.idempotency


def test_transactional_needs_a_unit_of_work() -> None:
    with pytest.raises(botguard.ConfigurationError, match="BG160"):
        Desk().command(effects="transactional")


def test_a_joined_run_stands_and_falls_with_the_hosts_transaction(till: Till) -> None:
    host = sqlite3.connect(till.around.execute("PRAGMA database_list").fetchone()[2], isolation_level=None)
    host.execute("BEGIN IMMEDIATE")
    joined = till.guard.run("orders.sell", {"order_id": "A1"}, context=ctx(), session=host)
    assert joined.value == "sold 1"
    assert (till.sold, till.states) == (0, [])  # nobody else sees it yet
    host.execute("ROLLBACK")
    assert (till.sold, till.states) == (0, [])
    host.execute("BEGIN IMMEDIATE")
    assert till.guard.run("orders.sell", {"order_id": "A1"}, context=ctx(), session=host).value == "sold 2"
    host.execute("COMMIT")
    assert (till.sold, till.states) == (1, ["done"])
    assert till.run().replayed
    host.close()


def test_a_session_is_for_transactional_commands_only(till: Till) -> None:
    @till.guard.command("cards.charge", key="{order_id}")
    def charge(order: Order) -> None: ...

    with pytest.raises(botguard.ConfigurationError, match="BG143"):
        till.guard.run("cards.charge", {"order_id": "A1"}, context=ctx(), session=till.around)


def test_external_inside_an_open_unit_of_work_is_refused(till: Till) -> None:
    charged: list[str] = []

    @till.guard.command("cards.charge", key="{order_id}")
    def charge(order: Order) -> str:
        charged.append(order.order_id)
        return "charged"

    inner: list[Outcome] = []

    def nest(run: int) -> None:
        inner.append(till.guard.run("cards.charge", {"order_id": "A1"}, context=ctx()))

    till.end = nest
    assert till.run().ok
    assert (inner[0].status, reasons(inner[0])[0]) == (Status.UNAVAILABLE, "host_transaction_open")
    assert charged == []


def test_a_nested_call_inside_an_open_unit_of_work_leaves_its_event(till: Till) -> None:
    @till.guard.command("orders.show", effects="read")
    def show(order: Order) -> str:
        return "shown"

    def nest(run: int) -> None:
        assert till.guard.run("orders.show", {"order_id": "A1"}, context=ctx()).ok

    till.end = nest
    assert till.run().ok
    assert sorted(event.command for event in till.storage.events.tail()) == ["orders.sell", "orders.show"]


# ── wiring ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_retry_needs_declared_effects() -> None:
    with pytest.raises(botguard.ConfigurationError, match="BG101"):
        Desk().command(retry=Retry(on=Boom))


def test_external_is_not_retried_on_a_broad_list() -> None:
    with pytest.raises(botguard.ConfigurationError, match="BG102"):
        Desk().command(effects="external", retry=Retry(on=Boom))


def test_a_connection_reset_is_no_early_error() -> None:
    desk = Desk().command(effects="external").fails(ConnectionResetError("after the effect, perhaps"))
    assert Reason.EFFECT_UNKNOWN in desk.run().reasons
