"""The ERP's tables: its business, and what its bot keeps."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, DateTime, Integer, String, Text, UniqueConstraint, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


class Base(DeclarativeBase):
    """Integer ids, plain JSON columns, naive timestamps of the server."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON, list[str]: JSON, str: String(255)}
    __table_args__: Any = _MYSQL


# ── business ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    name: Mapped[str]
    chat_id: Mapped[str] = mapped_column(String(64))
    api_token: Mapped[str] = mapped_column(String(64))
    roles: Mapped[list[str]]
    is_active: Mapped[bool] = mapped_column(default=True)


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    sku: Mapped[str]
    on_hand: Mapped[int]
    account: Mapped[str | None]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    sku: Mapped[str]
    quantity: Mapped[int]
    total: Mapped[int]
    status: Mapped[str] = mapped_column(String(32), default="open")


class LedgerLine(Base):
    __tablename__ = "ledger_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int]
    account: Mapped[str]
    amount: Mapped[int]
    booked_by: Mapped[int]


class StockMove(Base):
    __tablename__ = "stock_moves"

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[str]
    sku: Mapped[str]
    quantity: Mapped[int]


# ── the bot ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class BotCommand(Base):
    """Which commands there are, and the role that one needs. (The dispatcher never looks here.)"""

    __tablename__ = "bot_command_registry"

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    command: Mapped[str] = mapped_column(String(64))
    required_role: Mapped[str | None] = mapped_column(String(64))
    is_active: Mapped[bool] = mapped_column(default=True)


class BotEvent(Base):
    __tablename__ = "bot_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    bot_name: Mapped[str] = mapped_column(String(64))
    event_type: Mapped[str] = mapped_column(String(64))
    severity: Mapped[str] = mapped_column(String(16))
    payload_json: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())


class BotJob(Base):
    __tablename__ = "bot_job_outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    bot_name: Mapped[str] = mapped_column(String(64))
    chat_id: Mapped[str] = mapped_column(String(64))
    message_id: Mapped[str] = mapped_column(String(64))
    raw_text: Mapped[str] = mapped_column(Text)
    parsed_intent: Mapped[str | None] = mapped_column(String(64))
    context_json: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(32))  # queued, processing, done, failed
    retry_count: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())


class Conversation(Base):
    __tablename__ = "bot_conversation_state"
    __table_args__ = (UniqueConstraint("org_id", "bot_name", "chat_id"), _MYSQL)

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    bot_name: Mapped[str] = mapped_column(String(64))
    chat_id: Mapped[str] = mapped_column(String(64))
    state_key: Mapped[str] = mapped_column(String(64))
    data_json: Mapped[dict[str, Any] | None]
    updated_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now(), onupdate=func.now())


class IdempotencyKey(Base):
    """Keys of requests. Other services write theirs here too, each under a bot_name of its own."""

    __tablename__ = "bot_idempotency_keys"
    __table_args__: Any = ({"sqlite_autoincrement": True, **_MYSQL},)

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    bot_name: Mapped[str] = mapped_column(String(64))
    request_key: Mapped[str] = mapped_column(String(64), unique=True)
    command: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int | None]
    status: Mapped[str] = mapped_column(String(32))  # processing, completed, error, parked
    locked_by: Mapped[str | None] = mapped_column(String(64))
    locked_until: Mapped[datetime | None] = mapped_column(DateTime)
    attempts: Mapped[int | None]
    payload_hash: Mapped[str | None]
    payload_version: Mapped[str | None] = mapped_column(String(32))
    response_json: Mapped[dict[str, Any] | None]
    event_ref: Mapped[str | None] = mapped_column(String(64))
    consumed_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime)


class Question(Base):
    """Buttons that wait to be pressed."""

    __tablename__ = "bot_questions"

    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int]
    subject_hash: Mapped[str] = mapped_column(String(64), unique=True)
    button: Mapped[str] = mapped_column(String(64), unique=True)
    command: Mapped[str] = mapped_column(String(64))
    request_key: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int]
    asked_account: Mapped[str] = mapped_column(String(64))
    channel: Mapped[str] = mapped_column(String(32))
    update_ref: Mapped[str | None] = mapped_column(Text)
    question: Mapped[str] = mapped_column(Text)
    reasons: Mapped[str] = mapped_column(Text)
    payload_hash: Mapped[str]
    payload_json: Mapped[dict[str, Any] | None]
    answer: Mapped[str] = mapped_column(String(16))  # open, yes, no
    used_for: Mapped[str] = mapped_column(String(64))
    valid_until: Mapped[datetime] = mapped_column(DateTime)


class RateCounter(Base):
    __tablename__ = "bot_rate_counters"

    counter: Mapped[str] = mapped_column(String(64), primary_key=True)
    window_no: Mapped[int] = mapped_column(BigInteger)
    hits: Mapped[int] = mapped_column(Integer)
    hits_before: Mapped[int] = mapped_column(Integer)
    calls_json: Mapped[dict[str, Any] | None]
    valid_until: Mapped[datetime] = mapped_column(DateTime)
