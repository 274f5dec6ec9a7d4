"""Transactions: units of work, the host's own, and what happens when they meet."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from test_sqlite_kit import Child, Clock, approval, event, request

from botguard.adapters.sqlite import SqliteStorage
from botguard.errors import BotguardError, ConfigurationError, StoreUnavailable
from botguard.ports.approvals import ApprovalState
from botguard.ports.idempotency import Ack, RowState

DONE = RowState.DONE


@pytest.fixture
def path(tmp_path):
    return tmp_path / "guard.db"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def storage(path, clock):
    with SqliteStorage(path, clock=clock, busy_timeout=5.0) as storage:
        unit = storage.work.begin()
        unit.handle.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)")
        unit.commit()
        yield storage


def orders(path):
    connection = sqlite3.connect(path)
    try:
        return [item for (item,) in connection.execute("SELECT item FROM orders ORDER BY id")]
    finally:
        connection.close()


def order(connection, item):
    connection.execute("INSERT INTO orders (item) VALUES (?)", (item,))


def ids(storage):
    return [e.id for e in storage.events.tail()]


# ── units of work ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_effect_and_completion_are_one_commit(storage, path):
    storage.idempotency.claim(request())
    unit = storage.work.begin()
    assert isinstance(unit.handle, sqlite3.Connection)
    order(unit.handle, "tea")
    assert unit.finish("k", "c1", DONE, b"r", 60, 1, event()) is Ack.APPLIED
    assert storage.idempotency.peek("k").state is RowState.CLAIMED, "nobody sees it before the commit"
    assert orders(path) == []
    unit.commit()
    assert storage.idempotency.peek("k").state is DONE
    assert orders(path) == ["tea"]
    assert ids(storage) == ["e1"]


def test_rollback_undoes_all_of_it_and_never_raises(storage, path):
    storage.idempotency.claim(request())
    unit = storage.work.begin()
    order(unit.handle, "tea")
    unit.finish("k", "c1", DONE, b"r", 60, 1, event())
    unit.rollback()
    unit.rollback()
    assert storage.idempotency.peek("k").state is RowState.CLAIMED
    assert orders(path) == []
    assert ids(storage) == []
    assert storage.idempotency.release("k", "c1") is Ack.APPLIED


def test_a_unit_of_a_stale_owner_is_lost(storage, clock):
    storage.idempotency.claim(request())
    clock.now += 31
    storage.idempotency.claim(request(claim_id="c2"))
    unit = storage.work.begin()
    assert unit.finish("k", "c1", DONE, b"r", 60, 1, event()) is Ack.LOST
    unit.rollback()
    assert storage.idempotency.peek("k").claim_id == "c2"


def test_a_unit_that_is_over_cannot_be_used(storage):
    unit = storage.work.begin()
    unit.commit()
    for call in (unit.commit, lambda: unit.finish("k", "c1", DONE, None, 1, 1, None)):
        with pytest.raises(BotguardError, match="over"):
            call()
    unit.rollback()


@pytest.mark.parametrize("how", ["commit", "rollback", "executescript", "with", "close"])
def test_a_handler_that_ends_the_transaction_by_a_method_is_stopped_there(storage, path, how):
    unit = storage.work.begin()
    order(unit.handle, "tea")

    def handler():
        if how == "with":
            with unit.handle:
                order(unit.handle, "milk")
        elif how == "executescript":
            unit.handle.executescript("CREATE TABLE x (a)")
        else:
            getattr(unit.handle, how)()

    with pytest.raises(ConfigurationError, match="BG142") as caught:
        handler()
    assert caught.value.code == "BG142"
    unit.rollback()
    assert orders(path) == []


def test_an_exception_inside_with_connection_passes_through(storage):
    unit = storage.work.begin()
    with pytest.raises(LookupError), unit.handle:
        raise LookupError
    assert unit.handle.in_transaction
    unit.rollback()


@pytest.mark.parametrize("statements", [["COMMIT"], ["ROLLBACK"], ["COMMIT", "BEGIN"], ["ROLLBACK", "BEGIN IMMEDIATE"]])
def test_a_handler_that_ends_the_transaction_by_a_statement_is_found_out(storage, statements):
    storage.idempotency.claim(request())
    unit = storage.work.begin()
    for statement in statements:
        unit.handle.execute(statement)
    with pytest.raises(ConfigurationError, match="BG142"):
        unit.finish("k", "c1", DONE, None, 60, 1, event())
    unit.rollback()
    assert storage.idempotency.peek("k").state is RowState.CLAIMED
    assert ids(storage) == []
    assert storage.idempotency.claim(request("next", "n")).won


def test_commit_finds_it_out_as_well(storage):
    unit = storage.work.begin()
    unit.handle.execute("COMMIT")
    with pytest.raises(ConfigurationError, match="BG142"):
        unit.commit()
    assert storage.idempotency.claim(request()).won


def test_what_a_handler_sets_on_the_connection_does_not_last(storage):
    unit = storage.work.begin()
    unit.handle.row_factory = sqlite3.Row
    unit.handle.text_factory = bytes
    unit.commit()
    assert storage.idempotency.claim(request()).won
    assert storage.idempotency.peek("k").person == "ann"
    unit = storage.work.begin()
    assert unit.handle.execute("SELECT 'x'").fetchall() == [("x",)]
    unit.rollback()


def test_a_cursor_that_a_handler_left_half_read_does_not_block_the_writer(storage, path):
    unit = storage.work.begin()
    for n in range(10):
        order(unit.handle, str(n))
    half_read = unit.handle.execute("SELECT * FROM orders")
    half_read.fetchone()
    unit.commit()
    other = sqlite3.connect(path)
    order(other, "other")
    other.commit()
    other.close()
    assert storage.idempotency.claim(request()).won
    assert storage.idempotency.finish("k", "c1", DONE, b"r", 60, 1, event()) is Ack.APPLIED
    assert storage.work.begin().rollback() is None
    del half_read


def test_a_write_beside_the_own_unit_is_refused_at_once(storage):
    unit = storage.work.begin()
    started = time.monotonic()
    for call in (
        lambda: storage.idempotency.claim(request()),
        lambda: storage.idempotency.claim(request(), event()),
        lambda: storage.idempotency.finish("k", "c1", DONE, None, 1, 1, event()),
        lambda: storage.idempotency.finish("k", "c1", DONE, None, 1, 1),
        lambda: storage.idempotency.release("k", "c1"),
        lambda: storage.idempotency.extend("k", "c1", 1),
        lambda: storage.events.append(event()),
        lambda: storage.approvals.open(approval(), 60),
        storage.work.begin,
    ):
        with pytest.raises(StoreUnavailable, match="unit of work") as caught:
            call()
        assert caught.value.host_transaction
        assert caught.value.fix
        assert not caught.value.maybe_applied
    assert time.monotonic() - started < 0.5
    assert storage.idempotency.peek("k") is None, "looking is always possible"
    order(unit.handle, "tea")
    unit.commit()
    assert storage.idempotency.claim(request()).won


def test_also_through_another_storage_on_the_same_file(storage, path):
    with SqliteStorage(path, shared_limits=True) as twin:
        unit = storage.work.begin()
        started = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            twin.idempotency.claim(request())
        assert caught.value.host_transaction
        assert time.monotonic() - started < 0.5
        unit.rollback()
        assert twin.idempotency.claim(request()).won


def test_a_twin_that_waits_in_vain_leaves_the_unit_alone(storage, path):
    unit = storage.work.begin()
    order(unit.handle, "tea")
    errors = []

    def begin():
        with SqliteStorage(path, busy_timeout=0.05) as twin:
            for call in (twin.work.begin, lambda: twin.idempotency.claim(request())):
                try:
                    call()
                except StoreUnavailable as error:
                    errors.append(error.host_transaction)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert errors == [False, False]
    with pytest.raises(StoreUnavailable, match="this thread"):
        storage.idempotency.claim(request())
    unit.commit()
    assert orders(path) == ["tea"]
    assert storage.idempotency.claim(request()).won


def test_other_threads_wait_for_a_unit(storage):
    unit = storage.work.begin()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(storage.idempotency.claim(request()).won))
    thread.start()
    thread.join(0.05)
    assert answers == []
    unit.commit()
    thread.join(5)
    assert answers == [True]


def test_other_threads_do_not_wait_for_ever(path):
    with SqliteStorage(path, busy_timeout=0.05) as storage:
        unit = storage.work.begin()
        errors = []

        def claim():
            try:
                storage.idempotency.claim(request())
            except StoreUnavailable as error:
                errors.append(error)

        thread = threading.Thread(target=claim)
        thread.start()
        thread.join(5)
        assert "unit of work" in str(errors[0])
        assert not errors[0].host_transaction
        unit.rollback()


def test_a_forgotten_unit_is_rolled_back(storage, path):
    unit = storage.work.begin()
    order(unit.handle, "tea")
    del unit
    assert storage.idempotency.claim(request()).won
    assert orders(path) == []


def test_a_commit_that_fails_frees_the_writer(storage, path):
    unit = storage.work.begin()
    order(unit.handle, "tea")
    original = storage._writer._link.execute

    def fail(sql, *params):
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return original(sql, *params)

    storage._writer._link.execute = fail
    with pytest.raises(StoreUnavailable) as caught:
        unit.commit()
    assert caught.value.maybe_applied
    unit.rollback()
    assert orders(path) == []
    assert storage.idempotency.claim(request()).won


# ── the host's transaction, joined ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["", "IMMEDIATE", None])
def host(request, storage, path):
    connection = sqlite3.connect(path, isolation_level=request.param, timeout=0.1)
    yield connection
    connection.close()


def test_joined_writes_live_and_die_with_the_host(storage, path, host):
    for end, kept in (("ROLLBACK", False), ("COMMIT", True)):
        host.execute("BEGIN")
        order(host, "tea")
        joined = storage.joined(host)
        assert joined.colour == "sync"
        assert joined.idempotency.claim(request()).won
        assert joined.idempotency.peek("k").state is RowState.CLAIMED
        assert storage.idempotency.peek("k") is None
        unit = joined.work.begin()
        assert unit.handle is host
        order(unit.handle, "milk")
        assert unit.finish("k", "c1", DONE, b"r", 60, 1, event()) is Ack.APPLIED
        unit.commit()
        assert host.in_transaction, "the host commits"
        joined.events.append(event("e2"))
        assert [e.id for e in joined.events.tail()] == ["e1", "e2"]
        host.execute(end)
        assert orders(path) == (["tea", "milk"] if kept else [])
        assert (storage.idempotency.peek("k") is not None) is kept
        assert ids(storage) == (["e1", "e2"] if kept else [])


def test_an_attempt_is_undone_without_the_rest(storage, path, host):
    host.execute("BEGIN IMMEDIATE")
    order(host, "tea")
    joined = storage.joined(host)
    joined.idempotency.claim(request())
    for n in range(3):
        unit = joined.work.begin()
        order(host, f"attempt {n}")
        if n < 2:
            unit.rollback()
            unit.rollback()
        else:
            unit.finish("k", "c1", DONE, None, 60, 3, event())
            unit.commit()
    host.execute("COMMIT")
    assert orders(path) == ["tea", "attempt 2"]
    assert storage.idempotency.peek("k").attempts == 3


def test_where_no_transaction_is_open_it_begins_one_and_leaves_it_to_the_host(storage, path, host):
    joined = storage.joined(host)
    assert joined.idempotency.peek("k") is None
    assert not host.in_transaction
    joined.idempotency.claim(request())
    assert host.in_transaction
    order(host, "tea")
    host.rollback()
    assert storage.idempotency.peek("k") is None
    storage.joined(host).work.begin().commit()
    assert host.in_transaction
    host.commit()


@pytest.mark.parametrize("rows", [sqlite3.Row, lambda cursor, row: dict(zip("abc", row, strict=False))])
def test_all_stores_work_on_the_hosts_connection(path, clock, rows):
    with SqliteStorage(path, clock=clock, shared_limits=True) as storage:
        host = sqlite3.connect(path)
        host.row_factory = rows
        joined = storage.joined(host)
        assert joined.fingerprint_key == storage.fingerprint_key
        assert joined.for_async() is None
        assert joined.joined(host) is not joined
        claims, approvals = joined.idempotency, joined.approvals
        assert claims.claim(request(), event()).won
        assert not claims.claim(request(claim_id="c2")).won
        assert claims.extend("k", "c1", 5) is Ack.APPLIED
        assert claims.release("k", "c1") is Ack.APPLIED
        assert claims.purge() == 0
        claims.claim(request(claim_id="c3"))
        claims.finish("k", "c3", DONE, None, 1, 1)
        clock.now += 2
        assert claims.purge() == 1
        approvals.open(approval(), 60)
        assert approvals.by_token("t1").state is ApprovalState.OPEN
        assert approvals.decide("t1", ApprovalState.APPROVED).state is ApprovalState.APPROVED
        assert approvals.spend("s1", "k") is True
        assert approvals.by_subject("s1").spent_on == "k"
        assert storage.approvals.by_token("t1") is None
        assert joined.limits is not None
        host.commit()
        assert storage.approvals.by_token("t1").spent_on == "k"
        host.close()


@pytest.mark.parametrize("kind", ["other file", "memory", "no connection", "text_factory", "closed"])
def test_what_cannot_be_joined_says_why(storage, path, tmp_path, kind):
    if kind == "no connection":
        session = object()
    elif kind == "text_factory":
        session = sqlite3.connect(path)
        session.text_factory = bytes
    elif kind == "closed":
        session = sqlite3.connect(path)
        session.close()
    else:
        session = sqlite3.connect(":memory:" if kind == "memory" else tmp_path / "other.db")
    with pytest.raises(ConfigurationError, match=r"BG141.*Fix: ") as caught:
        storage.joined(session)
    assert caught.value.code == "BG141"
    assert caught.value.why
    if kind != "no connection":
        session.close()
    with pytest.raises(ConfigurationError, match="BG141"):
        storage.for_async().joined(None)


def test_a_link_to_the_same_file_is_the_same_file(storage, path, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    host = sqlite3.connect(link)
    host.execute("BEGIN")
    assert storage.joined(host).idempotency.claim(request()).won
    host.commit()
    host.close()
    assert storage.idempotency.peek("k") is not None


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_handler_that_ends_the_hosts_transaction_is_found_out(storage, host, statement):
    joined = storage.joined(host)
    unit = joined.work.begin()
    host.execute(statement)
    with pytest.raises(ConfigurationError, match="BG142"):
        unit.finish("k", "c1", DONE, None, 1, 1, event())
    unit.rollback()
    unit = joined.work.begin()
    host.execute(statement)
    with pytest.raises(ConfigurationError, match="BG142"):
        unit.commit()


def test_a_failed_operation_leaves_the_hosts_work_alone(storage, path, host):
    host.execute("BEGIN")
    order(host, "tea")
    joined = storage.joined(host)
    joined.idempotency.claim(request())
    with pytest.raises(sqlite3.Error):
        joined.idempotency.finish("k", "c1", DONE, b"r", 60, 1, event(reasons=object()))
    assert joined.idempotency.peek("k").state is RowState.CLAIMED
    host.commit()
    assert orders(path) == ["tea"]
    assert ids(storage) == []


def test_a_host_whose_read_transaction_is_too_old_to_write(storage, path):
    host = sqlite3.connect(path, isolation_level=None, timeout=0.1)
    host.execute("BEGIN")
    host.execute("SELECT * FROM orders").fetchall()
    storage.idempotency.claim(request("other", "o"))
    with pytest.raises(StoreUnavailable, match="BEGIN IMMEDIATE") as caught:
        storage.joined(host).idempotency.claim(request())
    assert caught.value.host_transaction
    host.close()


# ── the host's transaction, not joined ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs Linux's /proc/locks")
@pytest.mark.parametrize("call", ["claim", "finish", "begin", "append", "async"])
def test_the_hosts_own_lock_is_recognised_quickly(storage, path, call):
    host = sqlite3.connect(path, isolation_level=None)
    host.execute("BEGIN IMMEDIATE")
    order(host, "tea")

    async def claim():
        await storage.for_async().idempotency.claim(request())

    calls = {
        "claim": lambda: storage.idempotency.claim(request()),
        "finish": lambda: storage.idempotency.finish("k", "c1", DONE, None, 1, 1, event()),
        "begin": storage.work.begin,
        "append": lambda: storage.events.append(event()),
        "async": lambda: asyncio.run(claim()),
    }
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        calls[call]()
    assert 0.15 < time.monotonic() - started < 1
    assert caught.value.host_transaction
    assert "session=" in caught.value.fix
    assert not caught.value.maybe_applied
    host.execute("COMMIT")
    assert storage.idempotency.claim(request()).won
    host.close()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs Linux's /proc/locks")
def test_a_host_that_commits_in_time_is_waited_for(storage, path):
    host = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    host.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.1, lambda: host.execute("COMMIT"))
    timer.start()
    assert storage.idempotency.claim(request()).won
    timer.join()
    host.close()


def test_another_process_is_waited_for_and_is_not_the_host(path):
    with SqliteStorage(path, busy_timeout=0.4) as storage:
        locked, free = path.parent / "locked", path.parent / "free"

        def hold():
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            locked.touch()
            while not free.exists():
                time.sleep(0.001)
            other.execute("COMMIT")

        child = Child(hold)
        while not locked.exists():
            time.sleep(0.001)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="another process") as caught:
            storage.idempotency.claim(request())
        assert 0.35 < time.monotonic() - started < 2
        assert not caught.value.host_transaction
        timer = threading.Timer(0.1, free.touch)
        timer.start()
        assert storage.idempotency.claim(request()).won
        timer.join()
        child.value()


def test_looking_never_waits_for_a_writer(storage, path):
    storage.idempotency.claim(request())
    unit = storage.work.begin()
    host = sqlite3.connect(path, isolation_level=None)
    started = time.monotonic()
    for _ in range(100):
        assert storage.idempotency.peek("k").claim_id == "c1"
        storage.approvals.by_token("t")
        storage.events.tail()
    assert time.monotonic() - started < 1
    unit.rollback()
    host.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    for _ in range(100):
        assert storage.idempotency.peek("k").claim_id == "c1"
    assert time.monotonic() - started < 1
    host.close()
