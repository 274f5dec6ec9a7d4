"""aiogram: every update acts as somebody, and botguard's errors become an answer in the chat.

The Context reaches handlers that ask for it by name, as aiogram's own values do: ``async def on_order(message, botguard)``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from botguard.errors import BotguardError
from botguard.guard import Guard
from botguard.integrations.arrival import (
    ANSWERED,
    Arrival,
    acting_context,
    for_a_thread,
    outcome_of,
    unidentified,
)
from botguard.integrations.installing import check_given, extra_missing, installed_twice, wrong_app
from botguard.invocation import Context
from botguard.outcome import Outcome

try:
    from aiogram import BaseMiddleware, Router
    from aiogram.dispatcher.event.handler import CallableObject
    from aiogram.exceptions import TelegramAPIError
    from aiogram.types import CallbackQuery, MaybeInaccessibleMessage, Message, TelegramObject
except ModuleNotFoundError as missing:
    raise extra_missing(missing, "aiogram", "aiogram 3.31", "aiogram") from None

__all__ = ["Identify", "delivery_of", "install"]

#: Who sent this event? A Context with org and actor, or None for a stranger. More parameters are filled in by name.
Identify: TypeAlias = Callable[..., Context | None] | Callable[..., Awaitable[Context | None]]

_LONGEST_MESSAGE, _LONGEST_NOTICE = 4096, 200
_log = logging.getLogger("botguard.integrations")


def install(router: Router, guard: Guard, *, identify: Identify, channel: str = "telegram") -> None:
    """Have every event that a handler takes act as who ``identify`` says.

    Args:
        router: the Dispatcher, or one Router; what is included in it is covered too.
        guard: the guard whose commands the handlers call.
        identify: is given the event (a Message, a CallbackQuery …), and by name what aiogram offers a handler;
            returns a Context with ``org`` and ``actor``, or None for a stranger, to whom every command is denied.
            What the Context leaves out is completed: channel, chat, language, correlation id, delivery key. It may be
            ``async def``; a plain function runs in a thread. If it raises, the event is refused.
        channel: what the Context says where ``identify`` does not.

    Raises:
        ConfigurationError: for anything but a Dispatcher or Router, and on a second time.
    """
    if not isinstance(router, Router):
        raise wrong_app(router, "Dispatcher or Router", "install(dispatcher, …), where dispatcher = Dispatcher()")
    check_given(guard, identify)
    if any(isinstance(found, _Acting) for found in router.message.middleware):
        raise installed_twice("router")
    acting = _Acting(guard, identify, channel)
    for name, observer in router.observers.items():
        if name not in ("update", "error"):  # the envelope of all others, and what comes after them
            observer.middleware(acting)


class _Acting(BaseMiddleware):
    """An inner middleware: it runs for events that a handler takes, and the filters have run before."""

    def __init__(self, guard: Guard, identify: Any, channel: str) -> None:
        self._guard, self._channel = guard, channel
        self._identify = CallableObject(for_a_thread(identify))

    async def __call__(
        self,
        handler: Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]],
        event: TelegramObject,
        data: dict[str, Any],
    ) -> Any:
        arrival = _arrival_of(event, data, self._channel)
        locale = arrival.locale or "en"
        try:
            found = await self._identify.call(event, **data)
            context = acting_context(await found if inspect.isawaitable(found) else found, arrival)
        except ANSWERED as error:
            return await _answer(event, outcome_of(error), locale, error)
        except Exception as error:  # noqa: BLE001 - a host's function may raise anything, and nobody may get in by it
            return await _answer(event, unidentified(error), locale)
        data["botguard"] = context
        try:
            with self._guard.acting(context):
                return await handler(event, data)
        except ANSWERED as error:
            return await _answer(event, outcome_of(error), context.locale, error)


def delivery_of(event: TelegramObject, bot_id: int, update_id: int | None) -> str | None:
    """What names one intent in Telegram, the same when it is delivered again.

    A message is its chat and number, and an edit of it is another intent. A press is chat, message and the button's
    data: it may come again under a new update, and two buttons of one message are two intents. Anything else is its
    update.
    """
    if isinstance(event, Message):
        edit = f":edit:{event.edit_date}" if event.edit_date else ""
        return f"{bot_id}:{_business(event)}message:{event.chat.id}:{event.message_id}{edit}"
    if isinstance(event, CallbackQuery) and (button := event.data or event.game_short_name):
        shown = event.message
        if shown is not None:
            return f"{bot_id}:{_business(shown)}press:{shown.chat.id}:{shown.message_id}:{button}"
        if event.inline_message_id:
            return f"{bot_id}:press:inline:{event.inline_message_id}:{button}"
    return f"{bot_id}:update:{update_id}" if update_id is not None else None


def _business(message: MaybeInaccessibleMessage) -> str:
    """Two accounts that the bot answers for each number their messages with one person themselves."""
    connection = getattr(message, "business_connection_id", None)  # an inaccessible message has none
    return f"{connection}:" if connection else ""


def _arrival_of(event: TelegramObject, data: dict[str, Any], channel: str) -> Arrival:
    update, user, chat = data.get("event_update"), data.get("event_from_user"), data.get("event_chat")
    update_id = update.update_id if update is not None else None
    delivery = delivery_of(event, data["bot"].id, update_id)
    return Arrival(
        channel=channel,
        address=str(chat.id) if chat is not None else None,
        locale=user.language_code if user is not None else None,
        correlation_id=f"update:{update_id}" if update_id is not None else None,
        delivery=None if delivery is None else lambda _: delivery,
    )


async def _answer(event: TelegramObject, outcome: Outcome, locale: str, error: BotguardError | None = None) -> None:
    """Tell the chat. An event without one leaves the error to aiogram, or is passed over if there is none."""
    text = outcome.message(locale)
    try:
        if isinstance(event, CallbackQuery):
            await event.answer(_cut(text, _LONGEST_NOTICE), show_alert=True)
        elif isinstance(event, Message):
            # As plain text, whatever the bot's default is: the words may repeat what a person typed.
            await event.answer(_cut(text, _LONGEST_MESSAGE), parse_mode=None)
        elif error is not None:
            raise error
    except TelegramAPIError:
        # What happened stands. Failing here would only have the update delivered again.
        _log.warning("the answer of a guarded call could not be sent", exc_info=True)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
