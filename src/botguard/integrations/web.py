"""What Flask and Starlette share: headers into an Arrival, outcomes into the parts of a response."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from botguard.errors import InvalidPayload
from botguard.integrations.arrival import Arrival
from botguard.invocation import is_name
from botguard.outcome import Detail, Outcome, Reason, Status

__all__ = [
    "KEY_HEADER",
    "METRICS_TYPE",
    "ProblemParts",
    "arrival_of",
    "plain_problem",
    "preferred_language",
    "problem_parts",
]

#: The header of the IETF draft of that name: it names one intent, the same when the client tries again.
KEY_HEADER = "Idempotency-Key"
#: Prometheus' text format.
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HEADERS = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
_LONGEST_KEY = 255
_LONGEST_LANGUAGES = 512
_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")
_NO_KEY = Detail(
    KEY_HEADER,
    "idempotency_key",
    f"The header {KEY_HEADER} must have 1 to {_LONGEST_KEY} printable ASCII characters.",
)


class ProblemParts(NamedTuple):
    """A response, before a framework makes one of it."""

    body: str
    status: int
    headers: dict[str, str]


def arrival_of(header: Callable[[str], str | None], address: str | None, channel: str) -> Arrival:
    """What the headers tell. ``header`` gives one by its name, in any case.

    Raises:
        InvalidPayload: if the key cannot be one. Going on without it would drop the protection that was asked for.
    """
    key = header(KEY_HEADER)
    if key is not None:
        key = key.strip()
        if not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
            raise InvalidPayload(Outcome(Status.INVALID, None, None, (Reason.INVALID_PAYLOAD,), (_NO_KEY,)))
    return Arrival(
        channel=channel,
        address=address if is_name(address) else None,
        locale=preferred_language(header("Accept-Language")),
        correlation_id=header("X-Request-ID") or header("X-Correlation-ID"),
        # Clients choose their keys themselves: two actors who choose the same one mean two different things.
        delivery=None if key is None else lambda actor: f"{len(actor)}:{actor}:{key}",
    )


def preferred_language(header: str | None) -> str | None:
    """The first choice of an Accept-Language header, or None if it has none that can be read."""
    best, best_weight = None, 0.0
    for choice in (header or "")[:_LONGEST_LANGUAGES].replace(" ", "").split(","):
        tag, _, weight = choice.partition(";q=")
        try:
            weighs = float(weight or 1)
        except ValueError:
            continue
        if best_weight < weighs <= 1 and _TAG.fullmatch(tag):
            best, best_weight = tag, weighs
    return best


def problem_parts(outcome: Outcome, locale: str | None) -> ProblemParts:
    """The outcome as an RFC 9457 problem in the asker's language, with its status and ``Retry-After``."""
    problem = outcome.problem(locale or "en")
    headers = {**_HEADERS}
    if "retry_after" in problem:
        headers["Retry-After"] = str(problem["retry_after"])
    # ASCII: an echo of the caller's input may hold half a character, which UTF-8 cannot spell. A line, for terminals.
    return ProblemParts(json.dumps(problem) + "\n", problem["status"], headers)


def plain_problem(status: int, detail: str, headers: Mapping[str, str] | None) -> ProblemParts:
    """A status that ``identify`` chose, in the same form."""
    theirs = {name: value for name, value in (headers or {}).items() if name.title() not in _HEADERS}
    return ProblemParts(json.dumps({"status": status, "detail": detail}) + "\n", status, {**theirs, **_HEADERS})
