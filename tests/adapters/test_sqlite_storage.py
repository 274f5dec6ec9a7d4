"""The file itself: how it is made, upgraded, closed, forked, and what happens when the disk says no."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
import warnings
from pathlib import Path

import pytest
from test_sqlite_kit import Child, Clock, event, request

from botguard.adapters.sqlite import SqliteStorage, schema
from botguard.errors import ConfigurationError, SchemaTooNew, StoreUnavailable
from botguard.ports.idempotency import Ack, RowState
from botguard.ports.storage import COMPLETION_WITH_EVENT

DONE = RowState.DONE


@pytest.fixture
def path(tmp_path):
    return tmp_path / "guard.db"


def open_files():
    names = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(handle.readlink()))
        except OSError:  # the handle that lists the folder
            continue
    return sorted(names)


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")


# ── what it declares ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_declares_what_it_is(path):
    with SqliteStorage(path) as storage:
        assert storage.colour == "sync"
        assert storage.atomic == {COMPLETION_WITH_EVENT}
        assert len(storage.fingerprint_key) == 32
        assert storage.limits is None
        assert storage.work.colour == storage.idempotency.colour == "sync"
        view = storage.for_async()
        assert view is storage.for_async() is view.for_async()
        assert view.colour == view.idempotency.colour == view.events.colour == view.approvals.colour == "async"
        assert view.work is None
        assert view.fingerprint_key == storage.fingerprint_key
        assert "guard.db" in repr(storage)


def test_the_fingerprint_key_is_made_once(path):
    with SqliteStorage(path) as first:
        key = first.fingerprint_key
    with SqliteStorage(path) as second:
        assert second.fingerprint_key == key


def test_it_works_in_wal_mode_with_the_sync_asked_for(path):
    for mode, number in (("FULL", 2), ("NORMAL", 1)):
        with SqliteStorage(path, synchronous=mode) as storage:
            execute = storage._writer._link.execute
            assert execute("PRAGMA journal_mode").fetchall() == [("wal",)]
            assert execute("PRAGMA synchronous").fetchall() == [(number,)]


@pytest.mark.parametrize("arguments", [{"path": ":memory:"}, {"path": ""}, {"path": "x.db", "synchronous": "OFF"}])
def test_what_cannot_keep_promises_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="BG145"):
        SqliteStorage(**arguments)


def test_a_path_with_odd_characters(tmp_path):
    odd = tmp_path / "a b?c#d%20é" / "g&=.db"
    odd.parent.mkdir()
    with SqliteStorage(odd) as storage:
        assert storage.idempotency.claim(request()).won
        assert storage._readers.look(lambda execute: execute("SELECT 1").fetchall()) == [(1,)]
    assert odd.exists()


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(StoreUnavailable, match="create its folder"):
        SqliteStorage(tmp_path / "none" / "guard.db")


def test_a_file_that_is_no_database(path):
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnavailable, match="no SQLite database"):
        SqliteStorage(path)


def test_the_hosts_own_tables_may_lie_in_the_same_file(path):
    host = sqlite3.connect(path)
    host.execute("CREATE TABLE orders (id)")
    host.commit()
    with SqliteStorage(path) as storage:
        storage.idempotency.claim(request())
    assert host.execute("SELECT COUNT(*) FROM orders").fetchone() == (0,)
    host.close()


# ── versions ─────────────────────────────────────────────────────────────────────────────────────────────────────────

V2 = (
    "ALTER TABLE botguard_claims ADD COLUMN colour TEXT NOT NULL DEFAULT 'green'",
    "CREATE TABLE botguard_extra (a)",
)


def version_of(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT value FROM botguard_meta WHERE name = 'schema_version'").fetchone()[0]
    finally:
        connection.close()


def test_an_older_file_is_brought_up_to_date_with_its_rows(path, monkeypatch):
    with SqliteStorage(path) as storage:
        storage.idempotency.claim(request())
        storage.events.append(event())
        key = storage.fingerprint_key
    assert version_of(path) == 1
    monkeypatch.setitem(schema.MIGRATIONS, 2, V2)
    with SqliteStorage(path) as storage:
        assert storage.idempotency.peek("k").claim_id == "c1"
        assert storage.events.tail() == [event()]
        assert storage.fingerprint_key == key
        assert storage._readers.look(lambda ex: ex("SELECT colour FROM botguard_claims").fetchall()) == [("green",)]
    assert version_of(path) == 2


def test_a_newer_file_is_refused_and_left_alone(path, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setitem(schema.MIGRATIONS, 2, V2)
        SqliteStorage(path).close()
    with pytest.raises(SchemaTooNew, match=r"version 2.*up to 1.*Fix: upgrade"):
        SqliteStorage(path)
    assert version_of(path) == 2


def test_an_upgrade_that_fails_half_way_leaves_the_old_version(path, monkeypatch):
    SqliteStorage(path).close()
    monkeypatch.setitem(schema.MIGRATIONS, 2, (V2[0], "CREATE TABLE botguard_claims (already_there)"))
    with pytest.raises(StoreUnavailable, match="already exists"):
        SqliteStorage(path)
    monkeypatch.delitem(schema.MIGRATIONS, 2)
    assert version_of(path) == 1
    with SqliteStorage(path) as storage:
        assert storage.idempotency.claim(request()).won


def test_upgrades_run_once_when_many_open_the_file(path, monkeypatch):
    SqliteStorage(path).close()
    monkeypatch.setitem(schema.MIGRATIONS, 2, V2)
    children = [Child(lambda: SqliteStorage(path).close()) for _ in range(4)]
    for child in children:
        child.value()
    assert version_of(path) == 2


# ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_close_everything_is_unavailable(path):
    storage = SqliteStorage(path)
    storage.close()
    storage.close()
    for call in (
        lambda: storage.idempotency.claim(request()),
        lambda: storage.idempotency.peek("k"),
        lambda: storage.idempotency.finish("k", "c1", DONE, None, 1, 1, event()),
        lambda: storage.events.append(event()),
        storage.events.tail,
        storage.work.begin,
    ):
        with pytest.raises(StoreUnavailable, match="closed") as caught:
            call()
        assert not caught.value.maybe_applied


def test_closing_while_a_unit_is_open_lets_the_unit_end(path):
    storage = SqliteStorage(path)
    unit = storage.work.begin()
    unit.handle.execute("CREATE TABLE t (a)")
    storage.close()
    unit.commit()
    with pytest.raises(StoreUnavailable, match="closed"):
        storage.idempotency.claim(request())
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT * FROM t").fetchall() == []
    connection.close()


@needs_proc
def test_close_leaves_no_open_file(path):
    before = open_files()
    with SqliteStorage(path, shared_limits=True) as storage:
        for n in range(20):
            threading.Thread(target=storage.idempotency.peek, args=(f"k{n}",)).start()
        storage.events.tail()
        storage.idempotency.claim(request())
        assert open_files() != before
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    assert open_files() == before


@needs_proc
def test_threads_that_ended_leave_no_files_behind(path):
    with SqliteStorage(path) as storage, warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            # a look-up inside the writer's time has to use a read connection
            barrier = threading.Barrier(8)
            unit = storage.work.begin()

            def look(barrier=barrier):
                barrier.wait()
                for _ in range(20):
                    storage.idempotency.peek("k")

            threads = [threading.Thread(target=look) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            unit.rollback()
            gc.collect()
        assert len([name for name in open_files() if name.endswith("guard.db")]) <= 1 + 8


def test_a_forgotten_storage_closes_its_connections_and_its_thread(path):
    import asyncio

    async def use(storage):
        await storage.for_async().idempotency.claim(request())

    storage = SqliteStorage(path)
    asyncio.run(use(storage))
    thread = storage._group._thread
    assert thread.is_alive()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del storage
        gc.collect()
    thread.join(5)
    assert not thread.is_alive()


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_eight_processes_make_the_file_at_once(path):
    start = path.parent / "go"

    def make():
        while not start.exists():
            pass
        with SqliteStorage(path) as storage:
            return storage.fingerprint_key, storage.idempotency.claim(request(claim_id=f"c{os.getpid()}")).won

    children = [Child(make) for _ in range(8)]
    start.touch()
    answers = [child.value() for child in children]
    assert len({key for key, _ in answers}) == 1
    assert [won for _, won in answers].count(True) == 1


def test_a_child_opens_connections_of_its_own(path):
    with SqliteStorage(path, clock=Clock()) as storage:
        storage.idempotency.claim(request("parent", "p"))
        storage.idempotency.peek("parent")
        before = storage._writer._link

        def child():
            assert storage._writer._link is not before
            assert storage._writer._link.connection is None, "nothing is inherited"
            assert storage.idempotency.claim(request("child", "c")).won
            assert storage.idempotency.finish("child", "c", DONE, b"r", 60, 1, event("child")) is Ack.APPLIED
            return storage.idempotency.peek("parent").claim_id

        first, second = Child(child), Child(lambda: storage.idempotency.peek("parent").claim_id)
        assert storage.idempotency.claim(request("after", "a")).won
        assert first.value() == second.value() == "p"
        assert storage.idempotency.peek("child").state is DONE
        assert [e.id for e in storage.events.tail()] == ["child"]


def test_a_parent_may_close_while_its_child_works(path):
    """The trap: a child that inherits SQLite's memory of the parent's locks holds none of them itself."""
    storage = SqliteStorage(path)
    storage.idempotency.claim(request("parent", "p"))
    go = path.parent / "go"

    def child():
        assert storage.idempotency.claim(request("early", "e")).won
        while not go.exists():
            pass
        return [storage.idempotency.claim(request(f"late{n}", f"l{n}")).won for n in range(50)]

    worker = Child(child)
    storage.close()
    for _ in range(5):  # a process that comes and goes would checkpoint and delete the log under an unlocked reader
        with SqliteStorage(path) as other:
            other.idempotency.peek("parent")
    go.touch()
    assert all(worker.value())
    with SqliteStorage(path) as other:
        assert all(other.idempotency.peek(f"late{n}") for n in range(50))
        assert other._readers.look(lambda ex: ex("PRAGMA integrity_check").fetchall()) == [("ok",)]


def test_a_fork_while_other_threads_work(path):
    with SqliteStorage(path, synchronous="NORMAL") as storage:
        stop = threading.Event()

        def work(name):
            n = 0
            while not stop.is_set():
                n += 1
                assert storage.idempotency.claim(request(f"{name}-{n}", f"{name}-{n}")).won
                assert storage.idempotency.peek(f"{name}-{n}") is not None

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        try:
            for n in range(5):
                child = Child(lambda n=n: storage.idempotency.claim(request(f"child{n}", f"child{n}")).won)
                assert child.value()
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_a_child_of_an_open_unit_of_work_is_refused_instead_of_corrupting(path, monkeypatch):
    monkeypatch.setattr("botguard.adapters.sqlite.readers._FORK_PATIENCE", 0.05)
    with SqliteStorage(path) as storage:
        unit = storage.work.begin()
        unit.handle.execute("CREATE TABLE t (a)")

        def child():
            answers = []
            for call in (lambda: storage.idempotency.claim(request()), lambda: storage.idempotency.peek("k")):
                try:
                    call()
                except StoreUnavailable as error:
                    answers.append("forked" in str(error))
            return answers

        assert Child(child).value() == [True, True]
        unit.handle.execute("INSERT INTO t VALUES (1)")
        unit.commit()
        assert storage.idempotency.claim(request()).won, "the parent goes on"


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_disk_is_unavailable_and_heals(path):
    with SqliteStorage(path) as storage:
        claims = storage.idempotency
        assert claims.claim(request("before", "b")).won
        execute = storage._writer._link.execute
        pages = execute("PRAGMA page_count").fetchall()[0][0]
        execute(f"PRAGMA max_page_count={pages}").fetchall()
        error = None
        for n in range(1000):
            try:
                claims.claim(request(f"k{n}", f"c{n}"))
            except StoreUnavailable as caught:
                error = caught
                break
        assert "free space" in error.fix
        assert error.maybe_applied
        with pytest.raises(StoreUnavailable, match="free space") as caught:
            claims.finish("before", "b", DONE, b"x" * 60_000, 60, 1, event())
        assert not caught.value.maybe_applied, "it failed before the commit"
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert claims.peek("before").state is RowState.CLAIMED
        assert not storage._writer._link.connection.in_transaction
        storage._writer._link.execute("PRAGMA max_page_count=1000000").fetchall()
        assert claims.finish("before", "b", DONE, b"x" * 60_000, 60, 1, event()) is Ack.APPLIED
        assert claims.claim(request("after", "a")).won


class Faulty:
    """In place of ``execute``: fails, as SQLite would, at one statement."""

    def __init__(self, execute, at, code, name, kind=sqlite3.OperationalError, *, after=False):
        self.execute, self.at, self.after, self.seen = execute, at, after, []
        self.error = kind("planted")
        self.error.sqlite_errorcode, self.error.sqlite_errorname = code, name

    def __call__(self, sql, *params):
        self.seen.append(sql)
        if self.at and sql.lstrip().startswith(self.at):
            if self.after:
                self.execute(sql, *params)
            self.at = None
            raise self.error
        return self.execute(sql, *params)


def plant(storage, at, code=sqlite3.SQLITE_IOERR, name="SQLITE_IOERR", **options):
    link = storage._writer._link
    faulty = Faulty(link.execute, at, code, name, **options)
    link.execute = storage._writer._execute = faulty
    return faulty


@pytest.mark.parametrize(
    ("at", "maybe"), [("BEGIN", False), ("UPDATE", False), ("INSERT INTO botguard_events", False), ("COMMIT", True)]
)
@pytest.mark.parametrize("after", [False, True])
def test_a_fault_at_each_statement_of_a_completion(path, at, maybe, after):
    with SqliteStorage(path) as storage:
        claims = storage.idempotency
        claims.claim(request())
        plant(storage, at, after=after)
        with pytest.raises(StoreUnavailable) as caught:
            claims.finish("k", "c1", DONE, b"r", 60, 1, event())
        assert caught.value.maybe_applied is maybe
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        applied = at == "COMMIT" and after
        assert claims.peek("k").state is (DONE if applied else RowState.CLAIMED)
        assert len(storage.events.tail()) == applied
        assert claims.finish("k", "c1", DONE, b"r", 60, 1, event()) is (Ack.ALREADY if applied else Ack.APPLIED)
        assert len(storage.events.tail()) == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_claim_whose_answer_was_lost_is_known_by_its_id(path, after):
    with SqliteStorage(path) as storage:
        plant(storage, "INSERT", after=after)
        with pytest.raises(StoreUnavailable) as caught:
            storage.idempotency.claim(request())
        assert caught.value.maybe_applied
        assert storage.idempotency.claim(request()).won
        assert storage.idempotency.peek("k").claim_id == "c1"


def test_a_commit_that_is_refused_as_busy_was_not_applied_and_is_repeated(path):
    with SqliteStorage(path) as storage:
        storage.idempotency.claim(request())
        plant(storage, "COMMIT", sqlite3.SQLITE_BUSY, "SQLITE_BUSY")
        assert storage.idempotency.finish("k", "c1", DONE, b"r", 60, 1, event()) is Ack.APPLIED
        assert len(storage.events.tail()) == 1


def test_a_read_that_fails_once_is_repeated_on_a_fresh_connection(path):
    with SqliteStorage(path) as storage:
        storage.idempotency.claim(request())
        storage.events.tail()
        link = storage._readers._idle[-1]
        link.execute = Faulty(link.execute, "SELECT", sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", sqlite3.DatabaseError)
        assert storage.events.tail() == []
        assert link.connection is None


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at", ["BEGIN", "UPDATE", "INSERT INTO botguard_events", "COMMIT"])
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_at_each_statement_rolls_back_and_frees_the_lock(path, at, after, interrupt):
    with SqliteStorage(path) as storage:
        claims = storage.idempotency
        claims.claim(request())
        faulty = plant(storage, at, after=after)
        faulty.error = interrupt()
        with pytest.raises(interrupt):
            claims.finish("k", "c1", DONE, b"r", 60, 1, event())
        assert not storage._writer._gate.mutex.locked()
        assert not storage._writer._link.connection.in_transaction
        applied = at == "COMMIT" and after
        assert claims.peek("k").state is (DONE if applied else RowState.CLAIMED)
        assert claims.claim(request("other", "o")).won


def test_tables_that_somebody_dropped(path):
    with SqliteStorage(path) as storage:
        other = sqlite3.connect(path)
        other.execute("DROP TABLE botguard_claims")
        other.commit()
        other.close()
        with pytest.raises(StoreUnavailable, match="no such table"):
            storage.idempotency.claim(request())
        with pytest.raises(StoreUnavailable, match="no such table"):
            storage.idempotency.peek("k")


def test_a_file_that_was_deleted_does_not_come_back_empty(path):
    with SqliteStorage(path) as storage:
        storage._writer._drop()
        for file in path.parent.glob("guard.db*"):
            file.unlink()
        with pytest.raises(StoreUnavailable):
            storage.idempotency.claim(request())
        assert not path.exists()
