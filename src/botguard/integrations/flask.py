"""Flask: every request acts as somebody, and botguard's errors become problem responses.

The Context is in ``flask.g.botguard`` too, for views that want it themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

from botguard.errors import ConfigurationError
from botguard.guard import Guard
from botguard.integrations.arrival import ANSWERED, acting_context, outcome_of, unidentified
from botguard.integrations.installing import (
    check_given,
    extra_missing,
    installed_twice,
    started_already,
    wrong_app,
)
from botguard.integrations.web import METRICS_TYPE, arrival_of, preferred_language, problem_parts
from botguard.invocation import Context
from botguard.outcome import Outcome
from botguard.wrapping import is_async

try:
    from flask import Flask, Request, Response, g, request
    from werkzeug.exceptions import HTTPException
except ModuleNotFoundError as missing:
    raise extra_missing(missing, "flask", "Flask 3", "flask") from None

__all__ = ["Identify", "install"]

#: Who sent this request? A Context with org and actor, or None for a stranger.
Identify: TypeAlias = Callable[[Request], Context | None] | Callable[[Request], Awaitable[Context | None]]

_NAME = "botguard"
_BLOCK = "botguard.acting"
#: Set where a request begins, and reset where it ends: nowhere else can it be.
_begun_here: ContextVar[bool] = ContextVar("botguard_request_begun_here")


def install(app: Flask, guard: Guard, *, identify: Identify, channel: str = "web", metrics: str | None = None) -> None:
    """Have every request of an application act as who ``identify`` says.

    Args:
        app: the application. Hooks of its own that ``identify`` relies on must be registered before.
        guard: the guard whose commands the views call.
        identify: is given the request; returns a Context with ``org`` and ``actor``, or None for a stranger, to whom
            every command is denied. What the Context leaves out is completed: channel, address, language,
            correlation id, and the delivery key from the header ``Idempotency-Key``. It may be ``async def``. If it
            raises, the request ends there: with the framework's answer for an HTTPException, else refused.
        channel: what the Context says where ``identify`` does not.
        metrics: a path such as ``"/metrics"`` where Prometheus finds the guard's numbers; as open as any other path.

    Raises:
        ConfigurationError: for anything but a Flask application that has not started, and on a second time.
    """
    if not isinstance(app, Flask):
        raise wrong_app(app, "Flask application", "install(app, …), where app = Flask(__name__); a blueprint has none")
    check_given(guard, identify, metrics)
    if _NAME in app.extensions:
        raise installed_twice("application")
    ask = _asking(app, identify)

    def enter() -> Response | None:
        try:
            arrival = arrival_of(request.headers.get, request.remote_addr, channel)
            context = acting_context(ask(request), arrival)
        except HTTPException:
            raise
        except ANSWERED:  # these have an answer already: _answer
            raise
        except Exception as error:  # noqa: BLE001 - a host's function may raise anything, and nobody may get in by it
            return _response(unidentified(error))
        _begin(guard, context)
        return None

    try:
        app.before_request(enter)
    except AssertionError:  # Flask refuses hooks after the first request
        raise started_already("application") from None
    app.teardown_request(_end)
    for kind in ANSWERED:
        app.register_error_handler(kind, _answer)
    if metrics is not None:
        app.add_url_rule(metrics, "botguard_metrics", lambda: Response(guard.metrics.text(), content_type=METRICS_TYPE))
    app.extensions[_NAME] = guard


def _begin(guard: Guard, context: Context) -> None:
    block = guard.acting(context)
    block.__enter__()
    # A request that a view makes to its own application shares g with it.
    request.environ[_BLOCK] = block, _begun_here.set(True), g.get(_NAME)
    g.botguard = context


def _end(_: BaseException | None) -> None:
    if _BLOCK not in request.environ:
        return
    block, begun, around = request.environ[_BLOCK]
    try:
        _begun_here.reset(begun)
    except ValueError:  # the end of a copy (copy_current_request_context): the request itself goes on elsewhere
        return
    del request.environ[_BLOCK]
    if around is not None:  # else it stays: a streamed body is made after the end, and may want it
        g.botguard = around
    block.__exit__(None, None, None)


def _asking(app: Flask, identify: Any) -> Callable[[Request], Any]:
    if not is_async(identify):
        return identify  # type: ignore[no-any-return]
    function = identify if hasattr(identify, "__code__") else identify.__call__
    try:
        return app.async_to_sync(function)
    except RuntimeError:
        raise ConfigurationError(
            "BG245",
            "identify= is async def, and Flask cannot call it",
            why="Flask runs async functions with asgiref, which is not installed",
            fix="make identify a plain function, or run: pip install 'flask[async]'",
        ) from None


def _answer(error: Any) -> Response:
    return _response(outcome_of(error))


def _response(outcome: Outcome) -> Response:
    context: Context | None = g.get(_NAME)
    locale = context.locale if context is not None else preferred_language(request.headers.get("Accept-Language"))
    return Response(*problem_parts(outcome, locale))
