"""The recorded updates, and what the shop bot needs of one: who said what, and in which Context."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from botguard.invocation import Actor, Context

__all__ = ["TOKEN", "Said", "Updates", "numbered", "read", "token_pressed"]

#: The bot serves two companies; whose a chat is was settled when the bot was set up there.
COMPANIES = {2001: "bolt"}
#: Stands in a recorded button for the one that the bot makes when it asks.
TOKEN = "TOKEN"  # noqa: S105 - a placeholder, no password


@dataclass(frozen=True, slots=True)
class Said:
    """One update, as the bot sees it: the words of a message or of a button, and where they come from."""

    words: str
    pressed: bool
    who: str
    context: Context

    @property
    def shown(self) -> str:
        """What the person sent, for the timeline; a button in brackets and without its secret."""
        if not self.pressed:
            return self.words
        answer = self.words.partition(" ")[0]
        return f"[{answer}]" if answer in ("yes", "no") else f"[{self.words}]"


def read(update: Mapping[str, Any], org: str | None = None) -> Said:
    """Translate a message or a button press; ``org`` by default the company whose chat it is.

    Telegram delivers a message again under its update id, and a press perhaps under another one. So a message is named
    by chat and message, a press by chat, message and button: two buttons on one message are two intents.
    """
    press = update.get("callback_query")
    message = press["message"] if press is not None else update["message"]
    sender = press["from"] if press is not None else message["from"]
    words = press["data"] if press is not None else message["text"]
    chat = message["chat"]["id"]
    place = f"{chat}/{message['message_id']}"
    context = Context(
        org=org or COMPANIES.get(chat, "acme"),
        actor=Actor(str(sender["id"])),
        channel="telegram",
        delivery=f"press/{place}/{words}" if press is not None else f"message/{place}",
        address=str(chat),
        locale=sender.get("language_code", "en"),
        correlation_id=f"update-{update['update_id']}",
    )
    return Said(words, press is not None, sender["first_name"], context)


def token_pressed(update: Mapping[str, Any], token: str) -> dict[str, Any]:
    """The recorded press of a button, with the token that the button has in this run."""
    pressed = copy.deepcopy(dict(update))
    press = pressed["callback_query"]
    press["data"] = press["data"].replace(TOKEN, token)
    for row in press["message"]["reply_markup"]["inline_keyboard"]:
        for button in row:
            button["callback_data"] = button["callback_data"].replace(TOKEN, token)
    return pressed


def numbered(update: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The recorded message as somebody would send it the nth time: the same words, a message of its own."""
    other = copy.deepcopy(dict(update))
    other["update_id"] += 1000 * n
    other["message"]["message_id"] += 1000 * n
    other["message"]["date"] += n
    return other


class Updates:
    """The recorded updates, in order of arrival."""

    def __init__(self) -> None:
        lines = files("botguard.cli.demo").joinpath("updates.jsonl").read_text(encoding="utf-8").splitlines()
        self._all: dict[int, dict[str, Any]] = {}
        for line in lines:
            update = json.loads(line)
            self._all[update["update_id"]] = update

    def __getitem__(self, update_id: int) -> dict[str, Any]:
        return self._all[update_id]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def said(self, words: str, nth: int = 0, *, by: str = "") -> dict[str, Any]:
        """The update with these words, of this person where given; the nth, from 0, where several fit."""
        saying = [(update, read(update)) for update in self]
        return [update for update, said in saying if said.words == words and by in ("", said.who)][nth]
