"""Django: every request acts as somebody, and botguard's errors become problem responses.

The Context is in ``request.botguard`` too, for views that want it themselves. ``BOTGUARD`` in the settings names the guard
and the function that says who asks.
"""

from __future__ import annotations

import inspect
from typing import Any

from botguard.errors import ConfigurationError
from botguard.integrations.arrival import ANSWERED, acting_context, outcome_of, unidentified
from botguard.integrations.installing import extra_missing
from botguard.integrations.web import METRICS_TYPE, arrival_of, preferred_language, problem_parts
from botguard.invocation import Context
from botguard.outcome import Outcome
from botguard.wrapping import is_async

try:
    from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
    from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
except ModuleNotFoundError as missing:
    raise extra_missing(missing, "django", "Django 5.2", "django") from None

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async

from botguard.adapters.django import conf

__all__ = ["BotguardMiddleware", "metrics"]

#: What Django has an answer for: a host's ``identify`` may end a request with these.
_DJANGOS = (Http404, PermissionDenied, SuspiciousOperation, BadRequest)


class BotguardMiddleware:
    """``MIDDLEWARE = [..., "botguard.integrations.django.BotguardMiddleware"]``, below what ``identify`` relies on.

    ``BOTGUARD["IDENTIFY"]`` is given the request; it returns a Context with ``org`` and ``actor``, or None for a stranger,
    to whom every command is denied. What the Context leaves out is completed: channel, address, language, correlation id,
    and the delivery key from the header ``Idempotency-Key``. It may be ``async def``; a plain function may use the ORM
    under ASGI too. If it raises, the request ends there: with Django's own answer for Http404, PermissionDenied,
    BadRequest and SuspiciousOperation, else refused.

    Raises:
        ConfigurationError: at start-up, where the settings name no guard or nobody who says who asks.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        self._respond = get_response
        self._waits = iscoroutinefunction(get_response)
        if self._waits:
            markcoroutinefunction(self)
        _identify(conf.current())
        conf.current().guard()

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request; an awaitable under ASGI."""
        return self._answer_later(request) if self._waits else self._answer(request)

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        settings = conf.current()
        identify = _identify(settings)
        try:
            found = async_to_sync(identify)(request) if is_async(identify) else identify(request)
            context = _context(request, found, settings)
        except _DJANGOS:
            raise
        except Exception as error:  # noqa: BLE001 - a host's function may raise anything, and nobody may get in by it
            return _refused(request, error)
        with settings.guard().acting(context):
            return self._respond(request)

    async def _answer_later(self, request: HttpRequest) -> HttpResponseBase:
        settings = conf.current()
        identify = _identify(settings)
        try:
            found = identify(request) if is_async(identify) else await sync_to_async(identify)(request)
            context = _context(request, await found if inspect.isawaitable(found) else found, settings)
        except _DJANGOS:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return _refused(request, error)
        with settings.guard().acting(context):
            return await self._respond(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A view raised: botguard's errors are answered, all others are Django's or the host's."""
        return _response(request, outcome_of(error)) if isinstance(error, ANSWERED) else None


def metrics(_: HttpRequest) -> HttpResponse:
    """A view for Prometheus: ``path("metrics", botguard.integrations.django.metrics)``; as open as any other."""
    return HttpResponse(conf.current().guard().metrics.text(), content_type=METRICS_TYPE)


def _identify(settings: conf.BotguardSettings) -> Any:
    found = settings.load("IDENTIFY")
    if not callable(found):
        raise ConfigurationError(
            "BG242",
            f"IDENTIFY = {found!r:.60} is not a function",
            where="settings.BOTGUARD",
            why="nobody could say who asks",
            fix='BOTGUARD = {"IDENTIFY": "shop.bots.identify", …}: given a request, it returns Context(org=…, actor=Actor(…)), '
            "or None for a stranger",
        )
    return found


def _context(request: HttpRequest, found: Any, settings: conf.BotguardSettings) -> Context:
    arrival = arrival_of(request.headers.get, request.META.get("REMOTE_ADDR"), settings.CHANNEL)
    context = request.botguard = acting_context(found, arrival)
    return context


def _refused(request: HttpRequest, error: Exception) -> HttpResponse:
    return _response(request, outcome_of(error) if isinstance(error, ANSWERED) else unidentified(error))


def _response(request: HttpRequest, outcome: Outcome) -> HttpResponse:
    context: Context | None = getattr(request, "botguard", None)
    locale = context.locale if context is not None else preferred_language(request.headers.get("Accept-Language"))
    body, status, headers = problem_parts(outcome, locale)
    return HttpResponse(body, status=status, headers=headers)
