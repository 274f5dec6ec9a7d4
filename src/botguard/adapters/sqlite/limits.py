"""Counters that all processes on the file share: the strategies of the ``limits`` package, all or nothing, refundable.

One table holds them all. ``slot`` is the number of the window for the counting strategies, the time of the call for
``moving-window`` (a row a call: O(limit) rows a bucket), and 0 for ``concurrent`` (a row a running call).
"""

from __future__ import annotations

from botguard.adapters.sqlite.claims import Time
from botguard.adapters.sqlite.connection import Execute
from botguard.adapters.sqlite.drivers import Driver
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.limits import Limit, LimitStore, Reservation

__all__ = ["Limits"]

#: Expired rows deleted by each reservation, which adds one row for each of its limits at most.
_SWEEP = 8
#: A call ends when it ends: nobody can say when a slot is free, but it is worth asking again soon.
_SLOT_RETRY = 1.0

_COUNTS = "SELECT slot, used FROM botguard_limits WHERE tag = ? AND bucket = ? AND slot IN (?, ?) AND token = ''"
_COUNT_UP = """INSERT INTO botguard_limits (tag, bucket, slot, token, used, expires_at) VALUES (?, ?, ?, '', 1, ?)
    ON CONFLICT DO UPDATE SET used = used + 1"""
_COUNT_DOWN = """UPDATE botguard_limits SET used = used - 1
    WHERE tag = ? AND bucket = ? AND slot = ? AND token = '' AND used > 0"""
_LOGGED = "SELECT COUNT(*) FROM botguard_limits WHERE tag = ? AND bucket = ? AND expires_at > ?"
_NTH_END = """SELECT expires_at FROM botguard_limits WHERE tag = ? AND bucket = ? AND expires_at > ?
    ORDER BY expires_at LIMIT 1 OFFSET ?"""
_ENTER = """INSERT INTO botguard_limits (tag, bucket, slot, token, used, expires_at) VALUES (?, ?, ?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at"""
_LEAVE = "DELETE FROM botguard_limits WHERE tag = ? AND bucket = ? AND slot = ? AND token = ?"
_PRUNE = f"""DELETE FROM botguard_limits WHERE (tag, bucket, slot, token) IN
    (SELECT tag, bucket, slot, token FROM botguard_limits WHERE expires_at <= ? LIMIT {_SWEEP})"""  # noqa: S608


def _wait(execute: Execute, limit: Limit, bucket: str, now: float) -> float:
    """0 if one more call fits, else seconds until it may."""
    if limit.strategy in ("moving-window", "concurrent"):
        return _wait_in_log(execute, limit, bucket, now)
    window, index = limit.window, int(now // limit.window)
    found: dict[int, int] = dict(execute(_COUNTS, (limit.tag, bucket, index, index - 1)).fetchall())
    count, gone = found.get(index, 0), now - index * window
    if limit.strategy == "fixed-window":
        return 0.0 if count < limit.amount else window - gone
    before = found.get(index - 1, 0)
    if int(before * (window - gone) / window) + count < limit.amount:
        return 0.0
    room = limit.amount - count
    if room > 0:  # until the previous window weighs less than the room, for which equal is not enough
        return max(window - gone - room * window / before, 0.0) + 0.001
    # This window's own calls fill the limit: they must fade in the next one, as "the window before".
    return window - gone + max(window - limit.amount * window / count, 0.0) + 0.001


def _wait_in_log(execute: Execute, limit: Limit, bucket: str, now: float) -> float:
    count = execute(_LOGGED, (limit.tag, bucket, now)).fetchall()[0][0]
    if count < limit.amount:
        return 0.0
    ends = execute(_NTH_END, (limit.tag, bucket, now, count - limit.amount)).fetchall()[0][0]
    return float(ends - now if limit.strategy == "moving-window" else min(_SLOT_RETRY, ends - now))


def _test(execute: Execute, time: Time, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
    """What stands in the way for the longest time."""
    now = time()
    answer = Reservation(True)
    for limit, bucket in zip(limits, buckets, strict=True):
        wait = _wait(execute, limit, bucket, now)
        if wait > answer.retry_after:
            answer = Reservation(False, limit, wait)
    return answer


def _reserve(
    execute: Execute, time: Time, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str
) -> Reservation:
    now = time()
    refused = _test(execute, lambda: now, limits, buckets)
    if not refused.granted:
        return refused
    for limit, bucket in zip(limits, buckets, strict=True):
        match limit.strategy:
            case "moving-window":
                execute(_ENTER, (limit.tag, bucket, now, token, now + limit.window))
            case "concurrent":
                execute(_ENTER, (limit.tag, bucket, 0, token, now + limit.window))
            case _:
                index = int(now // limit.window)
                windows = 2 if limit.strategy == "sliding-window-counter" else 1
                execute(_COUNT_UP, (limit.tag, bucket, index, (index + windows) * limit.window))
    execute(_PRUNE, (now,))
    return Reservation(True, None, 0.0, (now, token))


def _refund(execute: Execute, limits: tuple[Limit, ...], buckets: tuple[str, ...], taken: float, token: str) -> None:
    for limit, bucket in zip(limits, buckets, strict=True):
        match limit.strategy:
            case "moving-window":
                execute(_LEAVE, (limit.tag, bucket, taken, token))
            case "concurrent":
                execute(_LEAVE, (limit.tag, bucket, 0, token))
            case _:
                execute(_COUNT_DOWN, (limit.tag, bucket, int(taken // limit.window)))


class Limits(LimitStore):
    """Shared counters. ``test`` answers at once on each driver."""

    def __init__(self, driver: Driver, time: Time) -> None:
        self.colour: Colour = driver.colour
        self._run, self._look, self._time = driver.run, driver.look, time

    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> MaybeAwaitable[Reservation]:
        """See the port."""
        return self._run(_reserve, self._time, limits, buckets, token)

    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        """See the port."""
        return self._look(_test, self._time, limits, buckets)

    def refund(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation
    ) -> MaybeAwaitable[None]:
        """See the port."""
        taken, token = _receipt(reservation)
        return self._run(_refund, limits, buckets, taken, token)

    def release(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation
    ) -> MaybeAwaitable[None]:
        """See the port."""
        taken, token = _receipt(reservation)
        slots = [
            (limit, bucket) for limit, bucket in zip(limits, buckets, strict=True) if limit.strategy == "concurrent"
        ]
        return self._run(_refund, tuple(s[0] for s in slots), tuple(s[1] for s in slots), taken, token)


def _receipt(reservation: Reservation) -> tuple[float, str]:
    receipt: tuple[float, str] = reservation.token  # type: ignore[assignment]  # the port: whatever we put there
    return receipt
