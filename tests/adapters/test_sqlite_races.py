"""Threads and processes on one file: one winner for each key, whatever the interleaving."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time

import pytest
from test_sqlite_kit import Child, Clock, event, request

from botguard.adapters.sqlite import SqliteStorage
from botguard.ports.idempotency import Ack, RowState

DONE = RowState.DONE
PROCESSES, THREADS, KEYS = 4, 8, 200


def storm(storage, name, work):
    """Run ``work(thread number)`` in threads; what they return comes back in one list."""
    results, errors = [], []

    def body(n):
        try:
            results.extend(work(f"{name}-{n}"))
        except BaseException as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=body, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return results


@pytest.mark.parametrize("fresh", [True, False], ids=["each opens the file", "forked after connect"])
def test_four_processes_of_eight_threads_race_for_200_keys(tmp_path, fresh):
    path = tmp_path / "guard.db"
    shared = SqliteStorage(path, synchronous="NORMAL", busy_timeout=30)
    shared.idempotency.peek("k")

    def race(name):
        storage = SqliteStorage(path, synchronous="NORMAL", busy_timeout=30) if fresh else shared

        def work(thread):
            order = list(range(KEYS))
            random.Random(thread).shuffle(order)
            won = []
            for n in order:
                key, claim_id = f"key{n}", f"{thread}-{n}"
                storage.idempotency.peek(key)
                if storage.idempotency.claim(request(key, claim_id)).won:
                    ack = storage.idempotency.finish(key, claim_id, DONE, thread.encode(), 60, 1, event(claim_id))
                    assert ack is Ack.APPLIED
                    won.append((key, thread))
            return won

        return storm(storage, name, work)

    children = [Child(lambda n=n: race(f"p{n}")) for n in range(PROCESSES)]
    won = [pair for child in children for pair in child.value()]
    assert len(won) == KEYS
    assert len(dict(won)) == KEYS, "one winner for each key"
    for key, thread in won:
        assert shared.idempotency.peek(key).result == thread.encode()
    assert len(shared.events.tail(1000)) == KEYS
    shared.close()


def test_of_all_who_take_over_an_abandoned_claim_one_wins(tmp_path):
    clock = Clock()
    with SqliteStorage(tmp_path / "guard.db", synchronous="NORMAL", clock=clock, busy_timeout=30) as storage:
        for n in range(50):
            storage.idempotency.claim(request(f"key{n}", f"dead{n}"))
        clock.now += 31

        def race(name):
            def work(thread):
                return [
                    (n, answer.fence)
                    for n in range(50)
                    if (answer := storage.idempotency.claim(request(f"key{n}", f"{thread}-{n}"))).won
                ]

            return storm(storage, name, work)

        children = [Child(lambda n=n: race(f"p{n}")) for n in range(2)]
        won = race("parent")
        won += [pair for child in children for pair in child.value()]
        assert sorted(n for n, _ in won) == list(range(50))
        assert dict(won) == {n: storage.idempotency.peek(f"key{n}").fence for n in range(50)}


def test_fences_of_one_key_never_repeat_or_fall(tmp_path):
    with SqliteStorage(tmp_path / "guard.db", synchronous="NORMAL", clock=Clock()) as storage:

        def work(thread):
            fences = []
            for n in range(50):
                answer = storage.idempotency.claim(request("k", f"{thread}-{n}"))
                if answer.won:
                    fences.append(answer.fence)
                    assert storage.idempotency.release("k", f"{thread}-{n}") is Ack.APPLIED
            assert fences == sorted(fences)
            return fences

        fences = storm(storage, "p", work)
        assert len(fences) == len(set(fences)) > 50


def test_units_of_work_and_claims_of_many_threads(tmp_path):
    with SqliteStorage(tmp_path / "guard.db", synchronous="NORMAL", busy_timeout=30) as storage:
        unit = storage.work.begin()
        unit.handle.execute("CREATE TABLE effects (key TEXT)")
        unit.commit()

        def work(thread):
            done = []
            for n in range(20):
                key, claim_id = f"key{n}", f"{thread}-{n}"
                if not storage.idempotency.claim(request(key, claim_id)).won:
                    continue
                for attempt in range(3):
                    unit = storage.work.begin()
                    unit.handle.execute("INSERT INTO effects VALUES (?)", (key,))
                    if attempt < 2:
                        unit.rollback()
                        continue
                    assert unit.finish(key, claim_id, DONE, None, 60, 3, event(claim_id)) is Ack.APPLIED
                    unit.commit()
                    done.append(key)
            return done

        done = storm(storage, "p", work)
        assert sorted(done) == sorted({f"key{n}" for n in range(20)})
        other = sqlite3.connect(tmp_path / "guard.db")
        assert sorted(key for (key,) in other.execute("SELECT key FROM effects")) == sorted(done)
        other.close()


def test_killed_processes_leave_a_sound_file_and_whole_runs(tmp_path):
    path = tmp_path / "guard.db"
    SqliteStorage(path).close()

    def work(name):
        with SqliteStorage(path, synchronous="NORMAL", busy_timeout=30) as storage:
            for n in range(1_000_000):
                key = f"{name}-{n}"
                storage.idempotency.claim(request(key, key))
                unit = storage.work.begin()
                assert unit.finish(key, key, DONE, b"r" * 500, 60, 1, event(key)) is Ack.APPLIED
                unit.commit()

    for turn in range(4):
        children = [Child(lambda n=n, turn=turn: work(f"{turn}-{n}")) for n in range(2)]
        time.sleep(0.05 + 0.02 * turn)
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
            os.close(child._reads)
            os.waitpid(child.pid, 0)
    with SqliteStorage(path) as storage:
        check = sqlite3.connect(path)
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        done = check.execute("SELECT key, event_id FROM botguard_claims WHERE state = 'done' ORDER BY key").fetchall()
        events = check.execute("SELECT id, id FROM botguard_events ORDER BY id").fetchall()
        check.close()
        assert done == events, "an event for each completion, and none without"
        assert len(done) > 10
        assert storage.idempotency.claim(request()).won


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs Unix timers")
def test_ctrl_c_at_any_moment_leaves_no_lock_and_no_transaction(tmp_path):
    chance, hits = random.Random(1), 0

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with SqliteStorage(tmp_path / "guard.db", synchronous="NORMAL", busy_timeout=2) as storage:
            claims, until, n = storage.idempotency, time.monotonic() + 1.5, 0
            while time.monotonic() < until:
                n += 1
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 3e-4))
                    for m in range(30):
                        key = f"{n}-{m}"
                        claims.peek(key)
                        claims.claim(request(key, key))
                        claims.claim(request(key, "other"))
                        claims.finish(key, key, DONE, b"r", 60, 1, event(key))
                        unit = storage.work.begin()
                        unit.finish(key, key, DONE, b"r", 60, 1, event(key))
                        unit.rollback()
                except KeyboardInterrupt:
                    hits += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                unit = None
                assert claims.claim(request(f"after-{n}", f"after-{n}")).won
                storage.work.begin().rollback()
                assert not storage._writer._gate.mutex.locked()
                assert storage._writer._gate.owner is None
                assert not storage._writer._link.connection.in_transaction
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits > 50
