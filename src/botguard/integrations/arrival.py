"""A request or update on its way in: what the channel itself knows of it, completed by who asks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, NamedTuple

from botguard.errors import BotguardError, OutcomeError, Rejected, ReplayedFailure
from botguard.invocation import Context
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import closed, details_of
from botguard.wiring import context_given

__all__ = ["ANSWERED", "STRANGERS", "Arrival", "acting_context", "for_a_thread", "outcome_of", "unidentified"]

#: Ends of a guarded call that an integration puts into words. Any other error is the host's or the framework's.
ANSWERED: tuple[type[BotguardError], ...] = (OutcomeError, Rejected, ReplayedFailure)
#: The org of requests whose sender is unknown; every command is denied to them.
STRANGERS = "unknown"

_LEFT_OUT = Context(org=STRANGERS, actor=None)
_log = logging.getLogger("botguard.integrations")


class Arrival(NamedTuple):
    """What the channel knows by itself. ``delivery`` names the delivery to an actor id; None: nothing names it."""

    channel: str
    address: str | None
    locale: str | None
    correlation_id: str | None
    delivery: Callable[[str], str] | None


def acting_context(found: Any, arrival: Arrival) -> Context:
    """What ``identify`` returned, completed: a field that it left at its default gets what the channel knows.

    Raises:
        ConfigurationError: BG123, if it is neither a Context nor None.
    """
    if hasattr(found, "close") and hasattr(found, "__await__"):
        found.close()  # a coroutine that nobody will await; the message below names it
    given = context_given(found, "identify() returned") or _LEFT_OUT
    if given.delivery is None and arrival.delivery is not None and given.actor is not None:
        given = replace(given, delivery=arrival.delivery(given.actor.id))
    return replace(
        given,
        channel=arrival.channel if given.channel == _LEFT_OUT.channel else given.channel,
        address=given.address or arrival.address,
        locale=arrival.locale or given.locale if given.locale == _LEFT_OUT.locale else given.locale,
        correlation_id=given.correlation_id or arrival.correlation_id,
    )


def for_a_thread(identify: Callable[..., Any]) -> Callable[..., Any]:
    """``identify`` as it may be called in a thread.

    A StopIteration, as of ``next()`` on a search that finds nobody, cannot be carried from there into a coroutine:
    asyncio would wait for an answer without end.
    """

    @wraps(identify)
    def ask(*args: Any, **kwargs: Any) -> Any:
        try:
            return identify(*args, **kwargs)
        except StopIteration as error:
            raise RuntimeError("identify() raised StopIteration") from error

    return ask


def unidentified(error: Exception) -> Outcome:
    """``identify`` raised: nobody is let in, and only the host's log learns why."""
    _log.error("identify() raised, so the request was refused", exc_info=error)
    return closed(error)


def outcome_of(error: BotguardError) -> Outcome:
    """The outcome behind one of the ``ANSWERED`` errors."""
    if isinstance(error, OutcomeError):
        return error.outcome
    reason = Reason.REJECTED if isinstance(error, Rejected) else Reason.HANDLER_ERROR
    return Outcome(Status.FAILED, None, error, (reason,), details_of(error))
