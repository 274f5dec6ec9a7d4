"""Asking a claim store and its model the same, and comparing what they say: answers, rows, fences, events."""

from __future__ import annotations

import math
from collections.abc import Iterable

from botguard.ports.events import Event
from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState
from botguard.testing.machines.base import PortMachine, step
from botguard.testing.machines.story import said
from botguard.testing.models.claims import ClaimModel

__all__ = ["CLAIMED", "DONE", "FAILED", "KEYS", "SETTLED", "UNKNOWN", "ClaimTalk"]

CLAIMED, DONE, FAILED, UNKNOWN = RowState
SETTLED = (DONE, FAILED)
KEYS = ("k1", "k2")

#: What a claim may meet, the promise that is about it, and what it says.
_MEETINGS = {
    "free": ("IDEM-02", "the key is free"),
    "expired": ("IDEM-10", "the result's lifetime is over"),
    "in flight": ("IDEM-01", "the key is claimed, and its lease runs"),
    "replay": ("IDEM-06", "the key is settled"),
    "settled mismatch": ("IDEM-08", "the key is settled, with another payload"),
    "takeover": ("IDEM-11", "the lease is over, and takeover is set"),
    "became unknown": ("IDEM-13", "the lease is over, and the effect must not happen twice"),
    "mismatch of an abandoned claim": ("IDEM-08", "the lease is over, and the payload is another one"),
    "met unknown": ("IDEM-13", "the key is unknown"),
    "superseded": ("IDEM-11", "supersede names the unknown claim"),
    "the same claim again": ("IDEM-01", "the same claim asks again"),
    "the same claim, settled": ("IDEM-02", "the same claim asks again, and its key is settled"),
}
_FIELDS = {
    "claim_id": "IDEM-05",
    "person": "IDEM-07",
    "fingerprint": "IDEM-07",
    "version": "IDEM-07",
    "result": "IDEM-07",
    "event_id": "EVENT",
    "attempts": "IDEM-07",
}


class ClaimTalk(PortMachine):
    """What the rules are written in."""

    model: ClaimModel
    rare = (
        *(name for name in _MEETINGS if name != "expired"),
        "expired",
        "stale completion",
        "late done",
        "claim at the lease's very end",
        "finish applied",
        "finish already",
        "release applied",
        "release lost",
        "extend applied",
        "extend lost",
        "purged",
    )
    only_still = ("claim at the lease's very end",)

    def __init__(self) -> None:
        super().__init__()
        self.ids = 0
        self.known: dict[str, list[str]] = {key: [] for key in KEYS}
        self.fences: dict[str, tuple[str, float]] = {}
        self.owners: dict[str, set[str]] = {}
        self.writes_events = "events" in self.suite.capabilities

    def make_model(self) -> ClaimModel:
        """See the base."""
        return ClaimModel(self.clock)

    def ends(self) -> Iterable[float]:
        """Ends of leases and lifetimes."""
        return [row.until for row in self.model.rows.values()]

    def event(self) -> Event | None:
        """An event of its own, where the store writes them."""
        self.ids += 1
        if not self.writes_events:
            return None
        return Event(f"e{self.ids}", "run", 0.0, *("",) * 7, 0, 0.0, True, False, False, *("",) * 4)

    # ── comparing ──

    def same_row(self, key: str, got: Row | None, wanted: Row | None, about: str = "IDEM-03") -> None:
        """Fail unless both see the same; a difference of states is about the promise that is named."""
        if got is None or wanted is None:
            promise = "IDEM-10" if wanted is None else "IDEM-12"
            self.agree(got, wanted, promise, f"the row of {key}")
            return
        self.agree(got.state, wanted.state, about, f"the state of {key}")
        for field, promise in _FIELDS.items():
            self.agree(getattr(got, field), getattr(wanted, field), promise, f"{field} of {key}")
        if wanted.state is CLAIMED:
            gap = abs(got.lease_left - wanted.lease_left)
            over = (got.lease_left <= 0) == (wanted.lease_left <= 0)
            if gap > max(self.suite.drift, 1e-5) or not over:
                self.fail("IDEM-10", f"the lease of {key} has {got.lease_left:g} s left, not {wanted.lease_left:g}")

    def look(self) -> None:
        """Each key, by peek."""
        for key in KEYS:
            wanted = self.model.peek(key)
            self.same_row(key, self.suite.ask(self.store.peek, key), wanted)

    def close(self) -> None:
        """At the end the trail holds the events of what applied, and no others."""
        if not self.writes_events:
            return
        trail = self.suite.events_of(self.store)  # type: ignore[attr-defined]  # the claim suite's
        got = [event.id for event in self.suite.ask(trail.tail, 10_000)]
        self.agree(got, [event.id for event in self.model.events], "EVENT", "events that are stored")

    def applied(self, got: object, wanted: Ack, promise: str, what: str) -> None:
        """Fail unless it applied in both or in neither; why it did not is not told apart here."""
        if not isinstance(got, Ack) or (got is Ack.APPLIED) != (wanted is Ack.APPLIED):
            self.fail(promise, f"the answer to {what} is {said(got)}, and should be {said(wanted)}")

    # ── operations ──

    @step
    def ask_claim(self, request: ClaimRequest, event: Event | None) -> ClaimAnswer:
        """Claim, and compare whatever comes back."""
        self.keep_off_boundaries()
        before, had = self.model.peek(request.key), request.key in self.model.rows
        lived = self.owners.setdefault(request.key, set())
        if before is None and request.claim_id in lived:
            return ClaimAnswer(False, 0, None)  # a claim id never begins a second life: each is random
        lived.add(request.claim_id)
        told = f"claim {request.key} as {request.claim_id} for {request.lease:g} s"
        told += "" if request.takeover else ", no takeover"
        told += "" if request.fingerprint == b"f" else ", another payload"
        told += "" if request.version == "1" else ", version 2"
        told += "" if request.supersede is None else f", supersede {request.supersede}"
        wanted, got = self.both(told, "claim", request, event)
        meeting = self.meeting(before, had, request, wanted)
        promise, what = _MEETINGS[meeting]
        self.reached[meeting] += 1
        if got.won != wanted.won:
            self.fail(promise, f"{what}, so the claim must {'win' if wanted.won else 'not win'}")
        if not got.won:
            self.same_row(request.key, got.row, wanted.row, promise)
            return wanted  # type: ignore[no-any-return]
        owner, fence = self.fences.get(request.key, ("", -math.inf))
        rises = got.fence == fence if owner == request.claim_id else got.fence > fence
        if not rises:
            self.fail("IDEM-04", f"the fence of {request.claim_id} is {got.fence}, after {fence:g} of {owner}")
        self.fences[request.key] = (request.claim_id, got.fence)
        return wanted  # type: ignore[no-any-return]

    def meeting(self, before: Row | None, had: bool, request: ClaimRequest, wanted: ClaimAnswer) -> str:
        """What the claim met."""
        if before is None:
            return "expired" if had else "free"
        same = before.fingerprint == request.fingerprint or before.version != request.version
        over = before.state is CLAIMED and before.lease_left <= 0
        self.reached["claim at the lease's very end"] += over and before.lease_left == 0.0
        if before.claim_id == request.claim_id:
            return "the same claim again" if wanted.won else "the same claim, settled"
        if wanted.won:
            return "superseded" if before.state is UNKNOWN else "takeover"
        if before.state in SETTLED:
            return "replay" if same else "settled mismatch"
        if over:
            return "became unknown" if same else "mismatch of an abandoned claim"
        return "in flight" if before.state is CLAIMED else "met unknown"

    @step
    def ask_finish(
        self, key: str, owner: str, state: RowState, result: bytes | None, keep: float, event: Event | None
    ) -> None:
        """Finish, and compare the acknowledgement."""
        before = self.model.peek(key)
        told = f"finish {key} as {owner}: {state}, result {result!r}, keep {keep:g} s"
        wanted, got = self.both(told, "finish", key, owner, state, result, keep, 2, event)
        settled = before is not None and before.claim_id == owner and before.state is not CLAIMED
        self.agree(got, wanted, "IDEM-06" if settled else "IDEM-05", f"the answer to a finish by {owner}")
        if wanted is Ack.LOST:
            self.reached["stale completion"] += owner != "nobody"
        elif wanted is Ack.APPLIED and before is not None and before.state is UNKNOWN:
            self.reached["late done"] += 1
        else:
            self.reached[f"finish {wanted}"] += 1

    @step
    def ask_extend(self, key: str, owner: str, lease: float) -> None:
        """Extend, and compare the acknowledgement."""
        wanted, got = self.both(f"extend {key} as {owner} to {lease:g} s", "extend", key, owner, lease)
        self.applied(got, wanted, "IDEM-05", f"an extend by {owner}")
        self.reached[f"extend {wanted}"] += 1

    @step
    def ask_release(self, key: str, owner: str) -> None:
        """Release, and compare the acknowledgement."""
        before = self.model.peek(key)
        wanted, got = self.both(f"release {key} as {owner}", "release", key, owner)
        mine = before is not None and before.claim_id == owner
        self.applied(got, wanted, "IDEM-13" if mine else "IDEM-05", f"a release by {owner}")
        self.reached[f"release {wanted}"] += 1

    @step
    def ask_purge(self) -> None:
        """Purge, and compare the number. Never a part: which rows go first is nobody's promise."""
        wanted, got = self.both("purge", "purge", 1000)
        self.agree(got, wanted, "IDEM-14", "rows deleted")
        self.reached["purged"] += wanted > 0
