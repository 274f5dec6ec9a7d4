"""Guard: wires the stages around handlers, picks a runner, and turns an Outcome into a value or an exception.

``@guarded`` is the same without a guard at hand: a declaration that a guard binds later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from botguard.answering import declining, ending_with
from botguard.command import CommandOptions, CommandRegistry, Declaration, default_registry, make_command
from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.explaining import Verdict, described, verdicts
from botguard.housekeeping import apply_spool, purge
from botguard.invocation import Context, is_name, running
from botguard.limiter import LocalLimiter
from botguard.observability.metrics import Metrics
from botguard.options import Breaker, Check
from botguard.outcome import Outcome, Status
from botguard.pipeline.call import Call
from botguard.pipeline.runners import run_sync
from botguard.pipeline.stage import Proceed
from botguard.plan import UNKNOWN, Parts, Plan, compile_plan, unknown_plan
from botguard.ports.approvals import ApprovalRequest
from botguard.ports.breakers import BreakerStore
from botguard.ports.storage import Storage
from botguard.ports.work import HostWork
from botguard.runtime import AsyncRuntime, SyncRuntime, SystemClock, in_thread, is_loop_running, run_alone
from botguard.stages.breaker import BreakerGate, SharedGate
from botguard.wiring import (
    ALLOW_ALL,
    authorizer_given,
    bound_given,
    context_given,
    foreign_given,
    policies_given,
    resolver_given,
    secret_given,
    storage_given,
)
from botguard.wrapping import Shape, caller_locals, check_function, check_one_retrier, wrap

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from botguard.adoption.observer import Observer
    from botguard.adoption.report import ShadowReport

__all__ = ["ALLOW_ALL", "Guard", "Verdict", "guarded"]

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H")

#: The Context of the innermost ``acting`` block, and the call inside which that block was opened.
_acting: ContextVar[tuple[Context | None, Call | None]] = ContextVar("botguard_acting", default=(None, None))


class Guard:
    """The configured pipeline around handlers.

    Args:
        storage: where claims, events and requests live: ``MemoryStorage()`` to try out, ``SqliteStorage("bot.db")`` …
        access: role → permissions, an object with ``permits``, or ``ALLOW_ALL``. It must be given: default deny.
        directory: ``(org, actor id) -> Principal | None``, asked at every execution. Without one the Actor's own roles
            count.
        policies: a list of :class:`Rule`, or an object with ``decide``.
        breakers: name → :class:`Breaker`, shared by the commands that name it.
        breaker_store: where processes tell each other which of those are open, such as ``RedisBreakers(server)``;
            default: each finds out for itself.
        context: where a direct call finds its Context, if neither ``bind=`` nor ``acting`` says so.
        registry: a CommandRegistry whose declarations this guard binds; default: its own.
        clock: ``time``, ``monotonic`` and ``sleep``; tests give a FakeClock.
        spool: where completions go that the store did not take, such as ``FileSpool("bot.spool")``.
        refusals_per_minute: refusals per address and actor before they are cut off at the edge.
        secret: keys the payload fingerprints instead of the storage's own key; 16 bytes or more.
        work: sessions of the host's as units of work of ``transactional`` commands, such as ``SqlAlchemyWork(maker)``;
            default: the storage's own transactions.
    """

    def __init__(
        self,
        *,
        storage: Storage | None = None,
        access: Any = None,
        directory: Any = None,
        policies: Any = None,
        breakers: Mapping[str, Breaker] | None = None,
        context: Callable[..., Context | None] | None = None,
        registry: CommandRegistry | None = None,
        clock: Any = None,
        spool: Any = None,
        refusals_per_minute: int = 60,
        secret: bytes | None = None,
        work: HostWork | None = None,
        breaker_store: BreakerStore | None = None,
    ) -> None:
        clock = clock or SystemClock()
        gate = BreakerGate if breaker_store is None else SharedGate
        storage = storage_given(storage, work)
        self._context = resolver_given(context)
        self.registry = registry if registry is not None else CommandRegistry()
        self._parts = Parts(
            storage=storage,
            authorizer=authorizer_given(access),
            directory=directory,
            policies=policies_given(policies),
            breakers={name: gate(name, options, clock) for name, options in (breakers or {}).items()},
            limiter=LocalLimiter(clock),
            runtimes=(SyncRuntime(clock), AsyncRuntime(clock)),
            spool=spool,
            refusals_per_minute=refusals_per_minute,
            fingerprint_key=secret_given(secret, storage),
            breaker_store=breaker_store,
        )
        self._unknown: dict[bool, Plan] = {}
        self._shadows: Observer | None = None
        #: Compiled plans by command name, for the way that most calls take.
        self._ready: dict[Any, Plan] = {}
        self._parts.meter.register(UNKNOWN.name, UNKNOWN.module)
        self.registry.bind(self)

    # -- declaring ------------------------------------------------------------------------------------------------

    def command(self, name: str, **options: Unpack[CommandOptions]) -> Callable[[F], F]:
        """Guard a handler as a command. The smallest form is ``@guard.command("orders.create")``.

        The handler keeps its signature, name, colour and picklability. See :class:`botguard.command.Command` for the
        options.

        Raises:
            ConfigurationError: at decoration, for anything that could not keep its promises.
        """
        return _decorator(name, options, self.registry, 2)

    def check(self, pattern: str, *, stage: str = "context") -> Callable[[F], F]:
        """Add a check across commands: ``@guard.check("inventory.*", stage="consistency")``."""
        Check(len, stage)  # the stage's name is checked in one place

        def add(function: F) -> F:
            added: tuple[str, str, Any] = (pattern, stage, function)
            self._parts.checks.append(added)
            compiled = [declaration for declaration in self.registry if declaration.plan is not None]
            try:
                for declaration in compiled:
                    self._compile(declaration)
            except ConfigurationError:
                self._parts.checks.remove(added)  # a check that was refused must not fail what is declared later
                for declaration in compiled:
                    self._compile(declaration)
                raise
            return function

        return add

    def bind(self, declaration: Declaration) -> None:
        """Compile a declaration for this guard; called by the registry.

        Raises:
            ConfigurationError: if another guard has bound it, or its wiring cannot hold.
        """
        if declaration.owner is not None and declaration.owner is not self:
            raise foreign_given(declaration)
        declaration.owner = self
        if declaration.shape.unresolved:  # its model is defined later in the module: compile at the first call
            declaration.entry = self._late(declaration)
            self._parts.meter.register(declaration.command.name, declaration.command.module)
        else:
            self._compile(declaration)

    def _compile(self, declaration: Declaration) -> Plan:
        plan = compile_plan(self._parts, declaration)
        declaration.plan = plan
        self._ready[declaration.command.name] = plan
        declaration.entry = self._direct_sync(plan) if plan.sync else self._direct_async(plan)
        return plan

    def _late(self, declaration: Declaration) -> Callable[..., Any]:
        def first_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            self._compile(declaration)
            return declaration.entry(args, kwargs)  # type: ignore[misc]

        return first_call

    # -- adopting -------------------------------------------------------------------------------------------------

    def shadow(
        self,
        handlers: H,
        *,
        bind: Callable[..., Any] | None = None,
        options: Mapping[str, Mapping[str, Any]] | Callable[[str], Mapping[str, Any] | None] | None = None,
        in_place: bool = False,
    ) -> H:
        """Put a legacy registry in shadow: every handler goes on as before, and ``shadow_report`` tells what the guard
        would have done.

        Args:
            handlers: name → function or bound method, or pairs of them. A name becomes a command's name, in lower case
                and with ``_`` for what such a name cannot hold.
            bind: maps a handler's own arguments to ``(payload, context)``, as for ``command``.
            options: by handler's name, or a function of it: the options of ``command``, and ``command`` for another name.
            in_place: change the registry itself.

        Returns:
            The same kind of registry with handlers that behave like those given. What is no function or bound method,
            a generator or guarded already stays as it is; the report names it.

        Raises:
            ConfigurationError: for wiring that enforcing would refuse too; then nothing has changed.
        """
        from botguard.adoption.registry import shadow_all

        return shadow_all(self._observer(), handlers, bind, options, in_place, caller_locals(2))  # type: ignore[no-any-return]

    def shadow_report(self, *, since: datetime | timedelta | None = None) -> ShadowReport:
        """What the guard would have refused, charged, replayed or retried, by command and reason.

        Args:
            since: None: the counts of this process. Else from the event store: all processes since that moment, or
                within that time; stages in shadow mode are counted too.
        """
        from botguard.adoption.reading import report

        return report(self._observer(), since)

    async def shadow_report_async(self, *, since: datetime | timedelta | None = None) -> ShadowReport:
        """``shadow_report`` for async storages."""
        from botguard.adoption.reading import report_async

        return await report_async(self._observer(), since)

    def _observer(self) -> Observer:
        if self._shadows is None:
            from botguard.adoption.observer import Observer

            self._shadows = Observer(self._parts, self._present_context)
        return self._shadows

    # -- calling --------------------------------------------------------------------------------------------------

    def _direct_sync(self, plan: Plan) -> Callable[..., Any]:
        def enter(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            outcome = run_sync(plan.entry, self._direct_call(plan, args, kwargs))
            if outcome.status is Status.SUCCEEDED:
                return outcome.value
            raise outcome.exception()

        return enter

    def _direct_async(self, plan: Plan) -> Callable[..., Any]:
        async def enter(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            outcome = await plan.entry(self._direct_call(plan, args, kwargs))
            if outcome.status is Status.SUCCEEDED:
                return outcome.value
            raise outcome.exception()

        return enter

    def _direct_call(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        parent = running.get()
        shape = plan.shape
        shape.require(args, kwargs)
        if shape.bind is not None:
            raw, context = bound_given(plan, shape.bind(*args, **kwargs))
        else:
            raw, context = shape.take(args, kwargs), None
        if context is None:
            context = self._present_context(parent)
        return plan.call(raw, context, args, kwargs, parent)

    def _present_context(self, parent: Call | None) -> Context | None:
        context, inside = _acting.get()
        if context is not None and inside is parent:
            return context
        if parent is not None:  # the running call says who acts, not a block that was opened around it
            return parent.context  # type: ignore[no-any-return]
        return context_given(self._context(), "Guard(context=…) returned") if self._context is not None else None

    @contextmanager
    def acting(self, context: Context) -> Iterator[Context]:
        """Direct calls inside the block come from this Context. Integrations do this for every request."""
        token = _acting.set((context_given(context, "acting() was given", needed=True), running.get()))
        try:
            yield context
        finally:
            _acting.reset(token)

    def run(
        self,
        command: str | Callable[..., Any],
        payload: Any = None,
        *,
        context: Context | None = None,
        session: Any = None,
    ) -> Outcome:
        """Run a command by name with a raw payload; never raises for anything that happened inside.

        Args:
            command: its name, or the guarded function.
            payload: a dict of raw input, or an instance of the request model.
            context: who asks, from where; default: as for a direct call.
            session: the host's open transaction, joined by ``transactional`` commands.

        Raises:
            ConfigurationError: for a command that is ``async def``, and for wiring that fails only when it is used.
        """
        plan = self._ready.get(command) or self._plan(command)
        if not plan.sync:
            raise ConfigurationError(
                "BG165",
                "it is async def and was called with run()",
                where=plan.command.name,
                why="there is no event loop to run it on",
                fix="await guard.run_async(...)",
            )
        if session is None and type(context) is Context and plan.runnable and running.get() is None:
            # The way that most calls take, in one frame: a payload and a Context, outside of any other call.
            now = plan.monotonic()
            call = Call(plan, {} if payload is None else payload, context, None, None, now, plan.storage)
            if plan.deadline is not None:
                call.deadline_at = now + plan.deadline
            return run_sync(plan.entry, call)
        return run_sync(plan.entry, self._edge_call(plan, payload, context, session))

    async def run_async(
        self,
        command: str | Callable[..., Any],
        payload: Any = None,
        *,
        context: Context | None = None,
        session: Any = None,
    ) -> Outcome:
        """``run`` for async handlers. A sync handler runs in a thread, with the caller's context variables."""
        plan = self._ready.get(command) or self._plan(command, sync=False)
        call = self._edge_call(plan, payload, context, session)
        if plan.sync:
            return await in_thread(run_sync, plan.entry, call)
        return await plan.entry(call)

    def _edge_call(
        self, plan: Plan, payload: Any, context: Context | None, session: Any = None, resume: Any = None
    ) -> Call:
        if not plan.shape.runnable:
            raise ConfigurationError(
                "BG137",
                "it cannot be called by name: it needs more than its payload",
                where=f"{plan.command.name} {plan.declaration.where}",
                why="there is nothing to pass for the rest",
                fix="call the function itself, or give the other parameters defaults",
            )
        parent = running.get()
        context = self._present_context(parent) if context is None else context_given(context, "context= is")
        raw = {} if payload is None else payload
        return plan.call(raw, context, None, None, parent, session, resume)

    def _plan(self, command: str | Callable[..., Any], *, sync: bool = True) -> Plan:
        declaration = (
            getattr(command, "__botguard__", None) if not isinstance(command, str) else self.registry.get(command)
        )
        if declaration is None:
            if not isinstance(command, str):
                raise ConfigurationError(
                    "BG138",
                    f"{command!r:.80} is not guarded",
                    why="it has no stages that could be run",
                    fix="decorate it with @guard.command",
                )
            return self._unknown_plan(sync)
        if declaration.owner is not self:
            raise foreign_given(declaration) if declaration.owner is not None else declaration.unbound()
        return declaration.plan or self._compile(declaration)

    def _unknown_plan(self, sync: bool) -> Plan:
        """For names that no command has, in the wanted colour if the storage can be had in it."""
        storage = self._parts.storage
        sync = storage.colour != "async" and (sync or storage.for_async() is None)
        plan = self._unknown.get(sync)
        if plan is None:
            plan = self._unknown[sync] = unknown_plan(self._parts, sync)
        return plan

    # -- confirming -----------------------------------------------------------------------------------------------

    def confirm(self, token: str, *, context: Context, payload: Any = None) -> Outcome:
        """The requester says yes: check everything again and run under the original key.

        Args:
            token: from ``outcome.confirmation.token``.
            context: of the person who answers; only the requester's answer counts.
            payload: needed again only for commands with secret fields, which are not stored while waiting.
        """
        found: Any = self._look_up(self._parts.storage, token)
        entry, call = self._confirming(self._at_once(found), context, payload, sync=True)
        return run_sync(entry, call)

    async def confirm_async(self, token: str, *, context: Context, payload: Any = None) -> Outcome:
        """``confirm`` for async handlers; sync ones run in a thread."""
        found: Any = self._look_up(self._parts.storage.for_async() or self._parts.storage, token)
        entry, call = self._confirming(await _settled(found), context, payload, sync=False)
        return await (in_thread(run_sync, entry, call) if call.plan.sync else entry(call))

    def decline(self, token: str, *, context: Context) -> Outcome:
        """The requester says no: the request is closed, and a repeated delivery is told so."""
        found: Any = self._look_up(self._parts.storage, token)
        entry, call = self._declining(self._at_once(found), context, sync=True)
        return run_sync(entry, call)

    async def decline_async(self, token: str, *, context: Context) -> Outcome:
        """``decline`` for async handlers and storages."""
        found: Any = self._look_up(self._parts.storage.for_async() or self._parts.storage, token)
        entry, call = self._declining(await _settled(found), context, sync=False)
        return await (in_thread(run_sync, entry, call) if call.plan.sync else entry(call))

    @staticmethod
    def _look_up(storage: Storage, token: str) -> Any:
        """The request of a token, an awaitable for it, or the error of a store that is down."""
        try:
            return storage.approvals.by_token(token) if is_name(token) else None
        except StoreUnavailable as error:
            return error

    @staticmethod
    def _at_once(found: Any) -> Any:
        if hasattr(found, "__await__"):
            found.close()
            raise ConfigurationError(
                "BG165",
                "this storage is asynchronous",
                why="there is no event loop to run it on",
                fix="await the guard's _async methods",
            )
        return found

    def _asked(self, found: Any, context: Context) -> bool:
        """True if the found request is one of this org's, of a command that still exists."""
        context_given(context, "context= is", needed=True)
        return isinstance(found, ApprovalRequest) and found.org == context.org and found.command in self.registry

    def _confirming(self, found: Any, context: Context, payload: Any, sync: bool) -> tuple[Proceed, Call]:
        if not self._asked(found, context):
            return self._leading_nowhere(found, context, sync)
        plan = self._plan(found.command)
        raw = json.loads(found.payload) if found.payload is not None and payload is None else payload
        call = self._edge_call(plan, raw, context, None, found)
        call.row_key = found.key
        return plan.entry, call

    def _declining(self, found: Any, context: Context, sync: bool) -> tuple[Proceed, Call]:
        if not self._asked(found, context):
            return self._leading_nowhere(found, context, sync)
        plan = self._plan(found.command)
        return declining(plan, found), plan.call({}, context, None, None, None)

    def _leading_nowhere(self, found: Any, context: Context, sync: bool) -> tuple[Proceed, Call]:
        """A token that nothing is known of is refused and recorded like an unknown command."""
        plan = self._unknown_plan(sync)
        entry = ending_with(plan, found) if isinstance(found, StoreUnavailable) else plan.entry
        return entry, self._edge_call(plan, None, context)

    # -- looking --------------------------------------------------------------------------------------------------

    def explain(
        self, command: str | Callable[..., Any], payload: Any = None, *, context: Context | None = None
    ) -> list[Verdict]:
        """Every stage's verdict on a call, nothing executed or consumed. Stops at a payload that cannot be read."""
        plan = self._plan(command)
        if not plan.sync and is_loop_running():
            raise ConfigurationError(
                "BG165",
                "explain() of an async command inside an event loop",
                why="the loop that runs cannot be waited for from within",
                fix="await guard.explain_async(...)",
            )
        call = self._edge_call(plan, payload, context)
        if plan.sync:
            return run_sync(lambda c: verdicts(plan, c), call)  # type: ignore[arg-type, return-value]
        return run_alone(verdicts(plan, call))

    async def explain_async(
        self, command: str | Callable[..., Any], payload: Any = None, *, context: Context | None = None
    ) -> list[Verdict]:
        """``explain`` inside an event loop."""
        plan = self._plan(command)
        return await verdicts(plan, self._edge_call(plan, payload, context))

    def describe(self) -> dict[str, Any]:
        """The commands with their ordered stages, the options of each and whether they were declared, as plain data."""
        return {
            "storage": type(self._parts.storage).__name__,
            "access": type(self._parts.authorizer).__name__,
            "directory": self._parts.directory is not None,
            "breakers": {name: gate.state for name, gate in self._parts.breakers.items()},
            "commands": {d.command.name: described(self._plan(d.command.name)) for d in self.registry},
        }

    @property
    def metrics(self) -> Metrics:
        """The guard's own counts: as plain data, as text for Prometheus, and in a registry of prometheus_client's."""
        return Metrics(self._parts.meter)

    @property
    def storage(self) -> Storage:
        """The storage that this guard was given."""
        return self._parts.storage

    # -- keeping house --------------------------------------------------------------------------------------------

    def purge(self, *, batch: int = 1000) -> int:
        """Delete settled claims past their lifetime and old requests; never a running or unknown one.

        Returns:
            How many rows were deleted.
        """
        return purge(self._parts.storage, batch)

    def flush(self) -> None:
        """Write the counted summaries of refusals that are still in memory; call it before the process ends."""
        plan = self._unknown_plan(True)
        run_sync(_flush(plan), plan.call({}, None, None, None, None))
        if self._shadows is not None:
            self._shadows.flush()

    async def flush_async(self) -> None:
        """``flush`` for async storages."""
        plan = self._unknown_plan(False)
        await _flush(plan)(plan.call({}, None, None, None, None))
        if self._shadows is not None:
            await self._shadows.flush_async()

    def apply_spool(self) -> int:
        """Write the spooled completions to the store, now that it is back. What it still does not take stays spooled.

        Returns:
            How many were applied, or turned out to be stored already.

        Raises:
            ConfigurationError: if the storage is asynchronous.
        """
        return apply_spool(self._parts.storage, self._parts.spool)


def _flush(plan: Plan) -> Proceed:
    record: Any = plan.by_name["record"]
    return record.flush  # type: ignore[no-any-return]


async def _settled(found: Any) -> Any:
    try:
        return await found if hasattr(found, "__await__") else found
    except StoreUnavailable as error:
        return error


def guarded(
    name: str, *, registry: CommandRegistry = default_registry, **options: Unpack[CommandOptions]
) -> Callable[[F], F]:
    """Declare a handler as a command without a guard at hand; ``Guard(registry=…)`` binds it.

    The function is returned as a function of the same signature, name, colour and picklability; calling it before a
    guard has bound it is a ConfigurationError that says how to bind.
    """
    return _decorator(name, options, registry, 2)


def _decorator(name: str, options: CommandOptions, registry: CommandRegistry, depth: int) -> Callable[[F], F]:
    command = make_command(name, options)
    local_names = caller_locals(depth + 1)

    def decorate(function: F) -> F:
        inner: Any = function
        kind = type(function) if isinstance(function, staticmethod | classmethod) else None
        if kind is not None:
            inner = function.__func__  # type: ignore[attr-defined]
        inner = check_function(inner, name)
        if command.retry is not None:
            check_one_retrier(inner, name)
        shape = Shape(inner, local_names, command.request, command.bind)
        declaration = Declaration(command, inner, shape)
        wrapper = wrap(inner, declaration)
        registry.add(declaration)
        return kind(wrapper) if kind is not None else wrapper  # type: ignore[return-value]

    return decorate
