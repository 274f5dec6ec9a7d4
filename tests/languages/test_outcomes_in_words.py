"""An outcome in words: in the language asked for, else the closest, else English."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from botguard import ALLOW_ALL, Actor, Context, Detail, Guard, Outcome, Phone, Reason, Rejected, Status
from botguard.adapters.memory import MemoryStorage
from botguard.messages import add_catalogue, catalogue
from botguard.messages.locales import fallbacks
from botguard.messages.rendering import duration
from languages.jargon import offences


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_added", {})


def denied(**fields: Any) -> Outcome:
    return Outcome(Status.DENIED, reasons=(Reason.MISSING_PERMISSION,), **fields)


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("en", "You are not allowed to do this."),
        ("en-GB", "You are not allowed to do this."),
        ("de", "Dazu sind Sie nicht berechtigt."),
        ("de-AT", "Dazu sind Sie nicht berechtigt."),
        ("de_AT.UTF-8", "Dazu sind Sie nicht berechtigt."),
        ("DE-at", "Dazu sind Sie nicht berechtigt."),
        ("ru", "У вас нет прав на это действие."),
        ("ru-Cyrl-RU", "У вас нет прав на это действие."),
        ("fr", "You are not allowed to do this."),
        ("den", "You are not allowed to do this."),
        ("", "You are not allowed to do this."),
        ("\x00" * 5000, "You are not allowed to do this."),
    ],
)
def test_a_locale_falls_back_to_its_language_and_then_to_english(locale: str, said: str) -> None:
    assert denied().message(locale) == said


def test_what_a_locale_is_a_form_of() -> None:
    assert fallbacks("zh-Hant-TW") == ("zh-hant-tw", "zh-hant", "zh", "en")
    assert fallbacks("en") == ("en",)


def test_a_host_adds_a_language_and_a_form_of_one() -> None:
    add_catalogue("de-AT", {"missing_permission": "Des derfens ned."})
    add_catalogue("am", {"missing_permission": "አይፈቀድም።"})
    assert denied().message("de_AT") == "Des derfens ned."
    assert denied().message("de-CH") == "Dazu sind Sie nicht berechtigt."
    assert denied().message("am-ET") == "አይፈቀድም።"
    unavailable = Outcome(Status.UNAVAILABLE, reasons=(Reason.BREAKER_OPEN,), retry_after=90)
    assert unavailable.message("am").endswith("Please try again in 90 s.")


@pytest.mark.parametrize("wrong", [{"mising": "x"}, {"try_again_in": "{when}"}, {"running": "{time}"}])
def test_a_sentence_that_would_never_be_shown_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="catalogue 'de'"):
        add_catalogue("de", wrong)


@pytest.mark.parametrize("locale", ["de", "ru"])
def test_every_way_to_end_is_said_in_the_language_and_in_words_for_people(locale: str) -> None:
    for status, reason in itertools.product(Status, [None, *Reason]):
        outcome = Outcome(status, reasons=(reason,) if reason else (), retry_after=75)
        said = outcome.message(locale)
        assert said, (status, reason)
        assert not offences(said, locale), (status, reason, said)
        assert set(said.splitlines()).isdisjoint(outcome.message("en").splitlines()), (status, reason, said)
        problem = outcome.problem(locale)
        assert problem["title"] or status is Status.SUCCEEDED
        assert problem["detail"] == said


def test_waiting_times_are_said_in_the_language() -> None:
    found = {locale: [duration(s, locale) for s in (0.2, 61, 130, 7300)] for locale in ("en", "de", "ru")}
    assert found == {
        "en": ["1 s", "61 s", "3 min", "3 h"],
        "de": ["1 s", "61 s", "3 min", "3 h"],
        "ru": ["1 с", "61 с", "3 мин", "3 ч"],
    }
    throttled = Outcome(Status.THROTTLED, reasons=(Reason.RATE_LIMITED,), retry_after=30)
    assert throttled.message("de-AT") == "Das war zu oft.\nBitte versuchen Sie es in 30 s noch einmal."
    assert throttled.message("ru") == "Слишком часто.\nПожалуйста, попробуйте ещё раз через 30 с."


def test_a_hosts_own_code_with_a_dot_is_said_by_the_catalogue() -> None:
    outcome = Outcome(
        Status.DENIED, reasons=(Reason.CONTEXT_REFUSED,), details=(Detail("", "orders.closed", "It is closed."),)
    )
    assert outcome.message("de") == "It is closed."
    add_catalogue("de", {"orders.closed": "Der Auftrag ist abgeschlossen."})
    assert outcome.message("de-AT") == "Der Auftrag ist abgeschlossen."
    assert outcome.message("en") == "It is closed."


class Order(BaseModel):
    order_id: str


def guard_with(**options: Any) -> Guard:
    guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL)

    @guard.command("orders.cancel", **options)
    def cancel(order: Order) -> str:
        raise Rejected("Zu spät.", code="orders.late")

    return guard


def test_a_question_is_asked_in_the_language_of_the_context() -> None:
    said = {}
    for locale in ("en", "de-AT", "ru"):
        context = Context(org="acme", actor=Actor("ann"), locale=locale)
        outcome = guard_with(risk="high").run("orders.cancel", {"order_id": "A-17"}, context=context)
        said[locale] = outcome.message(locale)
    assert said == {
        "en": "Please confirm: orders cancel (order id: A-17)?",
        "de-AT": "Bitte bestätigen Sie: orders cancel (order id: A-17)?",
        "ru": "Пожалуйста, подтвердите: orders cancel (order id: A-17)?",
    }


def test_a_checks_own_code_reads_as_words_and_a_refusal_speaks_for_itself() -> None:
    context = Context(org="acme", actor=Actor("ann"), locale="de")
    outcome = guard_with(checks=[lambda call: "orders.closed"]).run("orders.cancel", {"order_id": "1"}, context=context)
    assert outcome.message("de") == "Orders closed."
    outcome = guard_with().run("orders.cancel", {"order_id": "1"}, context=context)
    assert outcome.message("de") == "Zu spät."


def test_wrong_fields_and_headlines_are_in_one_language() -> None:
    guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL)

    class Ring(BaseModel):
        phone: Annotated[str, Phone(region="ET")]

    @guard.command("ring")
    def ring(call: Ring) -> str:
        return "ok"

    said = {}
    for locale in ("de-AT", "ru"):
        context = Context(org="acme", actor=Actor("ann"), locale=locale)
        said[locale] = guard.run("ring", {"phone": "12"}, context=context).message(locale)
    assert said == {
        "de-AT": "Telefonnummer: '12' ist zu kurz (Land: Äthiopien). Zum Beispiel so: 091 123 4567.",
        "ru": "Номер телефона: '12' — слишком коротко (страна: Эфиопия). Например, так: 091 123 4567.",
    }
