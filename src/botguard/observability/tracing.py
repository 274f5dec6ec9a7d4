"""Sentry: a transaction for each run and a report of what the guard swallows, where the host uses Sentry; else nothing.

botguard never imports the SDK. A host that wants it has imported and initialised it, so one look into ``sys.modules``
says whether there is anything to do. Only names and codes are sent: no payload, no result, no key, no actor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from hashlib import blake2b
from typing import Any

from botguard.errors import DeadlineExceeded
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call

__all__ = ["OPERATION", "traced"]

OPERATION = "bot.command"

Run = Callable[[Call], Coroutine[Any, Any, Outcome]]

_loaded = sys.modules
#: Sentry's word for each end, as its web integrations choose them for HTTP's.
_SPAN_STATUS = {
    Status.SUCCEEDED: "ok",
    Status.PENDING: "ok",
    Status.INVALID: "invalid_argument",
    Status.DENIED: "permission_denied",
    Status.THROTTLED: "resource_exhausted",
    Status.UNAVAILABLE: "unavailable",
    Status.IN_FLIGHT: "aborted",
    Status.CONFLICT: "already_exists",
    Status.FAILED: "internal_error",
    Status.UNKNOWN: "unknown_error",
    Status.CANCELLED: "cancelled",
}
#: Ends whose error is nobody's answer to a caller, but a failure that somebody has to look into.
_REPORTED = (Status.FAILED, Status.UNKNOWN, Status.UNAVAILABLE)


def traced(pipeline: Any) -> Run:
    """The pipeline, traced while the host's Sentry listens; where there is none, asking costs one look-up."""

    def enter(call: Call) -> Coroutine[Any, Any, Outcome]:
        sdk = _loaded.get("sentry_sdk")
        if sdk is None or not _listens(sdk):
            return pipeline(call)  # type: ignore[no-any-return]
        return _run(sdk, pipeline, call)

    return enter


def _listens(sdk: Any) -> bool:
    """True if the SDK has somewhere to send to; an ``init()`` without a DSN has not."""
    try:
        client = sdk.Scope.get_global_scope().client
        return client.transport is not None or client.spotlight is not None
    except AttributeError:  # another thread is importing it just now
        return False


async def _run(sdk: Any, pipeline: Run, call: Call) -> Outcome:
    trace = _Trace(sdk, call)
    try:
        outcome = await pipeline(call)
    except BaseException as error:
        trace.interrupted(error)
        raise
    trace.finished(outcome)
    return outcome


class _Trace:
    """One run as Sentry sees it. Whatever goes wrong in here is Sentry's loss and never the call's."""

    def __init__(self, sdk: Any, call: Call) -> None:
        self._sdk, self._call = sdk, call
        self._opened = ExitStack()
        self._scope: Any = None
        self._span: Any = None
        try:
            self._open()
        except Exception:  # noqa: BLE001 - a host's traces_sampler, for one, may raise
            self._span = None
            with suppress(Exception):
                self._opened.close()

    def _open(self) -> None:
        sdk, call = self._sdk, self._call
        name = call.plan.command.name
        stream = _streams(sdk)
        within = (sdk.traces if stream else sdk).get_current_span()
        if within is None:
            # Nobody has set the run apart from those before it in this thread: its tags and breadcrumbs are its own.
            self._scope = self._opened.enter_context(sdk.isolation_scope())
            self._scope.clear_breadcrumbs()
        else:  # a web request, say: what the handler notes belongs to that
            self._scope = self._opened.enter_context(sdk.new_scope())
        if stream:
            if within is None:
                sdk.traces.new_trace()
            marks = {"sentry.op": OPERATION, "sentry.segment.name.source": "task"}
            span = sdk.traces.start_span(name=name, attributes=marks)
        elif within is None:
            span = sdk.start_transaction(op=OPERATION, name=name, source="task")
        else:
            span = sdk.start_span(op=OPERATION)
            span.description = name  # the argument for it has another name in older versions
        self._span = self._opened.enter_context(span)
        self._mark(dict(_tags(call)))

    def interrupted(self, error: BaseException) -> None:
        """Close what is open; nothing is swallowed here, so nothing is reported."""
        if self._span is None:
            return
        with suppress(Exception), self._opened:
            self._mark({"status": str(Status.UNKNOWN if self._call.began else Status.CANCELLED)})
            self._end("internal_error" if isinstance(error, Exception) else "cancelled")

    def finished(self, outcome: Outcome) -> None:
        """Report what the guard swallows, and close what is open."""
        if self._span is None:
            return
        with suppress(Exception), self._opened:
            self._mark({"status": str(outcome.status), "attempts": outcome.attempts})
            self._end(_span_status(outcome))
            self._scope.set_context("bot.command", {"event_id": outcome.event_id, "reasons": list(outcome.reasons)})
            error = _swallowed(self._call, outcome)
            if error is not None:
                outcome.sentry_event_id = self._report(error)

    def _mark(self, tags: dict[str, Any]) -> None:
        # Data and not tags, on the span itself: Sentry overwrites a span's tag "status" by its own.
        set_mark = getattr(self._span, "set_attribute", None) or self._span.set_data
        for tag, value in tags.items():
            self._scope.set_tag(tag, value)
            set_mark(tag, value)

    def _end(self, status: str) -> None:
        if hasattr(self._span, "set_status"):
            self._span.set_status(status)
        else:  # a streamed span knows two
            self._span.status = "error" if status in ("internal_error", "unknown_error", "unavailable") else "ok"

    def _report(self, error: BaseException) -> str:
        """Send an error once, though calls around this one may swallow it again; returns the id of its event."""
        call, known = self._call, self._call.reported
        if known is None or not any(one is known[0] for one in _causes(error)):
            with self._sdk.new_scope() as scope:
                scope.add_event_processor(_without_locals)
                known = (error, self._sdk.capture_exception(error) or "")
        if call.parent is not None:
            call.parent.reported = known
        return known[1]


def _tags(call: Call) -> Iterator[tuple[str, str]]:
    command, context = call.plan.command, call.context
    yield "command", command.name
    for tag, value in (("module", command.module), ("bot_class", command.bot_class), ("flag", command.flag)):
        if value:
            yield tag, value
    if context is not None:
        yield "channel", context.channel
        # One org's runs belong together, but which org it is stays here: the audit event tells.
        yield "org", blake2b(context.org.encode(), key=call.stores.fingerprint_key, digest_size=6).hexdigest()


def _streams(sdk: Any) -> bool:
    """True where the host has chosen streamed spans, which have an interface of their own."""
    options = sdk.Scope.get_global_scope().client.options
    chosen = options.get("trace_lifecycle") or (options.get("_experiments") or {}).get("trace_lifecycle")
    return bool(chosen == "stream")


def _span_status(outcome: Outcome) -> str:
    if outcome.status is Status.FAILED:
        if Reason.REJECTED in outcome.reasons:
            return "failed_precondition"
        if Reason.DEADLINE_EXCEEDED in outcome.reasons:
            return "deadline_exceeded"
    return _SPAN_STATUS[outcome.status]


def _swallowed(call: Call, outcome: Outcome) -> BaseException | None:
    """The error that nobody but Sentry would see; a direct call raises it, and business refusals are answers."""
    error = outcome.error
    if call.args is not None or error is None or Reason.REJECTED in outcome.reasons:
        return None
    if isinstance(error, call.plan.command.final) and not isinstance(error, DeadlineExceeded):
        return None
    # A check that broke is a denial to the caller, and a bug to the host.
    return error if outcome.status in _REPORTED or Reason.CHECK_ERROR in outcome.reasons else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _without_locals(event: Any, _: Any) -> Any:
    """Take the variables out of an event's frames: payloads stand in them."""
    for value in (event.get("exception") or {}).get("values") or ():
        for frame in (value.get("stacktrace") or {}).get("frames") or ():
            frame.pop("vars", None)
    return event
