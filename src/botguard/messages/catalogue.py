"""The catalogue of outcomes: one sentence for each reason, in each language. It belongs to the process."""

from __future__ import annotations

import string
from collections.abc import Mapping
from functools import lru_cache

from botguard.messages import english
from botguard.messages.locales import fallbacks, normal

__all__ = ["BY_STATUS", "LANGUAGES", "add_catalogue", "phrase"]

#: Languages that are built in.
LANGUAGES = ("en", "de", "ru")
#: The reason whose sentence is said for a status where none of the outcome's own reasons has one.
BY_STATUS: dict[str, str] = {
    "invalid": "invalid_payload",
    "denied": "missing_permission",
    "pending": "confirmation_required",
    "throttled": "rate_limited",
    "unavailable": "store_unavailable",
    "in_flight": "running",
    "conflict": "key_reused",
    "failed": "handler_error",
    "unknown": "effect_unknown",
}
_added: dict[str, dict[str, str]] = {}


def add_catalogue(locale: str, sentences: Mapping[str, str]) -> None:
    """Add or replace sentences for a language ("de", "am", "de-AT"), for the whole process; call it at start-up.

    Keys are reason codes, statuses, names of phrases ("try_again_in"), and a host's own codes, which have a dot in
    them ("orders.closed"). What a language lacks is said in English.

    Raises:
        ValueError: for a key without a dot that no outcome uses, since a misspelt one would never be shown, and for a
            placeholder that the English phrase does not have.
    """
    for code, text in sentences.items():
        known = english.SENTENCES.get(code)
        if known is None and code not in BY_STATUS and "." not in code:
            raise ValueError(f"catalogue {locale!r}: no reason, status or phrase is called {code!r}")
        if strange := sorted(_places(text) - _places(known or "")):
            raise ValueError(f"catalogue {locale!r}: {code!r} has the unknown placeholder {strange[0]!r}")
    _added.setdefault(normal(locale), {}).update(sentences)


def phrase(code: str, locale: str) -> str:
    """The sentence for a code: in the locale, in its language ("de" for "de-AT"), else in English; "" if none has it."""
    for name in fallbacks(locale):
        text = _added.get(name, {}).get(code) or _built_in(name).get(code)
        if text is not None:
            return text
    return phrase(BY_STATUS[code], locale) if code in BY_STATUS else ""


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@lru_cache(maxsize=256)  # locales come from outside
def _built_in(language: str) -> Mapping[str, str]:
    # Loaded when somebody is first spoken to in that language.
    if language == "de":
        from botguard.messages import german

        return german.SENTENCES
    if language == "ru":
        from botguard.messages import russian

        return russian.SENTENCES
    return english.SENTENCES if language == "en" else {}
