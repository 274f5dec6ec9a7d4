"""The guard around the ERP: its people and roles asked, its handlers watched or enforced.

Nothing under ``host/`` is changed for it. What the host hands out, an application with a table of handlers, is all that
this module takes hold of.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Request, request
from pydantic import BaseModel, Field
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session, sessionmaker

from botguard import Actor, Ask, Context, Guard, Invocation, OutcomeError, Principal, current
from botguard.adapters.sqlalchemy import SqlAlchemyWork, prepare
from botguard.adapters.sqlite import SqliteStorage
from botguard.errors import Pending
from botguard.integrations.flask import install
from examples.erp_flask_sqlalchemy.host import database as db
from examples.erp_flask_sqlalchemy.host.models import BotCommand, User
from examples.erp_flask_sqlalchemy.host.seed import ORG
from examples.erp_flask_sqlalchemy.host.web import user_of
from examples.erp_flask_sqlalchemy.mapping import migrated_keys, storage

Handler = Callable[[dict], dict]
Handlers = dict[str, Handler]

# ── its people ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Registry:
    """Who may do what, as the host's table of commands says. Its own dispatcher never looked there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def permits(self, org: str, roles: frozenset[str], permission: str, /) -> bool:
        """See botguard.ports.access.Authorizer. Permissions are named like commands."""
        wanted = select(BotCommand).where(BotCommand.org_id == int(org), BotCommand.command == permission)
        with Session(self._engine) as session:
            row = session.scalar(wanted)
        return row is not None and row.is_active and (row.required_role is None or row.required_role in roles)

    def person(self, org: str, actor_id: str) -> Principal | None:
        """The directory: who an account is now, and whether it is active."""
        with Session(self._engine) as session:
            user = session.get(User, int(actor_id))
        if user is None:
            return None
        return Principal(str(user.id), frozenset(user.roles), active=user.is_active, org=str(user.org_id))


def identify(request: Request) -> Context:
    """Who sent a request to the API. A stranger is one in this org: its column takes no other than a number."""
    user = user_of(request)
    actor = None if user is None else Actor(str(user.id))
    return Context(org=str(ORG if user is None else user.org_id), actor=actor)


# ── its commands ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Stock(BaseModel):
    argument: str


class OrderAsked(BaseModel):
    """What the handlers read of their ctx, under the names by which they read it."""

    entity_id: int = Field(title="Order number")


class Line(BaseModel):
    delivery_no: str
    sku: str
    quantity: int = Field(gt=0, le=1000)


def sure(call: Invocation) -> Ask:
    """A check that always asks back."""
    return Ask(f"Cancel order #{call.payload.entity_id}, and write to the customer?")


def from_update(ctx: dict) -> tuple[dict, Context]:
    """From the dispatcher's ctx to (payload, Context). It only reads."""
    where = Context(
        org=str(ctx["org_id"]),
        actor=Actor(str(ctx["user"].id)),
        channel="telegram",
        delivery=f"update-{ctx['update_id']}",
        address=ctx["chat_id"],
        correlation_id=f"update-{ctx['update_id']}",
    )
    return {"argument": ctx["argument"], "entity_id": ctx["entity_id"]}, where


def from_api(ctx: dict) -> tuple[dict, None]:
    """The payload as it is; who asks, and for which org, the request says (identify)."""
    return {name: ctx[name] for name in ctx if name != "org_id"}, None


OPTIONS: dict[str, dict[str, Any]] = {
    "stock": {"request": Stock, "effects": "read"},
    "approve": {
        "request": OrderAsked,
        "key": "{entity_id}",  # one approval for an order, by whatever update
        "effects": "transactional",
        "replay_to": "org",
        "limits": ["4/hour per user"],
    },
    "cancel": {"request": OrderAsked, "key": "{entity_id}", "effects": "external", "checks": [sure]},
    "receive": {"request": Line, "key": "{delivery_no}/{sku}", "effects": "transactional", "bind": from_api},
}


# ── in shadow ────────────────────────────────────────────────────────────────────────────────────────────────────────


def watch(app: Flask, engine: Engine, notes: Path) -> Guard:
    """Every handler goes on as it did. What is seen goes into a file of the guard's own: no migration is needed yet."""
    registry = Registry(engine)
    guard = Guard(storage=SqliteStorage(notes), access=registry, directory=registry.person)
    install(app, guard, identify=identify, metrics="/metrics")
    app.extensions["bot_commands"] = guard.shadow(app.extensions["bot_commands"], bind=from_update, options=OPTIONS)
    return guard


# ── enforced ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def enforce(app: Flask, host: Engine) -> Guard:
    """The same handlers, guarded, in the same table."""
    engine = engine_beside(host)
    registry = Registry(engine)
    guard = Guard(
        storage=storage(engine, migrated_keys()),
        work=SqlAlchemyWork(sessionmaker(engine)),
        access=registry,
        directory=registry.person,
    )
    install(app, guard, identify=identify, metrics="/metrics")
    handlers: Handlers = app.extensions["bot_commands"]

    def guarded(name: str, handler: Handler) -> Handler:
        return guard.command(name, **{"bind": from_update, **OPTIONS[name]})(with_org(handler))

    guarded("receive", handlers["receive"])

    def receive(ctx: dict) -> dict:  # inside the view's own transaction, which commits all lines or none
        return guard.run("receive", from_api(ctx)[0], session=db.session).unwrap()

    def confirm(ctx: dict) -> dict:  # the button below a question
        return guard.confirm(ctx["argument"], context=from_update(ctx)[1]).unwrap()

    handlers.update(
        stock=in_words(guarded("stock", handlers["stock"])),
        approve=in_words(guarded("approve", in_unit(handlers["approve"]))),
        cancel=in_words(guarded("cancel", handlers["cancel"])),
        receive=receive,
        confirm=in_words(confirm),
    )
    app.before_request(lambda: join_on(engine) if request.endpoint == "deliveries" else None)
    return guard


def engine_beside(host: Engine) -> Engine:
    """What the guard works with: the host's engine, or on SQLite one of its own on the same file.

    There, ``prepare`` makes a transaction begin with its first read. The host's own begin with their first write; were
    that changed under it, those that read before they write would fail wherever two of them meet.
    """
    if host.dialect.name != "sqlite":
        return host
    own = create_engine(host.url)
    prepare(own)
    return own


def join_on(engine: Engine) -> None:
    """Have this request's ``db.session`` work with the guard's engine: its transaction will be joined."""
    db.session.remove()
    db.session(bind=engine)


def in_unit(handler: Handler) -> Handler:
    """A handler of a transactional command: ``db.session``, which it works with, is the guard's unit of work meanwhile.

    It must leave the commit to its caller. One that commits by itself keeps its session, and is not transactional.
    """

    def run(ctx: dict) -> dict:
        sessions = db.session.registry
        own = sessions()
        sessions.set(current().work)
        try:
            return handler(ctx)
        finally:
            sessions.set(own)

    return run


def with_org(handler: Handler) -> Handler:
    """Called by name (after a confirmation, or with ``session=``) a handler gets its payload; the org is the caller's."""

    def run(ctx: dict) -> dict:
        return handler({**ctx, "org_id": int(current().org)})

    return run


def in_words(guarded: Handler) -> Handler:
    """Refusals as replies, in the form that the dispatcher knows; it need not learn a new one."""

    def handle(ctx: dict) -> dict:
        try:
            return guarded(ctx)
        except Pending as asked:
            request = asked.confirmation
            return {"text": request.text, "keyboard": [["Yes", f"confirm:{request.token}"]]}
        except OutcomeError as refused:
            return {"text": refused.outcome.message()}

    return handle
