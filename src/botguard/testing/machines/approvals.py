"""Requests for two subjects, pressed by present and by old tokens, around the ends of their lives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from botguard.ports.approvals import ApprovalRequest, ApprovalState
from botguard.testing.machines.base import PortMachine, step
from botguard.testing.models.approvals import ApprovalModel

__all__ = ["ApprovalMachine"]

OPEN, APPROVED, DECLINED, EXPIRED = ApprovalState
SUBJECTS = ("s1", "s2")
_DAY = 86400.0
some = st.sampled_from


class ApprovalMachine(PortMachine):
    """The machine."""

    model: ApprovalModel
    rare = (
        "opened",
        "replaced",
        "shown open",
        "shown approved",
        "shown declined",
        "old token",
        "decide open",
        "decide approved",
        "decide expired",
        "spend True",
        "spend False",
        "spend again True",
        "spend again False",
        "at its very end",
        "purged",
    )
    only_still = ("at its very end",)

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[str] = []
        #: By how much the store's times are ahead of the model's; known from the first request on.
        self.ahead: float | None = None

    def make_model(self) -> ApprovalModel:
        """See the base."""
        return ApprovalModel(self.clock)

    def ends(self) -> Iterable[float]:
        """When requests are over, and when they may be purged."""
        ends = [request.expires_at for request in self.model.requests.values()]
        return [*ends, *(end + _DAY for end in ends)]

    def same(self, got: Any, wanted: ApprovalRequest | None, promise: str, what: str) -> None:
        """Fail unless both are the same request; a server's clock is its own."""
        if isinstance(got, ApprovalRequest) and wanted is not None:
            if self.ahead is None:
                self.ahead = got.expires_at - wanted.expires_at
            gap = abs(got.expires_at - wanted.expires_at - self.ahead)
            if gap > 1e-5 and not self.suite.drift:
                self.fail("APPR-L1", f"{got.token} expires {gap:g} s beside its time")
            got = got._replace(expires_at=wanted.expires_at)
        self.agree(got, wanted, promise, what)

    def look(self) -> None:
        """By both names."""
        names = [*(("by_subject", s) for s in SUBJECTS), *(("by_token", t) for t in self.tokens[-4:])]
        for method, name in names:
            wanted = getattr(self.model, method)(name)
            got = self.suite.ask(getattr(self.store, method), name)
            promise = "APPR-L1" if wanted is not None and wanted.state is EXPIRED else "APPR-05"
            self.same(got, wanted, promise if wanted is not None else "APPR-07", f"the request of {name}")

    # ── what is asked ──

    @step
    def ask_open(self, subject: str, token: str, lifetime: float) -> None:
        """Open, and compare the request that is shown."""
        self.keep_off_boundaries()
        before = self.model.by_subject(subject)
        request = ApprovalRequest(subject, token, "o", "c", "k", b"f", "p", "a", "web", None, token, "risk", b"{}", 0.0)
        wanted, got = self.both(f"open {subject} as {token} for {lifetime:g} s", "open", request, lifetime)
        self.tokens.append(token)
        new = wanted.token == token
        self.same(got, wanted, "APPR-06", "the request" if new else "the live request of the subject")
        self.reached["opened" if before is None else "replaced" if new else f"shown {wanted.state}"] += 1

    @step
    def press(self, token: str, state: ApprovalState) -> None:
        """Decide, and compare."""
        self.keep_off_boundaries()
        before = self.model.by_token(token)
        wanted, got = self.both(f"decide {token}: {state}", "decide", token, state)
        self.same(got, wanted, "APPR-05", f"the request of {token} after the press")
        self.reached["old token" if before is None else f"decide {before.state}"] += 1

    @step
    def ask_spend(self, subject: str, key: str) -> None:
        """Spend, and compare."""
        self.keep_off_boundaries()
        before = self.model.by_subject(subject)
        wanted, got = self.both(f"spend {subject} for {key}", "spend", subject, key)
        used = before is not None and before.spent_on != ""
        self.agree(got, wanted, "APPR-04" if used else "APPR-01", f"whether {subject} serves {key}")
        self.reached[f"spend {'again ' if used else ''}{wanted}"] += 1

    @step
    def ask_purge(self) -> None:
        """Purge, and compare the number. Never a part: which rows go first is nobody's promise."""
        wanted, got = self.both("purge", "purge", 1000)
        self.agree(got, wanted, "PORT", "requests deleted")
        self.reached["purged"] += wanted > 0

    # ── who asks ──

    @rule(subject=some(SUBJECTS), lifetime=some((10.0, 60.0)))
    def open(self, subject: str, lifetime: float) -> None:
        """A delivery, the first or again."""
        self.ask_open(subject, f"t{len(self.tokens)}", lifetime)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), state=some((APPROVED, APPROVED, DECLINED)))
    def decide(self, data: st.DataObject, state: ApprovalState) -> None:
        """A press of a button, a present or an old one."""
        self.press(data.draw(some(self.tokens[-4:][::-1])), state)

    @rule(subject=some(SUBJECTS), late=st.booleans())
    def use(self, subject: str, late: bool) -> None:
        """Asked, approved, and used by two keys, now or after its time."""
        self.open(subject, 60.0)
        self.press(self.model.requests[subject].token, APPROVED)
        self.spend(subject, "k1")
        self.pass_time(61.0 if late else 1.0)
        for key in ("k2", "k1"):
            self.spend(subject, key)

    @rule(subject=some(SUBJECTS), late=some((-0.5, 0.0, 1.0)))
    def refuse(self, subject: str, late: float) -> None:
        """Somebody says no, is asked again, and presses around the end of the time to answer."""
        self.open(subject, 10.0)
        request = self.model.requests[subject]
        self.press(request.token, DECLINED)
        self.open(subject, 10.0)
        step = request.expires_at + late - self.clock.time()
        self.pass_time(step if step > 0 else 0.25)
        self.press(request.token, APPROVED)

    @rule(subject=some(SUBJECTS), key=some(("k1", "k1", "k2")))
    def spend(self, subject: str, key: str) -> None:
        """A run wants to use the subject's approval."""
        self.ask_spend(subject, key)

    @precondition(lambda self: self.model.requests)
    @rule(off=some((-0.5, 0.0, 0.0, 0.5, _DAY)), spend=st.booleans())
    def wait(self, off: float, spend: bool) -> None:
        """To just before, to, or just after the end of a request's life."""
        request = max(self.model.requests.values(), key=lambda request: request.expires_at)
        step = request.expires_at + off - self.clock.time()
        self.pass_time(step if step > 0 else 1.0)
        self.reached["at its very end"] += off == 0.0 and step > 0
        if spend:
            self.spend(request.subject, "k1")

    @rule(old=st.booleans())
    def purge(self, old: bool) -> None:
        """Housekeeping, now or when everything is old."""
        if old:
            self.pass_time(60.0 + _DAY)
        self.ask_purge()
