"""Requests for a person's answer; each step is one conditional write."""

from __future__ import annotations

from typing import Any

from botguard.adapters.sqlite.claims import Time
from botguard.adapters.sqlite.connection import Execute
from botguard.adapters.sqlite.drivers import Driver
from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.colour import Colour, MaybeAwaitable

__all__ = ["Approvals"]

#: Seconds for which a request that is over can still be shown.
_REMEMBERED = 86400.0

_FIELDS = ApprovalRequest._fields
_COLUMNS = ", ".join(_FIELDS)
# Replaced is what nobody can use any more: out of time, and if it was spent, for a day.
_REPLACE = ", ".join(f"{name} = excluded.{name}" for name in _FIELDS if name != "subject")
_OPEN = f"""INSERT INTO botguard_approvals ({_COLUMNS}) VALUES ({", ".join("?" * len(_FIELDS))})
    ON CONFLICT (subject) DO UPDATE SET {_REPLACE}
    WHERE expires_at + CASE spent_on WHEN '' THEN 0 ELSE {_REMEMBERED} END <= ?"""  # noqa: S608 - constants
_BY_SUBJECT = f"SELECT {_COLUMNS} FROM botguard_approvals WHERE subject = ?"  # noqa: S608 - constants
_BY_TOKEN = f"SELECT {_COLUMNS} FROM botguard_approvals WHERE token = ?"  # noqa: S608 - constants
_DECIDE = "UPDATE botguard_approvals SET state = ? WHERE token = ? AND state = 'open' AND expires_at > ?"
_SPEND = f"""UPDATE botguard_approvals SET spent_on = ? WHERE subject = ? AND state = 'approved'
    AND ((spent_on = ? AND expires_at + {_REMEMBERED} > ?) OR (spent_on = '' AND expires_at > ?))"""  # noqa: S608
_OVER = "SELECT seq FROM botguard_approvals WHERE expires_at <= ? ORDER BY seq LIMIT ?"
_PURGE = "DELETE FROM botguard_approvals WHERE seq = ? AND expires_at <= ?"


def _fetch(execute: Execute, time: Time, sql: str, name: str) -> ApprovalRequest | None:
    rows = execute(sql, (name,)).fetchall()
    if not rows:
        return None
    found = ApprovalRequest(*rows[0])
    request = found._replace(state=ApprovalState(found.state))
    # What was spent stays usable for its own key, so that a crashed run can go on after the time to answer; but not
    # until the next purge, or a result that has expired meanwhile would be made again without asking.
    if request.expires_at + (_REMEMBERED if request.spent_on else 0.0) <= time():
        return request._replace(state=ApprovalState.EXPIRED)
    return request


def _open(execute: Execute, time: Time, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
    now = time()
    made = request._replace(expires_at=now + lifetime, state=ApprovalState.OPEN, spent_on="")
    execute(_OPEN, (*made, now))
    stored = _fetch(execute, time, _BY_SUBJECT, request.subject)
    assert stored is not None
    return stored


def _decide(execute: Execute, time: Time, token: str, state: ApprovalState) -> ApprovalRequest | None:
    execute(_DECIDE, (state.value, token, time()))
    return _fetch(execute, time, _BY_TOKEN, token)


def _spend(execute: Execute, time: Time, subject: str, key: str) -> bool:
    now = time()
    return execute(_SPEND, (key, subject, key, now, now)).rowcount == 1


class Approvals:
    """An :class:`botguard.ports.approvals.ApprovalStore` on any driver. The ``by_…`` answer at once on each."""

    def __init__(self, driver: Driver, time: Time) -> None:
        self.colour: Colour = driver.colour
        self._run, self._look, self._sweep = driver.run, driver.look, driver.sweep
        self._time = time

    def open(self, request: ApprovalRequest, lifetime: float) -> MaybeAwaitable[ApprovalRequest]:
        """See the port."""
        return self._run(_open, self._time, request, lifetime)

    def by_token(self, token: str) -> ApprovalRequest | None:
        """See the port."""
        return self._look(_fetch, self._time, _BY_TOKEN, token)

    def by_subject(self, subject: str) -> ApprovalRequest | None:
        """See the port."""
        return self._look(_fetch, self._time, _BY_SUBJECT, subject)

    def decide(self, token: str, state: ApprovalState) -> MaybeAwaitable[ApprovalRequest | None]:
        """See the port."""
        if state not in (ApprovalState.APPROVED, ApprovalState.DECLINED):
            raise ValueError(f"a request is approved or declined, not {state.value}")
        return self._run(_decide, self._time, token, state)

    def spend(self, subject: str, key: str) -> MaybeAwaitable[bool]:
        """See the port."""
        return self._run(_spend, self._time, subject, key)

    def purge(self, limit: int = 1000) -> MaybeAwaitable[int]:
        """See the port."""
        bound = self._time() - _REMEMBERED

        def find(execute: Execute) -> list[Any]:
            return execute(_OVER, (bound, limit)).fetchall()

        def delete(execute: Execute, rows: list[Any]) -> int:
            return sum(execute(_PURGE, (seq, bound)).rowcount for (seq,) in rows)

        return self._sweep(find, delete)
