"""For a host's own tests: a clock that stands still, stores that fail on purpose, suites that hold stores to ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botguard.testing.clock import FakeClock

if TYPE_CHECKING:
    from botguard.testing.conformance import suites_for
    from botguard.testing.faults import (
        CancelAt,
        Fault,
        FaultyStorage,
        Moment,
        Outage,
        interrupt_at,
        kill_at,
        suspend,
        unavailable_at,
    )
    from botguard.testing.proxy import FaultProxy
    from botguard.testing.simulation import simulate
    from botguard.testing.suites import (
        ApprovalStoreSuite,
        BreakerStoreSuite,
        EventStoreSuite,
        IdempotencyStoreSuite,
        LimitStoreSuite,
        StoreSuite,
    )

_FAULTS = (
    "CancelAt",
    "Fault",
    "FaultyStorage",
    "Moment",
    "Outage",
    "interrupt_at",
    "kill_at",
    "suspend",
    "unavailable_at",
)
_SUITES = (
    "ApprovalStoreSuite",
    "BreakerStoreSuite",
    "EventStoreSuite",
    "IdempotencyStoreSuite",
    "LimitStoreSuite",
    "StoreSuite",
)

__all__ = [
    "ApprovalStoreSuite",
    "BreakerStoreSuite",
    "CancelAt",
    "EventStoreSuite",
    "FakeClock",
    "Fault",
    "FaultProxy",
    "FaultyStorage",
    "IdempotencyStoreSuite",
    "LimitStoreSuite",
    "Moment",
    "Outage",
    "StoreSuite",
    "interrupt_at",
    "kill_at",
    "simulate",
    "suites_for",
    "suspend",
    "unavailable_at",
]


def __getattr__(name: str) -> Any:
    # Each part of the kit is loaded when it is first used.
    if name in _FAULTS:
        from botguard.testing import faults

        return getattr(faults, name)
    if name in _SUITES:
        from botguard.testing import suites

        return getattr(suites, name)
    if name == "FaultProxy":
        from botguard.testing.proxy import FaultProxy

        return FaultProxy
    if name == "suites_for":
        from botguard.testing import conformance

        return conformance.suites_for
    if name == "simulate":
        from botguard.testing.simulation import simulate

        return simulate
    raise AttributeError(f"module 'botguard.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
