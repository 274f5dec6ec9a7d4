"""Every built-in language says everything, with the same places, in its own script, and without jargon."""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Any

import pytest

from botguard.messages import catalogue, english, german, russian
from botguard.messages.catalogue import BY_STATUS, LANGUAGES
from botguard.outcome import Reason, Status
from botguard.validation import english as english_fields
from botguard.validation import german as german_fields
from botguard.validation import russian as russian_fields
from botguard.validation.countries import country_name, regions
from botguard.validation.russian_countries import NAMES
from languages.jargon import offences

OUTCOMES = {"en": english.SENTENCES, "de": german.SENTENCES, "ru": russian.SENTENCES}
FIELDS = {"en": english_fields.SENTENCES, "de": german_fields.SENTENCES, "ru": russian_fields.SENTENCES}
#: Reasons that stand beside a value, where there is nothing to say.
NOTES = {
    Reason.OVERRAN,
    Reason.RESULT_NOT_STORED,
    Reason.RESULT_UNAVAILABLE,
    Reason.COMPLETION_LOST,
    Reason.CLAIM_SKIPPED,
    Reason.LOCAL_LIMITS,
    Reason.LOCAL_BREAKER,
    Reason.AUDIT_LOST,
}
#: Sentences that may be alike in two languages.
SAME = {"seconds", "minutes", "hours", "label.name"}
ALL = [(kind, language) for kind in ("outcomes", "fields") for language in LANGUAGES]


def sentences(kind: str, language: str) -> dict[str, str]:
    return (OUTCOMES if kind == "outcomes" else FIELDS)[language]


def places(text: str) -> list[str]:
    return sorted({name for _, name, _, _ in string.Formatter().parse(text) if name is not None})


def wrong_with(found: dict[str, str], wanted: dict[str, str], language: str) -> list[str]:
    """What a catalogue lacks, has too much, or says in the wrong way, against the English one."""
    wrong = [f"lacks {code}" for code in wanted.keys() - found.keys()]
    wrong += [f"has no use for {code}" for code in found.keys() - wanted.keys()]
    for code in wanted.keys() & found.keys():
        text = found[code]
        if places(text) != places(wanted[code]):
            wrong.append(f"{code}: other places")
        if not text or text != text.strip() or unicodedata.normalize("NFC", text) != text or not text.isprintable():
            wrong.append(f"{code}: untidy")
        if language != "en" and text == wanted[code] and code not in SAME:
            wrong.append(f"{code}: not translated")
        if offences(text, language):
            wrong.append(f"{code}: {offences(text, language)}")
        if mixed(text):
            wrong.append(f"{code}: {mixed(text)}")
    return wrong


def mixed(text: str) -> list[str]:
    """Words with letters of two scripts: a Latin "c" in a Russian word looks right and cannot be found."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"\{\w+\}", "", text))
    return [word for word in words if len({unicodedata.name(letter).split()[0] for letter in word}) > 1]


@pytest.mark.parametrize(("kind", "language"), ALL)
def test_a_language_is_complete_tidy_and_for_people(kind: str, language: str) -> None:
    assert wrong_with(sentences(kind, language), sentences(kind, "en"), language) == []


def test_every_reason_that_ends_a_call_has_a_sentence() -> None:
    assert {str(reason) for reason in Reason} - set(english.SENTENCES) == {str(note) for note in NOTES}
    assert {str(status) for status in Status} == {*BY_STATUS, "succeeded", "cancelled"}
    assert set(BY_STATUS.values()) <= set(english.SENTENCES)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("running", "I am working on this claim."),
        ("running", "Der Handler läuft schon."),
        ("running", "handler_error"),
        ("running", " Ich bin schon dabei."),
        ("running", "I am already working on this."),
        ("running", "Ich bin schon dabei ({n})."),
        ("running", "Iсh bin schon dabei."),
        ("hello", "Guten Tag."),
    ],
)
def test_the_check_sees_what_is_wrong(code: str, text: str) -> None:
    assert wrong_with({**german.SENTENCES, code: text}, english.SENTENCES, "de")
    assert (
        wrong_with({k: v for k, v in german.SENTENCES.items() if k != code}, english.SENTENCES, "de") or code == "hello"
    )


def test_each_language_has_words_that_the_list_catches() -> None:
    for language, text in {
        "en": "The idempotency key was claimed.",
        "de": "Der Schlüssel ist schon vergeben.",
        "ru": "Этот ключ уже занят.",
    }.items():
        assert offences(text, language), language


def test_no_russian_sentence_makes_a_noun_agree_with_a_number() -> None:
    for kind in ("outcomes", "fields"):
        for code, text in sentences(kind, "ru").items():
            follows = re.search(r"\{n\}[ \u00a0](\w+)", text)
            assert follows is None or follows[1] in ("с", "мин", "ч"), code


def test_countries_have_names_in_every_language() -> None:
    assert set(NAMES) == regions()
    assert [region for region, name in NAMES.items() if mixed(name) or not re.fullmatch(r"[А-Яа-яЁё’ —-]+", name)] == []
    said: dict[str, Any] = {locale: country_name("ET", locale) for locale in ("en", "de-AT", "ru", "ru_RU", "fr", "")}
    assert said == {
        "en": "Ethiopia", "de-AT": "Äthiopien", "ru": "Эфиопия", "ru_RU": "Эфиопия", "fr": "Ethiopia", "": "Ethiopia",
    }  # fmt: skip
    assert country_name("QQ", "ru") == "QQ"


def test_the_built_in_languages_are_those_that_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_added", {})
    for language in LANGUAGES:
        for code, text in OUTCOMES[language].items():
            assert catalogue.phrase(code, language) == text
