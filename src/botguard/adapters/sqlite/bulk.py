"""Many operations in few statements, for the group commit.

Each statement gives the interpreter lock away and has to win it back, which takes up to 5 ms while an event loop is
busy. A batch of a hundred operations must therefore not be a hundred statements: claims that are all new, and runs that
all end well, are written together. Whatever is not so simple is left to the single operations.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from botguard.adapters.sqlite.claims import claim, finish
from botguard.adapters.sqlite.connection import Execute
from botguard.adapters.sqlite.events import APPEND, append, event_params
from botguard.ports.idempotency import Ack, ClaimAnswer, RowState

__all__ = ["apply_all"]

#: Rows in one statement; three sizes, so that few are prepared. SQLite before 3.33 has no UPDATE FROM.
_WIDTHS = (64, 16, 4) if sqlite3.sqlite_version_info >= (3, 33) else ()

_CLAIM = """INSERT INTO botguard_claims
    (key, org, command, claim_id, person, fingerprint, version, fence, lease_until, state)
    SELECT column1, column2, column3, column4, column5, column6, column7, column8, column9, 'claimed' FROM (VALUES {})
    WHERE column8 > (SELECT value FROM botguard_meta WHERE name = 'fence_floor') ON CONFLICT (key) DO NOTHING"""
_DONE = """UPDATE botguard_claims
    SET state = 'done', result = column3, expires_at = column4, event_id = column5, attempts = column6
    FROM (VALUES {}) WHERE key = column1 AND claim_id = column2 AND state IN ('claimed', 'unknown')"""
_EVENTS = APPEND[: APPEND.index("VALUES")] + "VALUES {}"


def _rows(sql: str, columns: int) -> dict[int, str]:
    row = f"({', '.join('?' * columns)})"
    return {width: sql.format(", ".join([row] * width)) for width in _WIDTHS}


_CLAIMS, _DONES, _APPENDS = _rows(_CLAIM, 9), _rows(_DONE, 6), _rows(_EVENTS, APPEND.count("?"))


def _claims(execute: Execute, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Answers to ``claim`` for different keys, without events."""
    now = calls[0][0]()
    fence = int(now * 1e6)
    params: list[Any] = []
    for _, request, _ in calls:
        params += (*request[:7], fence, now + request.lease)
    if execute(_CLAIMS[len(calls)], params).rowcount == len(calls):
        return [ClaimAnswer(True, fence, None)] * len(calls)
    # Some are taken. Asked again one by one, those that were written just now are recognised by their claim ids.
    return [claim(execute, *args) for args in calls]


def _dones(execute: Execute, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Answers to ``finish`` as done, for different keys, with events."""
    now = calls[0][0]()
    settled: list[Any] = []
    events: list[Any] = []
    for _, key, claim_id, _, result, keep, attempts, event in calls:
        settled += (key, claim_id, result, now + keep, event.id, attempts)
        events += event_params(event)
    execute("SAVEPOINT botguard_dones")
    if execute(_DONES[len(calls)], settled).rowcount == len(calls):
        execute(_APPENDS[len(calls)], events)
        execute("RELEASE botguard_dones")
        return [Ack.APPLIED] * len(calls)
    execute("ROLLBACK TO botguard_dones")  # some are lost: who they are decides whose events are stored
    execute("RELEASE botguard_dones")
    return [finish(execute, *args) for args in calls]


def _appends(execute: Execute, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Answers to ``append``."""
    events: list[Any] = []
    for (event,) in calls:
        events += event_params(event)
    execute(_APPENDS[len(calls)], events)
    return [None] * len(calls)


class _Bulk(NamedTuple):
    """How calls of one operation are written together, and the row that each of them is about."""

    many: Callable[[Execute, Sequence[tuple[Any, ...]]], list[Any]]
    fits: Callable[..., bool]
    row: Callable[..., Any]


_BULK: dict[Callable[..., Any], _Bulk] = {
    claim: _Bulk(_claims, lambda *args: args[2] is None, lambda *args: args[1].key),
    finish: _Bulk(_dones, lambda *args: args[3] is RowState.DONE and args[-1] is not None, lambda *args: args[1]),
    append: _Bulk(_appends, lambda *_: True, id),
}


def apply_all(execute: Execute, calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
    """The answers to operations, as if each had been run in its turn.

    Operations on different rows may change places; before a second one on the same row, and before one that is not
    known here, all that wait are written.
    """
    answers: list[Any] = [None] * len(calls)
    waiting: dict[Callable[..., Any], list[int]] = {}
    rows: set[Any] = set()

    def write() -> None:
        for op, places in waiting.items():
            start = 0
            for width in (*_WIDTHS, 1):
                while len(places) - start >= width:
                    chunk = places[start : start + width]
                    start += width
                    args = [calls[n][1] for n in chunk]
                    got = [op(execute, *args[0])] if width == 1 else _BULK[op].many(execute, args)
                    for n, answer in zip(chunk, got, strict=True):
                        answers[n] = answer
        waiting.clear()
        rows.clear()

    for n, (op, args) in enumerate(calls):
        bulk = _BULK.get(op)
        if bulk is None or not bulk.fits(*args):
            write()
            answers[n] = op(execute, *args)
            continue
        row = bulk.row(*args)
        if row in rows:
            write()
        rows.add(row)
        waiting.setdefault(op, []).append(n)
    write()
    return answers
