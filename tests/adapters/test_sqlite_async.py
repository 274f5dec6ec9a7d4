"""The view for event loops: group commit, cancellation, loops that come and go."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import warnings

import pytest
from test_sqlite_kit import Child, Clock, approval, event, request

from botguard.adapters.sqlite import SqliteStorage, group
from botguard.errors import StoreUnavailable
from botguard.ports.approvals import ApprovalState
from botguard.ports.idempotency import Ack, RowState
from botguard.ports.limits import Limit

DONE, FAILED, UNKNOWN = RowState.DONE, RowState.FAILED, RowState.UNKNOWN


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def storage(tmp_path, clock):
    with SqliteStorage(tmp_path / "guard.db", clock=clock, shared_limits=True) as storage:
        yield storage


@pytest.fixture
def view(storage):
    return storage.for_async()


@pytest.fixture
def batches(monkeypatch):
    """How many operations each commit held."""
    sizes = []
    commit = group._commit

    def spy(writer, items):
        sizes.append(len(items))
        commit(writer, items)

    monkeypatch.setattr(group, "_commit", spy)
    return sizes


class Held:
    """Keeps the writer busy, so that operations gather behind it."""

    def __init__(self, storage):
        self.storage = storage

    def __enter__(self):
        self.mutex = self.storage._writer._gate.mutex
        self.mutex.acquire()

    def __exit__(self, *exc_info):
        self.mutex.release()


async def taken_up(storage):
    while not storage._group._queue.empty():
        await asyncio.sleep(0)


async def held_up(storage, *awaitables):
    """Hand operations over while the thread is at work on another one, so that they share the next commit."""
    with Held(storage):
        first = asyncio.ensure_future(storage.for_async().events.append(event("first")))
        await taken_up(storage)
        rest = [asyncio.ensure_future(make()) for make in awaitables]
        await asyncio.sleep(0)
    await first
    return await asyncio.gather(*rest, return_exceptions=True)


def test_a_run(view, storage):
    async def main():
        claims = view.idempotency
        assert claims.peek("k") is None
        answer = await claims.claim(request())
        assert answer.won
        assert (await claims.claim(request(claim_id="c2"))).row.claim_id == "c1"
        assert await claims.extend("k", "c1", 60) is Ack.APPLIED
        assert await claims.finish("k", "c1", DONE, b"r", 60, 1, event()) is Ack.APPLIED
        assert await claims.finish("k", "c1", DONE, b"r", 60, 1, event()) is Ack.ALREADY
        assert claims.peek("k").result == b"r"
        await view.events.append(event("e2"))
        assert [e.id for e in await view.events.tail()] == ["e1", "e2"]
        assert [e.id for e in await view.events.tail(1, org="acme")] == ["e2"]

    asyncio.run(main())
    assert storage.idempotency.peek("k").state is DONE


def test_all_other_operations(view, clock):
    async def main():
        claims, approvals, limits = view.idempotency, view.approvals, view.limits
        await claims.claim(request(), event("started"))
        assert await claims.release("k", "c1") is Ack.APPLIED
        await claims.claim(request(claim_id="c2"))
        await claims.finish("k", "c2", FAILED, None, 5, 1)
        clock.now += 5
        assert await claims.purge() == 1
        assert await claims.purge() == 0
        opened = await approvals.open(approval(), 60)
        assert approvals.by_token("t1") == approvals.by_subject("s1") == opened
        assert (await approvals.decide("t1", ApprovalState.APPROVED)).state is ApprovalState.APPROVED
        assert await approvals.spend("s1", "k") is True
        clock.now += 86400 + 60
        assert await approvals.purge() == 1
        one = (Limit("1/min", 1, 60.0, "fixed-window", "user", "t"),)
        taken = await limits.reserve(one, ("ann",), "t1")
        assert taken.granted
        assert not limits.test(one, ("ann",)).granted
        await limits.refund(one, ("ann",), taken)
        await limits.release(one, ("ann",), taken)
        assert limits.test(one, ("ann",)).granted
        assert [e.id for e in await view.events.tail()] == ["started"]

    asyncio.run(main())


def test_many_callers_share_commits(view, storage, batches):
    async def run(n):
        key, claim_id = f"k{n}", f"c{n}"
        assert (await view.idempotency.claim(request(key, claim_id))).won
        assert await view.idempotency.finish(key, claim_id, DONE, b"%d" % n, 60, 1, event(f"e{n}")) is Ack.APPLIED

    async def main():
        await asyncio.gather(*[run(n) for n in range(300)])

    asyncio.run(main())
    assert sum(batches) == 600
    assert len(batches) < 100
    assert {storage.idempotency.peek(f"k{n}").result for n in range(300)} == {b"%d" % n for n in range(300)}
    assert {e.id for e in storage.events.tail(1000)} == {f"e{n}" for n in range(300)}
    assert all(storage.idempotency.peek(f"k{n}").event_id == f"e{n}" for n in range(300))


def test_twins_in_one_batch_have_one_winner_each(view, storage, batches):
    async def main():
        claims = [
            lambda n=n, m=m: view.idempotency.claim(request(f"k{n}", f"c{n}-{m}")) for m in range(3) for n in range(20)
        ]
        answers = await held_up(storage, *claims)
        for n in range(20):
            twins = [answers[m * 20 + n] for m in range(3)]
            assert [twin.won for twin in twins] == [True, False, False]
            assert {twin.row.claim_id for twin in twins[1:]} == {f"c{n}-0"}

    asyncio.run(main())
    assert batches == [1, 60]


def test_lost_and_repeated_completions_among_good_ones(view, storage, batches):
    async def main():
        claims = view.idempotency
        await asyncio.gather(*[claims.claim(request(f"k{n}", f"c{n}")) for n in range(32)])
        await claims.finish("k7", "c7", DONE, b"before", 60, 1, event("before"))
        batches.clear()
        answers = await held_up(
            storage,
            *[
                lambda n=n: claims.finish(f"k{n}", "thief" if n == 3 else f"c{n}", DONE, b"r", 60, 1, event(f"e{n}"))
                for n in range(32)
            ],
        )
        assert answers[3] is Ack.LOST
        assert answers[7] is Ack.ALREADY
        assert [a for n, a in enumerate(answers) if n not in (3, 7)] == [Ack.APPLIED] * 30

    asyncio.run(main())
    assert batches == [1, 32]
    stored = {e.id for e in storage.events.tail(100)}
    assert stored == {"first", "before", *(f"e{n}" for n in range(32) if n not in (3, 7))}
    assert storage.idempotency.peek("k7").result == b"before"
    assert storage.idempotency.peek("k3").state is RowState.CLAIMED


def test_operations_on_one_row_keep_their_order(view, storage):
    async def main():
        claims = view.idempotency
        answers = await held_up(
            storage,
            lambda: claims.claim(request(claim_id="c1")),
            lambda: claims.release("k", "c1"),
            lambda: claims.claim(request(claim_id="c2")),
            lambda: claims.finish("k", "c2", DONE, b"r", 60, 1, event("e")),
            lambda: claims.claim(request(claim_id="c3")),
            lambda: claims.finish("k", "c2", DONE, b"again", 60, 1, event("e")),
        )
        assert answers[0].won
        assert answers[1] is Ack.APPLIED
        assert answers[2].won
        assert answers[3] is Ack.APPLIED
        assert answers[4].row.state is DONE
        assert answers[5] is Ack.ALREADY

    asyncio.run(main())


def test_one_bad_operation_does_not_spoil_the_others(view, storage, batches):
    async def main():
        claims = view.idempotency
        await claims.claim(request("bad", "b"))
        batches.clear()
        answers = await held_up(
            storage,
            *[lambda n=n: claims.claim(request(f"k{n}", f"c{n}")) for n in range(10)],
            lambda: claims.finish("bad", "b", DONE, b"r", 60, 1, event("bad", reasons=object())),
            *[lambda n=n: view.events.append(event(f"e{n}")) for n in range(10)],
        )
        assert all(answer.won for answer in answers[:10])
        assert isinstance(answers[10], sqlite3.Error)
        assert answers[11:] == [None] * 10

    asyncio.run(main())
    assert batches == [1, 21]
    assert storage.idempotency.peek("bad").state is RowState.CLAIMED
    assert [e.id for e in storage.events.tail()] == ["first", *(f"e{n}" for n in range(10))]


def test_a_commit_that_fails_fails_its_whole_batch(view, storage, batches):
    async def main():
        claims = view.idempotency
        await claims.claim(request("before", "b"))
        link = storage._writer._link
        original = link.execute

        def fail(sql, *params):
            if sql == "COMMIT" and len(batches) == 3:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR, "SQLITE_IOERR"
                raise error
            return original(sql, *params)

        link.execute = storage._writer._execute = fail
        answers = await held_up(storage, *[lambda n=n: claims.claim(request(f"k{n}", f"c{n}")) for n in range(5)])
        assert all(isinstance(answer, StoreUnavailable) and answer.maybe_applied for answer in answers)
        assert len({id(answer) for answer in answers}) == 5, "each has an exception of its own"
        assert claims.peek("k0") is None
        assert (await claims.claim(request("k0", "again"))).won

    asyncio.run(main())


def test_a_cancelled_caller_does_not_withdraw_the_operation(view, storage):
    async def main():
        claims = view.idempotency
        with Held(storage):
            tasks = [asyncio.ensure_future(claims.claim(request(f"k{n}", f"c{n}"))) for n in range(20)]

            async def wait(task):
                return await task

            waiting = [asyncio.create_task(wait(task)) for task in tasks]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
            await asyncio.sleep(0)
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
        assert all(answer.won for answer in answers[1::2])
        assert (await claims.claim(request("other", "o"))).won, "the thread lives"
        for n in range(20):
            assert claims.peek(f"k{n}").claim_id == f"c{n}"
            assert await claims.release(f"k{n}", f"c{n}") is Ack.APPLIED

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()


def test_a_cancelled_claim_and_its_release_in_one_batch(view, storage):
    async def main():
        claims = view.idempotency
        with Held(storage):
            first = asyncio.ensure_future(view.events.append(event()))
            await taken_up(storage)

            async def claim():
                try:
                    await claims.claim(request())
                except asyncio.CancelledError:
                    releases.append(asyncio.ensure_future(claims.release("k", "c1")))
                    raise

            releases = []
            task = asyncio.create_task(claim())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
        await first
        assert await releases[0] is Ack.APPLIED
        assert claims.peek("k") is None

    asyncio.run(main())


def test_a_loop_that_was_closed_is_no_concern_of_the_thread(view, storage):
    loop = asyncio.new_event_loop()

    async def hand_over():
        view.idempotency.claim(request("orphan", "o"))

    with Held(storage):
        loop.run_until_complete(hand_over())
        loop.close()

    async def main():
        assert (await view.idempotency.claim(request())).won
        assert view.idempotency.peek("orphan").claim_id == "o"

    asyncio.run(main())
    asyncio.run(main_again(view))


async def main_again(view):
    assert (await view.idempotency.claim(request("again", "a"))).won


def test_a_view_works_on_though_nobody_holds_the_storage(tmp_path):
    view = SqliteStorage(tmp_path / "other.db").for_async()
    claims = view.idempotency
    asyncio.run(main_again(view))
    del view
    gc.collect()

    async def main():
        assert (await claims.claim(request())).won

    asyncio.run(main())


def test_several_loops_at_once(view, storage):
    winners, lock = [], threading.Lock()

    def loop(n):
        async def main():
            answers = await asyncio.gather(*[view.idempotency.claim(request(f"k{m}", f"c{n}-{m}")) for m in range(50)])
            with lock:
                winners.extend(m for m, answer in enumerate(answers) if answer.won)

        asyncio.run(main())

    threads = [threading.Thread(target=loop, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == list(range(50))


def test_the_thread_starts_with_the_first_write(view, storage):
    async def look():
        view.idempotency.peek("k")

    asyncio.run(look())
    assert storage._group._thread is None
    asyncio.run(main_again(view))
    assert storage._group._thread.daemon


def test_it_works_in_a_child_too(view, storage):
    asyncio.run(main_again(view))

    def child():
        async def main():
            assert view.idempotency.peek("again").claim_id == "a"
            return (await view.idempotency.claim(request("child", "c"))).won

        return asyncio.run(main())

    assert Child(child).value()
    assert storage.idempotency.peek("child") is not None

    async def after():
        return (await view.idempotency.claim(request("after", "c"))).won

    assert asyncio.run(after())


def test_close_carries_out_what_was_handed_over(tmp_path):
    storage = SqliteStorage(tmp_path / "guard.db")
    view = storage.for_async()

    async def main():
        futures = [view.idempotency.claim(request(f"k{n}", f"c{n}")) for n in range(600)]
        await asyncio.to_thread(storage.close)
        assert all(answer.won for answer in await asyncio.gather(*futures))
        with pytest.raises(StoreUnavailable, match="closed"):
            await view.idempotency.claim(request("late", "l"))
        with pytest.raises(StoreUnavailable, match="closed"):
            view.idempotency.peek("k0")

    asyncio.run(main())
    with SqliteStorage(tmp_path / "guard.db") as again:
        assert again.idempotency.peek("k599") is not None


def test_a_look_up_does_not_wait_for_the_writer(view, storage):
    async def main():
        await view.idempotency.claim(request())
        unit = storage.work.begin()
        assert view.idempotency.peek("k").claim_id == "c1"
        assert view.approvals.by_token("t") is None
        unit.rollback()

    asyncio.run(main())


def test_a_unit_of_another_thread_is_waited_for(view, storage):
    async def main():
        unit = storage.work.begin()
        claim = asyncio.ensure_future(view.idempotency.claim(request()))
        await asyncio.sleep(0.02)
        assert not claim.done()
        unit.commit()
        assert (await claim).won

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(5))
def test_batches_answer_as_single_operations_do(tmp_path, seed):
    """The same random operations, once in batches and once one by one, end in the same answers and rows."""
    import random

    chance = random.Random(seed)
    calls = []
    for n in range(400):
        key, claim_id = f"k{chance.randrange(12)}", f"c{chance.randrange(30)}"
        match chance.randrange(6):
            case 0 | 1:
                calls.append(("claim", (request(key, claim_id, takeover=chance.random() < 0.5),)))
            case 2 | 3:
                state = chance.choice([DONE, DONE, FAILED, UNKNOWN])
                last = event(f"e{n}") if chance.random() < 0.8 else None
                calls.append(("finish", (key, claim_id, state, b"%d" % n, 60, n, last)))
            case 4:
                calls.append(("release", (key, claim_id)))
            case _:
                calls.append(("extend", (key, claim_id, 30.0)))

    with SqliteStorage(tmp_path / "one", clock=Clock()) as one:
        expected = [getattr(one.idempotency, name)(*args) for name, args in calls]
        rows = [one.idempotency.peek(f"k{n}") for n in range(12)]
        trail = [e.id for e in one.events.tail(1000)]

    with SqliteStorage(tmp_path / "many", clock=Clock()) as many:

        async def main():
            with Held(many):
                futures = [getattr(many.for_async().idempotency, name)(*args) for name, args in calls]
            return await asyncio.gather(*futures)

        got = asyncio.run(main())

        def plain(answer):
            return answer if isinstance(answer, Ack) else (answer.won, answer.row and answer.row._replace(fence=0))

        assert [plain(a) for a in got] == [plain(a) for a in expected]
        assert [r and r._replace(fence=0) for r in (many.idempotency.peek(f"k{n}") for n in range(12))] == [
            r and r._replace(fence=0) for r in rows
        ]
        assert sorted(e.id for e in many.events.tail(1000)) == sorted(trail)
