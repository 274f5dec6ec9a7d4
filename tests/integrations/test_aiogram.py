"""aiogram: updates become Contexts, botguard's errors become answers in the chat. A real Dispatcher, no network."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest
from aiogram import Bot, Dispatcher, F, Router
from aiogram.client.default import DefaultBotProperties
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import Command, CommandObject
from aiogram.methods import AnswerCallbackQuery, SendMessage
from aiogram.types import CallbackQuery, ErrorEvent, InlineQuery, Message, TelegramObject, Update, User

from botguard import ConfigurationError, Context, Denied, OutcomeError, Rejected, StoreUnavailable
from botguard.integrations.aiogram import delivery_of, install
from botguard.testing.aiogram import OfflineChat
from integrations.desk import Desk, Order, context_for, seen

USERS = {7: "ann", 8: "ben", 9: "gus"}


def by_user(event: Any) -> Context | None:
    return context_for(USERS.get(event.from_user.id))


async def by_user_async(event: TelegramObject, event_from_user: User, shop: str) -> Context | None:
    assert shop == "tea room"
    return context_for(USERS.get(event_from_user.id))


class Users:
    """A callable object, async."""

    async def __call__(self, event: Any) -> Context | None:
        return by_user(event)


def make_router(desk: Desk) -> Router:
    router = Router()

    @desk.guard.command("orders.seen", effects="read")
    async def see(payload: dict[str, Any]) -> dict[str, Any]:
        return seen()

    @router.message(Command("order"))
    async def order(message: Message, command: CommandObject) -> None:
        sku, _, quantity = (command.args or "").partition(" ")
        outcome = await desk.guard.run_async("orders.create_async", {"sku": sku, "quantity": quantity})
        await message.answer(outcome.unwrap())

    @router.edited_message(Command("order"))
    async def edited(message: Message) -> None:
        await message.answer(await desk.create_async(Order(sku="edited", quantity=1)))

    @router.message(F.text == "sync")
    def sync(message: Message) -> None:
        desk.create(Order(sku="sync", quantity=1))

    @router.message(Command("run"))
    async def run(message: Message, command: CommandObject) -> None:
        await message.answer(str((await desk.guard.run_async(str(command.args), {"order_id": "7"})).unwrap()))

    @router.message(Command("seen"))
    async def sees(message: Message) -> dict[str, Any]:
        return await see({})

    @router.callback_query(F.data.startswith("buy:"))
    async def buy(query: CallbackQuery) -> None:
        assert query.data
        await query.answer(await desk.create_async(Order(sku=query.data[4:], quantity=1)))

    @router.callback_query(F.data == "close")
    async def close(query: CallbackQuery) -> None:
        (await desk.guard.run_async("stock.close", {})).unwrap()

    @router.callback_query(F.data.startswith("yes:"))
    async def yes(query: CallbackQuery, botguard: Context) -> None:
        assert query.data
        outcome = await desk.guard.confirm_async(query.data[4:], context=botguard)
        await query.answer(outcome.unwrap())

    @router.inline_query()
    async def inline(query: InlineQuery) -> None:
        (await desk.guard.run_async("stock.close", {})).unwrap()

    return router


def make_dispatcher(desk: Desk, identify: Any = by_user, **options: Any) -> Dispatcher:
    dispatcher = Dispatcher(shop="tea room")
    install(dispatcher, desk.guard, identify=identify, **options)
    dispatcher.include_router(make_router(desk))
    return dispatcher


def talk(*steps: Coroutine[Any, Any, Any]) -> list[Any]:
    async def main() -> list[Any]:
        return [await step for step in steps]

    return asyncio.run(main())


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def chat(desk: Desk) -> OfflineChat:
    return OfflineChat(make_dispatcher(desk))


@pytest.mark.parametrize(
    "identify", [by_user, by_user_async, Users(), lambda event: by_user_async(event, event.from_user, "tea room")]
)
def test_a_handler_acts_as_who_the_update_says(desk: Desk, identify: Any) -> None:
    dispatcher = make_dispatcher(desk, identify)
    ann, ben = OfflineChat(dispatcher), OfflineChat(dispatcher, user=8)
    said = talk(ann.say("/order tea 2"), ben.say("/order tea 2"), ann.say("sync"), ann.press("buy:salt"))
    assert said == [["2 x tea for ann"], ["2 x tea for ben"], [], ["1 x salt for ann"]]
    assert desk.done == [("ann", "tea", 2), ("ben", "tea", 2), ("ann", "sync", 1), ("ann", "salt", 1)]


def test_the_context_is_completed_from_the_update(desk: Desk) -> None:
    found: list[Any] = []
    dispatcher = make_dispatcher(desk)

    @dispatcher.message.outer_middleware()
    async def note(handler: Any, event: Any, data: dict[str, Any]) -> Any:
        found.append(await handler(event, data))

    talk(OfflineChat(dispatcher, language="pt-br").say("/seen"))
    assert found == [
        {
            "org": "acme",
            "actor": "ann",
            "channel": "telegram",
            "delivery": "42:message:7:1",
            "address": "7",
            "locale": "pt-br",
            "correlation_id": "update:1",
        }
    ]


def test_a_message_delivered_again_is_one_intent_and_the_same_words_are_another(desk: Desk, chat: OfflineChat) -> None:
    said = talk(chat.say("/order tea 2"), chat.deliver_again(), chat.say("/order tea 2"))
    assert said == [["2 x tea for ann"]] * 3
    assert desk.done == [("ann", "tea", 2)] * 2


def test_a_press_is_chat_message_and_button(desk: Desk, chat: OfflineChat) -> None:
    talk(
        chat.press("buy:tea", message=3),
        chat.deliver_again(),
        chat.press("buy:tea", message=3),  # the same press, sent again under a new update
        chat.press("buy:salt", message=3),
        chat.press("buy:tea", message=4),
    )
    assert [sku for _, sku, _ in desk.done] == ["tea", "salt", "tea"]


def test_an_edited_command_is_another_intent(desk: Desk) -> None:
    message = {
        "message_id": 5, "date": 1_770_000_000, "chat": {"id": 7, "type": "private"}, "text": "/order",
        "from": {"id": 7, "is_bot": False, "first_name": "User"},
    }  # fmt: skip

    async def main() -> None:
        dispatcher = make_dispatcher(desk)
        bot = OfflineChat(dispatcher).bot
        for number, edit_date in enumerate([None, 10, 10, 20]):
            kind = "message" if edit_date is None else "edited_message"
            text = "/order tea 2" if edit_date is None else "/order"
            update = {"update_id": number, kind: {**message, "edit_date": edit_date, "text": text}}
            await dispatcher.feed_raw_update(bot, update)

    asyncio.run(main())
    assert [sku for _, sku, _ in desk.done] == ["tea", "edited", "edited"]


def test_what_names_an_intent() -> None:
    chat, user = {"id": -100, "type": "supergroup"}, {"id": 7, "is_bot": False, "first_name": "User"}
    message = {"message_id": 5, "date": 1, "chat": chat, "from": user, "text": "x"}
    press = {"id": "1", "from": user, "chat_instance": "1"}
    names = {
        kind: delivery_of(Update.model_validate({"update_id": 9, kind: event}).event, 42, 9)
        for kind, event in {
            "message": message,
            "edited_message": {**message, "edit_date": 3},
            "business_message": {**message, "business_connection_id": "b"},
            "callback_query": {**press, "data": "a:b", "message": message},
            "inline_query": {"id": "1", "from": user, "query": "", "offset": ""},
        }.items()
    }
    assert names == {
        "message": "42:message:-100:5",
        "edited_message": "42:message:-100:5:edit:3",
        "business_message": "42:b:message:-100:5",
        "callback_query": "42:press:-100:5:a:b",
        "inline_query": "42:update:9",
    }
    inaccessible = {**press, "data": "a", "message": {"message_id": 5, "date": 0, "chat": chat}}
    assert delivery_of(CallbackQuery.model_validate(inaccessible), 42, 9) == "42:press:-100:5:a"
    assert delivery_of(CallbackQuery(**press, data="a", inline_message_id="i"), 42, 9) == "42:press:inline:i:a"
    assert (
        delivery_of(CallbackQuery(**press, game_short_name="g", inline_message_id="i"), 42, 9) == "42:press:inline:i:g"
    )
    assert delivery_of(CallbackQuery(**press), 42, None) is None
    nowhere = CallbackQuery(**press, data="a")
    assert delivery_of(nowhere, 42, 9) == "42:update:9", "two presses of nowhere are two intents"
    business = {**press, "data": "a", "message": {**message, "business_connection_id": "b"}}
    assert delivery_of(CallbackQuery.model_validate(business), 42, 9) == "42:b:press:-100:5:a"


def test_every_refusal_is_an_answer_in_the_chat(desk: Desk, chat: OfflineChat) -> None:
    stranger = OfflineChat(make_dispatcher(Desk()), user=1000)
    said = talk(
        chat.say("/order tea many"),
        chat.say("/run stock.close"),
        chat.say("/run orders.nothing"),
        chat.say("/run orders.cancel"),
        chat.say("/run orders.refuse"),
        stranger.say("/order tea 2"),
    )
    assert said == [
        ["Quantity: 'many' is not a whole number."],
        ["You are not allowed to do this."],
        ["I could not find that."],
        ["Please confirm: orders cancel (order id: 7)?"],
        ["Tea is sold out."],
        ["I could not tell who is asking. Please sign in and try again."],
    ]


def test_a_refused_press_is_shown_as_an_alert(chat: OfflineChat) -> None:
    talk(chat.press("close"))
    assert [(type(m), m.text, m.show_alert) for m in chat.sent] == [
        (AnswerCallbackQuery, "You are not allowed to do this.", True)
    ]


def test_answers_are_in_the_users_language(desk: Desk) -> None:
    dispatcher = make_dispatcher(desk)
    said = {
        language: talk(OfflineChat(dispatcher, language=language).say("/run stock.close"))[0][0]
        for language in ("en", "de", "de-AT", "xx")
    }
    assert said["de"] == said["de-AT"] != said["en"] == said["xx"]


def test_an_answer_is_plain_text_and_fits(desk: Desk, chat: OfflineChat) -> None:
    chat.bot.default = DefaultBotProperties(parse_mode="HTML")
    talk(chat.say("/order tea <b"))
    assert isinstance(chat.sent[0], SendMessage)
    assert ("<b" in chat.sent[0].text, chat.sent[0].parse_mode) == (True, None)


def test_long_answers_are_cut(desk: Desk) -> None:
    @desk.guard.command("orders.talk")
    async def talks(payload: dict[str, Any]) -> None:
        raise Rejected("word " * 2000)

    dispatcher = make_dispatcher(desk)

    @dispatcher.callback_query(F.data == "talk")
    @dispatcher.message(F.text == "talk")
    async def handler(event: Message | CallbackQuery) -> None:
        await talks({})

    chat = OfflineChat(dispatcher)
    (message,), (notice,) = talk(chat.say("talk"), chat.press("talk"))
    assert (len(message), len(notice)) == (4096, 200)
    assert message.endswith("…")


def test_an_answer_that_cannot_be_sent_is_only_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    chat = OfflineChat(make_dispatcher(desk))

    def fail(method: Any) -> Any:
        raise TelegramBadRequest(method, "query is too old")

    chat._answer = fail  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "botguard"):
        assert talk(chat.press("close"), chat.say("/run stock.close")) == [[], []]
    assert len(caplog.records) == 2


def test_an_event_without_a_chat_leaves_the_error_to_aiogram(desk: Desk) -> None:
    user = {"id": 7, "is_bot": False, "first_name": "User"}
    update = {"update_id": 1, "inline_query": {"id": "1", "from": user, "query": "", "offset": ""}}

    async def main(identify: Any) -> Any:
        dispatcher = make_dispatcher(Desk(), identify)
        return await dispatcher.feed_raw_update(OfflineChat(dispatcher).bot, update)

    with pytest.raises(Denied):
        asyncio.run(main(by_user))
    assert asyncio.run(main(lambda event: 1 / 0)) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("secret internals"), "I could not check whether this is allowed, so it was not done."),
        (ConnectionError("db at 10.0.0.1"), "The system is not available at the moment. Nothing was done."),
        (StoreUnavailable("u.db"), "The system is not available at the moment. Nothing was done."),
    ],
)
def test_an_identify_that_raises_lets_nobody_in(
    desk: Desk, caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    def identify(event: Any) -> Context | None:
        raise error

    chat = OfflineChat(make_dispatcher(desk, identify))
    with caplog.at_level(logging.ERROR, "botguard"):
        assert talk(chat.say("/order tea 2"), chat.press("buy:tea")) == [[said], [said]]
    assert caplog.records[0].exc_info[1] is error
    assert desk.done == []


def test_a_search_that_finds_nobody_hangs_nothing(desk: Desk) -> None:
    chat = OfflineChat(make_dispatcher(desk, lambda event: next(iter(()))))
    answer = asyncio.wait_for(chat.say("/order tea 2"), 10)
    assert talk(answer) == [["I could not check whether this is allowed, so it was not done."]]
    assert desk.done == []


@pytest.mark.parametrize("found", ["ann", ("acme", "ann"), True])
def test_an_identify_that_returns_something_else_lets_nobody_in(desk: Desk, found: Any) -> None:
    chat = OfflineChat(make_dispatcher(desk, lambda event: found))
    assert talk(chat.say("/order tea 2")) == [["I could not check whether this is allowed, so it was not done."]]
    assert desk.done == []


def test_identify_may_refuse_in_its_own_words(desk: Desk) -> None:
    def identify(event: Any) -> Context | None:
        raise Rejected("Write /start first.")

    assert talk(OfflineChat(make_dispatcher(desk, identify)).say("/order tea 2")) == [["Write /start first."]]


def test_a_handlers_own_exception_is_aiograms(desk: Desk) -> None:
    dispatcher = make_dispatcher(desk)
    seen_errors: list[Exception] = []

    @dispatcher.error()
    async def note(event: ErrorEvent) -> None:
        seen_errors.append(event.exception)

    chat = OfflineChat(dispatcher)
    said = talk(chat.say("/run orders.break"), chat.deliver_again())
    assert [type(error) for error in seen_errors] == [ZeroDivisionError]
    assert said == [[], ["I cannot tell whether this was done. A person has to look; please do not repeat it."]]


def test_a_handler_may_catch_the_refusal_itself(desk: Desk) -> None:
    dispatcher = Dispatcher()
    install(dispatcher, desk.guard, identify=by_user)

    @dispatcher.message()
    async def own(message: Message) -> None:
        try:
            (await desk.guard.run_async("stock.close", {})).unwrap()
        except OutcomeError:
            await message.answer("mine")

    assert talk(OfflineChat(dispatcher).say("x")) == [["mine"]]


def test_a_button_confirms_as_who_presses(desk: Desk, chat: OfflineChat) -> None:
    pending = desk.guard.run("orders.cancel", {"order_id": "7"}, context=context_for("ann"))
    token = pending.confirmation.token
    ben = OfflineChat(make_dispatcher(Desk()), user=8)
    ben._dispatcher = chat._dispatcher
    said = talk(ben.press(f"yes:{token}"), chat.press(f"yes:{token}"))
    assert said == [["This confirmation is not valid for you or for this request."], ["cancelled for ann"]]


def test_identify_is_asked_only_for_what_a_handler_takes(desk: Desk) -> None:
    chat = OfflineChat(make_dispatcher(desk, lambda event: 1 / 0))
    assert talk(chat.say("good morning")) == [[]]


def test_a_router_alone(desk: Desk) -> None:
    inside = make_router(desk)
    install(inside, desk.guard, identify=by_user, channel="shop")
    dispatcher = Dispatcher()
    dispatcher.include_router(inside)

    @dispatcher.message(F.text == "outside")
    async def outside(message: Message) -> None:
        await desk.create_async(Order(sku="tea", quantity=1))

    chat = OfflineChat(dispatcher)
    assert talk(chat.say("/order tea 2")) == [["2 x tea for ann"]]
    with pytest.raises(Denied, match="no_context"):
        talk(chat.say("outside"))


def test_updates_at_once_never_see_each_other(desk: Desk) -> None:
    dispatcher = make_dispatcher(desk)
    said: dict[str, set[str]] = {"ann": set(), "ben": set()}

    async def main() -> None:
        meet = asyncio.Barrier(4)

        @dispatcher.message(F.text == "meet")
        async def handler(message: Message, botguard: Context) -> None:
            await meet.wait()
            mine = (await desk.create_async(Order(sku="tea", quantity=1))).rsplit(" ", 1)[1]
            await meet.wait()
            said[USERS[message.from_user.id]] |= {mine, botguard.actor.id}

        chats = [OfflineChat(dispatcher, user=user) for user in (7, 8, 7, 8)]

        async def many(chat: OfflineChat) -> None:
            for _ in range(20):
                await chat.say("meet")

        await asyncio.gather(*map(many, chats))

    asyncio.run(main())
    assert said == {"ann": {"ann"}, "ben": {"ben"}}


def test_wiring_errors(desk: Desk) -> None:
    def refused(code: str, *args: Any, **kwargs: Any) -> None:
        with pytest.raises(ConfigurationError) as found:
            install(*args, **kwargs)
        assert found.value.code == code
        assert "Fix: " in str(found.value)

    dispatcher = Dispatcher()
    refused("BG240", Bot("42:TEST"), desk.guard, identify=by_user)
    refused("BG240", dispatcher.message, desk.guard, identify=by_user)
    refused("BG241", dispatcher, None, identify=by_user)
    refused("BG242", dispatcher, desk.guard, identify="ann")
    install(dispatcher, desk.guard, identify=by_user)
    refused("BG243", dispatcher, desk.guard, identify=by_user)
