"""An aiogram bot without token and network: one person's chat with a real Dispatcher, and what the bot answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from itertools import count
from typing import Any

from botguard.errors import ExtraMissing

try:
    from aiogram import Bot, Dispatcher
    from aiogram.client.session.base import BaseSession
    from aiogram.methods import TelegramMethod
    from aiogram.types import Chat, InlineKeyboardMarkup, Message
except ModuleNotFoundError as missing:
    if missing.name != "aiogram":
        raise
    what = "botguard.testing.aiogram needs aiogram 3.31 or newer, which is not installed"
    raise ExtraMissing(what, "aiogram", missing.name) from None

__all__ = ["OfflineChat"]

_BOT = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "offline_bot"}
_TOKEN = f"{_BOT['id']}:OFFLINE"
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class OfflineChat:
    """One person's private chat with a bot. Nothing leaves the process.

    Args:
        dispatcher: the bot's own, with its routers and middleware.
        user: Telegram's id of the person, and of the chat.
        language: the person's language, as Telegram tells it.

    Attributes:
        sent: every request that the bot made to Telegram, oldest first.
        buttons: those under the bot's last message that had any: label → data.
    """

    def __init__(self, dispatcher: Dispatcher, *, user: int = 7, language: str = "en") -> None:
        self._dispatcher, self._user = dispatcher, user
        self._person = {"id": user, "is_bot": False, "first_name": "User", "language_code": language}
        self._messages, self._updates = count(1), count(1)
        self._last: dict[str, Any] = {}
        self.sent: list[TelegramMethod[Any]] = []
        self.buttons: dict[str, str] = {}
        self._keyboard = 1
        self.bot = Bot(_TOKEN, session=_Recorder(self))

    async def say(self, text: str) -> list[str]:
        """The person writes; returns what the bot said to it."""
        return await self._deliver({"message": self._message(text, self._person)})

    async def press(self, data: str, message: int | None = None) -> list[str]:
        """The person presses a button; returns what the bot said to it.

        Args:
            data: the button's; ``chat.buttons["Yes"]`` has it by its label.
            message: the number of the message that it is under; default: the bot's last one with buttons.
        """
        shown = {**self._message("…", _BOT), "message_id": self._keyboard if message is None else message}
        press = {"id": f"press-{next(self._messages)}", "from": self._person, "chat_instance": "1", "data": data}
        return await self._deliver({"callback_query": {**press, "message": shown}})

    async def deliver_again(self) -> list[str]:
        """Telegram delivers the last update once more, as it does when the bot's answer to it was lost."""
        return await self._feed(self._last)

    async def _deliver(self, event: dict[str, Any]) -> list[str]:
        return await self._feed({"update_id": next(self._updates), **event})

    async def _feed(self, update: dict[str, Any]) -> list[str]:
        self._last, before = update, len(self.sent)
        await self._dispatcher.feed_raw_update(self.bot, update)
        said = [getattr(method, "text", None) for method in self.sent[before:]]
        return [text for text in said if text]

    def _message(self, text: str, sender: dict[str, Any]) -> dict[str, Any]:
        chat = {"id": self._user, "type": "private"}
        return {"message_id": next(self._messages), "date": _NOON, "chat": chat, "from": sender, "text": text}

    def _answer(self, method: TelegramMethod[Any]) -> Any:
        self.sent.append(method)
        if method.__returning__ is bool:
            return True
        chat = Chat(id=self._user, type="private")
        sent = Message(message_id=next(self._messages), date=_NOON, chat=chat, text=getattr(method, "text", None))
        keyboard = getattr(method, "reply_markup", None)
        if isinstance(keyboard, InlineKeyboardMarkup):
            labelled = [(button.text, button.callback_data) for row in keyboard.inline_keyboard for button in row]
            self.buttons, self._keyboard = {label: data for label, data in labelled if data}, sent.message_id
        return sent.as_(self.bot)


class _Recorder(BaseSession):
    """Takes down what would be sent."""

    def __init__(self, chat: OfflineChat) -> None:
        super().__init__()
        self._chat = chat

    async def make_request(self, bot: Bot, method: TelegramMethod[Any], timeout: int | None = None) -> Any:  # noqa: ASYNC109 - aiogram's
        return self._chat._answer(method)  # noqa: SLF001 - one object in two parts: aiogram wants a session of its own

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        yield b""

    async def close(self) -> None:
        pass
