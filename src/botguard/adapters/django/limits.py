"""Counters that all processes share: the strategies of the ``limits`` package, all or nothing, refundable.

A row for each bucket. Reserving locks the rows of one call in the order of their names (so that two calls never wait for
each other), decides, and writes them back in the same transaction.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import count

from botguard.adapters.django.counter import Counter, CounterRow
from botguard.adapters.django.drivers import Driver, Step
from botguard.adapters.django.spelling import Clock, Spelling
from botguard.ports.colour import Colour, MaybeAwaitable
from botguard.ports.limits import Limit, LimitStore, Reservation

__all__ = ["LimitOperations", "Limits"]

#: One reservation of so many deletes what is over; each adds one row for each of its limits at most.
_SWEEP_EVERY, _SWEEP = 64, 500
_FIELDS = ("slot", "used", "before", "entries")


def _name(limit: Limit, bucket: str) -> str:
    """One name for tag and bucket, which cannot run into each other."""
    spelt = f"{len(limit.tag)}:{limit.tag}{bucket}"
    return blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


class _Sql:
    def __init__(self, spell: Spelling) -> None:
        table, here = "[botguard_limits]", "[bucket] = %(bucket)s"
        fields = spell.names(_FIELDS)
        self.read = spell(f"SELECT {fields}, {{at:now}} FROM {table} WHERE {here}")
        self.time = spell("SELECT {at:now}")
        written = ", ".join(f"[{name}] = %({name})s" for name in _FIELDS)
        self.write = spell(f"UPDATE {table} SET {written}, [expires_at] = {{at:life}} WHERE {here}")
        # Makes the row if there is none, and locks it: an upsert that changes nothing.
        columns = "[bucket], [slot], [used], [before], [expires_at]"
        empty = f"INSERT INTO {table} ({columns}) VALUES (%(bucket)s, 0, 0, 0, {{at:now}})"
        if spell.vendor == "mysql":
            self.lock = spell(f"{empty} ON DUPLICATE KEY UPDATE [bucket] = VALUES([bucket])")
        else:
            same = "ON CONFLICT ([bucket]) DO UPDATE SET [bucket] = excluded.[bucket]"
            self.lock = spell(f"{empty} {same} RETURNING {fields}, {{at:now}}")
        # What a power cut takes from counters is forgiven: no wait for the disk.
        self.relax = "SET LOCAL synchronous_commit = off" if spell.vendor == "postgresql" else None
        self.over = spell(f"SELECT [bucket] FROM {table} WHERE [expires_at] <= {{at:now}} LIMIT %(limit)s")
        self.delete = spell(f"DELETE FROM {table} WHERE {here} AND [expires_at] <= {{at:now}}")


class LimitOperations:
    """The operations of the port, each a plain function of a :class:`Step`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_vendor: dict[str, _Sql] = {}
        self._turn = count(1).__next__

    def _sql(self, step: Step) -> _Sql:
        found = self._by_vendor.get(step.vendor)
        if found is None:
            found = self._by_vendor[step.vendor] = _Sql(Spelling(step.vendor, self._clock))
        return found

    def _row(self, step: Step, name: str, *, lock: bool) -> CounterRow | None:
        sql, values = self._sql(step), {"bucket": name, "now": self._clock.base()}
        if lock and step.vendor == "mysql":
            step.execute(sql.lock, values)
        rows = step.execute(sql.lock if lock and step.vendor != "mysql" else sql.read, values).fetchall()
        return CounterRow(*rows[0]) if rows else None

    def _counters(
        self, step: Step, limits: tuple[Limit, ...], buckets: tuple[str, ...], *, lock: bool
    ) -> dict[str, Counter]:
        named = {_name(limit, bucket): limit for limit, bucket in zip(limits, buckets, strict=True)}
        rows = {name: self._row(step, name, lock=lock) for name in sorted(named)}
        now = max((int(row.now) for row in rows.values() if row is not None), default=None)
        if now is None:
            now = int(step.execute(self._sql(step).time, {"now": self._clock.base()}).fetchall()[0][0])
        return {name: Counter.of(limit, now, rows[name]) for name, limit in named.items()}

    @staticmethod
    def _verdict(limits: tuple[Limit, ...], buckets: tuple[str, ...], counters: dict[str, Counter]) -> Reservation:
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
        if self._turn() % _SWEEP_EVERY == 0 and not step.inside:
            self._sweep(step)
        self._relax(step)
        counters = self._counters(step, limits, buckets, lock=True)
        refused = self._verdict(limits, buckets, counters)
        if not refused.granted:
            return refused
        for limit, bucket in zip(limits, buckets, strict=True):
            counters[_name(limit, bucket)].enter(token)
        now = self._store(step, counters)
        return Reservation(True, None, 0.0, (now, token))

    def _relax(self, step: Step) -> None:
        relax = self._sql(step).relax
        if relax is not None and not step.inside:
            step.execute(relax, {})

    def _store(self, step: Step, counters: dict[str, Counter]) -> int:
        now = 0
        for name, counter in counters.items():
            now = counter.now
            step.execute(self._sql(step).write, {"bucket": name, **counter.values(self._clock.base())})
        return now

    def give_back(
        self, step: Step, limits: tuple[Limit, ...], buckets: tuple[str, ...], taken: int, token: str
    ) -> None:
        """Take one call back from each bucket."""
        self._relax(step)
        counters = self._counters(step, limits, buckets, lock=True)
        for limit, bucket in zip(limits, buckets, strict=True):
            counters[_name(limit, bucket)].leave(token, taken)
        self._store(step, counters)

    def _sweep(self, step: Step) -> None:
        """Delete buckets that nobody has used for two windows, in a transaction of its own."""
        sql, over = self._sql(step), {"now": self._clock.base(), "limit": _SWEEP}
        names = [row[0] for row in step.execute(sql.over, over).fetchall()]
        for name in sorted(names):
            step.execute(sql.delete, {**over, "bucket": name})
        step.commit()


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
