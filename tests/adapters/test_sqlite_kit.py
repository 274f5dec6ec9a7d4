"""What the tests of the SQLite storage share: a clock, values with defaults, and child processes. No tests."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from botguard.ports.approvals import ApprovalRequest
from botguard.ports.events import Event
from botguard.ports.idempotency import ClaimRequest


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def request(key: str = "k", claim_id: str = "c1", **changes: Any) -> ClaimRequest:
    base = ClaimRequest(
        key=key,
        org="acme",
        command="order.create",
        claim_id=claim_id,
        person="ann",
        fingerprint=b"\x00payload\xff",
        version="v1",
        lease=30.0,
        takeover=True,
    )
    return base._replace(**changes)


def event(name: str = "e1", **changes: Any) -> Event:
    base = Event(
        id=name,
        kind="run",
        at=1_700_000_000.5,
        org="acme",
        actor="u1",
        person="ann",
        channel="telegram",
        command="order.create",
        status="succeeded",
        reasons="",
        attempts=1,
        duration_ms=1.25,
        success=True,
        replayed=False,
        degraded=False,
        key="k",
        shadow="",
        policy_digest="",
        correlation_id="",
    )
    return base._replace(**changes)


def approval(subject: str = "s1", token: str = "t1", **changes: Any) -> ApprovalRequest:
    base = ApprovalRequest(
        subject=subject,
        token=token,
        org="acme",
        command="order.create",
        key="k",
        fingerprint=b"\x01\x02",
        person="ann",
        actor="u1",
        channel="telegram",
        delivery=None,
        text="Really?",
        reasons="large_order",
        payload=b'{"quantity": 5}',
        expires_at=0.0,
    )
    return base._replace(**changes)


class Child:
    """A forked process that runs a function and hands its value back."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._reads, writes = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads: we mean it
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reads)
            self._run(work, writes)
        os.close(writes)

    @staticmethod
    def _run(work: Callable[[], Any], writes: int) -> None:
        try:
            answer = (True, work())
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writes, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)

    def value(self) -> Any:
        with os.fdopen(self._reads, "rb") as pipe:
            data = pipe.read()
        os.waitpid(self.pid, 0)
        done, value = pickle.loads(data)
        assert done, value
        return value
