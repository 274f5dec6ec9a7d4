"""Outcomes in words: chat text for people, and RFC 9457 problems for web clients.

A catalogue maps each reason code to one sentence. It speaks of what the person asked for, never of claims, keys or
validators. A host adds or replaces sentences with ``add_catalogue``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botguard.outcome import Outcome

__all__ = ["add_catalogue", "problem", "render"]

ENGLISH: dict[str, str] = {
    "succeeded": "Done.",
    "invalid_payload": "Something in your request is not right.",
    "payload_too_large": "Your request is too long.",
    "key_missing": "Something that identifies your request is missing.",
    "no_context": "I could not tell who is asking. Please sign in and try again.",
    "no_actor": "I could not tell who is asking. Please sign in and try again.",
    "not_found": "I could not find that.",
    "actor_inactive": "Your account is not active. Please ask your administrator.",
    "missing_permission": "You are not allowed to do this.",
    "wrong_bot_class": "This bot cannot do that.",
    "wrong_channel": "This cannot be done here.",
    "policy_denied": "This is not allowed by your company's rules.",
    "not_visible": "I could not find that.",
    "context_refused": "This cannot be done at the moment.",
    "consistency_refused": "This does not fit with what is already recorded.",
    "prediction_refused": "This would cause a problem soon, so it was not done.",
    "check_error": "I could not check whether this is allowed, so it was not done.",
    "confirmation_declined": "All right, I did not do it.",
    "confirmation_expired": "The time to confirm is over. Please ask again.",
    "confirmation_invalid": "This confirmation is not valid for you or for this request.",
    "confirmation_required": "Please confirm first.",
    "rate_limited": "That was too often.",
    "concurrency_limited": "Too many of these are running at the moment.",
    "too_many_refusals": "There were too many refused requests.",
    "breaker_open": "The system behind this is not available at the moment. Nothing was done.",
    "store_unavailable": "The system is not available at the moment. Nothing was done.",
    "host_transaction_open": "The system is busy at the moment. Nothing was done.",
    "running": "I am already working on this.",
    "key_reused": "This does not match an earlier request with the same number.",
    "handler_error": "Something went wrong.",
    "rejected": "This was refused.",
    "deadline_exceeded": "This took too long.",
    "breaker_opened": "The system behind this is not available at the moment.",
    "retry_does_not_fit": "The system behind this is not available at the moment.",
    "effect_unknown": "I cannot tell whether this was done. A person has to look; please do not repeat it.",
    "lease_lost": "This took too long and was taken over.",
    "cancelled": "This was cancelled. Nothing was done.",
}
#: Used when the first reason code has no sentence of its own.
BY_STATUS: dict[str, str] = {
    "invalid": ENGLISH["invalid_payload"],
    "denied": ENGLISH["missing_permission"],
    "pending": ENGLISH["confirmation_required"],
    "throttled": ENGLISH["rate_limited"],
    "unavailable": ENGLISH["store_unavailable"],
    "in_flight": ENGLISH["running"],
    "conflict": ENGLISH["key_reused"],
    "failed": ENGLISH["handler_error"],
    "unknown": ENGLISH["effect_unknown"],
    "cancelled": ENGLISH["cancelled"],
}
PHRASES: dict[str, str] = {
    "try_again_in": "Please try again in {time}.",
    "seconds": "{n} s",
    "minutes": "{n} min",
    "hours": "{n} h",
    "support": "Support can look it up with this number: {id}",
}
_CATALOGUES: dict[str, dict[str, str]] = {"en": {**BY_STATUS, **PHRASES, **ENGLISH}}

_HTTP: dict[str, int] = {
    "succeeded": 200,
    "invalid": 422,
    "denied": 403,
    "pending": 202,
    "throttled": 429,
    "unavailable": 503,
    "in_flight": 409,
    "conflict": 422,
    "failed": 500,
    "unknown": 500,
    "cancelled": 499,
}
#: Reasons whose HTTP status differs from that of their outcome.
_HTTP_BY_REASON: dict[str, int] = {
    "no_context": 401,
    "no_actor": 401,
    "not_found": 404,
    "not_visible": 404,
    "payload_too_large": 413,
    "rejected": 409,
    "deadline_exceeded": 504,
}


def add_catalogue(locale: str, sentences: Mapping[str, str]) -> None:
    """Add or replace sentences for a language ("de", "am"); keys are reason codes, statuses and phrase names.

    What a catalogue lacks is said in English.

    Raises:
        ValueError: for a key that no outcome uses, since a misspelt one would never be shown.
    """
    unknown = sorted(set(sentences) - set(_CATALOGUES["en"]))
    if unknown:
        raise ValueError(f"catalogue {locale!r}: no reason, status or phrase is called {', '.join(unknown)}")
    _CATALOGUES.setdefault(locale, {}).update(sentences)


def phrase(code: str, locale: str) -> str:
    """The sentence for a code: in the locale, in its language ("de" for "de-AT"), else in English."""
    for name in (locale, locale.split("-", maxsplit=1)[0].split("_", maxsplit=1)[0], "en"):
        text = _CATALOGUES.get(name, {}).get(code)
        if text is not None:
            return text
    return ""


def render(outcome: Outcome, locale: str = "en") -> str:
    """Chat text for an outcome. Field problems come one a line, and waiting times are rounded up."""
    if outcome.ok:
        said = outcome.value if isinstance(outcome.value, str) else ""
        return said if said.strip() else phrase("succeeded", locale)  # no chat takes an empty message
    if outcome.confirmation is not None and outcome.confirmation.text:
        return outcome.confirmation.text
    lines = [detail.message + (f" {detail.hint}" if detail.hint else "") for detail in outcome.details]
    if not "".join(lines).strip():
        lines = [_headline(outcome, locale)]
    if outcome.retry_after is not None and outcome.status.value in ("throttled", "unavailable", "in_flight"):
        lines.append(phrase("try_again_in", locale).format(time=duration(outcome.retry_after, locale)))
    if outcome.sentry_event_id:
        lines.append(phrase("support", locale).format(id=outcome.sentry_event_id))
    return "\n".join(lines)


def _headline(outcome: Outcome, locale: str) -> str:
    # The most telling code comes last in a failure: "handler_error, effect_unknown" must not read as harmless.
    codes = outcome.reasons[::-1] if outcome.status.value == "failed" else outcome.reasons
    for code in (*codes, outcome.status.value):
        text = phrase(code, locale)
        if text:
            return text
    return phrase("handler_error", locale)


def duration(seconds: float, locale: str = "en") -> str:
    """Seconds, minutes or hours, rounded up so that trying then really works."""
    whole = max(1, math.ceil(seconds))
    for size, name in ((3600, "hours"), (60, "minutes")):
        if whole >= 2 * size:
            return phrase(name, locale).format(n=math.ceil(whole / size))
    return phrase("seconds", locale).format(n=whole)


def problem(outcome: Outcome) -> dict[str, Any]:
    """RFC 9457 members: type, title, status, detail; extensions carry our codes and field problems."""
    first = outcome.reasons[0] if outcome.reasons else outcome.status.value
    body: dict[str, Any] = {
        "type": f"urn:botguard:{first}",
        "title": phrase(first, "en") or phrase(outcome.status.value, "en"),
        "status": _HTTP_BY_REASON.get(first, _HTTP[outcome.status.value]),
        "detail": render(outcome),
        "outcome": outcome.status.value,
        "reasons": [str(code) for code in outcome.reasons],
    }
    if outcome.details:
        body["errors"] = [
            {"field": d.field, "code": d.code, "message": d.message, **({"hint": d.hint} if d.hint else {})}
            for d in outcome.details
        ]
    if outcome.retry_after is not None:
        body["retry_after"] = max(1, math.ceil(outcome.retry_after))
    if outcome.event_id:
        body["instance"] = f"urn:botguard:event:{outcome.event_id}"
    if outcome.confirmation is not None:
        body["confirmation"] = {
            "token": outcome.confirmation.token,
            "text": outcome.confirmation.text,
            "expires_at": outcome.confirmation.expires_at.isoformat(),
        }
    return body
