"""The pinned peer: what a developer would stack by hand today.

PINNED. Every ratio in ``docs/reference/performance.md`` is taken against this file, so the figures of two
releases compare only while it stays as it is. Nobody should optimise it (a cached metric child, an event as
a tuple: that is the hand-rolled floor in ``floor.py``) or pessimise it (``asyncio.wait_for``, a new retry
object for each call).

From the outside in: an audit line in JSON, metrics, validation of four fields, a role check, two
moving-window limits (user, org), a dict by key for idempotency, a breaker, a retry, the handler. The async
twin uses the async form of each library, and a time-out around a handler that really suspends. There is no
Sentry on either side.

Where two spellings are equally natural, the cheaper one was taken: one ``Retrying`` object is called, where
``@retry`` would copy it for each call. pybreaker has no asyncio form of ``call``, so the async twin uses
its ``calling()``.

The limits are so high that nothing is refused. ``limits`` keeps an entry for each hit of a moving window,
newest first in a list, so whoever measures spreads the calls over many users and several orgs and takes a
fresh stack for each round: windows that only ever grow would make the peer slower than it has to be.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from time import perf_counter
from typing import Any, NamedTuple

import limits
from limits import aio as limits_aio
from prometheus_client import CollectorRegistry, Counter, Histogram
from pybreaker import CircuitBreaker
from pydantic import BaseModel
from tenacity import AsyncRetrying, Retrying, stop_after_attempt, wait_exponential_jitter

COMMAND = "orders.create"
ROLES = {"sales": {"orders.create", "orders.show"}, "clerk": {"orders.show"}}
USER_LIMIT = limits.parse("100000/minute")
ORG_LIMIT = limits.parse("100000/minute")
TIMEOUT = 10.0

audit = logging.getLogger("benchmarks.audit")
audit.addHandler(logging.NullHandler())
audit.setLevel(logging.INFO)
audit.propagate = False


class Order(BaseModel):
    order_id: str
    sku: str
    quantity: int
    phone: str


class Caller(NamedTuple):
    org: str
    user: str
    role: str


Call = Callable[[Caller, Any], Any]
AsyncCall = Callable[[Caller, Any], Awaitable[Any]]


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()  # its own, so that every round starts from the same size
        labels = ["command", "status"]
        self.calls = Counter("peer_commands", "Commands by status.", labels, registry=self.registry)
        self.seconds = Histogram("peer_command_seconds", "Duration.", ["command"], registry=self.registry)

    def succeeded(self) -> float | None:
        """What the counter says, for whoever checks a run."""
        labels = {"command": COMMAND, "status": "succeeded"}
        return self.registry.get_sample_value("peer_commands_total", labels)


def audit_line(caller: Caller, status: str, started: float) -> None:
    line = {
        "command": COMMAND,
        "org": caller.org,
        "actor": caller.user,
        "status": status,
        "duration_ms": round((perf_counter() - started) * 1000, 3),
    }
    audit.info(json.dumps(line))


# ── sync ────────────────────────────────────────────────────────────────────────────────────────────────────


def audited(call: Call) -> Call:
    @wraps(call)
    def wrapper(caller: Caller, payload: Any) -> Any:
        started, status = perf_counter(), "failed"
        try:
            result = call(caller, payload)
            status = "succeeded"
            return result
        finally:
            audit_line(caller, status, started)

    return wrapper


def measured(metrics: Metrics) -> Callable[[Call], Call]:
    def decorate(call: Call) -> Call:
        @wraps(call)
        def wrapper(caller: Caller, payload: Any) -> Any:
            started, status = perf_counter(), "failed"
            try:
                result = call(caller, payload)
                status = "succeeded"
                return result
            finally:
                metrics.calls.labels(command=COMMAND, status=status).inc()
                metrics.seconds.labels(command=COMMAND).observe(perf_counter() - started)

        return wrapper

    return decorate


def validated(call: Call) -> Call:
    @wraps(call)
    def wrapper(caller: Caller, payload: Any) -> Any:
        return call(caller, Order.model_validate(payload))

    return wrapper


def allowed(call: Call) -> Call:
    @wraps(call)
    def wrapper(caller: Caller, payload: Any) -> Any:
        if COMMAND not in ROLES.get(caller.role, ()):
            raise PermissionError(COMMAND)
        return call(caller, payload)

    return wrapper


def limited(limiter: limits.strategies.RateLimiter) -> Callable[[Call], Call]:
    def decorate(call: Call) -> Call:
        @wraps(call)
        def wrapper(caller: Caller, payload: Any) -> Any:
            if not limiter.hit(USER_LIMIT, "user", caller.org, caller.user):
                raise RuntimeError("too many calls by this user")
            if not limiter.hit(ORG_LIMIT, "org", caller.org):
                raise RuntimeError("too many calls by this org")
            return call(caller, payload)

        return wrapper

    return decorate


def once(results: dict[tuple[str, str], Any]) -> Callable[[Call], Call]:
    def decorate(call: Call) -> Call:
        @wraps(call)
        def wrapper(caller: Caller, payload: Any) -> Any:
            key = (caller.org, payload.order_id)
            if key in results:
                return results[key]
            result = results[key] = call(caller, payload)
            return result

        return wrapper

    return decorate


def broken(breaker: CircuitBreaker) -> Callable[[Call], Call]:
    def decorate(call: Call) -> Call:
        @wraps(call)
        def wrapper(caller: Caller, payload: Any) -> Any:
            return breaker.call(call, caller, payload)

        return wrapper

    return decorate


def retried(retrying: Retrying) -> Callable[[Call], Call]:
    def decorate(call: Call) -> Call:
        @wraps(call)
        def wrapper(caller: Caller, payload: Any) -> Any:
            return retrying(call, caller, payload)

        return wrapper

    return decorate


class Stack:
    """One sync peer with its own stores; call ``create_order(caller, raw)``."""

    def __init__(self) -> None:
        self.effects = 0
        self.metrics = Metrics()
        self.rows: dict[tuple[str, str], Any] = {}
        limiter = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())
        retrying = Retrying(stop=stop_after_attempt(3), wait=wait_exponential_jitter(), reraise=True)

        @audited
        @measured(self.metrics)
        @validated
        @allowed
        @limited(limiter)
        @once(self.rows)
        @broken(CircuitBreaker(fail_max=5, reset_timeout=30))
        @retried(retrying)
        def create_order(_caller: Caller, order: Order) -> str:
            self.effects += 1
            return order.order_id

        self.create_order = create_order


# ── async ───────────────────────────────────────────────────────────────────────────────────────────────────


def audited_async(call: AsyncCall) -> AsyncCall:
    @wraps(call)
    async def wrapper(caller: Caller, payload: Any) -> Any:
        started, status = perf_counter(), "failed"
        try:
            result = await call(caller, payload)
            status = "succeeded"
            return result
        finally:
            audit_line(caller, status, started)

    return wrapper


def measured_async(metrics: Metrics) -> Callable[[AsyncCall], AsyncCall]:
    def decorate(call: AsyncCall) -> AsyncCall:
        @wraps(call)
        async def wrapper(caller: Caller, payload: Any) -> Any:
            started, status = perf_counter(), "failed"
            try:
                result = await call(caller, payload)
                status = "succeeded"
                return result
            finally:
                metrics.calls.labels(command=COMMAND, status=status).inc()
                metrics.seconds.labels(command=COMMAND).observe(perf_counter() - started)

        return wrapper

    return decorate


def validated_async(call: AsyncCall) -> AsyncCall:
    @wraps(call)
    async def wrapper(caller: Caller, payload: Any) -> Any:
        return await call(caller, Order.model_validate(payload))

    return wrapper


def allowed_async(call: AsyncCall) -> AsyncCall:
    @wraps(call)
    async def wrapper(caller: Caller, payload: Any) -> Any:
        if COMMAND not in ROLES.get(caller.role, ()):
            raise PermissionError(COMMAND)
        return await call(caller, payload)

    return wrapper


def limited_async(limiter: limits_aio.strategies.RateLimiter) -> Callable[[AsyncCall], AsyncCall]:
    def decorate(call: AsyncCall) -> AsyncCall:
        @wraps(call)
        async def wrapper(caller: Caller, payload: Any) -> Any:
            if not await limiter.hit(USER_LIMIT, "user", caller.org, caller.user):
                raise RuntimeError("too many calls by this user")
            if not await limiter.hit(ORG_LIMIT, "org", caller.org):
                raise RuntimeError("too many calls by this org")
            return await call(caller, payload)

        return wrapper

    return decorate


def once_async(results: dict[tuple[str, str], Any]) -> Callable[[AsyncCall], AsyncCall]:
    def decorate(call: AsyncCall) -> AsyncCall:
        @wraps(call)
        async def wrapper(caller: Caller, payload: Any) -> Any:
            key = (caller.org, payload.order_id)
            if key in results:
                return results[key]
            result = results[key] = await call(caller, payload)
            return result

        return wrapper

    return decorate


def broken_async(breaker: CircuitBreaker) -> Callable[[AsyncCall], AsyncCall]:
    def decorate(call: AsyncCall) -> AsyncCall:
        @wraps(call)
        async def wrapper(caller: Caller, payload: Any) -> Any:
            with breaker.calling():
                return await call(caller, payload)

        return wrapper

    return decorate


def retried_async(retrying: AsyncRetrying) -> Callable[[AsyncCall], AsyncCall]:
    def decorate(call: AsyncCall) -> AsyncCall:
        @wraps(call)
        async def wrapper(caller: Caller, payload: Any) -> Any:
            return await retrying(call, caller, payload)

        return wrapper

    return decorate


def timed_out(call: AsyncCall) -> AsyncCall:
    @wraps(call)
    async def wrapper(caller: Caller, payload: Any) -> Any:
        async with asyncio.timeout(TIMEOUT):
            return await call(caller, payload)

    return wrapper


class AsyncStack:
    """One async peer with its own stores; await ``create_order(caller, raw)``.

    ``limit_storage`` is there for one extra, informative row only (the same stack, its limits never swept).
    """

    def __init__(self, limit_storage: limits_aio.storage.MemoryStorage | None = None) -> None:
        self.effects = 0
        self.metrics = Metrics()
        self.rows: dict[tuple[str, str], Any] = {}
        limiter = limits_aio.strategies.MovingWindowRateLimiter(limit_storage or limits_aio.storage.MemoryStorage())
        retrying = AsyncRetrying(stop=stop_after_attempt(3), wait=wait_exponential_jitter(), reraise=True)

        @audited_async
        @measured_async(self.metrics)
        @validated_async
        @allowed_async
        @limited_async(limiter)
        @once_async(self.rows)
        @broken_async(CircuitBreaker(fail_max=5, reset_timeout=30))
        @retried_async(retrying)
        @timed_out
        async def create_order(_caller: Caller, order: Order) -> str:
            await asyncio.sleep(0)
            self.effects += 1
            return order.order_id

        self.create_order = create_order
