"""From an update to a handler and back: an event, a job in the outbox, the intent by keyword, the handler by intent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from examples.erp_flask_sqlalchemy.host import database as db
from examples.erp_flask_sqlalchemy.host import handlers
from examples.erp_flask_sqlalchemy.host.models import BotEvent, BotJob, Conversation, User

BOT = "erp_bot"
Handler = Callable[[dict], dict]

COMMANDS: dict[str, Handler] = {
    "stock": handlers.stock,
    "approve": handlers.approve,
    "cancel": handlers.cancel,
    "receive": handlers.receive,
}


def handle_update(commands: dict[str, Handler], update: dict[str, Any]) -> dict[str, Any] | None:
    """What to answer in the chat; None for a chat that nobody has registered."""
    ctx = _context(update, commands)
    if ctx is None:
        return None
    job = _job(ctx)
    db.session.add_all([job, _event(ctx, "update_received", "info")])
    db.session.commit()
    handler = commands.get(ctx["intent"])
    if handler is None:
        job.status = "done"
        db.session.commit()
        return {"text": "I did not understand that."}
    job.status = "processing"
    db.session.commit()
    try:
        reply = handler(ctx)
    except Exception as error:
        job.status, job.retry_count, job.last_error = "failed", job.retry_count + 1, str(error)
        db.session.add(_event(ctx, "command_failed", "error"))
        db.session.commit()
        raise
    job.status = "done"
    _keep_state(ctx, reply)
    db.session.commit()
    return reply


def _context(update: dict[str, Any], commands: dict[str, Handler]) -> dict | None:
    pressed = update.get("callback_query")
    message = pressed["message"] if pressed else update["message"]
    user = db.session.scalar(select(User).where(User.chat_id == str(message["chat"]["id"])))
    if user is None:
        return None
    text = pressed["data"] if pressed else message["text"]
    intent, _, argument = text.removeprefix("/").partition(":" if pressed else " ")
    if intent not in commands:  # a keyword anywhere will do
        intent, argument = next((name for name in commands if name in text), ""), ""
    return {
        "org_id": user.org_id,
        "user": user,
        "update_id": update["update_id"],
        "chat_id": str(message["chat"]["id"]),
        "message_id": str(message["message_id"]),
        "text": text,
        "intent": intent,
        "argument": argument,
        "entity_type": "order",
        "entity_id": int(argument) if argument.isdecimal() else None,
    }


def _job(ctx: dict) -> BotJob:
    plain = {name: ctx[name] for name in ("update_id", "argument", "entity_type", "entity_id")}
    return BotJob(
        org_id=ctx["org_id"],
        bot_name=BOT,
        chat_id=ctx["chat_id"],
        message_id=ctx["message_id"],
        raw_text=ctx["text"],
        parsed_intent=ctx["intent"],
        context_json=plain,
        status="queued",
        retry_count=0,
    )


def _event(ctx: dict, event_type: str, severity: str) -> BotEvent:
    payload = {"intent": ctx["intent"], "user": ctx["user"].id}
    return BotEvent(org_id=ctx["org_id"], bot_name=BOT, event_type=event_type, severity=severity, payload_json=payload)


def _keep_state(ctx: dict, reply: dict) -> None:
    where = {"org_id": ctx["org_id"], "bot_name": BOT, "chat_id": ctx["chat_id"]}
    state = db.session.scalar(select(Conversation).filter_by(**where))
    if reply.get("clear_state") and state is not None:
        db.session.delete(state)
    elif "next_state" in reply:
        state = state or Conversation(**where)
        state.state_key, state.data_json = reply["next_state"], reply.get("state_data")
        db.session.add(state)
