"""Every shipped store against the suite of its port."""

from __future__ import annotations

from botguard.testing import ApprovalStoreSuite, EventStoreSuite, IdempotencyStoreSuite, LimitStoreSuite
from conformance.stores import OnLocalLimiter, OnMemory, OnSqlite, OnSqliteAsync


class TestMemoryClaims(OnMemory, IdempotencyStoreSuite):
    port = "idempotency"
    capabilities = frozenset({"events"})


class TestMemoryEvents(OnMemory, EventStoreSuite):
    port = "events"


class TestMemoryApprovals(OnMemory, ApprovalStoreSuite):
    port = "approvals"


class TestLocalLimiter(OnLocalLimiter, LimitStoreSuite):
    pass


class TestSqliteClaims(OnSqlite, IdempotencyStoreSuite):
    port = "idempotency"
    capabilities = frozenset({"events", "reopen"})


class TestSqliteEvents(OnSqlite, EventStoreSuite):
    port = "events"
    capabilities = frozenset({"reopen"})


class TestSqliteApprovals(OnSqlite, ApprovalStoreSuite):
    port = "approvals"
    capabilities = frozenset({"reopen"})


class TestSqliteLimits(OnSqlite, LimitStoreSuite):
    port = "limits"
    capabilities = frozenset({"reopen"})


class TestAsyncSqliteClaims(OnSqliteAsync, IdempotencyStoreSuite):
    port = "idempotency"
    capabilities = frozenset({"events", "reopen"})


class TestAsyncSqliteEvents(OnSqliteAsync, EventStoreSuite):
    port = "events"
    capabilities = frozenset({"reopen"})


class TestAsyncSqliteApprovals(OnSqliteAsync, ApprovalStoreSuite):
    port = "approvals"
    capabilities = frozenset({"reopen"})


class TestAsyncSqliteLimits(OnSqliteAsync, LimitStoreSuite):
    port = "limits"
    capabilities = frozenset({"reopen"})
