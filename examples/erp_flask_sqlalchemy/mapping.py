"""The guard's fields on the ERP's tables: one mapping for each store, and the column that was missing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Engine, MetaData, Table

from botguard.adapters.sqlalchemy import MappedTable, SqlAlchemyStorage
from examples.erp_flask_sqlalchemy.host.models import BotEvent, IdempotencyKey, Question, RateCounter

OURS = {"bot_name": "guard"}  # written into every row of ours, and demanded of every row that is read


def claims(keys: Any) -> MappedTable:
    """Keys and results."""
    return MappedTable(
        keys,
        columns={
            "key": "request_key",
            "org": "org_id",
            "person": "user_id",
            "state": "status",
            "claim_id": "locked_by",
            "lease_until": "locked_until",
            "fingerprint": "payload_hash",
            "version": "payload_version",
            "result": "response_json",
            "event_id": "event_ref",
        },
        states={"claimed": "processing", "done": "completed", "failed": "error", "unknown": "parked"},
        values=OURS,
    )


EVENTS = MappedTable(
    BotEvent,
    columns={"org": "org_id", "kind": "event_type"},
    values={**OURS, "severity": "info"},
    rest="payload_json",  # every field that has no column
)
APPROVALS = MappedTable(
    Question,
    columns={
        "subject": "subject_hash",
        "token": "button",
        "org": "org_id",
        "key": "request_key",
        "person": "user_id",
        "actor": "asked_account",
        "delivery": "update_ref",
        "text": "question",
        "fingerprint": "payload_hash",
        "payload": "payload_json",
        "state": "answer",
        "spent_on": "used_for",
        "expires_at": "valid_until",
    },
    states={"approved": "yes", "declined": "no"},
)
LIMITS = MappedTable(
    RateCounter,
    columns={
        "bucket": "counter",
        "slot": "window_no",
        "used": "hits",
        "before": "hits_before",
        "entries": "calls_json",
        "expires_at": "valid_until",
    },
)


def storage(engine: Engine, keys: Any) -> SqlAlchemyStorage:
    """The guard's stores, all of them in tables of the host's. Fields that are not listed are called as with us."""
    tables = {"claims": claims(keys), "events": EVENTS, "approvals": APPROVALS, "limits": LIMITS}
    return SqlAlchemyStorage(engine, tables=tables, shared_limits=True)


#: A line of what the error prints. The column is nullable: the host's own code goes on inserting rows.
MIGRATION = "ALTER TABLE bot_idempotency_keys ADD COLUMN fence BIGINT"


def migrated_keys() -> Table:
    """The table of keys with its new column. In your host, this is one more line of the model."""
    keys = IdempotencyKey.metadata.tables["bot_idempotency_keys"].to_metadata(MetaData())
    keys.append_column(Column("fence", BigInteger))
    return keys
