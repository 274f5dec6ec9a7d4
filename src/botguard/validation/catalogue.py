"""The catalogue: a sentence for each code, in each language; hosts add and replace.

Built in are English, German and Russian. What a language lacks is said in English. The catalogue belongs to the
process, as that of outcomes does (:func:`botguard.messages.add_catalogue`); fill it when the program starts.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from botguard.errors import InvalidPayload
from botguard.messages.locales import fallbacks, normal
from botguard.outcome import Detail, Outcome, Reason, Status
from botguard.validation import english

__all__ = [
    "add_sentences",
    "bare_sentence",
    "in_words",
    "invalid",
    "knows",
    "label_of",
    "name_or_quote",
    "problem",
    "sentence",
]

_PLACES = frozenset({
    "label", "value", "example", "n", "limit", "choices", "country", "units", "currency", "name", "usage",
    "first", "second",
})  # fmt: skip
_added: dict[str, dict[str, str]] = {}


def add_sentences(locale: str, sentences: Mapping[str, str]) -> None:
    """Add or replace sentences for a language ("de", "am", "de-AT").

    Keys are codes, as ``docs/reference/validation.md`` lists them; ``label.<field>`` for the name of a field;
    ``country.<code>`` for a country; and a host's own codes, which have a dot in them
    (``"shop.no_weekend"``).

    Raises:
        ValueError: for a key without a dot that nothing uses, and for a placeholder that does not exist.
    """
    for code, text in sentences.items():
        if code not in english.SENTENCES and "." not in code:
            raise ValueError(f"sentences for {locale!r}: nothing has the code {code!r}")
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        if names - _PLACES:
            unknown = min(names - _PLACES)
            raise ValueError(f"sentences for {locale!r}: {code!r} has the unknown placeholder {unknown!r}")
    _added.setdefault(normal(locale), {}).update(sentences)


@lru_cache(maxsize=256)  # locales come from outside
def _built_in(language: str) -> Mapping[str, str]:
    if language == "de":
        from botguard.validation import german

        return german.SENTENCES
    if language == "ru":
        from botguard.validation import russian

        return russian.SENTENCES
    return english.SENTENCES if language == "en" else {}


def _find(code: str, locale: str, *, english_too: bool = True) -> str | None:
    for name in fallbacks(locale):
        if name == "en" and not english_too:
            return None
        text = _added.get(name, {}).get(code) or _built_in(name).get(code)
        if text is not None:
            return text
    return None


def knows(code: str) -> bool:
    """Whether there is a sentence for the code, in any language that is a fallback."""
    return _find(code, "en") is not None


def sentence(code: str, locale: str, /, **places: Any) -> str:
    """The sentence for a code, filled in; "" if there is none or a place in it has no value.

    ``n`` chooses between the forms ``.zero``, ``.one`` and the plain one.
    """
    form = {0: ".zero", 1: ".one"}.get(places.get("n", -1), "")
    text = (_find(code + form, locale) if form else None) or _find(code, locale)
    if text is None:
        return ""
    if "region" in places:
        places["country"] = _country(str(places["region"]), locale)
    try:
        return text.format(**places)
    except (KeyError, IndexError, ValueError):
        return ""


def _country(region: str, locale: str) -> str:
    from botguard.validation.countries import country_name

    return _find(f"country.{region}", locale) or country_name(region, locale)


def label_of(name: str, title: str | None, locale: str) -> str:
    """A field's name for a person: the language's own, the title, the English one, or the name in words."""
    own = _find(f"label.{name}", locale, english_too=False) if locale[:2] != "en" else None
    return own or title or _find(f"label.{name}", locale) or in_words(name)


def name_or_quote(name: str, locale: str) -> str:
    """What to call a name that no model has vouched for: as the catalogue does, or in quotes."""
    from botguard.validation.echo import quoted

    return _find(f"label.{name}", locale) or quoted(name)


_CAPITALS = frozenset({"bic", "eu", "iban", "id", "ip", "pdf", "pin", "qr", "sku", "uk", "url", "us", "uuid", "vat"})
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def in_words(name: str) -> str:
    """A field's name for reading: "order_id" becomes "Order ID", "dueDate" becomes "Due date"."""
    words = _HUMP.sub(" ", name).replace("_", " ").lower().split()
    text = " ".join(word.upper() if word in _CAPITALS else word for word in words)
    return text[:1].upper() + text[1:] if text else name


def bare_sentence(code: str, context: Mapping[str, str | int]) -> str:
    """The English sentence without a field's name, for those who use a rule in a model of their own."""
    text = sentence(code, "en", label="", value="this", **{"country": context.get("region", ""), **context})
    text = text.removeprefix(": ").strip()
    return text[:1].upper() + text[1:] if text else code.replace("_", " ")


def invalid(*details: Detail, command: str = "") -> InvalidPayload:
    """InvalidPayload with an outcome of status ``invalid``; its reason sets apart what is just too large."""
    large = any(detail.code == "too_large" for detail in details)
    reason = Reason.PAYLOAD_TOO_LARGE if large else Reason.INVALID_PAYLOAD
    outcome = Outcome(Status.INVALID, reasons=(reason,), details=details)
    outcome.command = command
    return InvalidPayload(outcome)


def problem(code: str, locale: str, *, field: str = "", hint: str = "", **places: object) -> Detail:
    """A particular in the catalogue's words; ``label`` is the whole request unless it is given."""
    places.setdefault("label", sentence("request", locale))
    places.setdefault("value", sentence("this", locale))
    return Detail(field, code, sentence(code, locale, **places) or in_words(code), hint)
