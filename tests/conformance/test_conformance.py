"""Every shipped store against the suite of its port: the positive control of the known-bad ones."""

from __future__ import annotations

from botguard.testing import ApprovalStoreSuite, EventStoreSuite, IdempotencyStoreSuite, LimitStoreSuite
from botguard.testing.suites.approvals import failing as approvals_failing
from botguard.testing.suites.idempotency import failing as claims_failing
from botguard.testing.suites.limits import failing as limits_failing
from conformance.stores import OnLocalLimiter, OnMemory, OnSqlite, OnSqliteAsync

HERE, BOTH = frozenset({"events"}), frozenset({"events", "reopen"})


class TestMemoryClaims(OnMemory, IdempotencyStoreSuite):
    botguard_port = "idempotency"
    capabilities = HERE


class TestMemoryEvents(OnMemory, EventStoreSuite):
    botguard_port = "events"


class TestMemoryApprovals(OnMemory, ApprovalStoreSuite):
    botguard_port = "approvals"


class TestLocalLimiter(OnLocalLimiter, LimitStoreSuite):
    pass


class TestSqliteClaims(OnSqlite, IdempotencyStoreSuite):
    botguard_port = "idempotency"
    capabilities = BOTH


class TestSqliteEvents(OnSqlite, EventStoreSuite):
    botguard_port = "events"
    capabilities = BOTH


class TestSqliteApprovals(OnSqlite, ApprovalStoreSuite):
    botguard_port = "approvals"
    capabilities = BOTH


class TestSqliteLimits(OnSqlite, LimitStoreSuite):
    botguard_port = "limits"
    capabilities = BOTH


class TestAsyncSqliteClaims(OnSqliteAsync, IdempotencyStoreSuite):
    botguard_port = "idempotency"
    capabilities = BOTH


class TestAsyncSqliteEvents(OnSqliteAsync, EventStoreSuite):
    botguard_port = "events"
    capabilities = BOTH


class TestAsyncSqliteApprovals(OnSqliteAsync, ApprovalStoreSuite):
    botguard_port = "approvals"
    capabilities = BOTH


class TestAsyncSqliteLimits(OnSqliteAsync, LimitStoreSuite):
    botguard_port = "limits"
    capabilities = BOTH


# ── cut off: a lock that nobody waits for as long as it is held ─────────────────────────────────────────────


class CutOff:
    busy_timeout = 0.05
    capabilities = frozenset({"events", "outage"})


class TestSqliteClaimsCutOff(CutOff, OnSqlite, claims_failing.Failing):
    botguard_port = "idempotency"


class TestSqliteApprovalsCutOff(CutOff, OnSqlite, approvals_failing.Failing):
    botguard_port = "approvals"


class TestSqliteLimitsCutOff(CutOff, OnSqlite, limits_failing.Failing):
    botguard_port = "limits"


class TestAsyncSqliteClaimsCutOff(CutOff, OnSqliteAsync, claims_failing.Failing):
    botguard_port = "idempotency"
