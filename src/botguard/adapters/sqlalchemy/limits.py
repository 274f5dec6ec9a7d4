"""Counters that all processes share: the strategies of the ``limits`` package, all or nothing, refundable.

A row for each bucket. Reserving locks the rows of one call in the order of their names (so that two calls never wait for
each other), decides, and writes them back in the same transaction. ``slot`` is the number of the window of the counting
strategies; ``entries`` lists the calls of ``moving-window`` and ``concurrent``, each with its end and its token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Any

from sqlalchemy import BigInteger, delete, func, select, true, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from botguard.adapters.sqlalchemy.drivers import Driver, Step
from botguard.adapters.sqlalchemy.mapping import Layout
from botguard.adapters.sqlalchemy.moment import MICRO, Clock, micros, parameter
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.limits import Limit, LimitStore, Reservation

__all__ = ["LimitOperations", "Limits"]

#: A call ends when it ends: nobody can say when a slot is free, but it is worth asking again soon.
_SLOT_RETRY = 1.0
#: One reservation of so many deletes what is over; each adds one row for each of its limits at most.
_SWEEP_EVERY, _SWEEP = 64, 500
_LOGGING = ("moving-window", "concurrent")


def _name(limit: Limit, bucket: str) -> str:
    """One name for tag and bucket, which cannot run into each other."""
    spelt = f"{len(limit.tag)}:{limit.tag}{bucket}"
    return blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


@dataclass(slots=True)
class _Counter:
    """One bucket, as of now."""

    limit: Limit
    now: int
    slot: int
    used: int
    before: int
    entries: list[list[Any]]

    @classmethod
    def of(cls, limit: Limit, now: int, row: Any) -> _Counter:
        slot, window = 0, micros(limit.window)
        used, before, entries = 0, 0, []
        if limit.strategy in _LOGGING:
            if row is not None and row.entries is not None:
                entries = [entry for entry in json.loads(row.entries) if entry[0] > now]
        else:
            slot = now // window
            if row is not None:
                used = row.used if row.slot == slot else 0
                before = row.before if row.slot == slot else row.used if row.slot == slot - 1 else 0
        return cls(limit, now, slot, used, before, entries)

    def wait(self) -> float:
        """0 if one more call fits, else seconds until it may."""
        limit = self.limit
        if limit.strategy in _LOGGING:
            if len(self.entries) < limit.amount:
                return 0.0
            end = sorted(entry[0] for entry in self.entries)[len(self.entries) - limit.amount]
            left = float(end - self.now) / MICRO
            return left if limit.strategy == "moving-window" else min(_SLOT_RETRY, left)
        window = limit.window
        gone = (self.now - self.slot * micros(window)) / MICRO
        if limit.strategy == "fixed-window":
            return 0.0 if self.used < limit.amount else window - gone
        if int(self.before * (window - gone) / window) + self.used < limit.amount:
            return 0.0
        room = limit.amount - self.used
        if room > 0:  # until the previous window weighs less than the room, for which equal is not enough
            return max(window - gone - room * window / self.before, 0.0) + 0.001
        # This window's own calls fill the limit: they must fade in the next one, as "the window before".
        return window - gone + max(window - limit.amount * window / self.used, 0.0) + 0.001

    def enter(self, token: str) -> None:
        """Count one call."""
        if self.limit.strategy in _LOGGING:
            self.entries = [entry for entry in self.entries if entry[1] != token]
            self.entries.append([self.now + micros(self.limit.window), token])
        else:
            self.used += 1

    def leave(self, token: str, taken: int) -> None:
        """Take one call back."""
        if self.limit.strategy in _LOGGING:
            self.entries = [entry for entry in self.entries if entry[1] != token]
            return
        slot = taken // micros(self.limit.window)
        if slot == self.slot:
            self.used = max(self.used - 1, 0)
        elif slot == self.slot - 1:
            self.before = max(self.before - 1, 0)

    def values(self, base: int) -> dict[str, Any]:
        """The row as it is stored; times are written as distances where the server's clock is in the statement."""
        if self.limit.strategy in _LOGGING:
            end = max((entry[0] for entry in self.entries), default=self.now)
            entries = json.dumps(self.entries).encode()
        else:
            end, entries = (self.slot + 2) * micros(self.limit.window), None
        return {
            "slot": self.slot,
            "used": self.used,
            "before": self.before,
            "entries": entries,
            "life": base + end - self.now,
        }


class LimitOperations:
    """The operations of the port, each a plain function of a :class:`Step`."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout, self._clock = layout, clock
        value, column, table = layout.value, layout.column, layout.table
        life = layout.type("expires_at")
        here = column("bucket") == value("bucket")
        fields = [layout.read(name) for name in ("slot", "used", "before", "entries")]
        self._read = select(*fields, clock.now()).where(here)
        self._time = select(clock.now())
        values = {column(name): value(name) for name in ("slot", "used", "before", "entries")}
        self._write = update(table).values({**values, column("expires_at"): clock.after("life", life)}).where(here)
        self._empty = {
            column("bucket"): value("bucket"),
            column("slot"): layout.constant("slot", 0),
            column("used"): layout.constant("used", 0),
            column("before"): layout.constant("before", 0),
            column("entries"): None,
            column("expires_at"): clock.after("life", life),
            **layout.constants(),
        }
        over = column("expires_at") <= clock.after("now_1", life)
        self._over = select(layout.read("bucket")).where(over).limit(parameter("limit", BigInteger()))
        names = parameter("buckets", layout.type("bucket"), expanding=True)
        self._delete = delete(table).where(column("bucket").in_(names), over)
        self._locks: dict[str, Any] = {}
        self._turn = count(1).__next__

    def _lock(self, dialect: str) -> Any:
        """Make the row if there is none, and lock it: an upsert that changes nothing, and reads where it can."""
        made = self._locks.get(dialect)
        if made is None:
            table, bucket = self._layout.table, self._layout.column("bucket")
            if dialect in ("postgresql", "sqlite"):
                upsert = (postgresql if dialect == "postgresql" else sqlite).insert(table).values(self._empty)
                same = {bucket.name: upsert.excluded[bucket.name]}
                read = list(self._read.selected_columns)
                if dialect == "postgresql":  # what a power cut takes from counters is forgiven: no wait for the disk
                    read.append(func.set_config("synchronous_commit", "off", true()).label("relaxed"))
                made = upsert.on_conflict_do_update(index_elements=[bucket], set_=same).returning(*read)
            else:
                made = mysql.insert(table).values(self._empty).on_duplicate_key_update({bucket.name: bucket})
            self._locks[dialect] = made
        return made

    def _locked(self, step: Step, name: str, base: int) -> Any:
        locked = step.execute(self._lock(step.connection.dialect.name), {"bucket": name, "life": base, "base": base})
        return locked.one() if locked.returns_rows else step.execute(self._read, {"bucket": name, "base": base}).one()

    def _counters(
        self, step: Step, limits: tuple[Limit, ...], buckets: tuple[str, ...], *, lock: bool
    ) -> dict[str, _Counter]:
        named = {_name(limit, bucket): limit for limit, bucket in zip(limits, buckets, strict=True)}
        base = self._clock.base(step.connection)
        rows = {}
        for name in sorted(named):
            found = None if lock else step.execute(self._read, {"bucket": name, "base": base}).one_or_none()
            rows[name] = self._locked(step, name, base) if lock else found
        now = max((row.now for row in rows.values() if row is not None), default=None)
        if now is None:
            now = step.execute(self._time, {"base": base}).scalar_one()
        return {name: _Counter.of(limit, now, rows[name]) for name, limit in named.items()}

    @staticmethod
    def _verdict(limits: tuple[Limit, ...], buckets: tuple[str, ...], counters: dict[str, _Counter]) -> Reservation:
        """What stands in the way for the longest time."""
        answer = Reservation(True)
        for limit, bucket in zip(limits, buckets, strict=True):
            wait = counters[_name(limit, bucket)].wait()
            if wait > answer.retry_after:
                answer = Reservation(False, limit, wait)
        return answer

    def test(self, step: Step, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        """What ``reserve`` would say."""
        return self._verdict(limits, buckets, self._counters(step, limits, buckets, lock=False))

    def reserve(self, step: Step, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        """Count one call in each bucket, or in none."""
        counters = self._counters(step, limits, buckets, lock=True)
        refused = self._verdict(limits, buckets, counters)
        if not refused.granted:
            return refused
        for limit, bucket in zip(limits, buckets, strict=True):
            counters[_name(limit, bucket)].enter(token)
        now = self._store(step, counters)
        return Reservation(True, None, 0.0, (now, token))

    def _store(self, step: Step, counters: dict[str, _Counter]) -> int:
        base = self._clock.base(step.connection)
        now = 0
        for name, counter in counters.items():
            now = counter.now
            step.execute(self._write, {"bucket": name, **counter.values(base)})
        return now

    def give_back(
        self, step: Step, limits: tuple[Limit, ...], buckets: tuple[str, ...], taken: int, token: str
    ) -> None:
        """Take one call back from each bucket."""
        counters = self._counters(step, limits, buckets, lock=True)
        for limit, bucket in zip(limits, buckets, strict=True):
            counters[_name(limit, bucket)].leave(token, taken)
        self._store(step, counters)

    def is_time_to_sweep(self) -> bool:
        """True now and then."""
        return self._turn() % _SWEEP_EVERY == 0

    def sweep(self, step: Step) -> None:
        """Delete buckets that nobody has used for two windows."""
        base = self._clock.base(step.connection)
        names = step.execute(self._over, {"now_1": base, "limit": _SWEEP}).scalars().all()
        step.rollback()
        if names:
            step.execute(self._delete, {"now_1": base, "buckets": sorted(names)})


class Limits(LimitStore):
    """Shared counters on any driver."""

    def __init__(self, driver: Driver, operations: LimitOperations) -> None:
        self.colour: Colour = driver.colour
        self._driver, self._do = driver, operations

    def reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> MaybeAwaitable[Reservation]:
        """See the port."""
        return self._driver.run(self._do.reserve, limits, buckets, token)

    def test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> MaybeAwaitable[Reservation]:
        """See the port."""
        return self._driver.look(self._do.test, limits, buckets)

    def refund(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation
    ) -> MaybeAwaitable[None]:
        """See the port."""
        taken, token = _receipt(reservation)
        return self._driver.run(self._do.give_back, limits, buckets, taken, token)

    def release(
        self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation
    ) -> MaybeAwaitable[None]:
        """See the port."""
        taken, token = _receipt(reservation)
        slots = [
            (limit, bucket) for limit, bucket in zip(limits, buckets, strict=True) if limit.strategy == "concurrent"
        ]
        some, theirs = tuple(limit for limit, _ in slots), tuple(bucket for _, bucket in slots)
        return self._driver.run(self._do.give_back, some, theirs, taken, token)


def _receipt(reservation: Reservation) -> tuple[int, str]:
    receipt: tuple[int, str] = reservation.token  # type: ignore[assignment]  # the port: whatever we put there
    return receipt
