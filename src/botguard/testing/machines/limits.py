"""Reservations under one or several limits, settled now, later or never.

All times are multiples of 1/64 s, so that floats are exact and a boundary is a boundary: the clock has to stand still.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from botguard.ports.limits import Limit, Reservation
from botguard.testing.machines.base import PortMachine, step
from botguard.testing.models.limits import LimitModel

__all__ = ["LimitMachine"]

FIXED = Limit("2/8s fixed", 2, 8.0, "fixed-window", "user", "fixed")
MOVING = Limit("2/8s moving", 2, 8.0, "moving-window", "user", "moving")
SLIDING = Limit("3/64s sliding", 3, 64.0, "sliding-window-counter", "user", "sliding")
QUICK = Limit("2/8s sliding", 2, 8.0, "sliding-window-counter", "user", "quick")
CAP = Limit("1 concurrent", 1, 16.0, "concurrent", "user", "cap")
SETS = (
    (MOVING,),
    (FIXED,),
    (SLIDING,),
    (QUICK,),
    (CAP,),
    (MOVING, FIXED),
    (FIXED, SLIDING),
    (MOVING, CAP),
    (CAP, QUICK, MOVING),
    (SLIDING, MOVING, FIXED, CAP, QUICK),
)
BUCKETS = ("b1", "b2")
_GRAIN, _LONGEST = 1 / 64, 64.0
some = st.sampled_from


class Taken(NamedTuple):
    """A reservation that was granted, and when; what the model and the store gave for it."""

    limits: tuple[Limit, ...]
    bucket: str
    at: float
    wanted: Reservation
    got: Reservation


class LimitMachine(PortMachine):
    """The machine."""

    model: LimitModel
    needs_a_still_clock = True
    rare = (
        "granted",
        "granted by several",
        "refused by fixed-window",
        "refused by moving-window",
        "refused by sliding-window-counter",
        "refused by concurrent",
        "refused by one of several",
        "refund at once",
        "refund later",
        "refund after a lease",
        "release after a lease",
        "came back",
        "window edge",
    )

    def __init__(self) -> None:
        super().__init__()
        self.to_a_window()
        self.open: dict[str, Taken] = {}
        self.tokens = 0

    def make_model(self) -> LimitModel:
        """See the base."""
        return LimitModel(self.clock)

    def to_a_window(self) -> None:
        """Go to where a window of the store begins, and make the model's begin there as well."""
        probe = (Limit("probe", 1, _LONGEST, "fixed-window", "user", "probe"),)
        self.suite.ask(self.store.reserve, probe, ("probe",), "probe")
        left = self.suite.ask(self.store.reserve, probe, ("probe",), "probe again").retry_after
        self.clock.advance(left)
        began = self.clock.time()
        self.model.time = lambda: self.clock.time() - began

    # ── comparing ──

    def ask_both(self, told: str, method: str, limits: tuple[Limit, ...], bucket: str, *args: Any) -> tuple[Any, Any]:
        """Ask, and compare verdict and wait."""
        wanted, got = self.both(told, method, limits, (bucket,) * len(limits), *args)
        self.same(got, wanted)
        return wanted, got

    def same(self, got: Reservation, wanted: Reservation) -> None:
        """Fail unless the store decides as the model."""
        if got.granted != wanted.granted:
            full = "" if wanted.limit is None else f": {wanted.limit.name} is full"
            self.fail("RATE-02" if wanted.granted else "RATE-01", f"it should be {_verdict(wanted)}{full}")
        if got.granted or got.limit is None or wanted.limit is None:
            return
        close = math.isclose(got.retry_after, wanted.retry_after, abs_tol=0.0021)
        if not close and "concurrent" not in (got.limit.strategy, wanted.limit.strategy):
            self.fail("RATE-04", f"the wait is {got.retry_after:g} s, and should be {wanted.retry_after:g} s")

    def look(self) -> None:
        """Each limit alone, by test."""
        for limits in SETS[:5]:
            for bucket in BUCKETS:
                buckets = (bucket,) * len(limits)
                wanted = self.model.test(limits, buckets)
                got = self.suite.ask(self.store.test, limits, buckets)
                if got.granted != wanted.granted:
                    self.story.tell(f"test {limits[0].name} in {bucket}", _verdict(got))
                self.same(got, wanted)

    # ── what is asked ──

    @step
    def ask_reserve(self, limits: tuple[Limit, ...], bucket: str, token: str) -> None:
        """Reserve, compare, and keep what was granted."""
        names = " and ".join(limit.name for limit in limits)
        wanted, got = self.ask_both(f"reserve {names} in {bucket} as {token}", "reserve", limits, bucket, token)
        if wanted.granted:
            self.open[token] = Taken(limits, bucket, self.clock.time(), wanted, got)
            self.reached["granted by several" if len(limits) > 1 else "granted"] += 1
            return
        for limit in limits:
            self.reached[f"refused by {limit.strategy}"] += self.model.wait(limit, bucket) > 0
        self.reached["refused by one of several"] += len(limits) > 1

    @step
    def ask_end(self, token: str, method: str) -> None:
        """Refund or release one reservation, in both."""
        taken = self.open.pop(token, None)
        if taken is None:
            return
        buckets = (taken.bucket,) * len(taken.limits)
        getattr(self.model, method)(taken.limits, buckets, taken.wanted)
        age = self.clock.time() - taken.at
        self.ask(f"{method} {token}, taken {age:g} s ago", method, taken.limits, buckets, taken.got)
        self.reached[f"{method} {'at once' if not age else 'after a lease' if age >= 16 else 'later'}"] += 1

    @step
    def ask_test(self, limits: tuple[Limit, ...], bucket: str) -> None:
        """Test, and compare."""
        self.ask_both(f"test {' and '.join(limit.name for limit in limits)} in {bucket}", "test", limits, bucket)

    # ── who asks ──

    @rule(limits=some(SETS), bucket=some(BUCKETS), times=some((1, 1, 2, 4)))
    def call(self, limits: tuple[Limit, ...], bucket: str, times: int) -> None:
        """Some calls in a row."""
        for _ in range(times):
            self.tokens += 1
            self.ask_reserve(limits, bucket, f"t{self.tokens}")

    @precondition(lambda self: self.open)
    @rule(data=st.data(), refund=st.booleans())
    def settle(self, data: st.DataObject, refund: bool) -> None:
        """A call ends, or never began."""
        names = list(self.open)
        self.ask_end(data.draw(some((names[0], names[-1], names[len(names) // 2]))), "refund" if refund else "release")

    @precondition(lambda self: self.open)
    @rule(refund=st.booleans(), late=some((1.0, 8.0, 16.0 - _GRAIN, 16.0, 64.0)))
    def overstay(self, refund: bool, late: float) -> None:
        """An old call ends when its window or lease is over and others have come."""
        self.pass_time(late)
        oldest = next(iter(self.open))
        self.call(self.open[oldest].limits, self.open[oldest].bucket, 2)
        self.ask_end(oldest, "refund" if refund else "release")

    @precondition(lambda self: self.open)
    @rule(refund=st.booleans())
    def settle_all(self, refund: bool) -> None:
        """All of them end."""
        for token in list(self.open):
            self.ask_end(token, "refund" if refund else "release")

    @rule(limits=some(SETS), bucket=some(BUCKETS), fill=st.booleans())
    def come_back(self, limits: tuple[Limit, ...], bucket: str, fill: bool) -> None:
        """Wait as long as one is told to: just before, one is refused; then not."""
        if fill:
            self.call(limits, bucket, max(limit.amount for limit in limits) + 1)
        wanted = self.model.test(limits, (bucket,) * len(limits))
        if wanted.granted or wanted.limit is None or wanted.limit.strategy == "concurrent":
            return
        self.pass_time(math.ceil(wanted.retry_after * 64 - 1) / 64)
        self.ask_test(limits, bucket)
        self.pass_time(_GRAIN)
        self.ask_test(limits, bucket)
        self.reached["came back"] += 1

    @rule(step=some((_GRAIN, 0.5, 1.0, 3.0, 4.0, 8.0 - _GRAIN, 8.0, 16.0, 64.0)))
    def wait(self, step: float) -> None:
        """Some time."""
        self.pass_time(step)

    @rule(window=some((8.0, 64.0)), off=some((-_GRAIN, 0.0, _GRAIN)))
    def to_the_edge(self, window: float, off: float) -> None:
        """To just before, to, or just after the end of a window."""
        left = window - self.model.time() % window + off
        self.pass_time(left if left > 0 else window)
        self.reached["window edge"] += 1


def _verdict(answer: Reservation) -> str:
    return "granted" if answer.granted else "refused"
