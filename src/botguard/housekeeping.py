"""Keeping a guard's stores in order: what is over goes, what was spooled is written down."""

from __future__ import annotations

import base64
from typing import Any

from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.ports.idempotency import Ack, RowState
from botguard.ports.spool import Spool
from botguard.ports.storage import Storage

__all__ = ["apply_spool", "purge"]


def purge(storage: Storage, batch: int) -> int:
    """Delete settled claims past their lifetime and old requests, ``batch`` rows at a time; returns how many."""
    total = 0
    for store in (storage.idempotency, storage.approvals):
        while True:
            gone = _at_once(store.purge(batch), "await its stores' purge() yourself")
            total += gone
            if gone < batch:
                break
    return total


def apply_spool(storage: Storage, spool: Spool | None) -> int:
    """Write spooled completions to the store; what it still does not take stays spooled. Returns how many it took."""
    applied = 0
    for record, acknowledge in spool.drain() if spool is not None else ():
        body = base64.b64decode(record["result"]) if record["result"] is not None else None
        try:
            finish = storage.idempotency.finish
            said = finish(
                record["key"], record["claim_id"], RowState(record["state"]), body, record["keep"], record["attempts"]
            )
        except StoreUnavailable:
            continue
        ack = _at_once(said, "apply the spool through a guard on the sync storage of the same database")
        acknowledge()
        applied += ack is not Ack.LOST
    return applied


def _at_once(said: Any, fix: str) -> Any:
    if hasattr(said, "__await__"):
        if hasattr(said, "close"):
            said.close()
        raise ConfigurationError(
            "BG165", "this storage is asynchronous", why="there is no event loop to run it on", fix=fix
        )
    return said
