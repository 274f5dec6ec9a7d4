"""Stands between the simulated ports and the real store: asks it, and judges every answer and every effect.

The numbers of broken rules are those of docs/explanation/simulation.md.
"""

from __future__ import annotations

from typing import Any

from botguard.outcome import Outcome
from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.ports.limits import Limit, Reservation
from botguard.testing.simulation.consents import Consents
from botguard.testing.simulation.outcomes import judge
from botguard.testing.simulation.rows import Rows
from botguard.testing.simulation.runs import Broken, Run

__all__ = ["Checker", "Unit"]

_APPLIED = Ack.APPLIED


class Unit:
    """A real unit of work, and what is written in it."""

    __slots__ = ("finish", "finished_at", "process", "raw", "run")

    def __init__(self, raw: Any, process: Any, run: Run | None) -> None:
        self.raw, self.process, self.run = raw, process, run
        self.finish: tuple[Any, ...] | None = None
        self.finished_at = 0.0


class Checker:
    """What must hold, and whether it did so far."""

    def __init__(self, world: Any, seen: dict[str, int]) -> None:
        self.world, self.seen = world, seen
        self.broken: Broken | None = None
        self.rows = Rows()
        self._claim_ids: dict[str, Run] = {}
        self._epochs: dict[str, int] = {}
        #: Ids of all events that must be in the trail.
        self.trail: set[str] = set()
        self._consents = Consents()

    # -- saying so ------------------------------------------------------------------------------------------------

    def see(self, state: str) -> None:
        """A state was reached that a run must reach to mean anything."""
        self.seen[state] = self.seen.get(state, 0) + 1

    def fail(self, rule: str, what: str) -> None:
        """A rule is broken; the first one counts."""
        if self.broken is None:
            self.broken = Broken(rule, what)

    @property
    def run(self) -> Run | None:
        """The guarded call whose turn it is, if it is one."""
        run: Run | None = self.world.loop.current.run
        return run

    @property
    def now(self) -> float:
        """By the store's clock."""
        now: float = self.world.clock.time()
        return now

    def troubled(self, kind: str) -> None:
        """A call of a port was struck, or met an outage or another writer."""
        if kind in ("lost", "doubt", "gap"):
            self.see({"lost": "lost answer", "doubt": "doubtful answer", "gap": "gap"}[kind])
        if not self.world.up:
            self.see("outage")
        if self.run is not None:
            self.run.troubled = True

    # -- claims ---------------------------------------------------------------------------------------------------

    def idempotency_peek(self, key: str) -> Row | None:
        run = self.run
        if run is not None:
            if run.key is None:
                run.key = key
                self.world.keys[key] = run.intent
            run.saw = self.rows.live(key, self.now)
        return self.idempotency_peek_at(key)

    def idempotency_peek_at(self, key: str) -> Row | None:
        """Look at a row, outside of any run."""
        row: Row | None = self.world.ask(self.world.storage.idempotency.peek(key))
        wrong = self.rows.shown(key, row, self.now)
        if wrong is not None:
            self.fail("1", wrong)
        return row

    def idempotency_claim(self, request: ClaimRequest, event: Event | None = None) -> ClaimAnswer:
        run = self.run
        first = self._claim_ids.setdefault(request.claim_id, run) if run is not None else run
        if first is not run:
            self.fail("1", f"the claim id {request.claim_id} was used by an earlier run")
        before = self.rows.known.get(request.key)
        holder = before.owner if before is not None else None
        answer: ClaimAnswer = self.world.ask(self.world.storage.idempotency.claim(request, event))
        verdict, wrong = self.rows.claimed(request, answer, run, self.now)
        if wrong is not None:
            self.fail("1" if answer.won else "9", f"{wrong}, on {request.key[:8]}")
        if run is None:
            return answer
        run.key = request.key
        self.world.keys[request.key] = run.intent
        if verdict in ("takeover", "superseded", "parks", "again"):
            self.see({"parks": "abandoned and parked", "again": "claimed again by its owner"}.get(verdict, verdict))
        if verdict == "takeover" and holder is not run and run.effects_are("external"):
            self.fail("2", "a claim of external effects was taken over though nobody knows what its owner did")
        if not answer.won:
            run.saw = self.rows.live(request.key, self.now)
        else:
            if event is not None and verdict != "again":  # then it was stored with the claim whose answer was lost
                self._append(event)
            if verdict == "free" and before is not None:  # an earlier result has expired: the intent is a new one
                self._epochs[request.key] = self._epochs.get(request.key, 0) + 1
                self.see("result expired")
            run.claimed, run.epoch = True, self._epochs.get(request.key, 0)
        return answer

    def owners(self, key: str, beside: Run) -> list[Run]:
        """All runs that have won this key, but for one."""
        return [run for run in self._claim_ids.values() if run.key == key and run is not beside]

    def epoch(self, key: str) -> int:
        """How often a result of this key has expired and was made again."""
        return self._epochs.get(key, 0)

    def idempotency_finish(
        self,
        key: str,
        claim_id: str,
        state: RowState,
        result: bytes | None,
        keep: float,
        attempts: int,
        event: Event | None = None,
    ) -> Ack:
        store = self.world.storage.idempotency
        ack: Ack = self.world.ask(store.finish(key, claim_id, state, result, keep, attempts, event))
        self._settled(key, claim_id, state, result, keep, ack, event)
        return ack

    def _settled(
        self, key: str, claim_id: str, state: RowState, result: bytes | None, keep: float, ack: Ack, event: Event | None
    ) -> None:
        wrong = self.rows.finished(key, claim_id, state, result, keep, ack, self.now)
        if wrong is not None:
            self.fail("1", wrong)
        run = self.run
        if ack is Ack.LOST:
            self.see("stale owner refused")
        elif ack is _APPLIED:
            if event is not None:
                self._append(event)
            if run is not None:
                known = self.rows.known[key]
                known.value = run.found if run.found is not None else run.value
                if state is RowState.DONE and run.found is None and not run.made:
                    self.fail("2", f"{run} was written down as done before it had its effect")
                if state is RowState.UNKNOWN:
                    self.see("parked as unknown")

    def idempotency_release(self, key: str, claim_id: str) -> Ack:
        ack: Ack = self.world.ask(self.world.storage.idempotency.release(key, claim_id))
        wrong = self.rows.released(key, claim_id, ack, self.now)
        if wrong is not None:
            self.fail("1", wrong)
        run = self.run
        if ack is _APPLIED and run is not None and run.sent and run.effects_are("external"):
            self.fail("2", f"{run} gave its key back though its effect was on its way: it can happen again")
        return ack

    def idempotency_extend(self, key: str, claim_id: str, lease: float) -> Ack:
        ack: Ack = self.world.ask(self.world.storage.idempotency.extend(key, claim_id, lease))
        return ack

    def idempotency_purge(self, limit: int = 1000) -> int:
        gone: int = self.world.ask(self.world.storage.idempotency.purge(limit))
        if gone:
            self.see("purged")
        return gone

    def spooled(self, key: str, claim_id: str, state: RowState, result: bytes | None, keep: float, ack: Ack) -> None:
        """A completion that had been spooled was written to the store."""
        known = self.rows.known.get(key)
        run = self._claim_ids.get(claim_id)
        if ack is _APPLIED and known is not None and run is not None:
            known.value = run.value
            self.see("spooled completion applied")
        wrong = self.rows.finished(key, claim_id, state, result, keep, ack, self.now)
        if wrong is not None:
            self.fail("1", wrong)

    # -- units of work --------------------------------------------------------------------------------------------

    def work_begin(self) -> Unit:
        world = self.world
        unit = Unit(world.ask(world.storage.work.begin()), world.loop.current.process, self.run)
        world.writer = unit
        return unit

    def unit_finish(self, unit: Unit, *settled: Any) -> Ack:
        ack: Ack = self.world.ask(unit.raw.finish(*settled))
        if ack is _APPLIED:
            unit.finish, unit.finished_at = settled, self.now
        else:
            self.see("stale owner refused")
        return ack

    def unit_commit(self, unit: Unit) -> None:
        self.world.ask(unit.raw.commit())
        self.world.unlock(unit)
        run = unit.run
        if run is not None and run.sent:
            self.effect(run)
        if unit.finish is not None:
            key, claim_id, state, result, keep, _, event = unit.finish
            # What it is kept for counts from its statement, and not from the commit.
            self._settled(key, claim_id, state, result, keep - (self.now - unit.finished_at), _APPLIED, event)
        elif run is not None and run.sent:
            self.fail("2", f"{run} committed its effect without its completion")

    def unit_rollback(self, unit: Unit) -> None:
        self.world.ask(unit.raw.rollback())
        if unit.run is not None and self.world.writer is unit:
            unit.run.sent = unit.run.made = False
            self.see("rolled back")
        self.world.unlock(unit)

    # -- events, limits -------------------------------------------------------------------------------------------

    def _append(self, event: Event) -> None:
        self.trail.add(event.id)
        run = self.run
        if run is not None:
            run.events.append(event)

    def events_append(self, event: Event) -> None:
        self.world.ask(self.world.storage.events.append(event))
        self._append(event)

    def events_tail(self, limit: int = 100, *, org: str | None = None) -> list[Event]:
        found: list[Event] = self.world.ask(self.world.storage.events.tail(limit, org=org))
        return found

    def limits_reserve(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], token: str) -> Reservation:
        reservation: Reservation = self.world.ask(self.world.limits.reserve(limits, buckets, token))
        return self.reserved(reservation, limits)

    def reserved(self, reservation: Reservation, limits: tuple[Limit, ...]) -> Reservation:
        """Limits were taken, or were not."""
        run = self.run
        if run is not None:
            if reservation.granted:
                run.charged += any(limit.strategy != "concurrent" for limit in limits)
                run.slots += sum(limit.strategy == "concurrent" for limit in limits)
            else:
                self.refused_beside(run)
        return reservation

    def limits_test(self, limits: tuple[Limit, ...], buckets: tuple[str, ...]) -> Reservation:
        reservation: Reservation = self.world.ask(self.world.limits.test(limits, buckets))
        return reservation

    def limits_refund(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation) -> None:
        self.world.ask(self.world.limits.refund(limits, buckets, reservation))
        self.refunded(limits, everything=True)

    def limits_release(self, limits: tuple[Limit, ...], buckets: tuple[str, ...], reservation: Reservation) -> None:
        self.world.ask(self.world.limits.release(limits, buckets, reservation))
        self.refunded(limits, everything=False)

    def refunded(self, limits: tuple[Limit, ...], *, everything: bool) -> None:
        """Limits were given back; or only the slots of caps."""
        run = self.run
        if run is None:
            return
        run.slots -= sum(limit.strategy == "concurrent" for limit in limits)
        if everything and run.charged:
            run.charged -= 1
            self.see("refunded")

    # -- approvals ------------------------------------------------------------------------------------------------

    def approvals_open(self, request: ApprovalRequest, lifetime: float) -> ApprovalRequest:
        made: ApprovalRequest = self.world.ask(self.world.storage.approvals.open(request, lifetime))
        self._consents.shown[made.token] = made
        if self.run is not None:
            self.refused_beside(self.run)
        return made

    def approvals_by_token(self, token: str) -> ApprovalRequest | None:
        found: ApprovalRequest | None = self.world.ask(self.world.storage.approvals.by_token(token))
        return found

    def approvals_by_subject(self, subject: str) -> ApprovalRequest | None:
        found: ApprovalRequest | None = self.world.ask(self.world.storage.approvals.by_subject(subject))
        return found

    def approvals_decide(self, token: str, state: ApprovalState) -> ApprovalRequest | None:
        decided: ApprovalRequest | None = self.world.ask(self.world.storage.approvals.decide(token, state))
        if self.run is not None and decided is not None and decided.state is state:
            wrong = self._consents.decided(self.run, token, state)
            if wrong is not None:
                self.fail("5", wrong)
        return decided

    def approvals_spend(self, subject: str, key: str) -> bool:
        spent: bool = self.world.ask(self.world.storage.approvals.spend(subject, key))
        if spent and not self._consents.spent(subject, key):
            self.fail("5", "one approval was spent on two keys")
        return spent

    def approvals_purge(self, limit: int = 1000) -> int:
        gone: int = self.world.ask(self.world.storage.approvals.purge(limit))
        return gone

    # -- effects and outcomes -------------------------------------------------------------------------------------

    def allowed(self, run: Run, order: str, amount: int) -> None:
        """A handler has begun: everything that stands before it must have been passed, in this very run."""
        if not run.authorised:
            self.fail("4", f"the handler of {run} began though its caller was not authorised")
        if not 0 < amount < 100 or run.raw["amount"] != amount or run.intent.order != order:
            self.fail("4", f"the handler of {run} got a payload that is not valid, or not the caller's")
        if amount == run.command.unlucky:
            self.fail("4", f"the handler of {run} began though the rules deny it")
        if run.command.confirmed and not self._consents.cover(run, amount):
            self.fail("5", f"the handler of {run} began without its person's yes to exactly this payload")
        if run.command.must_audit and not any(event.kind == "started" for event in run.events):
            self.fail("4", f"the handler of {run} began before its event was stored")

    def effect(self, run: Run) -> None:
        """An effect happened."""
        run.made = True
        if run.command.effects in ("external", "transactional"):
            done = [other for other in self.world.outside.effects.get(run.intent, ()) if other.epoch == run.epoch]
            if run.command.effects == "transactional":
                self.world.outside.effects.setdefault(run.intent, []).append(run)
                done.append(run)
            if len(done) > 1:
                self.fail("2", f"the effect of {run.intent.command} happened {len(done)} times")

    def refused_beside(self, run: Run) -> None:
        """A gate refuses or asks: had this caller's intent been settled by a twin already?"""
        known = self.rows.live(run.key, self.now) if run.key is not None else None
        twin = known.owner if known is not None and known.settled else None
        run.crossed = twin is not None and twin.raw == run.raw and twin.person == run.person
        if run.crossed:
            self.see("refusal beside a finished twin")

    def ended(self, run: Run, outcome: Outcome) -> None:
        """A run has come to an outcome."""
        run.outcome = outcome
        for rule, what in judge(run, outcome):
            self.fail(rule, what)
        self.see(str(outcome.status))
        for reason in outcome.reasons:
            self.see(f"reason {reason}")
        if outcome.replayed:
            self.see("replayed")

    def died(self, process: Any) -> None:
        """A process was killed."""
        for run in process.runs:
            if run.outcome is None and run.claimed:
                known = self.rows.known.get(run.key or "")
                if known is not None and known.owner is run and known.state is RowState.CLAIMED:
                    self.see("crash after the effect" if run.made or run.sent else "crash while claimed")
