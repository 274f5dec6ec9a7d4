"""Mistakes that were made on purpose in copies of the store and in the core: each must be found by the simulation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from botguard import plan
from botguard.errors import DeadlineExceeded, StoreUnavailable
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.identity import Identity
from botguard.pipeline.meeting import Meeting
from botguard.ports.approvals import ApprovalState
from botguard.ports.idempotency import RowState
from botguard.stages import confirm, limit
from botguard.stages.breaker import BreakerGate
from botguard.stages.claim import Claim
from botguard.stages.complete import Complete
from botguard.stages.confirm import Confirm
from botguard.stages.limit import LimitStage
from botguard.stages.peek import LookAgain, Peek
from botguard.stages.work import Work
from botguard.testing.simulation import TransactionalMemory
from botguard.testing.simulation.runtime import SimulatedRuntime

Plant = Callable[[pytest.MonkeyPatch], Any]


class Bug(NamedTuple):
    """What to plant, where it must show, and which rules it breaks."""

    plant: Plant
    commands: tuple[str, ...]
    rules: str


# ── in the store ─────────────────────────────────────────────────────────────────────────────────────────────────


def _spoil(storage: TransactionalMemory, name: str, instead: Callable[..., Any], part: str = "idempotency") -> None:
    port = getattr(storage, part)
    setattr(port, name, partial(instead, port, getattr(port, name)))


def _store(name: str, instead: Callable[..., Any], part: str = "idempotency") -> Plant:
    def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        def factory(clock: Any) -> TransactionalMemory:
            storage = TransactionalMemory(clock=clock)
            _spoil(storage, name, instead, part)
            return storage

        return factory

    return plant


def anybodys_claim(claims: Any, real: Any, key: str, claim_id: str, *rest: Any) -> Any:
    """Does not look whose claim it is."""
    row = claims.peek(key)
    return real(key, claim_id if row is None else row.claim_id, *rest)


def lease_forgotten(claims: Any, real: Any, request: Any, event: Any = None) -> Any:
    """Everybody takes the claim over, whether its lease is over or not."""
    row = claims.peek(request.key)
    if row is not None and row.state is RowState.CLAIMED:
        claims.release(request.key, row.claim_id)
    return real(request, event)


def done_again(claims: Any, real: Any, request: Any, event: Any = None) -> Any:
    """What is done can be claimed again."""
    row = claims.peek(request.key)
    if row is not None and row.state is RowState.DONE:
        claims._delete(request.key, claims._rows[request.key])
    return real(request, event)


def same_fence(_: Any, real: Any, request: Any, event: Any = None) -> Any:
    """The fence stands in the row, and is lost with it."""
    return real(request, event)._replace(fence=1)


def unknown_forgotten(claims: Any, real: Any, limit: int = 1000) -> int:
    """Purge takes what nobody knows about along."""
    gone = [key for key, row in claims._rows.items() if row[0] == "unknown"]
    for key in gone:
        del claims._rows[key]
    return int(real(limit)) + len(gone)


def event_dropped(_: Any, real: Any, *settled: Any) -> Any:
    """Takes the completion and loses its event."""
    return real(*settled[:6])


# ── in the core ──────────────────────────────────────────────────────────────────────────────────────────────────


def _core(where: Any, name: str, instead: Any) -> Plant:
    return lambda monkeypatch: monkeypatch.setattr(where, name, instead)


async def released_after_start(self: Complete, call: Any, outcome: Outcome) -> None:
    await self._settlement.release(call)


def released_on_timeout() -> Any:
    real = Complete._failed

    async def failed(self: Complete, call: Any, outcome: Outcome) -> None:
        if isinstance(outcome.error, DeadlineExceeded):
            await self._settlement.release(call)
        else:
            await real(self, call, outcome)

    return failed


async def completed_first(self: Complete, proceed: Any, call: Any) -> Outcome:
    await self._settlement.done(call, Outcome(Status.SUCCEEDED, "soon"))
    return await proceed(call)


def takes_external_over() -> Any:
    real = Claim.__init__

    def init(self: Claim, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        self._takeover = True

    return init


def peek_before_authorize(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {place.stage: place for place in plan.ORDER}
    first = [places.pop(name) for name in ("record", "edge", "validate", "peek")]
    monkeypatch.setattr(plan, "ORDER", (*first, *places.values()))
    real = Peek.around

    async def around(self: Peek, proceed: Any, call: Any) -> Outcome:
        call.person = call.context.actor.id.removesuffix("-web")
        return await real(self, proceed, call)

    monkeypatch.setattr(Peek, "around", around)


def replays_to_everybody() -> Any:
    real = Meeting.__init__

    def init(self: Meeting, *args: Any) -> None:
        real(self, *args)
        self._to_org = True

    return init


def keeps_what_replays_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "_REFUNDED", frozenset())


async def completed_after_commit(self: Work, call: Any, unit: Any, outcome: Outcome) -> Outcome:
    """Two commits where there must be one."""
    await call.bridge(unit.commit())
    await self._settlement.done(call, outcome)
    return outcome


async def fence_ignored(self: Work, call: Any, unit: Any, outcome: Outcome) -> Outcome:
    await call.bridge(unit.finish(call.row_key, call.claim_id, RowState.DONE, b'"x"', self._keep, 1, None))
    await call.bridge(unit.commit())
    call.settled = True
    return outcome


async def answer_of_commit_believed(self: Work, call: Any) -> bool:
    return False


def _discharging(*, person: bool, payload: bool) -> Any:
    """The confirm stage as it would be without one of the things that an answer is bound to."""
    real = Confirm._discharge

    async def discharge(self: Confirm, call: Any, asked: Any) -> Outcome | None:
        request = call.resume
        if request is None:
            return await real(self, call, asked)
        if (person and request.person != call.person) or (payload and request.fingerprint != call.fingerprint):
            return Outcome(Status.DENIED, None, None, (Reason.CONFIRMATION_INVALID,))
        decided = await call.bridge(call.stores.approvals.decide(request.token, ApprovalState.APPROVED))
        if decided is None or decided.state is not ApprovalState.APPROVED:
            return Outcome(Status.DENIED, None, None, (Reason.CONFIRMATION_EXPIRED,))
        await call.bridge(call.stores.approvals.spend(request.subject, call.row_key))
        return None

    return discharge


def one_request_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked does not depend on who asks."""
    real = confirm.digest
    monkeypatch.setattr(confirm, "digest", lambda key, fingerprint, person, targets: real(key, fingerprint, targets))


async def no_second_look(self: LookAgain, call: Any, refused: Outcome) -> Outcome:
    return refused


def ids_begin_anew(self: SimulatedRuntime, life: int) -> None:
    self._prefix, self._number = f"{self.name}-", 0


def key_of_all_orgs() -> Any:
    real = Identity._name

    def name(self: Identity, call: Any) -> Any:
        context, call.context = call.context, call.context.__class__(org="all", actor=call.context.actor)
        try:
            return real(self, call)
        finally:
            call.context = context

    return name


async def slots_not_freed(self: LimitStage, call: Any, store: Any, refund: bool, *reserved: Any) -> None:
    if refund:
        await call.bridge(store.refund(*reserved))


async def lost_claim_believed(self: Claim, call: Any) -> Outcome | None:
    """The answer to a claim was lost, so it is taken for won."""
    return None


async def started_unsaid(self: Claim, call: Any, supersede: str | None = None) -> Any:
    answer = await call.bridge(call.stores.idempotency.claim(self._request(call, supersede)))
    call.fence = answer.fence
    return answer


async def always_reconciled(self: Claim, call: Any, row: Any) -> None:
    """Whoever finds an unknown effect takes it for one that did not happen."""


def fails_open(self: Claim, call: Any, error: StoreUnavailable) -> Outcome | None:
    """The store is down, so the call goes on without a claim."""
    call.claim_id = ""


def probe_kept(self: BreakerGate, permit: Any) -> None:
    """A probe that came to nothing is never given back."""
    for number in self._probes:
        self._probes[number] = float("inf")


BUGS = {
    "store: finish without a look at the claim id": Bug(_store("finish", anybodys_claim), ("idempotent",), "1"),
    "store: release without a look at the claim id": Bug(_store("release", anybodys_claim), ("idempotent",), "1"),
    "store: the lease is forgotten": Bug(_store("claim", lease_forgotten), ("external",), "1"),
    "store: what is done is claimed again": Bug(_store("claim", done_again), ("idempotent",), "1"),
    "store: the fence does not rise": Bug(_store("claim", same_fence), ("idempotent",), "1"),
    "store: unknown rows are purged": Bug(_store("purge", unknown_forgotten), ("external",), "1"),
    "store: the event of a completion is dropped": Bug(_store("finish", event_dropped), ("external",), "8"),
    "released after start": Bug(_core(Complete, "_failed", released_after_start), ("external",), "2"),
    "released on time-out after start": Bug(_core(Complete, "_failed", released_on_timeout()), ("external",), "2"),
    "completion before effect": Bug(_core(Complete, "around", completed_first), ("external",), "2"),
    "takeover of external claims": Bug(_core(Claim, "__init__", takes_external_over()), ("external",), "2"),
    "replay before authorize": Bug(peek_before_authorize, ("idempotent",), "4"),
    "replay to another person": Bug(_core(Meeting, "__init__", replays_to_everybody()), ("idempotent",), "4"),
    "a twin that loses is charged": Bug(keeps_what_replays_paid, ("limited",), "7"),
    "completion in a second commit": Bug(_core(Work, "_commit", completed_after_commit), ("transactional",), "2"),
    "commit though the claim was lost": Bug(_core(Work, "_commit", fence_ignored), ("transactional",), "2"),
    "a lost answer of COMMIT is believed": Bug(
        _core(Work, "_committed", answer_of_commit_believed), ("transactional",), "2"
    ),
    "a yes is not bound to the payload": Bug(
        _core(Confirm, "_discharge", _discharging(person=True, payload=False)), ("confirmed",), "5"
    ),
    "a yes is not bound to the person": Bug(
        _core(Confirm, "_discharge", _discharging(person=False, payload=True)), ("confirmed",), "5"
    ),
    "one request for all who ask": Bug(one_request_for_all, ("confirmed",), "5"),
    "no second look": Bug(_core(LookAgain, "again", no_second_look), ("checked",), "7"),
    "claim ids repeat after a restart": Bug(_core(SimulatedRuntime, "begin", ids_begin_anew), ("idempotent",), "18"),
    "keys are not scoped by org": Bug(_core(Identity, "_name", key_of_all_orgs()), ("idempotent",), "4"),
    "slots are not freed": Bug(_core(LimitStage, "_settle", slots_not_freed), ("limited",), "7"),
    "a lost claim is taken for won": Bug(_core(Claim, "_ask_again", lost_claim_believed), ("external",), "2"),
    "must_audit begins without its event": Bug(_core(Claim, "_audited", started_unsaid), ("audited",), "4"),
    "unknown is taken for not happened": Bug(_core(Claim, "_reconcile", always_reconciled), ("external",), "2"),
    "external runs without a store": Bug(_core(Claim, "_without_store", fails_open), ("external",), "2"),
    "a half-open breaker never decides": Bug(_core(BreakerGate, "ignored", probe_kept), ("shared",), "9"),
}
