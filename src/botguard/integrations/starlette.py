"""Starlette, and so FastAPI: every request acts as somebody, and botguard's errors become problem responses.

The Context is in ``request.state.botguard`` too, for endpoints that want it themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from botguard.guard import Guard
from botguard.integrations.arrival import ANSWERED, acting_context, for_a_thread, outcome_of, unidentified
from botguard.integrations.installing import (
    check_given,
    extra_missing,
    installed_twice,
    started_already,
    wrong_app,
)
from botguard.integrations.web import METRICS_TYPE, arrival_of, plain_problem, preferred_language, problem_parts
from botguard.invocation import Context
from botguard.outcome import Outcome
from botguard.runtime import in_thread
from botguard.wrapping import is_async

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send
except ModuleNotFoundError as missing:
    raise extra_missing(missing, "starlette", "Starlette 0.40", "starlette") from None

__all__ = ["Identify", "install"]

#: Who sent this request? A Context with org and actor, or None for a stranger.
Identify: TypeAlias = Callable[[Request], Context | None] | Callable[[Request], Awaitable[Context | None]]


def install(
    app: Starlette, guard: Guard, *, identify: Identify, channel: str = "web", metrics: str | None = None
) -> None:
    """Have every HTTP request of an application act as who ``identify`` says. Websockets pass by without a Context.

    Args:
        app: the application, of Starlette or FastAPI. Its other middleware may be added before or after.
        guard: the guard whose commands the endpoints call.
        identify: is given the request, without its body; returns a Context with ``org`` and ``actor``, or None for a
            stranger, to whom every command is denied. What the Context leaves out is completed: channel, address,
            language, correlation id, and the delivery key from the header ``Idempotency-Key``. It may be
            ``async def``; a plain function runs in a thread, as an endpoint does. If it raises, the request ends
            there: with an HTTPException's own status, else refused.
        channel: what the Context says where ``identify`` does not.
        metrics: a path such as ``"/metrics"`` where Prometheus finds the guard's numbers; as open as any other path.

    Raises:
        ConfigurationError: for anything but an application that has not started, and on a second time.
    """
    if not isinstance(app, Starlette):
        raise wrong_app(app, "Starlette or FastAPI application", "install(app, …) with the application, not a router")
    check_given(guard, identify, metrics)
    if app.middleware_stack is not None:
        raise started_already("application")
    if any(isinstance(entry.cls, type) and issubclass(entry.cls, _Acting) for entry in app.user_middleware):
        raise installed_twice("application")
    # Innermost, wherever in the host's start-up this stands: sessions and authentication have run before identify.
    app.user_middleware.append(Middleware(_Acting, guard=guard, identify=identify, channel=channel))
    for kind in ANSWERED:
        app.exception_handlers.setdefault(kind, _answer)
    if metrics is not None:
        app.router.routes.append(Route(metrics, _exposing(guard), name="botguard_metrics", include_in_schema=False))


class _Acting:
    """Pure ASGI, so that the block is opened in the very task that runs the endpoint.

    ``BaseHTTPMiddleware`` runs it in another one, and streams the body through a third.
    """

    def __init__(self, app: ASGIApp, *, guard: Guard, identify: Any, channel: str) -> None:
        self._app, self._guard, self._channel = app, guard, channel
        self._waits = is_async(identify)
        self._identify = identify if self._waits else for_a_thread(identify)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)  # without `receive`: a body that was read here would be missing in the endpoint
        try:
            context = await self._context(request)
        except HTTPException as error:
            response = Response(*plain_problem(error.status_code, error.detail, error.headers))
        except ANSWERED as error:
            response = _response(request, outcome_of(error))
        except Exception as error:  # noqa: BLE001 - a host's function may raise anything, and nobody may get in by it
            response = _response(request, unidentified(error))
        else:
            request.state.botguard = context
            with self._guard.acting(context):
                await self._app(scope, receive, send)
            return
        await response(scope, receive, send)

    async def _context(self, request: Request) -> Context:
        address = request.client.host if request.client is not None else None
        arrival = arrival_of(request.headers.get, address, self._channel)
        found = self._identify(request) if self._waits else await in_thread(self._identify, request)
        return acting_context(await found if inspect.isawaitable(found) else found, arrival)


def _exposing(guard: Guard) -> Callable[[Request], Response]:
    def metrics(_: Request) -> Response:
        return Response(guard.metrics.text(), headers={"Content-Type": METRICS_TYPE})

    return metrics


async def _answer(connection: Any, error: Any) -> Response:
    if connection.scope["type"] != "http":
        raise error  # a websocket has no room for a problem: its endpoint closes it, or the framework does
    return _response(connection, outcome_of(error))


def _response(request: Request, outcome: Outcome) -> Response:
    context: Context | None = getattr(request.state, "botguard", None)
    locale = context.locale if context is not None else preferred_language(request.headers.get("Accept-Language"))
    return Response(*problem_parts(outcome, locale))
