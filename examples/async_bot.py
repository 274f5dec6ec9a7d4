"""A Telegram bot in aiogram that takes and cancels orders.

python examples/async_bot.py                    # without a token: a scripted chat, and nothing is sent
BOT_TOKEN=123:abc python examples/async_bot.py  # with one: the real bot, by polling
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from aiogram import Bot, Dispatcher, F, Router
from aiogram.filters import Command
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message, TelegramObject
from pydantic import BaseModel, Field

from botguard import Actor, Context, Guard
from botguard.adapters.memory import MemoryStorage
from botguard.integrations.aiogram import install
from botguard.testing.aiogram import OfflineChat
from botguard.validation import parse_command_line

guard = Guard(storage=MemoryStorage(), access={"customer": {"orders.create", "orders.cancel"}})
router = Router()


class Order(BaseModel):
    """/order <order id> <sku> <quantity>"""

    order_id: str
    sku: str
    quantity: int = Field(gt=0)


class Cancel(BaseModel):
    """/cancel <order id>"""

    order_id: str


@guard.command("orders.create", limits=["5/minute per user"])
async def create_order(order: Order) -> str:
    """Its key is the delivery: one message is one order, however often Telegram delivers it."""
    print(f"  ... the shop books {order.quantity} x {order.sku}")
    return f"Order {order.order_id} is booked."


@guard.command("orders.cancel", key="{order_id}", risk="high")
async def cancel_order(order: Cancel) -> str:
    """Risky, so the guard has the customer confirm."""
    print(f"  ... the shop cancels {order.order_id}")
    return f"Order {order.order_id} is cancelled."


async def identify(event: TelegramObject) -> Context | None:
    """Who sent this? Here every person is a customer; your user table may know better."""
    sender = getattr(event, "from_user", None)
    return None if sender is None else Context(org="acme", actor=Actor(str(sender.id), roles=("customer",)))


@router.message(Command("order"))
async def on_order(message: Message) -> None:
    """A refusal is an exception here, and ``install`` answers it in the chat."""
    outcome = await guard.run_async(create_order, parse_command_line(message.text or "", Order))
    await message.answer(outcome.unwrap())


@router.message(Command("cancel"))
async def on_cancel(message: Message, botguard: Context) -> None:
    """Asks on two buttons."""
    outcome = await guard.run_async(cancel_order, parse_command_line(message.text or "", Cancel))
    buttons = None
    if outcome.confirmation is not None:
        token = outcome.confirmation.token
        yes = InlineKeyboardButton(text="Yes", callback_data=f"yes:{token}")
        no = InlineKeyboardButton(text="No", callback_data=f"no:{token}")
        buttons = InlineKeyboardMarkup(inline_keyboard=[[yes, no]])
    await message.answer(outcome.message(botguard.locale), reply_markup=buttons)


@router.callback_query(F.data.startswith("yes:") | F.data.startswith("no:"))
async def on_press(query: CallbackQuery, botguard: Context) -> None:
    """Only the person who was asked can answer."""
    answer, _, token = (query.data or "").partition(":")
    decide = guard.confirm_async if answer == "yes" else guard.decline_async
    outcome = await decide(token, context=botguard)
    await query.answer(outcome.message(botguard.locale), show_alert=True)


def make_dispatcher() -> Dispatcher:
    """The bot, without its connection."""
    dispatcher = Dispatcher()
    install(dispatcher, guard, identify=identify)
    dispatcher.include_router(router)
    return dispatcher


async def rehearse() -> None:
    """A chat without Telegram: the same dispatcher, updates and answers."""
    chat = OfflineChat(make_dispatcher())

    async def show(did: str, answers: Coroutine[Any, Any, list[str]]) -> None:
        print(f"> {did}")
        for text in await answers:
            print("\n".join(f"  < {line}" for line in text.splitlines()))

    await show("/order A-17 tea 2", chat.say("/order A-17 tea 2"))
    await show("(the same update, delivered again)", chat.deliver_again())
    await show("/order A-18 salt many", chat.say("/order A-18 salt many"))
    await show("/order", chat.say("/order"))
    await show("/cancel A-17", chat.say("/cancel A-17"))
    await show("[Yes]", chat.press(chat.buttons["Yes"]))
    await show("[Yes] (pressed twice)", chat.press(chat.buttons["Yes"]))
    for name, counts in guard.metrics.totals().items():
        if name.startswith("orders."):
            print(name, counts)


async def poll(token: str) -> None:
    """The real bot."""
    await make_dispatcher().start_polling(Bot(token))


if __name__ == "__main__":
    secret = os.environ.get("BOT_TOKEN")
    asyncio.run(poll(secret) if secret else rehearse())
