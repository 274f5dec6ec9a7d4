"""The ERP's web application: the bot's webhook, and an API for the warehouse."""

from __future__ import annotations

from typing import Any

from flask import Flask, Request, abort, current_app, jsonify, request
from sqlalchemy import select

from examples.erp_flask_sqlalchemy.host import database as db
from examples.erp_flask_sqlalchemy.host.bots import COMMANDS, handle_update
from examples.erp_flask_sqlalchemy.host.models import User

SECRET = "a-secret-of-the-webhook"  # from the environment, in a real one


def create_app() -> Flask:
    """The application. Its table of handlers is its own copy, in ``app.extensions["bot_commands"]``."""
    app = Flask("erp")
    app.extensions["bot_commands"] = dict(COMMANDS)
    app.add_url_rule("/telegram/webhook", view_func=webhook, methods=["POST"])
    app.add_url_rule("/api/deliveries", view_func=deliveries, methods=["POST"])
    app.register_error_handler(LookupError, lambda error: (jsonify(error=str(error)), 422))
    app.teardown_appcontext(lambda _: db.session.remove())
    return app


def webhook() -> Any:
    """An update of the chat; the reply goes back in the answer."""
    if request.headers.get("X-Telegram-Bot-Api-Secret-Token") != SECRET:
        abort(403)
    reply = handle_update(current_app.extensions["bot_commands"], request.get_json())
    return jsonify(reply) if reply is not None else abort(403)


def deliveries() -> Any:
    """A delivery: all of its lines, or none."""
    user = user_of(request)
    if user is None:
        abort(401)
    body, org_id = request.get_json(), user.org_id
    receive = current_app.extensions["bot_commands"]["receive"]
    try:
        replies = [receive({"org_id": org_id, "delivery_no": body["delivery_no"], **line}) for line in body["lines"]]
        db.session.commit()
    except Exception:
        db.session.rollback()
        raise
    return jsonify([reply["text"] for reply in replies])


def user_of(request: Request) -> User | None:
    """Whose token a request bears."""
    return db.session.scalar(select(User).where(User.api_token == request.headers.get("X-Api-Token", "")))
