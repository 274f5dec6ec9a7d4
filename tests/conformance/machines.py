"""State machines: random operations on several stores at once, which must answer like the model in every step."""

from __future__ import annotations

import math
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from botguard.adapters.memory import MemoryStorage
from botguard.adapters.sqlite import SqliteStorage
from botguard.limiter import LocalLimiter
from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.ports.limits import Limit
from botguard.testing import FakeClock
from conformance.models import CLAIMED, SETTLED, UNKNOWN, ApprovalModel, ClaimModel, LimitModel


class Sqlite:
    """One file for all examples of a machine: emptied between them, since making one costs more than an example."""

    def __init__(self, clock: FakeClock) -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "machine.db"
        self.storage = SqliteStorage(path, clock=clock, synchronous="NORMAL", shared_limits=True)
        self._around = sqlite3.connect(path, isolation_level=None)

    def empty(self) -> None:
        for table in ("claims", "events", "approvals", "limits"):
            self._around.execute(f"DELETE FROM botguard_{table}")

    def close(self) -> None:
        self._around.close()
        self.storage.close()
        self._folder.cleanup()


LEASES, KEEPS = (10.0, 30.0), (20.0, 60.0)
KEYS = ("k1", "k2")
some = st.sampled_from


class ClaimMachine(RuleBasedStateMachine):
    """Claims on two keys by ever new and by stale owners, in time steps that end at, before and after every boundary."""

    reached: ClassVar[Counter[str]]
    clock: ClassVar[FakeClock]
    sqlite: ClassVar[Sqlite | None] = None
    #: Planted bugs replace the real stores by one bad one.
    bad: ClassVar[type[Any] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.model = ClaimModel(self.clock)
        self.stores: dict[str, Any] = {}
        self.tails: dict[str, Any] = {}
        if self.bad is not None:
            self.stores["bad"] = self.tails["bad"] = self.bad(self.clock)
        else:
            memory = MemoryStorage(clock=self.clock)
            self.stores["memory"], self.tails["memory"] = memory.idempotency, memory.events
        if self.sqlite is not None:
            self.sqlite.empty()
            self.stores["sqlite"] = self.sqlite.storage.idempotency
            self.tails["sqlite"] = self.sqlite.storage.events
        self.ids = 0
        self.known: dict[str, list[str]] = {key: [] for key in KEYS}
        self.fences: dict[tuple[str, str], tuple[str, int]] = {}

    # ── asking all ──

    def event(self) -> Event:
        self.ids += 1
        return Event(f"e{self.ids}", "run", 0.0, *("",) * 7, 0, 0.0, True, False, False, *("",) * 4)

    def everywhere(self, method: str, *args: Any) -> Any:
        wanted = getattr(self.model, method)(*args)
        for name, store in self.stores.items():
            got = getattr(store, method)(*args)
            if isinstance(wanted, ClaimAnswer):
                self.same_answer(name, args[0], got, wanted)
            else:
                assert got == wanted, f"{name}.{method}{args}: {got!r}, model: {wanted!r}"
        return wanted

    def same_answer(self, name: str, request: ClaimRequest, got: ClaimAnswer, wanted: ClaimAnswer) -> None:
        assert got.won == wanted.won, f"{name}: {request}: won={got.won}, met {got.row}; model met {wanted.row}"
        if not got.won:
            self.same_row(name, got.row, wanted.row)
            return
        owner, fence = self.fences.get((name, request.key), ("", -math.inf))
        rises = got.fence == fence if owner == request.claim_id else got.fence > fence
        assert rises, f"{name}: fence {got.fence} of {request.claim_id} after {fence} of {owner}"
        self.fences[name, request.key] = (request.claim_id, got.fence)

    def same_row(self, name: str, got: Row | None, wanted: Row | None) -> None:
        if got is None or wanted is None:
            assert got is wanted, f"{name}: {got}, model: {wanted}"
            return
        fields = ("state", "claim_id", "person", "fingerprint", "version", "result", "event_id", "attempts")
        for field in fields:
            assert getattr(got, field) == getattr(wanted, field), f"{name}: {field} of {got}, model: {wanted}"
        if wanted.state is CLAIMED:
            assert math.isclose(got.lease_left, wanted.lease_left, abs_tol=1e-5), f"{name}: {got}, model: {wanted}"
            assert (got.lease_left <= 0) == (wanted.lease_left <= 0), f"{name}: boundary of {got}, model: {wanted}"

    @invariant()
    def rows_agree(self) -> None:
        for key in KEYS:
            wanted = self.model.peek(key)
            for name, store in self.stores.items():
                self.same_row(name, store.peek(key), wanted)

    def teardown(self) -> None:
        wanted = [event.id for event in self.model.events]
        for name, events in self.tails.items():
            assert [event.id for event in events.tail(10_000)] == wanted, f"events of {name}"

    # ── operations ──

    @rule(
        key=some(KEYS),
        fingerprint=some((b"f", b"f", b"f", b"f", b"g")),
        version=some(("1", "1", "1", "1", "2")),
        lease=some(LEASES),
        takeover=some((True, True, False)),
        supersede=some((False, False, True)),
    )
    def claim(self, key: str, fingerprint: bytes, version: str, lease: float, takeover: bool, supersede: bool) -> None:
        self.ids += 1
        before = self.model.peek(key)
        names = before.claim_id if before is not None and supersede else None
        owner = f"c{self.ids}"
        request = ClaimRequest(key, "o", "c", owner, f"p{self.ids}", fingerprint, version, lease, takeover, names)
        answer = self.everywhere("claim", request, self.event())
        self.note_claim(before, request, answer)
        if answer.won:
            self.known[key].append(owner)

    def note_claim(self, before: Row | None, request: ClaimRequest, answer: ClaimAnswer) -> None:
        if before is None:
            self.reached["claimed"] += 1
            return
        same = before.fingerprint == request.fingerprint or before.version != request.version
        over = before.state is CLAIMED and before.lease_left <= 0
        if answer.won:
            self.reached["superseded" if before.state is UNKNOWN else "takeover"] += 1
        elif before.state in SETTLED:
            self.reached["replay" if same else "settled mismatch"] += 1
        elif over and same:
            self.reached["became unknown"] += 1
        elif over:
            self.reached["mismatch of an abandoned claim"] += 1
        else:
            self.reached["in flight" if before.state is CLAIMED else "met unknown"] += 1
        if over and before.lease_left == 0.0:
            self.reached["claim at the lease's very end"] += 1

    @rule(
        key=some(KEYS),
        off=some((-0.5, 0.0, 0.0, 0.5)),
        fingerprint=some((b"f", b"f", b"f", b"g")),
        takeover=st.booleans(),
        supersede=st.booleans(),
    )
    def come_at_the_end(self, key: str, off: float, fingerprint: bytes, takeover: bool, supersede: bool) -> None:
        """Another caller, around the end of a lease or a lifetime."""
        self.advance(key, off, 1.0)
        self.claim(key, fingerprint, "1", LEASES[0], takeover, supersede)

    @rule(data=st.data(), key=some(KEYS), lease=some(LEASES), takeover=st.booleans())
    def claim_again(self, data: st.DataObject, key: str, lease: float, takeover: bool) -> None:
        """An owner, present or former, whose answer was lost."""
        before = self.model.peek(key)
        if before is None:
            return  # a claim id never begins a second life: each is random
        owner = data.draw(some(self.known[key][-3:]))
        request = ClaimRequest(key, "o", "c", owner, "p", b"f", "1", lease, takeover, None)
        if before.claim_id != owner and before.state is not UNKNOWN:
            return
        answer = self.everywhere("claim", request, None)
        self.reached["the same claim again" if answer.won else "the same claim, settled"] += 1

    def owner(self, data: st.DataObject, key: str) -> str:
        """The last owner of a key, more often than one before him."""
        return data.draw(some((self.known[key] or ["nobody"])[-3:][::-1]))

    @precondition(lambda self: self.model.rows)
    @rule(
        data=st.data(),
        key=some(KEYS),
        state=some((RowState.DONE, RowState.DONE, RowState.FAILED, RowState.UNKNOWN)),
        result=some((None, b"", b"r1", b"r2")),
        keep=some(KEEPS),
        with_event=st.booleans(),
    )
    def finish(
        self, data: st.DataObject, key: str, state: RowState, result: bytes | None, keep: float, with_event: bool
    ) -> None:
        owner = self.owner(data, key)
        before = self.model.peek(key)
        event = self.event() if with_event else None
        ack = self.everywhere("finish", key, owner, state, result, keep, 1, event)
        if ack is Ack.LOST and owner != "nobody":
            self.reached["stale completion"] += 1
        elif ack is Ack.APPLIED and before is not None and before.state is UNKNOWN:
            self.reached["late done"] += 1
        else:
            self.reached[f"finish {ack}"] += 1

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data(), key=some(KEYS))
    def release(self, data: st.DataObject, key: str) -> None:
        ack = self.everywhere("release", key, self.owner(data, key))
        self.reached[f"release {ack}"] += 1

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data(), key=some(KEYS), lease=some(LEASES))
    def extend(self, data: st.DataObject, key: str, lease: float) -> None:
        ack = self.everywhere("extend", key, self.owner(data, key), lease)
        self.reached[f"extend {ack}"] += 1

    @rule()
    def purge(self) -> None:
        # Never a part: which rows go first is nobody's promise.
        self.reached["purged"] += self.everywhere("purge", 1000) > 0

    def in_state(self, *states: RowState) -> list[str]:
        return [key for key, row in self.model.rows.items() if row.state in states]

    @precondition(lambda self: self.in_state(CLAIMED))
    @rule(
        state=some((RowState.DONE, RowState.FAILED, RowState.UNKNOWN)),
        result=some((None, b"", b"r")),
        again=st.booleans(),
    )
    def end(self, state: RowState, result: bytes | None, again: bool) -> None:
        """The usual way: the owner finishes, and now and then says so twice; somebody comes again."""
        key = self.in_state(CLAIMED)[0]
        owner = self.model.rows[key].request.claim_id
        for _ in range(1 + again):
            ack = self.everywhere("finish", key, owner, state, result, KEEPS[0], 2, self.event())
            self.reached[f"finish {ack}"] += 1
        self.claim(key, b"f", "1", LEASES[0], takeover=True, supersede=False)

    @precondition(lambda self: self.in_state(*SETTLED))
    @rule(off=some((-0.5, 0.0, 0.0, 100.0)), purge=st.booleans(), result=some((None, b"", b"new")))
    def outlive(self, off: float, purge: bool, result: bytes | None) -> None:
        """Around the end of a result's lifetime it is purged, or the key is claimed again and finished again."""
        key = self.in_state(*SETTLED)[0]
        self.advance(key, off, 1.0)
        if purge:
            self.purge()
            return
        self.claim(key, b"f", "1", LEASES[0], takeover=True, supersede=False)
        self.rows_agree()
        self.everywhere("finish", key, self.known[key][-1], RowState.DONE, result, KEEPS[0], 1, None)

    @precondition(lambda self: self.in_state(UNKNOWN))
    @rule(late=st.booleans())
    def resolve(self, late: bool) -> None:
        """What is unknown is finished late, or found not to have happened."""
        key = self.in_state(UNKNOWN)[0]
        if late:
            owner = self.model.rows[key].request.claim_id
            self.everywhere("finish", key, owner, RowState.DONE, b"late", KEEPS[0], 1, self.event())
            self.reached["late done"] += 1
        else:
            self.claim(key, b"f", "1", LEASES[0], takeover=False, supersede=True)

    @rule(key=some(KEYS), off=some((-0.5, 0.0, 0.0, 0.5)), some_time=some((0.25, 1.0, 7.0)))
    def advance(self, key: str, off: float, some_time: float) -> None:
        """To just before, to, or just after the next end of a lease or a lifetime; else a little."""
        row = self.model.rows.get(key)
        end = math.inf if row is None else row.until
        step = end + off - self.clock.time()
        self.clock.advance(step if 0 < step < math.inf else some_time)


class ApprovalMachine(RuleBasedStateMachine):
    """Requests for two subjects, pressed by present and by old tokens, around the ends of their lives."""

    reached: ClassVar[Counter[str]]
    clock: ClassVar[FakeClock]
    sqlite: ClassVar[Sqlite | None] = None
    bad: ClassVar[type[Any] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.model = ApprovalModel(self.clock)
        self.stores: dict[str, Any] = {"memory": MemoryStorage(clock=self.clock).approvals}
        if self.bad is not None:
            self.stores = {"bad": self.bad(self.clock)}
        if self.sqlite is not None:
            self.sqlite.empty()
            self.stores["sqlite"] = self.sqlite.storage.approvals
        self.tokens: list[str] = []

    def everywhere(self, method: str, *args: Any) -> Any:
        wanted = getattr(self.model, method)(*args)
        for name, store in self.stores.items():
            got = getattr(store, method)(*args)
            assert got == wanted, f"{name}.{method}{args}: {got!r}, model: {wanted!r}"
        return wanted

    @invariant()
    def requests_agree(self) -> None:
        for subject in ("s1", "s2"):
            self.everywhere("by_subject", subject)
        for token in self.tokens[-4:]:
            self.everywhere("by_token", token)

    @rule(subject=some(("s1", "s2")), lifetime=some((10.0, 60.0)))
    def open(self, subject: str, lifetime: float) -> None:
        token = f"t{len(self.tokens)}"
        before = self.model.by_subject(subject)
        request = ApprovalRequest(subject, token, "o", "c", "k", b"f", "p", "a", "web", None, token, "risk", b"{}", 0.0)
        found = self.everywhere("open", request, lifetime)
        self.tokens.append(token)
        self.reached[
            "opened" if before is None else "replaced" if found.token == token else f"shown {found.state}"
        ] += 1

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), state=some((ApprovalState.APPROVED, ApprovalState.APPROVED, ApprovalState.DECLINED)))
    def decide(self, data: st.DataObject, state: ApprovalState) -> None:
        token = data.draw(some(self.tokens[-4:][::-1]))
        before = self.model.by_token(token)
        self.everywhere("decide", token, state)
        self.reached["old token" if before is None else f"decide {before.state}"] += 1

    @rule(subject=some(("s1", "s2")), late=st.booleans())
    def use(self, subject: str, late: bool) -> None:
        """Asked, approved, and used by two keys, now or after its time."""
        self.open(subject, 60.0)
        self.everywhere("decide", self.model.requests[subject].token, ApprovalState.APPROVED)
        self.spend(subject, "k1")
        self.clock.advance(61.0 if late else 1.0)
        for key in ("k2", "k1"):
            self.spend(subject, key)

    @rule(subject=some(("s1", "s2")), key=some(("k1", "k1", "k2")))
    def spend(self, subject: str, key: str) -> None:
        before = self.model.by_subject(subject)
        spent = self.everywhere("spend", subject, key)
        used = before is not None and before.spent_on != ""
        self.reached[f"spend {'again ' if used else ''}{spent}"] += 1

    @precondition(lambda self: self.model.requests)
    @rule(off=some((-0.5, 0.0, 0.0, 0.5, 86400.0)), spend=st.booleans())
    def at_the_end(self, off: float, spend: bool) -> None:
        request = next(iter(self.model.requests.values()))
        step = request.expires_at + off - self.clock.time()
        self.clock.advance(step if step > 0 else 1.0)
        self.reached["at its very end"] += off == 0.0 and step > 0
        if spend:
            self.spend(request.subject, "k1")

    @rule()
    def purge(self) -> None:
        # Never a part: which rows go first is nobody's promise.
        self.reached["purged"] += self.everywhere("purge", 1000) > 0


FIXED = Limit("2/8s fixed", 2, 8.0, "fixed-window", "user", "fixed")
MOVING = Limit("2/8s moving", 2, 8.0, "moving-window", "user", "moving")
SLIDING = Limit("3/64s sliding", 3, 64.0, "sliding-window-counter", "user", "sliding")
QUICK = Limit("2/8s sliding", 2, 8.0, "sliding-window-counter", "user", "quick")
CAP = Limit("1 concurrent", 1, 16.0, "concurrent", "user", "cap")
SETS = (
    (MOVING,),
    (FIXED,),
    (SLIDING,),
    (QUICK,),
    (CAP,),
    (MOVING, FIXED),
    (FIXED, SLIDING),
    (MOVING, CAP),
    (CAP, QUICK, MOVING),
    (SLIDING, MOVING, FIXED, CAP, QUICK),
)


class LimitMachine(RuleBasedStateMachine):
    """Reservations under one or several limits, settled now, later or never. All times are multiples of 1/64 s, so that
    floats are exact and a boundary is a boundary."""

    reached: ClassVar[Counter[str]]
    clock: ClassVar[FakeClock]
    sqlite: ClassVar[Sqlite | None] = None
    bad: ClassVar[type[Any] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.clock.advance(64.0 - self.clock.time() % 64.0)  # each example begins at the same place of a window
        self.model = LimitModel(self.clock)
        self.stores: dict[str, Any] = {"local": LocalLimiter(self.clock)}
        if self.bad is not None:
            self.stores = {"bad": self.bad(self.clock)}
        if self.sqlite is not None:
            self.sqlite.empty()
            self.stores["sqlite"] = self.sqlite.storage.limits
        self.open: list[tuple[Any, Any, float, dict[str, Any]]] = []
        self.tokens = 0

    def agree(self, name: str, got: Any, wanted: Any, limits: Any) -> None:
        assert got.granted == wanted.granted, f"{name} for {[m.name for m in limits]}: {got}, model: {wanted}"
        if not got.granted:
            close = math.isclose(got.retry_after, wanted.retry_after, abs_tol=0.0021)
            capped = "concurrent" in (got.limit.strategy, wanted.limit.strategy)
            assert close or capped, f"{name}: {got}, model: {wanted}"

    def ask(self, method: str, limits: Any, bucket: str, *args: Any) -> tuple[Any, dict[str, Any]]:
        buckets = (bucket,) * len(limits)
        wanted = getattr(self.model, method)(limits, buckets, *args)
        answers = {"model": wanted}
        for name, store in self.stores.items():
            answers[name] = getattr(store, method)(limits, buckets, *args)
            self.agree(name, answers[name], wanted, limits)
        return wanted, answers

    @rule(limits=some(SETS), bucket=some(("b1", "b2")), times=some((1, 1, 2, 4)))
    def reserve(self, limits: Any, bucket: str, times: int) -> None:
        for _ in range(times):
            self.tokens += 1
            before, _ = self.ask("test", limits, bucket)
            wanted, answers = self.ask("reserve", limits, bucket, f"t{self.tokens}")
            assert before.granted == wanted.granted
            if wanted.granted:
                self.open.append((limits, bucket, self.clock.time(), answers))
                self.reached["granted by several" if len(limits) > 1 else "granted"] += 1
            else:
                for limit in limits:
                    self.reached[f"refused by {limit.strategy}"] += self.model.wait(limit, bucket) > 0
                self.reached["refused by one of several"] += len(limits) > 1

    @precondition(lambda self: self.open)
    @rule(data=st.data(), refund=st.booleans())
    def settle(self, data: st.DataObject, refund: bool) -> None:
        place = data.draw(some((0, len(self.open) - 1, len(self.open) // 2)))
        self.settle_one(place, refund)

    @precondition(lambda self: self.open)
    @rule(refund=st.booleans(), late=some((8.0, 16.0 - 1 / 64, 16.0, 64.0)))
    def overstay(self, refund: bool, late: float) -> None:
        """An old call ends when its window or lease is over and others have come."""
        self.clock.advance(late)
        limits, bucket, _, _ = self.open[0]
        self.reserve(limits, bucket, 2)
        self.settle_one(0, refund)

    @precondition(lambda self: self.open)
    @rule(refund=st.booleans())
    def settle_all(self, refund: bool) -> None:
        while self.open:
            self.settle_one(-1, refund)

    def settle_one(self, place: int, refund: bool) -> None:
        limits, bucket, at, answers = self.open.pop(place)
        for name, store in (("model", self.model), *self.stores.items()):
            done = store.refund if refund else store.release
            done(limits, (bucket,) * len(limits), answers[name])
        age = self.clock.time() - at
        word = "refund" if refund else "release"
        self.reached[f"{word} {'at once' if not age else 'after a lease' if age >= 16 else 'later'}"] += 1

    @invariant()
    def rooms_agree(self) -> None:
        for limits in SETS[:5]:
            for bucket in ("b1", "b2"):
                self.ask("test", limits, bucket)

    @rule(limits=some(SETS), bucket=some(("b1", "b2")))
    def come_back(self, limits: Any, bucket: str) -> None:
        """Wait as long as one is told to: just before, one is refused; then not."""
        wanted, _ = self.ask("test", limits, bucket)
        if wanted.granted or wanted.limit.strategy == "concurrent":
            return
        self.clock.advance(math.ceil(wanted.retry_after * 64 - 1) / 64)
        self.ask("test", limits, bucket)
        self.clock.advance(1 / 64)
        wanted, _ = self.ask("test", limits, bucket)
        assert wanted.granted, "the model itself"
        self.reached["came back"] += 1

    @rule(step=some((1 / 64, 0.5, 1.0, 3.0, 4.0, 8.0 - 1 / 64, 8.0, 16.0, 64.0)))
    def advance(self, step: float) -> None:
        self.clock.advance(step)

    @rule(window=some((8.0, 64.0)), off=some((-1 / 64, 0.0, 1 / 64)))
    def to_the_edge(self, window: float, off: float) -> None:
        left = window - self.clock.time() % window + off
        self.clock.advance(left if left > 0 else window)
        self.reached["window edge"] += 1
