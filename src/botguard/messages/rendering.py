"""An outcome as chat text, and as an RFC 9457 problem."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from botguard.messages.catalogue import phrase

if TYPE_CHECKING:
    from botguard.outcome import Detail, Outcome

__all__ = ["problem", "render"]

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


def render(outcome: Outcome, locale: str = "en") -> str:
    """Chat text for an outcome. Field problems come one a line, and waiting times are rounded up.

    Particulars are in the language in which they were found, that of the call's Context.
    """
    if outcome.ok:
        said = outcome.value if isinstance(outcome.value, str) else ""
        return said if said.strip() else phrase("succeeded", locale)  # no chat takes an empty message
    if outcome.confirmation is not None and outcome.confirmation.text:
        return outcome.confirmation.text
    lines = [_particular(detail, locale) for detail in outcome.details]
    if not "".join(lines).strip():
        lines = [_headline(outcome, locale)]
    if outcome.retry_after is not None and outcome.status.value in ("throttled", "unavailable", "in_flight"):
        lines.append(phrase("try_again_in", locale).format(time=duration(outcome.retry_after, locale)))
    if outcome.sentry_event_id:
        lines.append(phrase("support", locale).format(id=outcome.sentry_event_id))
    return "\n".join(lines)


def _particular(detail: Detail, locale: str) -> str:
    # A host's own code has a dot where the host wants it said by the catalogue.
    said = (phrase(detail.code, locale) if "." in detail.code else "") or detail.message
    return f"{said} {detail.hint}" if detail.hint else said


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


def problem(outcome: Outcome, locale: str = "en") -> dict[str, Any]:
    """RFC 9457 members: type, title, status, detail; extensions carry our codes and field problems."""
    first = outcome.reasons[0] if outcome.reasons else outcome.status.value
    body: dict[str, Any] = {
        "type": f"urn:botguard:{first}",
        "title": phrase(first, locale) or phrase(outcome.status.value, locale),
        "status": _HTTP_BY_REASON.get(first, _HTTP[outcome.status.value]),
        "detail": render(outcome, locale),
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
