"""Shadow touches nothing of the guard's, and what goes wrong in it is counted and stays in it."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from collections.abc import Callable
from typing import Any

import pybreaker
import pytest
from pydantic import BaseModel, model_validator

from adoption.support import NAME, Approve, Office, bind, ctx
from botguard import Actor, Breaker, Context, Rejected, Retry, Rule, StoreUnavailable
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.testing import FakeClock


def told(*_: Any) -> Any:
    raise AssertionError("shadow asked what is for real runs only")


class Witness(pybreaker.CircuitBreakerListener):
    """A listener, a codec and a reconciler that remember whether they were asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self.asked.append("listener")

    def encode(self, value: Any) -> bytes:
        self.asked.append("encode")
        return b""

    def decode(self, data: bytes) -> None:
        self.asked.append("decode")

    def reconcile(self, key: str) -> None:
        self.asked.append("reconcile")


def test_nothing_of_the_guards_is_touched() -> None:
    witness = Witness()
    office = Office(
        guard={"breakers": {"erp": Breaker(fail_max=1, listeners=[witness])}, "refusals_per_minute": 1},
        limits=["1/minute per user", "1 concurrent per org"], breaker="erp", effects="idempotent", result=witness,
        retry=Retry(on=(OSError,)), must_audit=True,
    )  # fmt: skip
    calls: list[dict[str, Any]] = [
        {}, {"roles": ("guest",)}, {"entity_id": "many"}, {"user": "u2"}, {}, {"roles": ("guest",)},
        {"entity_id": 5, "user": "u5", "then": OSError()}, {"entity_id": 6, "user": "u6"},
    ]  # fmt: skip
    for call in calls:
        office.call(**call)
    assert office.report.refused
    storage, guard = office.storage, office.guard
    assert len(storage.idempotency) == 0
    assert storage.approvals._requests == {}
    assert {event.kind for event in storage.events.tail()} == {"shadow"}
    parts = guard._parts
    assert guard.describe()["breakers"] == {"erp": "closed"}
    assert parts.limiter._states == {}
    assert parts.budget.counts == {}
    assert set(guard.metrics.totals()) <= {"unknown-command"}
    assert len(guard.registry) == 0
    assert office.clock.naps == []
    assert office.report.count(kind="unavailable", reason="breaker_open")
    assert witness.asked == []


def test_nobody_outside_is_asked_about_an_unknown_effect() -> None:
    witness = Witness()
    office = Office(reconcile=witness.reconcile, result=witness)
    office.call(1, then=ValueError())
    assert office.says(1) == {("unknown", "effect_unknown")}
    office.call(2)
    assert office.says(2) == {("replayed", "")}
    assert witness.asked == []


def test_a_transactional_command_begins_no_transaction(tmp_path: Any) -> None:
    storage = SqliteStorage(tmp_path / "erp.db")
    office = Office(storage=storage, effects="transactional")
    begun: list[Any] = []
    storage.work.begin = lambda: begun.append(1)  # type: ignore[method-assign, assignment]
    assert office.says(1, then=ValueError()) == {("passed", "")}
    assert office.says(1) == {("passed", "")}
    assert office.says(1) == {("replayed", "")}
    assert begun == []
    storage.close()


def test_the_same_name_can_be_enforced_beside_it() -> None:
    office = Office(limits=["1/minute per user"])
    guard = office.guard
    effects: list[Any] = []

    @guard.command(NAME, bind=bind, request=Approve, key="{order_id}", limits=["1/minute per user"])
    def approve(ctx: dict[str, Any]) -> str:
        effects.append(ctx)
        return "enforced"

    for _ in range(3):
        office.call(1)
    assert approve(ctx(1)) == "enforced"
    assert approve(ctx(1)) == "enforced"
    assert len(effects) == 1
    assert office.report.calls == 3


def test_a_running_sentry_is_left_alone() -> None:
    class Sdk:
        def __getattr__(self, name: str) -> Any:
            return told()

    office = Office()
    real = sys.modules.get("sentry_sdk")
    sys.modules["sentry_sdk"] = Sdk()  # type: ignore[assignment]
    try:
        given = ctx()
        assert office.handler(given) is given
        assert dict(office.seen()) == {("passed", ""): 1}
    finally:
        if real is None:
            del sys.modules["sentry_sdk"]
        else:
            sys.modules["sentry_sdk"] = real


def test_nobody_looks_at_the_result_or_the_error() -> None:
    class Private:
        def __getattribute__(self, name: str) -> Any:
            told()

        __eq__ = __repr__ = __str__ = __iter__ = __len__ = __hash__ = told  # type: ignore[assignment]

    class Silent(Exception):
        __str__ = __repr__ = told  # type: ignore[assignment]

    value = Private()
    office = Office(effects="idempotent", retry=Retry(on=(Silent,)))
    assert office.handler(ctx(1, then=lambda c: value)) is value
    error = Silent()
    with pytest.raises(Silent) as caught:
        office.handler(ctx(2, then=error))
    assert caught.value is error
    assert office.report.count(kind="passed") == 2
    assert office.report.count(kind="retried", reason="Silent") == 1
    assert office.report.count(kind="not_observed") == 0


def failing(error: Callable[[], BaseException]) -> Any:
    def fail(*_: Any) -> Any:
        raise error()

    return fail


class Odd(BaseModel):
    """Its validator breaks in a way that no validator should."""

    order_id: int

    @model_validator(mode="before")
    @classmethod
    def odd(cls, data: Any) -> Any:
        raise StopIteration


TROUBLE: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = {
    "bind raises": ({"bind": failing(KeyError)}, {}, ("not_observed", "KeyError")),
    "bind lies": ({"bind": lambda c: c}, {}, ("not_observed", "BG119")),
    "bind gives no context": ({"bind": lambda c: ({}, "ann")}, {}, ("not_observed", "BG123")),
    "bind takes other arguments": ({"bind": lambda: ({}, None)}, {}, ("not_observed", "TypeError")),
    "no context can be found": (
        {"bind": lambda c: ({"order_id": 1}, None)}, {"context": failing(LookupError)}, ("not_observed", "LookupError"),
    ),
    "a check says nonsense": ({"checks": [lambda call: 7]}, {}, ("not_observed", "BG116")),
    "a check is async": ({"checks": [lambda call: asyncio.sleep(0)]}, {}, ("not_observed", "BG140")),
    "a model breaks": ({"request": Odd}, {}, ("invalid", "invalid_payload")),
    "a check breaks": ({"checks": [failing(RecursionError)]}, {}, ("denied", "check_error")),
    "the directory is down": ({}, {"directory": failing(OSError)}, ("unavailable", "store_unavailable")),
    "the rules are down": ({}, {"policies": [Rule(when=failing(lambda: StoreUnavailable("down")), deny="x")]}, ("unavailable", "store_unavailable")),
}  # fmt: skip


@pytest.mark.parametrize("case", TROUBLE)
def test_trouble_in_looking_is_counted_and_the_call_goes_on(case: str) -> None:
    options, guard, line = TROUBLE[case]
    office = Office(guard=guard, **options)
    given = ctx()
    assert office.handler(given) is given
    with pytest.raises(Rejected):
        office.handler(ctx(then=Rejected("no")))
    assert dict(office.seen()) == {line: 2}
    assert office.report.calls == 2


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, lambda: StoreUnavailable("down")])
def test_a_bug_of_ours_is_counted_and_the_call_goes_on(when: str, error: Callable[[], Exception]) -> None:
    """Planted where no test can make anything fail from outside: in our own table of keys."""
    office = Office()
    table = office.guard._shadows.storage.idempotency  # type: ignore[union-attr]
    setattr(table, "peek" if when == "before" else "finish", failing(error))
    given = ctx()
    assert office.handler(given) is given
    with pytest.raises(KeyError):
        office.handler(ctx(then=KeyError()))
    assert office.report.calls == 2


@pytest.mark.parametrize("part", ["tally", "trail"])
def test_even_a_report_that_breaks_does_not_reach_the_caller(part: str) -> None:
    office = Office()
    getattr(office.guard._shadows, part).add = failing(RuntimeError)
    given = ctx()
    assert office.handler(given) is given
    with pytest.raises(KeyError):
        office.handler(ctx(then=KeyError()))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_is_not_swallowed(error: type[BaseException]) -> None:
    office = Office(bind=failing(error))
    with pytest.raises(error):
        office.handler(ctx())


class Flaky:
    """An event store that is down when it is told to be, and counts who asks."""

    colour = "any"

    def __init__(self) -> None:
        self.down, self.asked, self.events = False, 0, []  # type: ignore[var-annotated]

    def append(self, event: Any) -> None:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("down")
        self.events.append(event)

    def tail(self, limit: int = 100, *, org: str | None = None) -> list[Any]:
        return self.events[-limit:]


def flaky_office(**options: Any) -> tuple[Office, Flaky]:
    storage, flaky = MemoryStorage(clock=FakeClock()), Flaky()
    storage.events = flaky  # type: ignore[assignment]
    return Office(storage=storage, **options), flaky


def test_a_store_that_is_down_is_left_alone_for_a_while_and_gets_everything_later() -> None:
    office, flaky = flaky_office()
    flaky.down = True
    for n in range(4):
        office.call(n)
    assert flaky.asked == 1, "its time-outs would be the host's"
    assert office.report.unwritten == 4
    assert "does not hold 4 calls" in str(office.report)
    flaky.down = False
    office.call(4)
    assert flaky.events == []
    office.clock.advance(31)
    office.call(5)
    assert len(flaky.events) == 5, "the sixth of a minute is summed up"
    office.guard.flush()
    assert sum(event.count for event in flaky.events) == 6
    assert office.report.unwritten == 0


def test_what_waits_is_bounded_and_what_is_lost_is_counted() -> None:
    office, flaky = flaky_office()
    flaky.down = True
    shadows = office.guard.shadow({f"c{n}": office.legacy[NAME] for n in range(1200)}, bind=bind)
    for handler in shadows.values():
        handler(ctx())
    assert len(office.guard._shadows.trail._waiting) == 1000  # type: ignore[union-attr]
    assert office.report.unwritten == 1200


def test_a_store_that_breaks_while_awaited_keeps_nothing_from_its_caller() -> None:
    class Broken(Flaky):
        colour = "async"

        async def append(self, event: Any) -> None:  # type: ignore[override]
            super().append(event)

    async def handler(ctx: dict[str, Any]) -> Any:
        return ctx

    storage, broken = MemoryStorage(clock=FakeClock()), Broken()
    storage.events = broken  # type: ignore[assignment]
    office = Office(storage=storage, handler=handler)
    broken.down = True

    async def main() -> None:
        for n in range(3):
            given = ctx(n)
            assert await office.handler(given) is given
        assert (broken.asked, office.report.unwritten) == (1, 3)
        broken.down = False
        await office.guard.flush_async()
        assert office.report.unwritten == 0
        assert (await office.guard.shadow_report_async(since=dt.timedelta(days=1))).calls == 3

    asyncio.run(main())


def test_a_host_that_holds_the_write_lock_does_not_wait(tmp_path: Any) -> None:
    """Legacy handlers write to the same file, in a transaction that is open while they call each other."""
    import sqlite3
    import time

    storage = SqliteStorage(tmp_path / "erp.db")
    office = Office(storage=storage)
    office.call(1)
    host = sqlite3.connect(tmp_path / "erp.db", isolation_level=None)
    host.execute("CREATE TABLE orders (n)")
    host.execute("BEGIN IMMEDIATE")
    host.execute("INSERT INTO orders VALUES (1)")
    began = time.monotonic()
    for n in range(5):
        given = ctx(n + 2)
        assert office.handler(given) is given
    waited = time.monotonic() - began
    host.execute("COMMIT")
    host.close()
    assert waited < 10, "one busy time-out at the most"
    office.guard.flush()
    assert office.guard.shadow_report(since=dt.timedelta(days=20_000)).calls == 6
    storage.close()


def test_payloads_and_texts_are_nowhere_in_the_report_or_the_events() -> None:
    secret = "s3cr3t-phone-0911"

    def whole(c: dict[str, Any]) -> Any:
        return {"order_id": c["entity_id"], "note": c["note"]}, Context(org="acme", actor=Actor("u1", ("sales",)))

    office = Office(
        bind=whole, request=None, key=lambda p: p["note"], checks=[lambda call: call.payload["note"]], risk="high"
    )
    office.call(1, note=secret)
    office.call(1, note=secret, then=ValueError(secret))
    office.call(secret, note=[secret])
    everything = f"{office.report} {office.report.as_dict()} {office.report!r} {office.storage.events.tail()}"
    assert office.report.calls == 3
    assert secret not in everything
