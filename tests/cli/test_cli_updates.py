"""The recorded updates are what Telegram sends: both bot frameworks read every one of them, to the last field."""

from __future__ import annotations

from typing import Any

import aiogram.types
import pytest
import telegram

from botguard.cli.demo.updates import Updates, numbered, read, token_pressed

UPDATES = list(Updates())


def _unread(value: Any) -> list[str]:
    """Fields that python-telegram-bot did not know, anywhere in an object."""
    found = list(getattr(value, "api_kwargs", {}))
    if isinstance(value, telegram.TelegramObject):
        parts = [getattr(value, name) for name in value.to_dict(recursive=False) if hasattr(value, name)]
    else:
        parts = list(value) if isinstance(value, tuple | list) else []
    return found + [name for part in parts for name in _unread(part)]


def _extra(value: Any) -> list[str]:
    """The same for aiogram, whose models keep what they do not know."""
    if isinstance(value, list):
        return [name for part in value for name in _extra(part)]
    if not hasattr(type(value), "model_fields"):
        return []
    found = list(value.model_extra or {})
    return found + [name for field in type(value).model_fields for name in _extra(getattr(value, field))]


@pytest.mark.parametrize("update", UPDATES, ids=[str(update["update_id"]) for update in UPDATES])
def test_both_frameworks_read_it(update: dict[str, Any]) -> None:
    pressed = "callback_query" in update
    other = token_pressed(update, "T0ken") if pressed else numbered(update, 3)
    for form in (update, other):
        said = read(form)

        ours = aiogram.types.Update.model_validate(form)
        assert _extra(ours) == []
        theirs = telegram.Update.de_json(form, None)
        assert _unread(theirs) == []
        assert ours.update_id == theirs.update_id == form["update_id"]

        if said.pressed:
            assert ours.callback_query is not None
            assert theirs.callback_query is not None
            assert ours.callback_query.data == theirs.callback_query.data == said.words
            assert len(said.words.encode()) <= 64
            assert said.words in str(form["callback_query"]["message"]["reply_markup"])
        else:
            assert ours.message is not None
            assert theirs.message is not None
            assert ours.message.text == theirs.message.text == said.words
            (entity,) = theirs.message.entities
            assert theirs.message.parse_entity(entity) == said.words.split()[0]


def test_a_delivery_is_named_by_what_was_meant() -> None:
    assert len({update["update_id"] for update in UPDATES}) == len(UPDATES) == 42
    updates = Updates()
    first, again, other = (
        read(updates.said(words, nth)).context
        for words, nth in (("reserve SKU-9 2", 0), ("reserve SKU-9 2", 1), ("reserve SKU-4 1", 0))
    )
    assert first.delivery == again.delivery != other.delivery
    assert first.correlation_id != again.correlation_id
    assert first.locale == "en"
    # Apart from the one press that arrives twice, and Imran's yes, every update is a wish of its own.
    assert len({read(update).context.delivery for update in UPDATES}) == len(UPDATES) - 3


def test_a_message_sent_again_by_hand_is_another_one() -> None:
    recorded = Updates().said("/stock SKU-9", by="Noor")
    once, again = read(numbered(recorded, 1)), read(numbered(recorded, 2))
    assert once.words == again.words == "/stock SKU-9"
    assert len({said.context.delivery for said in (read(recorded), once, again)}) == 3
    assert read(numbered(recorded, 0)) == read(recorded)


def test_whose_chat_it_is_decides_the_company() -> None:
    updates = Updates()
    here, there = (read(updates.said("/order A-17 SKU-9 3", by=who)) for who in ("Sara", "Lena"))
    assert (here.context.org, there.context.org) == ("acme", "bolt")
    assert read(updates.said("/order A-17 SKU-9 3", by="Sara"), "other").context.org == "other"


def test_a_button_gets_its_token() -> None:
    recorded = Updates().said("yes TOKEN", by="Imran")
    pressed = token_pressed(recorded, "abc")
    assert read(pressed).words == "yes abc"
    assert read(pressed).shown == "[yes]"
    assert "TOKEN" not in str(pressed)
    assert read(recorded).words == "yes TOKEN"
