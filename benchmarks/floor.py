"""The hand-rolled floor: the same stages written out by hand, with pydantic and prometheus-client only.

Nobody would keep code like this: no options, one command, no failure path worth the name. It shows how much
of the guard's cost is the work itself.
"""

from __future__ import annotations

from hashlib import blake2b
from threading import Lock
from time import monotonic, perf_counter, time

from prometheus_client import CollectorRegistry, Counter, Histogram

from benchmarks.peer_stack import COMMAND, ROLES, Caller, Order

EMISSION = 60 / 100000
BURST = 60.0
DEADLINE = 10.0
ATTEMPTS = 3


class Refused(Exception):
    """Any stage said no."""


def stock_known(order: Order) -> bool:
    return bool(order.sku)


def quantity_sane(order: Order) -> bool:
    return order.quantity > 0


def lasts_two_days(order: Order) -> bool:
    return order.quantity < 1000


class Floor:
    """Call ``create_order(caller, raw)``."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        calls = Counter("floor_commands", "Commands.", ["command", "status"], registry=registry)
        seconds = Histogram("floor_command_seconds", "Duration.", ["command"], registry=registry)
        self.succeeded = calls.labels(command=COMMAND, status="succeeded")
        self.seconds = seconds.labels(command=COMMAND)
        self.lock = Lock()
        self.rows: dict[tuple[str, str], tuple[str, bytes, str, str]] = {}
        self.arrivals: dict[tuple[str, str], float] = {}
        self.events: list[tuple[object, ...]] = []
        self.failures = 0
        self.effects = 0

    def take(self, key: tuple[str, str], now: float) -> bool:
        """One call from a limit (GCRA: one number for each key)."""
        due = max(self.arrivals.get(key, now), now)
        if due - now > BURST - EMISSION:
            return False
        self.arrivals[key] = due + EMISSION
        return True

    def create_order(self, caller: Caller, raw: dict[str, object]) -> str:
        started = perf_counter()
        if COMMAND not in ROLES.get(caller.role, ()):
            raise Refused("permission")
        order = Order.model_validate(raw)
        key = (caller.org, order.order_id)
        text = f"{order.order_id}\0{order.sku}\0{order.quantity}\0{order.phone}"
        fingerprint = blake2b(text.encode(), key=b"floor", digest_size=16).digest()
        row = self.rows.get(key)
        if row is not None:
            if row[1] != fingerprint or row[2] != caller.user:
                raise Refused("conflict")
            return row[3]
        with self.lock:
            now = monotonic()
            if not (self.take((caller.org, caller.user), now) and self.take((caller.org, ""), now)):
                raise Refused("limit")
        if order.quantity > 1000 or not (stock_known(order) and quantity_sane(order) and lasts_two_days(order)):
            raise Refused("policy or check")
        with self.lock:
            if self.rows.setdefault(key, ("claimed", fingerprint, caller.user, ""))[0] != "claimed":
                raise Refused("in flight")
        value = self.attempts(order, now + DEADLINE)
        self.rows[key] = ("done", fingerprint, caller.user, value)
        took = perf_counter() - started
        self.events.append((time(), caller.org, caller.user, COMMAND, "succeeded", round(took * 1000, 3), True))
        self.succeeded.inc()
        self.seconds.observe(took)
        return value

    def attempts(self, order: Order, deadline: float) -> str:
        """Retry around a breaker around the handler."""
        for attempt in range(1, ATTEMPTS + 1):
            if self.failures >= 5 or monotonic() > deadline:
                raise Refused("breaker or deadline")
            try:
                value = self.handle(order)
            except ConnectionRefusedError:
                self.failures += 1
                if attempt == ATTEMPTS:
                    raise
                continue
            self.failures = 0
            return value
        raise Refused("attempts")

    def handle(self, order: Order) -> str:
        self.effects += 1
        return order.order_id
