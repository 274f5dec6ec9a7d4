"""Claims on two keys by ever new and by stale owners, in time steps that end at, before and after every boundary."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from botguard.ports.idempotency import ClaimRequest, RowState
from botguard.testing.machines.claim_talk import CLAIMED, DONE, FAILED, KEYS, SETTLED, UNKNOWN, ClaimTalk

__all__ = ["ClaimMachine"]

LEASES, KEEPS = (10.0, 30.0), (20.0, 60.0)
some = st.sampled_from


class ClaimMachine(ClaimTalk):
    """The rules. Some take the usual ways, which chance alone would seldom take.

    Hypothesis takes rules for the simpler, the earlier their names come in the alphabet: plain claims come first.
    """

    @rule(
        key=some(KEYS),
        fingerprint=some((b"f", b"f", b"f", b"f", b"g")),
        version=some(("1", "1", "1", "1", "2")),
        lease=some(LEASES),
        takeover=some((True, True, False)),
        supersede=some((False, False, True)),
    )
    def claim(self, key: str, fingerprint: bytes, version: str, lease: float, takeover: bool, supersede: bool) -> None:
        """A new caller."""
        self.ids += 1
        before = self.model.peek(key)
        names = before.claim_id if before is not None and supersede else None
        owner = f"c{self.ids}"
        request = ClaimRequest(key, "o", "c", owner, f"p{self.ids}", fingerprint, version, lease, takeover, names)
        if self.ask_claim(request, self.event()).won:
            self.known[key].append(owner)

    @rule(
        key=some(KEYS),
        off=some((-0.5, 0.0, 0.0, 0.5)),
        fingerprint=some((b"f", b"f", b"f", b"g")),
        takeover=st.booleans(),
        supersede=st.booleans(),
    )
    def come_at_the_end(self, key: str, off: float, fingerprint: bytes, takeover: bool, supersede: bool) -> None:
        """Another caller, around the end of a lease or a lifetime."""
        self.wait(key, off, 1.0)
        self.claim(key, fingerprint, "1", LEASES[0], takeover, supersede)

    @rule(data=st.data(), key=some(KEYS), lease=some(LEASES), takeover=st.booleans())
    def claim_again(self, data: st.DataObject, key: str, lease: float, takeover: bool) -> None:
        """An owner, present or former, whose answer was lost."""
        before = self.model.peek(key)
        if before is None:
            return  # a claim id never begins a second life: each is random
        owner = data.draw(some(self.known[key][-3:]))
        if before.claim_id != owner and before.state is not UNKNOWN:
            return
        self.ask_claim(ClaimRequest(key, "o", "c", owner, "p", b"f", "1", lease, takeover, None), None)

    def owner(self, data: st.DataObject, key: str) -> str:
        """The last owner of a key, more often than one before him."""
        name: str = data.draw(some((self.known[key] or ["nobody"])[-3:][::-1]))
        return name

    @precondition(lambda self: self.model.rows)
    @rule(
        data=st.data(),
        key=some(KEYS),
        state=some((DONE, DONE, FAILED, UNKNOWN)),
        result=some((None, b"", b"r1", b"r2")),
        keep=some(KEEPS),
        with_event=st.booleans(),
    )
    def finish(
        self, data: st.DataObject, key: str, state: RowState, result: bytes | None, keep: float, with_event: bool
    ) -> None:
        """An owner, present or former, says how it ended."""
        self.ask_finish(key, self.owner(data, key), state, result, keep, self.event() if with_event else None)

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data(), key=some(KEYS))
    def release(self, data: st.DataObject, key: str) -> None:
        """An owner, present or former, gives the key back."""
        self.ask_release(key, self.owner(data, key))

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data(), key=some(KEYS), lease=some(LEASES))
    def extend(self, data: st.DataObject, key: str, lease: float) -> None:
        """An owner, present or former, needs longer."""
        self.ask_extend(key, self.owner(data, key), lease)

    @rule()
    def purge(self) -> None:
        """Housekeeping."""
        self.ask_purge()

    def in_state(self, *states: RowState) -> list[str]:
        """Keys whose row is in one of these states."""
        return [key for key, row in self.model.rows.items() if row.state in states]

    @precondition(lambda self: self.in_state(CLAIMED))
    @rule(
        state=some((DONE, FAILED, UNKNOWN)),
        result=some((None, b"", b"r")),
        before=some(("", "extend", "ask")),
        after=some(("", "finish", "ask")),
        fingerprint=some((b"f", b"f", b"g")),
    )
    def end(self, state: RowState, result: bytes | None, before: str, after: str, fingerprint: bytes) -> None:
        """The usual way: the owner finishes, now and then says or asks something twice, and somebody comes again."""
        key = self.in_state(CLAIMED)[0]
        request = self.model.rows[key].request
        if before == "extend":
            self.ask_extend(key, request.claim_id, LEASES[1])
        if before == "ask":
            self.ask_claim(request, None)
        for _ in range(2 if after == "finish" else 1):
            self.ask_finish(key, request.claim_id, state, result, KEEPS[0], self.event())
        if after == "ask":
            self.ask_claim(request, None)
        self.claim(key, fingerprint, "1", LEASES[0], takeover=True, supersede=False)

    @precondition(lambda self: self.in_state(CLAIMED))
    @rule(late=some((0.0, 0.5)), another=st.booleans(), done=st.booleans())
    def leave(self, late: float, another: bool, done: bool) -> None:
        """The owner is gone, and his effect must not happen twice: others come, with his payload or with another one."""
        key = self.in_state(CLAIMED)[0]
        self.wait(key, late, 1.0)
        former = self.model.rows[key].request.claim_id
        if another:
            self.claim(key, b"g", "1", LEASES[0], takeover=True, supersede=False)
        self.claim(key, b"f", "1", LEASES[0], takeover=False, supersede=False)
        if done and key in self.in_state(UNKNOWN):
            self.resolve(late=True)
        elif done:
            self.claim(key, b"f", "1", LEASES[0], takeover=True, supersede=True)
            self.ask_finish(key, former, DONE, b"stale", KEEPS[0], self.event())

    @precondition(lambda self: self.in_state(*SETTLED))
    @rule(off=some((-0.5, 0.0, 0.0, 100.0)), purge=st.booleans(), result=some((None, b"", b"new")))
    def outlive(self, off: float, purge: bool, result: bytes | None) -> None:
        """Around the end of a result's lifetime it is purged, or the key is claimed again and finished again."""
        key = self.in_state(*SETTLED)[0]
        self.wait(key, off, 1.0)
        if purge:
            self.purge()
            return
        self.claim(key, b"f", "1", LEASES[0], takeover=True, supersede=False)
        self.everything_agrees()
        self.ask_finish(key, self.known[key][-1], DONE, result, KEEPS[0], None)

    @precondition(lambda self: self.in_state(UNKNOWN))
    @rule(late=st.booleans())
    def resolve(self, late: bool) -> None:
        """What is unknown is finished late, or found not to have happened."""
        key = self.in_state(UNKNOWN)[-1]
        if late:
            self.ask_finish(key, self.model.rows[key].request.claim_id, DONE, b"late", KEEPS[0], self.event())
        else:
            self.claim(key, b"f", "1", LEASES[0], takeover=False, supersede=True)

    @rule(key=some(KEYS), off=some((-0.5, 0.0, 0.0, 0.5)), some_time=some((0.25, 1.0, 7.0)))
    def wait(self, key: str, off: float, some_time: float) -> None:
        """To just before, to, or just after the next end of a lease or a lifetime; else a little."""
        row: Any = self.model.rows.get(key)
        end = math.inf if row is None else row.until
        step = end + off - self.clock.time()
        self.pass_time(step if 0 < step < math.inf else some_time)
