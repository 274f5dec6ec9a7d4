"""Every rule in the docstrings of the idempotency port, on a real file."""

from __future__ import annotations

import sqlite3

import pytest
from test_sqlite_kit import Clock, event, request

from botguard.adapters.sqlite import SqliteStorage
from botguard.ports.idempotency import Ack, RowState

DONE, FAILED, UNKNOWN = RowState.DONE, RowState.FAILED, RowState.UNKNOWN


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def storage(tmp_path, clock):
    with SqliteStorage(tmp_path / "guard.db", clock=clock) as storage:
        yield storage


@pytest.fixture
def claims(storage):
    return storage.idempotency


def ids(storage):
    return [e.id for e in storage.events.tail()]


# ── claim ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_absent_key_is_won_and_stored_as_asked(claims):
    answer = claims.claim(request())
    assert answer.won
    assert answer.row is None
    row = claims.peek("k")
    assert row.state is RowState.CLAIMED
    assert (row.claim_id, row.fence, row.person) == ("c1", answer.fence, "ann")
    assert (row.fingerprint, row.version) == (b"\x00payload\xff", "v1")
    assert (row.result, row.event_id, row.attempts) == (None, "", 0)
    assert row.lease_left == 30.0


def test_a_running_claim_stands_in_the_way_of_others(claims, clock):
    first = claims.claim(request())
    clock.now += 10
    second = claims.claim(request(claim_id="c2"))
    assert not second.won
    assert second.row.claim_id == "c1"
    assert second.row.fence == first.fence
    assert second.row.lease_left == 20.0


def test_the_same_claim_id_wins_again_with_the_same_fence(claims):
    first = claims.claim(request())
    again = claims.claim(request())
    assert again.won
    assert again.fence == first.fence


def test_the_lease_of_a_repeated_claim_begins_with_the_answer_that_arrives(claims, clock):
    claims.claim(request())
    clock.now += 29
    claims.claim(request())
    assert claims.peek("k").lease_left == 30.0


@pytest.mark.parametrize(("later", "won"), [(29.999999, False), (30.0, True), (30.000001, True)])
def test_a_lease_is_over_exactly_at_its_end(claims, clock, later, won):
    claims.claim(request())
    clock.now += later
    assert claims.claim(request(claim_id="c2")).won is won


@pytest.mark.parametrize("start", [0.0, 1e-3, 1_700_000_000.1234567, 1_763_800_000.9999999])
def test_the_boundary_is_exact_at_odd_times_too(claims, clock, start):
    clock.now = start
    claims.claim(request(lease=0.3))
    clock.now = start + 0.3
    assert claims.claim(request(claim_id="c2")).won


def test_an_abandoned_claim_without_takeover_becomes_unknown_in_the_same_step(claims, clock):
    claims.claim(request())
    clock.now += 30
    answer = claims.claim(request(claim_id="c2", takeover=False))
    assert not answer.won
    assert answer.row.state is UNKNOWN
    assert answer.row.claim_id == "c1"
    assert claims.peek("k").state is UNKNOWN
    assert not claims.claim(request(claim_id="c3")).won, "unknown stays until somebody resolves it"


@pytest.mark.parametrize("changed", [{"fingerprint": b"other"}])
@pytest.mark.parametrize("takeover", [True, False])
def test_an_expired_lease_is_not_won_with_another_payload(claims, clock, changed, takeover):
    claims.claim(request())
    clock.now += 31
    answer = claims.claim(request(claim_id="c2", takeover=takeover, **changed))
    assert not answer.won
    assert answer.row.claim_id == "c1"
    assert claims.peek("k").claim_id == "c1"


def test_a_takeover_replaces_everything_about_the_owner(claims, clock):
    first = claims.claim(request())
    clock.now += 31
    second = claims.claim(request(claim_id="c2", person="bob", org="acme", lease=10.0))
    assert second.won
    assert second.fence > first.fence
    row = claims.peek("k")
    assert (row.claim_id, row.person, row.fence, row.lease_left) == ("c2", "bob", second.fence, 10.0)


def test_unknown_is_superseded_by_naming_its_claim_only(claims, clock):
    claims.claim(request())
    claims.finish("k", "c1", UNKNOWN, None, 60, 1)
    assert not claims.claim(request(claim_id="c2", supersede="c9")).won
    assert not claims.claim(request(claim_id="c2")).won
    answer = claims.claim(request(claim_id="c2", takeover=False, supersede="c1"))
    assert answer.won
    assert claims.peek("k").state is RowState.CLAIMED


def test_supersede_does_not_touch_a_running_claim(claims):
    claims.claim(request())
    assert not claims.claim(request(claim_id="c2", supersede="c1")).won


@pytest.mark.parametrize("state", [DONE, FAILED])
def test_a_settled_row_stands_in_the_way_until_its_lifetime_is_over(claims, clock, state):
    first = claims.claim(request())
    claims.finish("k", "c1", state, b"result", 60, 2)
    clock.now += 59.5
    blocked = claims.claim(request(claim_id="c2"))
    assert not blocked.won
    assert (blocked.row.state, blocked.row.result, blocked.row.attempts) == (state, b"result", 2)
    assert claims.peek("k") is not None
    clock.now += 0.5
    assert claims.peek("k") is None
    second = claims.claim(request(claim_id="c2", fingerprint=b"other"))
    assert second.won
    assert second.fence > first.fence
    row = claims.peek("k")
    assert (row.state, row.result, row.event_id, row.attempts) == (RowState.CLAIMED, None, "", 0)


def test_a_finished_run_does_not_win_its_own_claim_again(claims):
    claims.claim(request())
    claims.finish("k", "c1", DONE, b"r", 60, 1)
    answer = claims.claim(request())
    assert not answer.won
    assert answer.row.result == b"r"


def test_the_event_of_a_claim_is_stored_if_and_only_if_it_is_won(storage, claims):
    assert claims.claim(request(), event("won", kind="started")).won
    assert not claims.claim(request(claim_id="c2"), event("lost")).won
    assert claims.claim(request(), event("won")).won, "the same claim again"
    assert ids(storage) == ["won"]


def test_keys_are_compared_byte_by_byte(claims):
    assert claims.claim(request("Key", "c1")).won
    assert claims.claim(request("key", "c2")).won
    assert claims.claim(request("key ", "c3")).won
    assert claims.claim(request("0", "c4")).won
    assert claims.claim(request("00", "c5")).won


# ── finish ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [DONE, FAILED, UNKNOWN])
@pytest.mark.parametrize("result", [None, b"", b"\x00\xff" * 40_000])
def test_finish_stores_byte_for_byte(storage, claims, state, result):
    claims.claim(request())
    assert claims.finish("k", "c1", state, result, 60, 3, event("e7")) is Ack.APPLIED
    row = claims.peek("k")
    assert (row.state, row.result, row.event_id, row.attempts) == (state, result, "e7", 3)
    assert ids(storage) == ["e7"]


def test_finish_without_event(storage, claims):
    claims.claim(request())
    assert claims.finish("k", "c1", DONE, b"r", 60, 1) is Ack.APPLIED
    assert claims.peek("k").event_id == ""
    assert ids(storage) == []


@pytest.mark.parametrize("first", [DONE, FAILED])
@pytest.mark.parametrize("second", [DONE, FAILED, UNKNOWN])
def test_done_and_failed_never_change_again(storage, claims, first, second):
    claims.claim(request())
    claims.finish("k", "c1", first, b"first", 60, 1, event("first"))
    assert claims.finish("k", "c1", second, b"second", 60, 2, event("second")) is Ack.ALREADY
    row = claims.peek("k")
    assert (row.state, row.result) == (first, b"first")
    assert ids(storage) == ["first"]


@pytest.mark.parametrize("late", [DONE, FAILED])
def test_the_owner_who_comes_back_late_resolves_unknown(storage, claims, clock, late):
    claims.claim(request())
    clock.now += 31
    claims.claim(request(claim_id="c2", takeover=False))
    assert claims.peek("k").state is UNKNOWN
    assert claims.finish("k", "c1", late, b"late", 60, 1, event("late")) is Ack.APPLIED
    assert claims.peek("k").state is late
    assert ids(storage) == ["late"]


def test_unknown_twice_is_stored_once(storage, claims):
    claims.claim(request())
    assert claims.finish("k", "c1", UNKNOWN, None, 60, 1, event("a")) is Ack.APPLIED
    assert claims.finish("k", "c1", UNKNOWN, None, 60, 1, event("b")) is Ack.ALREADY
    assert ids(storage) == ["a"]


def test_unknown_does_not_expire(claims, clock):
    claims.claim(request())
    claims.finish("k", "c1", UNKNOWN, None, 60, 1)
    clock.now += 1e9
    assert claims.peek("k").state is UNKNOWN
    assert claims.purge() == 0


def test_a_lease_that_is_over_but_not_taken_is_still_ours(claims, clock):
    claims.claim(request())
    clock.now += 1000
    assert claims.finish("k", "c1", DONE, b"r", 60, 1) is Ack.APPLIED


def stale_owner(claims, clock, how):
    """c1 loses the key to c2 in one of the ways there are."""
    claims.claim(request())
    if how == "takeover":
        clock.now += 31
    elif how == "release":
        claims.release("k", "c1")
    elif how == "expiry":
        claims.finish("k", "c1", DONE, b"old", 10, 1)
        clock.now += 10
    else:
        claims.finish("k", "c1", DONE, b"old", 10, 1)
        clock.now += 10
        assert claims.purge() == 1
    assert claims.claim(request(claim_id="c2")).won


@pytest.mark.parametrize("how", ["takeover", "release", "expiry", "purge"])
def test_a_stale_owner_changes_nothing(storage, claims, clock, how):
    stale_owner(claims, clock, how)
    before = claims.peek("k")
    for state in (DONE, FAILED, UNKNOWN):
        assert claims.finish("k", "c1", state, b"stale", 60, 1, event("stale")) is Ack.LOST
    assert claims.release("k", "c1") is Ack.LOST
    assert claims.extend("k", "c1", 1000) is Ack.LOST
    assert claims.peek("k") == before
    assert ids(storage) == []


@pytest.mark.parametrize("how", ["takeover", "release", "expiry", "purge"])
def test_the_fence_rises_with_each_owner_also_while_time_stands_still(claims, clock, how):
    first = claims.claim(request()).fence
    claims.release("k", "c1")
    stale_owner(claims, clock, how)
    second = claims.peek("k").fence
    assert second > first
    claims.release("k", "c2")
    assert claims.claim(request(claim_id="c3")).fence > second


def test_the_fence_rises_after_the_clock_was_set_back(claims, clock):
    high = claims.claim(request()).fence
    claims.release("k", "c1")
    clock.now -= 86400
    low = claims.claim(request(claim_id="c2"))
    assert low.won
    assert low.fence > high
    assert claims.claim(request("other", "c3")).won


def test_the_fence_rises_also_after_an_operator_deleted_rows(tmp_path, claims, clock):
    high = claims.claim(request()).fence
    other = sqlite3.connect(tmp_path / "guard.db")
    other.execute("DELETE FROM botguard_claims")
    other.commit()
    other.close()
    clock.now -= 1
    assert claims.claim(request(claim_id="c2")).fence > high


def test_finish_of_an_absent_key_is_lost(storage, claims):
    assert claims.finish("k", "c1", DONE, None, 60, 1, event()) is Ack.LOST
    assert ids(storage) == []


# ── release, extend, purge, peek ─────────────────────────────────────────────────────────────────────────────────────


def test_release_makes_the_key_absent(claims):
    claims.claim(request())
    assert claims.release("k", "c1") is Ack.APPLIED
    assert claims.peek("k") is None
    assert claims.release("k", "c1") is Ack.ALREADY
    assert claims.claim(request(claim_id="c2")).won


@pytest.mark.parametrize("state", [DONE, FAILED, UNKNOWN])
def test_only_a_claimed_row_is_released_or_extended(claims, state):
    claims.claim(request())
    claims.finish("k", "c1", state, b"r", 60, 1)
    before = claims.peek("k")
    assert claims.release("k", "c1") is Ack.LOST
    assert claims.extend("k", "c1", 5) is Ack.LOST
    assert claims.peek("k") == before


def test_extend_counts_from_now(claims, clock):
    claims.claim(request())
    clock.now += 20
    assert claims.extend("k", "c1", 25) is Ack.APPLIED
    assert claims.peek("k").lease_left == 25.0
    clock.now += 25
    assert claims.claim(request(claim_id="c2")).won


def test_peek_of_an_absent_key(claims):
    assert claims.peek("nothing") is None


def test_lease_left_goes_below_zero(claims, clock):
    claims.claim(request())
    clock.now += 45
    assert claims.peek("k").lease_left == -15.0


def test_purge_deletes_settled_rows_past_their_lifetime_only(claims, clock):
    for n in range(5):
        claims.claim(request(f"done{n}", f"d{n}"))
        claims.finish(f"done{n}", f"d{n}", DONE if n % 2 else FAILED, b"r", 10 if n < 4 else 20, 1)
    claims.claim(request("claimed", "c"))
    claims.claim(request("unknown", "u"))
    claims.finish("unknown", "u", UNKNOWN, None, 1, 1)
    clock.now += 9.999
    assert claims.purge() == 0
    clock.now += 5
    assert claims.purge(limit=3) == 3
    assert claims.purge(limit=3) == 1
    assert claims.purge() == 0
    assert claims.peek("done4") is not None
    assert claims.peek("claimed").state is RowState.CLAIMED
    assert claims.peek("unknown").state is UNKNOWN


def test_a_purge_that_goes_on_where_it_stopped_still_comes_back_to_rows_it_has_passed(claims, clock):
    for n, keep in enumerate((20, 10, 10, 30, 10)):
        claims.claim(request(f"k{n}", f"c{n}"))
        claims.finish(f"k{n}", f"c{n}", DONE, b"r", keep, 1)
    clock.now += 10
    assert claims.purge(limit=2) == 2
    clock.now += 10  # the first row, which the purge has passed, is over now
    assert claims.purge(limit=2) == 2
    assert claims.purge(limit=2) == 0
    clock.now += 10
    assert claims.purge(limit=2) == 1
    assert claims.purge(limit=2) == 0


def test_a_value_of_a_wrong_type_is_the_callers_error_and_leaves_no_trace(storage, claims):
    claims.claim(request())
    with pytest.raises(sqlite3.Error):
        claims.finish("k", "c1", DONE, b"r", 60, 1, event(reasons=object()))
    assert claims.peek("k").state is RowState.CLAIMED
    assert claims.finish("k", "c1", DONE, b"r", 60, 1, event("ok")) is Ack.APPLIED
    assert ids(storage) == ["ok"]
