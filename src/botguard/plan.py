"""A command, compiled: its stages in their one order, for one runner. Built once, when a guard binds the handler."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from botguard.command import Command, Declaration, make_command
from botguard.errors import ConfigurationError
from botguard.limiter import LocalLimiter
from botguard.observability.after_commit import AfterCommit
from botguard.observability.meter import CommandMeter
from botguard.observability.tracing import traced
from botguard.options import Effects, Mode
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.codec import ResultCodec
from botguard.pipeline.compose import compose
from botguard.pipeline.identity import Identity
from botguard.pipeline.meeting import Meeting, Twins
from botguard.pipeline.order import ORDER
from botguard.pipeline.refusals import RefusalBudget, RefusalLog
from botguard.pipeline.settle import Settlement
from botguard.pipeline.stage import Proceed, Stage
from botguard.ports.access import Authorizer, Directory
from botguard.ports.approvals import ApprovalStore
from botguard.ports.breakers import BreakerStore
from botguard.ports.events import EventStore
from botguard.ports.idempotency import IdempotencyStore
from botguard.ports.limits import LimitStore
from botguard.ports.policy import PolicyEngine
from botguard.ports.runtime import Runtime
from botguard.ports.spool import Spool
from botguard.ports.storage import COMPLETION_WITH_EVENT, JoinsHost, Storage
from botguard.ports.telemetry import Meter
from botguard.ports.work import UnitOfWork
from botguard.stages.authorize import Authorize
from botguard.stages.breaker import BreakerGate, BreakerStage, SharedBreakerStage, SharedGate
from botguard.stages.checks import Checks
from botguard.stages.claim import Claim
from botguard.stages.complete import Complete
from botguard.stages.confirm import Confirm
from botguard.stages.edge import Edge
from botguard.stages.handler import Handler
from botguard.stages.limit import LimitStage
from botguard.stages.peek import LookAgain, Peek
from botguard.stages.policy import Policy
from botguard.stages.record import Record
from botguard.stages.retry import RetryStage
from botguard.stages.timeout import Timeout
from botguard.stages.validate import Validate
from botguard.stages.work import Work
from botguard.validation.bounds import check_bounds
from botguard.wrapping import Shape, is_async

__all__ = ["UNKNOWN", "Parts", "Plan", "compile_plan", "storage_for", "unknown_plan"]

#: What a name that no command has is counted and audited as.
UNKNOWN = make_command("unknown-command", {"public": True, "effects": "read"})

#: Fields that nobody can change in place.
_ATOMS = {"str", "int", "float", "bool", "bytes", "Decimal", "date", "datetime", "time", "timedelta", "UUID"}


class Parts:
    """What a guard shares among the plans of its commands."""

    def __init__(
        self,
        storage: Storage,
        authorizer: Authorizer,
        directory: Directory | None,
        policies: PolicyEngine | None,
        breakers: dict[str, BreakerGate],
        limiter: LocalLimiter,
        runtimes: tuple[Runtime, Runtime],
        spool: Spool | None,
        refusals_per_minute: int,
        fingerprint_key: bytes,
        breaker_store: BreakerStore | None = None,
    ) -> None:
        self.storage, self.authorizer, self.directory = storage, authorizer, directory
        self.policies, self.breakers, self.limiter = policies, breakers, limiter
        self.runtimes, self.spool, self.fingerprint_key = runtimes, spool, fingerprint_key
        self.breaker_store = breaker_store
        self.meter = CommandMeter()
        self.meters: tuple[Meter, ...] = (self.meter,)
        self.refusals = RefusalLog()
        self.budget = RefusalBudget(refusals_per_minute)
        self.twins = Twins()
        #: Checks that were added across commands: (pattern, stage, function).
        self.checks: list[tuple[str, str, Callable[..., Any]]] = []


class Plan:
    """See :class:`botguard.pipeline.call.PlanView`. ``entry`` is the whole pipeline as one callable."""

    __slots__ = (
        "by_name",
        "command",
        "deadline",
        "declaration",
        "entry",
        "monotonic",
        "name",
        "new_id",
        "runnable",
        "runtime",
        "shape",
        "stages",
        "storage",
        "sync",
        "time",
    )

    def __init__(
        self,
        declaration: Declaration,
        storage: Storage,
        runtime: Runtime,
        sync: bool,
        stages: list[Stage],
        last: Proceed,
    ) -> None:
        self.declaration, self.command, self.shape = declaration, declaration.command, declaration.shape
        self.storage, self.runtime, self.sync = storage, runtime, sync
        self.name = declaration.command.name
        self.monotonic, self.time, self.new_id = runtime.clock.monotonic, runtime.clock.time, runtime.new_id
        self.stages = stages
        self.by_name = {stage.name: stage for stage in stages}
        self.deadline = self.command.deadline
        self.runnable = self.shape.runnable
        self.entry = traced(compose(stages, self.command.modes, last))

    def _inherited(self, call: Call, handle: Any) -> Any:
        """What a call inside an open unit of work does with it: a transactional one joins it, a read writes its event
        there (another connection would wait for a lock that this very thread holds)."""
        if self.command.effects is Effects.READ and self.storage.work is not None:
            call.stores = self.storage.joined(handle)
        return handle if self.command.effects is Effects.TRANSACTIONAL else None

    def joined(self, session: Any) -> Storage:
        """The stores inside the host's open transaction.

        Raises:
            ConfigurationError: for a command whose claim must outlive that transaction.
        """
        if self.command.effects is not Effects.TRANSACTIONAL:
            raise ConfigurationError(
                "BG143",
                f"session= was given to a command with effects={str(self.command.effects)!r}",
                where=self.command.name,
                why="its claim must be committed before the effect, not together with the host's transaction",
                fix='declare effects="transactional", or call it without session=',
            )
        return self.storage.joined(session)

    def call(
        self,
        raw: Any,
        context: Any,
        args: tuple[Any, ...] | None,
        kwargs: dict[str, Any] | None,
        parent: Call | None,
        session: Any = None,
        resume: Any = None,
    ) -> Call:
        """A new run. A nested one inherits its parent's deadline, allowance and open transaction."""
        started = self.monotonic()
        call = Call(self, raw, context, args, kwargs, started, self.storage, resume)
        if self.deadline is not None:
            call.deadline_at = started + self.deadline
        if parent is not None:
            call.parent = parent
            if parent.deadline_at is not None and (call.deadline_at is None or parent.deadline_at < call.deadline_at):
                call.deadline_at = parent.deadline_at
            if session is None and parent.unit is not None:
                session = self._inherited(call, parent.unit.handle)
        if session is not None:
            call.stores = self.joined(session)
        return call


def compile_plan(parts: Parts, declaration: Declaration) -> Plan:
    """Check the wiring of one command and fold its stages.

    Raises:
        ConfigurationError: for anything that could not keep its promises.
    """
    try:
        return _compiled(parts, declaration)
    except ConfigurationError as error:
        if error.where != declaration.command.name:
            raise
        raise error.at(f"{error.where} {declaration.where}") from None


def _compiled(parts: Parts, declaration: Declaration) -> Plan:
    command, shape = declaration.command, declaration.shape
    shape.resolve()
    sync = not inspect.iscoroutinefunction(declaration.function)
    runtime = parts.runtimes[0 if sync else 1]
    storage = storage_for(parts.storage, command, sync)
    model = shape.model
    builder = _Builder(parts, command, shape, model, storage, sync)
    stages = builder.stages()
    handler = Handler(
        declaration.function,
        shape.put,
        not sync,
        command.retry.attempts if command.retry is not None else 1,
        model is not None and all(getattr(f.annotation, "__name__", "") in _ATOMS for f in model.model_fields.values()),
        shape.plain,
    )
    parts.meter.register(command.name, command.module)
    return Plan(declaration, storage, runtime, sync, stages, handler)


def unknown_plan(parts: Parts, sync: bool) -> Plan:
    """For names that no command has. They are a caller's input: refused, audited and rate limited like any denial."""

    def unknown_command() -> None:
        """Never reached."""

    async def refuse(_: Call) -> Outcome:
        return refusal(Status.DENIED, Reason.NOT_FOUND)

    declaration = Declaration(UNKNOWN, unknown_command, Shape(unknown_command, {}, None, None))  # type: ignore[arg-type]
    storage = storage_for(parts.storage, UNKNOWN, sync)
    stages: list[Stage] = [Record(UNKNOWN, parts.meters, parts.refusals, parts.budget), Edge(parts.budget)]
    return Plan(declaration, storage, parts.runtimes[0 if sync else 1], sync, stages, refuse)


def storage_for(storage: Storage, command: Command, sync: bool) -> Storage:
    """The storage in the command's colour.

    Raises:
        ConfigurationError: if there is none.
    """
    found = storage
    if not sync:
        converted = storage.for_async()
        if converted is None:
            raise ConfigurationError(
                "BG161",
                f"{type(storage).__name__} would block the event loop",
                where=command.name,
                why="its calls wait for a disk or a network in the loop's thread",
                fix="give the guard an async storage, or make the handler a plain function",
            )
        found = converted
    elif command.effects is Effects.TRANSACTIONAL and isinstance(found, JoinsHost):
        found = found.for_transactional()
    work = found.work if command.effects is Effects.TRANSACTIONAL else None
    for port, protocol in (
        (found.idempotency, IdempotencyStore),
        (found.events, EventStore),
        (found.approvals, ApprovalStore),
        (found.limits, LimitStore),
        (work, UnitOfWork),
    ):
        if port is not None:
            _check_colour(port, protocol, command, sync)
    if command.effects is Effects.TRANSACTIONAL and found.work is None:
        raise ConfigurationError(
            "BG160",
            f"it is transactional, but {type(found).__name__} gives it no unit of work",
            where=command.name,
            why="effect and completion could not be committed together"
            + ("" if sync else "; a transaction cannot cross to the writer's thread"),
            fix='use SqliteStorage with a plain (sync) handler, or declare effects="idempotent" or "external"',
        )
    return found


def _check_colour(port: Any, protocol: type, command: Command, sync: bool) -> None:
    colour = getattr(port, "colour", None)
    name = type(port).__name__
    if colour not in ("sync", "async", "any"):
        raise ConfigurationError(
            "BG162",
            f"{name} does not declare its colour",
            where=command.name,
            why="nobody could tell whether it blocks, suspends or answers at once",
            fix=f'write colour: Colour = "sync" (blocks), "async" or "any" (memory) in class {name}',
        )
    if sync:
        methods = [name for name in vars(protocol) if not name.startswith("_")]
        waiting = [name for name in methods if is_async(getattr(port, name, None))]
        if colour == "async" or waiting:
            raise ConfigurationError(
                "BG140",
                f"{name} is asynchronous" + (f" ({', '.join(waiting)})" if waiting else ""),
                where=command.name,
                why="a synchronous command has no event loop; a store that suspends only under contention would "
                "pass every test and fail in production",
                fix="make the handler async def, or give the guard a synchronous storage",
            )
    elif colour == "sync":
        raise ConfigurationError(
            "BG161",
            f"{name} would block the event loop",
            where=command.name,
            why="its calls wait for a disk or a network in the loop's thread",
            fix="wrap it, or use a sync handler",
        )


class _Builder:
    """Makes the stages of one command; leaves out those that it does not use."""

    def __init__(self, parts: Parts, command: Command, shape: Shape, model: Any, storage: Storage, sync: bool) -> None:
        self.parts, self.command, self.shape, self.model = parts, command, shape, model
        self.storage, self.sync = storage, sync
        codec = self._codec()
        self.identity = Identity(command, model, parts.fingerprint_key)
        self.settlement = Settlement(command, codec, parts.spool, storage.atomic)
        visibility = self._checks("visibility")
        self.meeting = Meeting(command, codec, visibility, parts.twins)
        self.gate = self._breaker()

    def _codec(self) -> Any:
        result = self.command.result
        if result == "discard":
            return None
        if result != "store":
            return result
        returns = self.shape.returns
        if returns is inspect.Signature.empty or isinstance(returns, str):
            return ResultCodec()

        def adapter() -> Any:
            from pydantic import TypeAdapter

            return TypeAdapter(returns)

        return ResultCodec(adapter)

    def _checks(self, stage: str) -> Checks | None:
        from fnmatch import fnmatchcase

        own = [check.function for check in self.command.checks if check.stage == stage]
        across = [f for pattern, at, f in self.parts.checks if at == stage and fnmatchcase(self.command.name, pattern)]
        functions = (*own, *across)
        self._refuse_async(functions, f"{stage} check")
        return Checks(stage, functions) if functions else None

    def _refuse_async(self, functions: Any, what: str) -> None:
        for function in functions:
            if self.sync and function is not None and is_async(function):
                raise ConfigurationError(
                    "BG140",
                    f"the {what} {getattr(function, '__qualname__', function)!s} is async def",
                    where=self.command.name,
                    why="a synchronous command has no event loop to wait on",
                    fix="make it a plain function, or the handler async def",
                )

    def _breaker(self) -> BreakerGate | None:
        name = self.command.breaker
        if name is None:
            return None
        gate = self.parts.breakers.get(name)
        if gate is None:
            known = ", ".join(sorted(self.parts.breakers)) or "none"
            raise ConfigurationError(
                "BG163",
                f"breaker {name!r} is not among the guard's",
                where=self.command.name,
                why="nothing would protect what the handler depends on",
                fix=f"add breakers={{{name!r}: Breaker()}} to the Guard; it has: {known}",
            )
        return gate

    def _breaker_stage(self, gate: BreakerGate) -> BreakerStage:
        store: Any = self.parts.breaker_store
        if store is None or not isinstance(gate, SharedGate):
            return BreakerStage(self.command, gate, self.settlement)
        if not self.sync and getattr(store, "colour", None) == "sync" and hasattr(store, "for_async"):
            store = store.for_async()
        _check_colour(store, BreakerStore, self.command, self.sync)
        return SharedBreakerStage(self.command, gate, self.settlement, store)

    def stages(self) -> list[Stage]:
        """The stages in the one order, less those that are off or have nothing to do."""
        made = {stage.name: stage for stage in (*self._before(), *self._after()) if stage is not None}
        ordered = [made.pop(place.stage) for place in ORDER if place.stage in made]
        if made:  # pragma: no cover - a stage that the order table does not know is a bug of ours
            raise ConfigurationError(
                "BG164",
                f"stages without a place: {', '.join(made)}",
                why="the place decides what is promised",
                fix="give each a row in pipeline/order.py",
            )
        return [stage for stage in ordered if self.command.mode(stage.name) is not Mode.OFF]

    def _before(self) -> list[Any]:
        parts, command = self.parts, self.command
        self._refuse_async([parts.directory], "directory")
        self._refuse_async([getattr(parts.authorizer, "permits", None)], "authorizer")
        self._refuse_async([getattr(parts.policies, "decide", None)], "policy engine")
        self._refuse_async(getattr(parts.policies, "conditions", tuple)(), "policy rule")
        policies = parts.policies
        claims = command.effects is not Effects.READ
        look = self.gate.look if self.gate is not None else None
        local = parts.limiter
        return [
            Record(command, self._meters(), parts.refusals, parts.budget),
            Edge(parts.budget),
            Authorize(command, parts.authorizer, parts.directory),
            Validate(self.model, check_bounds, _describe),
            Peek(command, self.identity, self.meeting) if claims else None,
            LimitStage(command, self.storage.limits, local) if command.limits else None,
            LookAgain(self.meeting) if claims else None,
            Policy(policies) if policies is not None and policies.concerns(command.name) else None,
            self._checks("visibility"),
            self._checks("context"),
            self._checks("consistency"),
            self._checks("predict"),
            Confirm(command, self.identity, _dump(self.model), look),
        ]

    def _meters(self) -> tuple[Meter, ...]:
        """Those that count a run which is part of the host's transaction wait for its commit."""
        meters = self.parts.meters
        if self.command.effects is not Effects.TRANSACTIONAL or not isinstance(self.storage, JoinsHost):
            return meters
        return tuple(AfterCommit(meter, self.storage.after_commit) for meter in meters)

    def _after(self) -> list[Any]:
        command, meeting, settlement = self.command, self.meeting, self.settlement
        claims = command.effects is not Effects.READ
        self._refuse_async([command.reconcile], "reconciler")
        look = self.gate.look if self.gate is not None else None
        with_event = COMPLETION_WITH_EVENT in self.storage.atomic
        stops = not self.sync and (command.timeout is not None or command.deadline is not None)
        return [
            Claim(command, meeting, settlement, look, with_event) if claims else None,
            Complete(command, settlement) if claims else None,
            RetryStage(command),
            self._breaker_stage(self.gate) if self.gate is not None else None,
            Timeout(command) if stops else None,
            Work(settlement, meeting, command.keep) if command.effects is Effects.TRANSACTIONAL else None,
        ]


def _describe(model: Any, error: Exception, locale: str) -> Any:
    from botguard.validation.describe import describe_errors

    return describe_errors(model, error, locale)


def _dump(model: Any) -> Callable[[Any], bytes | None]:
    """The validated payload as JSON for a request that waits; None where it holds secrets."""
    if model is None:
        import json

        def plain(payload: Any) -> bytes | None:
            try:
                return json.dumps(payload).encode()
            except (TypeError, ValueError):
                return None

        return plain
    if any("Secret" in str(field.annotation) for field in model.model_fields.values()):
        return lambda _: None

    def typed(payload: Any) -> bytes | None:
        return model.__pydantic_serializer__.to_json(payload, by_alias=True)  # type: ignore[no-any-return]

    return typed
