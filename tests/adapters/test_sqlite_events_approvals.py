"""The audit trail and the requests for confirmation: the rules in their ports' docstrings."""

from __future__ import annotations

import threading

import pytest
from test_sqlite_kit import Child, Clock, approval, event

from botguard.adapters.sqlite import SqliteStorage
from botguard.ports.approvals import ApprovalState

OPEN, APPROVED, DECLINED, EXPIRED = ApprovalState


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def storage(tmp_path, clock):
    with SqliteStorage(tmp_path / "guard.db", clock=clock) as storage:
        yield storage


@pytest.fixture
def approvals(storage):
    return storage.approvals


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_events_come_back_as_they_were_oldest_first(storage):
    stored = [
        event("a", success=True, replayed=False, degraded=True, reasons="x,y", count=7, duration_ms=0.1 + 0.2),
        event("b", success=False, replayed=True, degraded=False, org="évil\x00org", command="🧪"),
        event("c", at=-1.5),
    ]
    for one in stored:
        assert storage.events.append(one) is None
    assert storage.events.tail() == stored
    flags = storage.events.tail()[0][12:15]
    assert [type(flag) for flag in flags] == [bool] * 3
    with SqliteStorage(storage._path) as again:
        assert again.events.tail() == stored


def test_tail_is_the_newest_and_of_one_org_where_asked(storage):
    for n in range(10):
        storage.events.append(event(f"e{n}", org="acme" if n % 2 else "other"))
    assert [e.id for e in storage.events.tail(3)] == ["e7", "e8", "e9"]
    assert [e.id for e in storage.events.tail(2, org="other")] == ["e6", "e8"]
    assert storage.events.tail(5, org="nobody") == []
    assert storage.events.tail(0) == []
    assert storage.events.tail(-1) == []


# ── approvals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_open_stores_the_request_with_the_stores_own_time(approvals, clock):
    opened = approvals.open(approval(expires_at=5.0, state=APPROVED, spent_on="x"), 60)
    assert opened == approval(expires_at=clock.now + 60)
    assert approvals.by_token("t1") == approvals.by_subject("s1") == opened
    assert type(opened.state) is ApprovalState


def test_optional_fields_come_back(approvals):
    full = approvals.open(approval(delivery="d9", payload=None), 60)
    assert (full.delivery, full.payload) == ("d9", None)
    assert approvals.open(approval("s2", "t2", payload=b""), 60).payload == b""


def test_a_live_request_is_returned_instead_of_a_second_one(approvals, clock):
    first = approvals.open(approval(), 60)
    clock.now += 59
    assert approvals.open(approval(token="t2"), 60) == first
    approvals.decide("t1", APPROVED)
    assert approvals.open(approval(token="t2"), 60).token == "t1"
    assert approvals.by_token("t2") is None


@pytest.mark.parametrize("decision", [None, APPROVED, DECLINED])
def test_what_is_expired_is_replaced(approvals, clock, decision):
    approvals.open(approval(), 60)
    if decision:
        approvals.decide("t1", decision)
    clock.now += 60
    replaced = approvals.open(approval(token="t2", text="Again?"), 30)
    assert (replaced.token, replaced.text, replaced.state) == ("t2", "Again?", OPEN)
    assert replaced.expires_at == clock.now + 30
    assert approvals.by_token("t1") is None
    assert approvals.by_subject("s1") == replaced


def test_a_refusal_is_not_asked_again_until_its_time_is_over(approvals, clock):
    approvals.open(approval(), 60)
    approvals.decide("t1", DECLINED)
    clock.now += 59
    assert approvals.open(approval(token="t2"), 60).state is DECLINED


def test_what_was_spent_is_never_replaced(approvals, clock):
    approvals.open(approval(), 60)
    approvals.decide("t1", APPROVED)
    approvals.spend("s1", "k")
    clock.now += 1000
    assert approvals.open(approval(token="t2"), 60).token == "t1"


def test_unknown_names(approvals):
    assert approvals.by_token("t") is None
    assert approvals.by_subject("s") is None
    assert approvals.decide("t", APPROVED) is None
    assert approvals.spend("s", "k") is False


@pytest.mark.parametrize("first", [APPROVED, DECLINED])
@pytest.mark.parametrize("second", [APPROVED, DECLINED])
def test_a_decision_is_final(approvals, first, second):
    approvals.open(approval(), 60)
    assert approvals.decide("t1", first).state is first
    assert approvals.decide("t1", second).state is first


def test_nothing_is_decided_after_its_time(approvals, clock):
    approvals.open(approval(), 60)
    clock.now += 59.999
    assert approvals.by_token("t1").state is OPEN
    clock.now += 0.001
    assert approvals.by_token("t1").state is EXPIRED
    assert approvals.decide("t1", APPROVED).state is EXPIRED
    assert approvals.spend("s1", "k") is False


@pytest.mark.parametrize("state", [OPEN, EXPIRED])
def test_only_a_decision_decides(approvals, state):
    approvals.open(approval(), 60)
    with pytest.raises(ValueError, match="approved or declined"):
        approvals.decide("t1", state)


def test_spending_is_for_one_key_and_repeatable_for_it(approvals, clock):
    approvals.open(approval(), 60)
    assert approvals.spend("s1", "k1") is False, "not approved yet"
    approvals.decide("t1", APPROVED)
    assert approvals.spend("s1", "k1") is True
    assert approvals.spend("s1", "k2") is False
    assert approvals.spend("s1", "k1") is True
    assert approvals.by_subject("s1").spent_on == "k1"
    clock.now += 61
    assert approvals.spend("s1", "k1") is True, "a crashed run can go on after the time to answer"
    assert approvals.by_subject("s1").state is APPROVED


def test_an_approved_request_cannot_be_spent_late(approvals, clock):
    approvals.open(approval(), 60)
    approvals.decide("t1", APPROVED)
    clock.now += 60
    assert approvals.spend("s1", "k") is False
    assert approvals.by_token("t1").state is EXPIRED


def test_a_declined_request_is_never_spent(approvals):
    approvals.open(approval(), 60)
    approvals.decide("t1", DECLINED)
    assert approvals.spend("s1", "k") is False


def test_purge_forgets_what_has_been_over_for_a_day(approvals, clock):
    for n in range(5):
        approvals.open(approval(f"s{n}", f"t{n}"), 60 if n < 4 else 1000)
    clock.now += 60 + 86399
    assert approvals.purge() == 0
    clock.now += 1
    assert approvals.purge(limit=3) == 3
    assert approvals.purge() == 1
    assert approvals.by_subject("s4") is not None


def test_of_many_who_open_decide_and_spend_at_once_one_prevails(storage, approvals):
    start = threading.Barrier(8)
    opened, spent = [], []

    def race(n):
        start.wait()
        opened.append(approvals.open(approval(token=f"t{n}"), 60).token)
        start.wait()
        approvals.decide(opened[0], APPROVED)
        spent.append(approvals.spend("s1", f"k{n}"))

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(opened)) == 1
    assert spent.count(True) == 1


def test_processes_race_for_one_approval(storage, approvals):
    approvals.open(approval(), 60)
    approvals.decide("t1", APPROVED)
    children = [Child(lambda n=n: [approvals.spend("s1", f"k{n}") for _ in range(3)]) for n in range(4)]
    answers = [child.value() for child in children]
    assert sorted(answers) == [[False] * 3] * 3 + [[True] * 3]
