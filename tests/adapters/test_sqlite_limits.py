"""Shared limits: they decide as the limiter in memory does, for all processes together."""

from __future__ import annotations

import random
import threading

import pytest
from test_sqlite_kit import Child, Clock

from botguard.adapters.sqlite import SqliteStorage
from botguard.limiter import LocalLimiter
from botguard.ports.limits import Limit

STRATEGIES = ["fixed-window", "moving-window", "sliding-window-counter", "concurrent"]


@pytest.fixture
def clock():
    return Clock(1_700_000_040.0)  # the beginning of a minute


@pytest.fixture
def storage(tmp_path, clock):
    with SqliteStorage(tmp_path / "guard.db", clock=clock, shared_limits=True) as storage:
        yield storage


@pytest.fixture
def limits(storage):
    return storage.limits


def limit(strategy="fixed-window", amount=2, window=60.0, tag="t"):
    return Limit(f"{amount}/{strategy}", amount, window, strategy, "user", tag)


def rows(storage):
    return storage._readers.look(lambda ex: ex("SELECT COUNT(*) FROM botguard_limits WHERE used > 0").fetchall()[0][0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_limit_admits_its_amount_and_then_says_when(limits, strategy):
    one = (limit(strategy),)
    for n in range(2):
        assert limits.test(one, ("ann",)).granted
        taken = limits.reserve(one, ("ann",), f"token{n}")
        assert taken.granted
        assert taken.limit is None
    refused = limits.reserve(one, ("ann",), "token2")
    assert not refused.granted
    assert refused.limit == one[0]
    assert 0 < refused.retry_after <= 120
    assert limits.test(one, ("ann",)) == refused
    assert limits.reserve(one, ("bob",), "token3").granted
    assert limits.reserve((limit(strategy, tag="other"),), ("ann",), "token4").granted, "the tag separates too"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_test_counts_nothing(storage, limits, strategy):
    for _ in range(5):
        assert limits.test((limit(strategy),), ("ann",)).granted
    assert rows(storage) == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("place", [0, 1])
def test_all_or_nothing(storage, limits, strategy, place):
    open_, full = limit("moving-window", 100, tag="open"), limit(strategy, 1, tag="full")
    limits.reserve((full,), ("ann",), "first")
    both = (full, open_) if place == 0 else (open_, full)
    before = rows(storage)
    refused = limits.reserve(both, ("ann", "ann"), "second")
    assert refused.limit == full
    assert rows(storage) == before


def test_of_several_the_longest_wait_is_told(limits):
    short, long = limit(window=60.0, amount=1, tag="short"), limit(window=3600.0, amount=1, tag="long")
    limits.reserve((short, long), ("a", "a"), "t1")
    refused = limits.reserve((short, long), ("a", "a"), "t2")
    assert refused.limit == long
    assert refused.retry_after > 60


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_refund_takes_everything_back(storage, limits, strategy):
    both = (limit(strategy, 1, tag="a"), limit("fixed-window", 1, tag="b"))
    taken = limits.reserve(both, ("ann", "ann"), "t1")
    limits.refund(both, ("ann", "ann"), taken)
    assert rows(storage) == 0
    assert limits.reserve(both, ("ann", "ann"), "t2").granted


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window-counter", "moving-window"])
def test_a_late_refund_does_not_touch_a_later_window(limits, clock, strategy):
    one = (limit(strategy, 1),)
    taken = limits.reserve(one, ("ann",), "t1")
    clock.now += 120
    assert limits.reserve(one, ("ann",), "t2").granted
    limits.refund(one, ("ann",), taken)
    assert not limits.reserve(one, ("ann",), "t3").granted


def test_release_frees_the_slots_and_keeps_the_counts(limits):
    both = (limit("concurrent", 1, tag="cap"), limit("fixed-window", 2, tag="rate"))
    taken = limits.reserve(both, ("ann", "ann"), "t1")
    assert limits.reserve(both, ("ann", "ann"), "t2").limit == both[0]
    limits.release(both, ("ann", "ann"), taken)
    limits.release(both, ("ann", "ann"), taken)
    taken = limits.reserve(both, ("ann", "ann"), "t3")
    assert taken.granted
    limits.release(both, ("ann", "ann"), taken)
    assert limits.reserve(both, ("ann", "ann"), "t4").limit == both[1]


def test_a_slot_of_a_call_that_was_lost_comes_back(limits, clock):
    one = (limit("concurrent", 1, window=30.0),)
    limits.reserve(one, ("ann",), "lost")
    clock.now += 29.5
    refused = limits.reserve(one, ("ann",), "t2")
    assert refused.retry_after == pytest.approx(0.5)
    clock.now += 0.5
    assert limits.reserve(one, ("ann",), "t2").granted


def test_fixed_windows_begin_with_the_clock(limits, clock):
    one = (limit("fixed-window", 1),)
    clock.now += 59
    assert limits.reserve(one, ("ann",), "t1").granted
    assert limits.reserve(one, ("ann",), "t2").retry_after == pytest.approx(1)
    clock.now += 1
    assert limits.reserve(one, ("ann",), "t2").granted


def test_a_moving_window_forgets_each_call_by_itself(limits, clock):
    one = (limit("moving-window", 2),)
    limits.reserve(one, ("ann",), "t1")
    clock.now += 40
    limits.reserve(one, ("ann",), "t2")
    refused = limits.reserve(one, ("ann",), "t3")
    assert refused.retry_after == pytest.approx(20)
    clock.now += 20
    assert limits.reserve(one, ("ann",), "t3").granted
    assert not limits.reserve(one, ("ann",), "t4").granted


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_it_decides_as_the_limiter_in_memory_does(limits, clock, strategy, seed):
    chance = random.Random(seed)
    local = LocalLimiter(clock)
    declared = (limit(strategy, 3, 7.0, "a"), limit(strategy, 5, 20.0, "b"))
    held = []
    for n in range(200):
        clock.now += chance.choice([0.0, 0.01, 0.5, 3.0, 8.0])
        buckets = (chance.choice("xy"), "all")
        if held and chance.random() < 0.3:
            where, ours, theirs = held.pop(chance.randrange(len(held)))
            undo = chance.choice(["refund", "release"])
            getattr(limits, undo)(declared, where, ours)
            getattr(local, undo)(declared, where, theirs)
            continue
        ours = limits.reserve(declared, buckets, f"t{n}")
        theirs = local.reserve(declared, buckets, f"t{n}")
        assert ours[:2] == theirs[:2], n
        assert ours.retry_after == pytest.approx(theirs.retry_after, abs=0.0011)
        if ours.granted:
            held.append((buckets, ours, theirs))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_waiting_as_long_as_told_is_enough(limits, clock, strategy):
    one = (limit(strategy, 3, 60.0),)
    for n in range(300):
        answer = limits.reserve(one, ("ann",), f"t{n}")
        clock.now += answer.retry_after or 7.0
        if strategy != "concurrent" and not answer.granted:
            assert limits.test(one, ("ann",)).granted


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_table_stays_bounded(storage, limits, clock, strategy):
    one = (limit(strategy, 3, 10.0),)
    for n in range(400):
        limits.reserve(one, (f"user{n}",), f"t{n}")
        clock.now += 1.0
    stored = storage._readers.look(lambda ex: ex("SELECT COUNT(*) FROM botguard_limits").fetchall()[0][0])
    assert stored <= 25


def test_threads_and_processes_share_one_count(storage, limits):
    declared = (limit("fixed-window", 50, 1e6, "rate"), limit("concurrent", 1000, 1e6, "cap"))

    def storm():
        granted = []

        def work(n):
            names = (f"{threading.get_native_id()}-{n}-{m}" for m in range(10))
            granted.extend(limits.reserve(declared, ("all", "all"), name).granted for name in names)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return granted.count(True)

    children = [Child(storm) for _ in range(3)]
    assert sum(child.value() for child in children) == 50


def test_limits_beside_an_open_unit_are_refused_at_once(storage, limits):
    unit = storage.work.begin()
    with pytest.raises(Exception, match="unit of work"):
        limits.reserve((limit(),), ("ann",), "t")
    unit.rollback()
    assert limits.reserve((limit(),), ("ann",), "t").granted
