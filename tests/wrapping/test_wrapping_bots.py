"""Handlers of aiogram and python-telegram-bot: their decorators above ours, real updates, no network."""

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any

import pytest
from aiogram import BaseMiddleware, Bot, Dispatcher, F, Router, flags
from aiogram.dispatcher.flags import get_flag
from aiogram.filters import Command, CommandObject
from aiogram.types import CallbackQuery, Message, Update
from pydantic import BaseModel
from telegram import Update as PtbUpdate
from telegram import User as PtbUser
from telegram.ext import (
    Application,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    ConversationHandler,
    ExtBot,
    MessageHandler,
    filters,
)

from botguard import Actor, CommandRegistry, Context, Denied, Guard, InvalidPayload, current, guarded
from wrapping.setting import make_guard, run

REGISTRY = CommandRegistry()
router = Router()
done: list[Any] = []


class Order(BaseModel):
    sku: str
    quantity: int


# -- updates as the Bot API sends them --------------------------------------------------------------------------------


def message(text: str, number: int = 1, user: int = 7) -> dict[str, Any]:
    command = {"entities": [{"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}]}
    return {
        "update_id": 1000 + number,
        "message": {
            "message_id": number,
            "date": 1_770_000_000,
            "chat": {"id": 5, "type": "private"},
            "from": {"id": user, "is_bot": False, "first_name": "Ann"},
            "text": text,
            **(command if text.startswith("/") else {}),
        },
    }


def press(data: str, number: int = 1, user: int = 7) -> dict[str, Any]:
    return {
        "update_id": 2000 + number,
        "callback_query": {
            "id": str(number),
            "chat_instance": "1",
            "data": data,
            "from": {"id": user, "is_bot": False, "first_name": "Ann"},
        },
    }


def telegram(user_id: int, delivery: str) -> Context:
    return Context(org="acme", actor=Actor(str(user_id)), channel="telegram", delivery=delivery)


# -- aiogram ----------------------------------------------------------------------------------------------------------


def of_message(message: Message, command: CommandObject, **injected: Any) -> tuple[dict[str, Any], Context]:
    sku, _, quantity = (command.args or "").partition(" ")
    return {"sku": sku, "quantity": quantity}, telegram(message.from_user.id, f"{message.chat.id}:{message.message_id}")


@router.message(Command("order"))
@guarded("tg.order", registry=REGISTRY, bind=of_message, request=Order)
@flags.rate_limit(rate=2)
@flags.chat_action("typing")
async def on_order(message: Message, command: CommandObject, bot: Bot, prices: dict[str, int]) -> str:
    """Gets aiogram's own objects, those of a filter and those of the dispatcher."""
    order: Order = current().payload
    assert isinstance(message, Message)
    assert command.args == f"{order.sku} {order.quantity}"
    done.append((order, bot.id, prices[order.sku]))
    return f"{order.quantity} of {order.sku}: {prices[order.sku] * order.quantity}"


@router.message(F.text == "plain")
@guarded("tg.plain", registry=REGISTRY)
async def on_plain(message: Message) -> tuple[Any, ...]:
    """The message itself is the payload; it is still mounted to its bot."""
    return (current().actor.id, message.text, message.bot.id)


@router.message(F.text == "sync")
@guarded("tg.sync", registry=REGISTRY, effects="read", request=Message)
def on_sync(message: Message, event_update: Update) -> tuple[Any, ...]:
    """aiogram runs it in a thread."""
    return (current().actor.id, event_update.update_id)


@router.callback_query(F.data.startswith("yes:"))
@guarded(
    "tg.yes",
    registry=REGISTRY,
    bind=lambda query, **injected: ({"sku": query.data[4:], "quantity": 1}, telegram(query.from_user.id, query.data)),
    request=Order,
)
async def on_yes(query: CallbackQuery) -> str:
    done.append(query.data)
    return f"ok {current().payload.sku} for {current().actor.id}"


class Acting(BaseMiddleware):
    """What the integration will do, in short."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.flags: list[Any] = []

    async def __call__(self, handler: Any, event: Any, data: dict[str, Any]) -> Any:
        self.flags.append((get_flag(data, "rate_limit"), get_flag(data, "chat_action")))
        with self.guard.acting(telegram(event.from_user.id, f"m{event.message_id}")):
            return await handler(event, data)


def feed(*updates: dict[str, Any]) -> tuple[list[Any], Acting]:
    """Send updates through a dispatcher and collect what the handlers returned or raised."""

    async def main() -> list[Any]:
        answers: list[Any] = []
        bot = Bot("42:TEST")
        dispatcher = Dispatcher(prices={"tea": 3})
        router.message.middleware(acting)
        dispatcher.include_router(router)
        try:
            for update in updates:
                try:
                    answers.append(await dispatcher.feed_raw_update(bot, update))
                except Exception as error:
                    answers.append(error)
        finally:
            router.message.middleware.unregister(acting)
            router._parent_router = None
            await bot.session.close()
        return answers

    acting = Acting(guard_of(REGISTRY))
    return run(main()), acting


_guards: dict[int, Guard] = {}


def guard_of(registry: CommandRegistry) -> Guard:
    """The one guard of a registry."""
    if id(registry) not in _guards:
        _guards[id(registry)] = make_guard(registry=registry)
    return _guards[id(registry)]


@pytest.fixture(autouse=True)
def _forget() -> None:
    done.clear()
    for registry in (REGISTRY, PTB_REGISTRY):
        guard_of(registry).storage.idempotency._rows.clear()


def test_aiogram_injects_what_the_handler_asks_for() -> None:
    answers, acting = feed(message("/order tea 4"))

    assert answers == ["4 of tea: 12"]
    assert done == [(Order(sku="tea", quantity=4), 42, 3)]
    assert acting.flags == [({"rate": 2}, "typing")], "flags below ours are seen by aiogram's middlewares"


def test_aiogram_delivers_twice_and_it_happens_once() -> None:
    answers, _ = feed(message("/order tea 4"), message("/order tea 4"), message("/order tea 5", 2))

    assert answers == ["4 of tea: 12", "4 of tea: 12", "5 of tea: 15"]
    assert [order.quantity for order, *_ in done] == [4, 5]


def test_aiogram_gets_the_guards_refusal() -> None:
    answers, _ = feed(message("/order tea many"))

    assert [type(answer) for answer in answers] == [InvalidPayload]
    assert answers[0].details[0].field == "quantity"
    assert done == []


def test_aiogram_messages_as_payload_and_sync_handlers() -> None:
    assert feed(message("plain", 1), message("sync", 2))[0] == [("7", "plain", 42), ("7", 1002)]


def test_aiogram_callback_queries() -> None:
    answers, _ = feed(press("yes:tea"), press("yes:tea", 2), press("yes:tea", 3, user=8))

    assert answers[:2] == ["ok tea for 7", "ok tea for 7"]
    assert type(answers[2]).__name__ == "KeyReused", "another person pressed the same button"
    assert done == ["yes:tea"]


def test_aiogram_without_context_is_denied() -> None:
    with pytest.raises(Denied):
        run(on_plain(Message.model_validate(message("plain")["message"])))


def test_aiogram_sees_the_colour() -> None:
    handlers = {handler.callback.__name__: handler.awaitable for handler in router.message.handlers}
    assert handlers == {"on_order": True, "on_plain": True, "on_sync": False}


# -- python-telegram-bot ----------------------------------------------------------------------------------------------

PTB_REGISTRY = CommandRegistry()


def of_update(update: PtbUpdate, context: ContextTypes.DEFAULT_TYPE) -> tuple[dict[str, Any], Context]:
    sku, quantity = context.args
    return {"sku": sku, "quantity": quantity}, telegram(update.effective_user.id, str(update.update_id))


def of_any(update: PtbUpdate, context: ContextTypes.DEFAULT_TYPE) -> tuple[dict[str, Any], Context]:
    return {}, telegram(update.effective_user.id, str(update.update_id))


@guarded("ptb.order", registry=PTB_REGISTRY, bind=of_update, request=Order)
async def ptb_order(update: PtbUpdate, context: ContextTypes.DEFAULT_TYPE) -> int:
    """Starts a conversation: its state is what this returns."""
    context.user_data["order"] = current().payload
    done.append(("order", current().payload.quantity))
    return 1


@guarded("ptb.note", registry=PTB_REGISTRY, bind=of_any)
async def ptb_note(update: PtbUpdate, context: ContextTypes.DEFAULT_TYPE) -> int:
    """Ends it."""
    done.append(("note", update.message.text, context.user_data.get("order"), context.bot.id))
    return ConversationHandler.END


class PtbDesk:
    """A bound method as callback."""

    @guarded("ptb.press", registry=PTB_REGISTRY, bind=lambda self, update, context: of_any(update, context))
    async def press(self, update: PtbUpdate, context: ContextTypes.DEFAULT_TYPE) -> None:
        done.append(("press", update.callback_query.data, context.matches[0].group(1)))


class OfflineBot(ExtBot[None]):
    """Knows who it is without asking."""

    async def initialize(self) -> None:
        self._bot_user = PtbUser(42, "Shop", True, username="shop_bot")
        self._initialized = True

    async def shutdown(self) -> None:
        self._initialized = False


def process(*updates: dict[str, Any]) -> list[BaseException]:
    """Send updates through an application; what its error handler was given."""
    errors: list[BaseException] = []

    async def note(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
        errors.append(context.error)

    async def main() -> None:
        application = Application.builder().bot(OfflineBot("42:TEST")).updater(None).build()
        application.add_handler(
            ConversationHandler(
                entry_points=[CommandHandler("order", ptb_order)],
                states={1: [MessageHandler(filters.TEXT, ptb_note)]},
                fallbacks=[],
            )
        )
        application.add_handler(CallbackQueryHandler(PtbDesk().press, pattern=r"yes:(\w+)"))
        application.add_error_handler(note)
        await application.initialize()
        try:
            for update in updates:
                await application.process_update(PtbUpdate.de_json(update, application.bot))
        finally:
            await application.shutdown()

    guard_of(PTB_REGISTRY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main())
    return errors


def test_ptb_commands_and_the_state_of_conversations() -> None:
    assert process(message("/order tea 4", 1), message("with milk", 2), message("again", 3)) == []
    order = Order(sku="tea", quantity=4)
    assert done == [("order", 4), ("note", "with milk", order, 42)], (
        "END reached the conversation: the third is ignored"
    )


def test_ptb_delivers_twice_and_it_happens_once() -> None:
    assert process(message("/order tea 4", 1)) == []
    assert process(message("/order tea 4", 1), message("the end", 2)) == []
    # The second application was told the stored state, and went on from there. What the handler did besides stays away.
    assert done == [("order", 4), ("note", "the end", None, 42)]


def test_ptb_callback_queries_and_bound_methods() -> None:
    assert process(press("yes:tea", 1), press("no:tea", 2)) == []
    assert done == [("press", "yes:tea", "tea")]


def test_ptb_hands_refusals_to_its_error_handler() -> None:
    errors = process(message("/order tea many"))
    assert [type(error) for error in errors] == [InvalidPayload]
    assert done == []


def test_updates_are_made_of_times_that_both_frameworks_read() -> None:
    at = dt.datetime(2026, 2, 2, 2, 40, tzinfo=dt.UTC)
    assert Update.model_validate(message("x")).message.date == at
    assert PtbUpdate.de_json(message("x"), None).message.date == at
