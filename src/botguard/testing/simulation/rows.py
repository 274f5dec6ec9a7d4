"""What the claim store must answer: the rules of its port over rows that the checker remembers."""

from __future__ import annotations

from typing import Any

from botguard.ports.idempotency import Ack, ClaimAnswer, ClaimRequest, Row, RowState

__all__ = ["Known", "Rows"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState
_NEVER = float("inf")


class Known:
    """A key as it must be stored."""

    __slots__ = ("claim_id", "fingerprint", "owner", "result", "state", "until", "value", "version")

    def __init__(self, request: ClaimRequest, owner: Any, until: float) -> None:
        self.state: RowState = _CLAIMED
        self.claim_id, self.fingerprint, self.version = request.claim_id, request.fingerprint, request.version
        #: The run that claimed it.
        self.owner, self.until = owner, until
        self.result: bytes | None = None
        #: What a replay must return.
        self.value: Any = None

    @property
    def settled(self) -> bool:
        """Done, or failed for good."""
        return self.state is _DONE or self.state is _FAILED


class Rows:
    """Every key of one schedule. Each method returns what is wrong with the store's answer, or None."""

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}
        self._fences: dict[str, int] = {}

    def live(self, key: str, now: float) -> Known | None:
        """The row as ``peek`` must show it."""
        known = self.known.get(key)
        return None if known is None or (known.settled and known.until <= now) else known

    def wins(self, known: Known | None, request: ClaimRequest, now: float) -> str:
        """What a claim must come to: ``free``, ``again``, ``takeover``, ``superseded``, or why it must not be won."""
        if known is None or (known.settled and known.until <= now):
            return "free"
        if known.state is _CLAIMED:
            if known.claim_id == request.claim_id:
                return "again"
            if known.until > now:
                return "it is claimed, and the lease is not over"
            if known.fingerprint != request.fingerprint and known.version == request.version:
                return "it is claimed for another payload"
            return "takeover" if request.takeover else "parks"
        if known.state is _UNKNOWN:
            superseded = request.supersede is not None and request.supersede == known.claim_id
            return "superseded" if superseded else "nobody knows whether its effect happened"
        return f"it is {known.state}"

    def claimed(self, request: ClaimRequest, answer: ClaimAnswer, owner: Any, now: float) -> tuple[str, str | None]:
        """A claim was answered: (what it came to, what is wrong)."""
        known = self.known.get(request.key)
        verdict = self.wins(known, request, now)
        won = verdict in ("free", "again", "takeover", "superseded")
        if answer.won and not won:
            return verdict, f"a second claim was won: {verdict}"
        if won and not answer.won:
            return verdict, f"a claim was refused ({verdict}), and nobody will ever win it"
        if verdict == "parks" and known is not None:
            known.state, known.until = _UNKNOWN, _NEVER
        if not answer.won:
            return verdict, None
        if verdict == "again" and known is not None:
            known.until = now + request.lease
            return verdict, None
        if answer.fence <= self._fences.get(request.key, 0):
            return verdict, f"the fence {answer.fence} did not rise above that of an earlier owner"
        self._fences[request.key] = answer.fence
        self.known[request.key] = Known(request, owner, now + request.lease)
        return verdict, None

    def _settles(self, known: Known | None, claim_id: str, state: RowState) -> Ack:
        if known is None or known.claim_id != claim_id:
            return Ack.LOST
        if known.state is _CLAIMED or (known.state is _UNKNOWN and state is not _UNKNOWN):
            return Ack.APPLIED
        return Ack.ALREADY

    def finished(
        self, key: str, claim_id: str, state: RowState, result: bytes | None, keep: float, ack: Ack, now: float
    ) -> str | None:
        """A claim was settled, or was not."""
        known = self.known.get(key)
        wrong = self._acknowledged(known, self._settles(known, claim_id, state), ack, now, f"finish as {state}")
        if wrong is None and ack is Ack.APPLIED and known is not None:
            known.state, known.result = state, result
            known.until = _NEVER if state is _UNKNOWN else now + keep
        return wrong

    def released(self, key: str, claim_id: str, ack: Ack, now: float) -> str | None:
        """A claim was given back, or was not."""
        known = self.known.get(key)
        if known is None:
            due = Ack.ALREADY
        else:
            due = Ack.APPLIED if known.claim_id == claim_id and known.state is _CLAIMED else Ack.LOST
        wrong = self._acknowledged(known, due, ack, now, "release")
        if wrong is None and ack is Ack.APPLIED:
            del self.known[key]
        return wrong

    @staticmethod
    def _acknowledged(known: Known | None, due: Ack, ack: Ack, now: float, what: str) -> str | None:
        if ack is due:
            return None
        if ack is Ack.APPLIED:
            return f"{what} was applied for a claim that is no longer the key's"
        if due is Ack.APPLIED:
            return f"{what} by the owner was answered {ack}"
        if known is None or (known.settled and known.until <= now):  # it may have been purged meanwhile
            return None
        return f"{what} was answered {ack} instead of {due}"

    def shown(self, key: str, row: Row | None, now: float) -> str | None:
        """A row was looked at."""
        known = self.live(key, now)
        if row is None:
            return None if known is None else f"a key that is {known.state} was shown as absent"
        if known is None:
            return f"a key that nobody holds was shown as {row.state}"
        if (row.state, row.claim_id) != (known.state, known.claim_id):
            return f"a key that is {known.state} under {known.claim_id} was shown as {row.state} under {row.claim_id}"
        if known.settled and row.result != known.result:
            return "a stored result has changed"
        return None
