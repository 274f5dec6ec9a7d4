"""limit: all limits and caps of a call are reserved together, or none is (semantics, sections 2.4 and 4)."""

from __future__ import annotations

import re
from typing import Any

from botguard.command import Command
from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.options import Mode
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.compose import note_shadow
from botguard.pipeline.stage import Proceed
from botguard.ports.limits import Limit, LimitStore, Reservation

__all__ = ["LimitStage", "parse_limit"]

_SCOPES = ("user", "org", "command", "channel")
_CAP = re.compile(r"(\d+)\s+concurrent")
#: Outcomes that give the reservation back: nothing was done, and not through the caller's fault.
_REFUNDED = frozenset((Status.CONFLICT, Status.IN_FLIGHT, Status.UNAVAILABLE, Status.CANCELLED))
#: Callers whose counters' names are kept: as many as a busy minute brings, and few enough to drop at once.
_KNOWN = 4096
#: Strategies by the word that a declaration may end with.
_STRATEGIES = ("fixed-window", "moving-window", "sliding-window-counter")


def parse_limit(text: str, command: str, lease: float) -> Limit:
    """``"5/minute per user"``, ``"100 per 1 hour per org moving-window"``, ``"3 concurrent per user"``.

    The rate is in the notation of the ``limits`` package; the strategy defaults to ``sliding-window-counter``.

    Raises:
        ConfigurationError: if it cannot be read.
    """

    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(
            "BG115",
            f"limit {text!r}: {what}",
            where=command,
            why="it would limit nobody, or everybody together",
            fix=f'write "5/minute per user"; scopes: {", ".join(_SCOPES)}',
        )

    words = text.strip()
    strategy = "sliding-window-counter"
    for name in _STRATEGIES:
        if words.endswith(name):
            words, strategy = words[: -len(name)].strip(), name
    rate, _, scope = words.rpartition(" per ")
    if scope not in _SCOPES:
        raise wrong("it does not end with whose calls are counted")
    cap = _CAP.fullmatch(rate.strip())
    if cap is not None:
        amount = int(cap.group(1))
        if amount < 1:
            raise wrong("a cap of 0 would refuse everything")
        return Limit(text, amount, lease, "concurrent", scope, f"{command}|{text}")
    from limits import parse

    try:
        item = parse(rate)
    except ValueError as error:
        raise wrong(str(error)) from None
    if item.amount < 1:
        raise wrong("a limit of 0 would refuse everything")
    return Limit(text, item.amount, float(item.get_expiry()), strategy, scope, f"{command}|{text}")


class Buckets:
    """Names the counters of a call: parts with their lengths, so that no two orgs or users can run into each other.

    Names are kept for callers who come again: to look one up costs less than to spell and hash it anew.
    """

    def __init__(self, limits: tuple[Limit, ...]) -> None:
        self._limits = [(limit.scope, limit.tag) for limit in limits]
        self._known: dict[tuple[str, str, str], tuple[str, ...]] = {}

    def __call__(self, call: Call) -> tuple[str, ...]:
        """One name for each limit, in order."""
        context = call.context
        caller = (context.org, call.person, context.channel)
        known = self._known
        names = known.get(caller)
        if names is None:
            if len(known) >= _KNOWN:
                known = self._known = {}
            names = known[caller] = tuple([_bucket(scope, tag, *caller) for scope, tag in self._limits])
        return names


def _bucket(scope: str, tag: str, org: str, person: str, channel: str) -> str:
    if scope == "user":
        return f"{tag}|{len(org)}:{org}{person}"
    if scope == "org":
        return f"{tag}|{org}"
    return f"{tag}|{len(org)}:{org}{channel}" if scope == "channel" else tag


class LimitStage:
    """Reserves, runs the rest, and gives back what the call did not deserve to be charged."""

    name = "limit"

    def __init__(self, command: Command, store: LimitStore | None, local: LimitStore) -> None:
        lease = (command.deadline or 3600.0) + command.grace
        # Said twice is meant once: one call must not count twice in one bucket.
        limits = tuple(parse_limit(text, command.name, lease) for text in dict.fromkeys(command.limits))
        self._limits = limits
        self._caps = tuple(limit for limit in limits if limit.strategy == "concurrent")
        self._all = (limits, Buckets(limits))
        self._only_caps = (self._caps, Buckets(self._caps))
        self._shared, self._local = store, local
        self._critical = command.critical
        self._shadow = command.mode("limit") is Mode.SHADOW

    async def around(self, proceed: Proceed, call: Call) -> Outcome:
        """Reserve all or nothing; settle the reservation when the rest has run."""
        if self._shadow:
            refused = await self.preview(call)
            if refused is not None:
                note_shadow(call, self.name, refused)
            return await proceed(call)
        # The resume of a confirmed call was charged when it was first made; its cap slots were not kept meanwhile.
        limits, names = self._all if call.resume is None else self._only_caps
        buckets = names(call)
        store: LimitStore = self._local
        if self._shared is None:
            token = call.plan.new_id() if self._caps else ""
            reservation: Reservation = store.reserve(limits, buckets, token)  # type: ignore[assignment]
        else:
            reserved = await self._reserve(call, self._shared, limits, buckets)
            if isinstance(reserved, Outcome):
                return reserved
            store, reservation = reserved
        if not reservation.granted:
            return self._refused(reservation)
        try:
            outcome = await proceed(call)
        except BaseException:
            await self._settle(call, store, not call.began, limits, buckets, reservation)
            raise
        if outcome.replayed or call.reshown or outcome.status in _REFUNDED:
            await self._settle(call, store, True, limits, buckets, reservation)
        elif self._caps:
            await self._settle(call, store, False, limits, buckets, reservation)
        return outcome

    async def _reserve(
        self, call: Call, shared: LimitStore, limits: tuple[Limit, ...], buckets: tuple[str, ...]
    ) -> tuple[LimitStore, Reservation] | Outcome:
        token = call.plan.new_id() if self._caps else ""
        try:
            answer: Any = shared.reserve(limits, buckets, token)
            if hasattr(answer, "__await__"):
                answer = await self._awaited(call, shared, answer, limits, buckets)
            return shared, answer
        except StoreUnavailable as error:
            if self._critical:
                outcome = refusal(Status.UNAVAILABLE, Reason.STORE_UNAVAILABLE)
                outcome.error = error
                return outcome
            call.note(Reason.LOCAL_LIMITS, degraded=True)
        return self._local, self._local.reserve(limits, buckets, token)  # type: ignore[return-value]

    async def _awaited(self, call: Call, store: LimitStore, answer: Any, *reserved: Any) -> Any:
        """Wait for a shared store to its end, even if cancelled meanwhile: only its answer says what to take back."""
        limits, buckets = reserved
        answers: list[Any] = []

        async def take() -> None:
            answers.append(await call.bridge(answer))

        try:
            await call.plan.runtime.shield(take())
        except BaseException:
            if answers and answers[0].granted:
                await self._settle(call, store, True, limits, buckets, answers[0])
            raise
        return answers[0]

    async def _settle(self, call: Call, store: LimitStore, refund: bool, *reserved: Any) -> None:
        """Refund or release, to the end even if the caller is cancelled meanwhile."""
        try:
            try:
                done = store.refund(*reserved) if refund else store.release(*reserved)
            except StoreUnavailable:
                raise
            except BaseException:
                store.release(*reserved)  # Ctrl-C in the middle: slots may be freed twice, counts not taken back twice
                raise
            if hasattr(done, "__await__"):
                await call.plan.runtime.shield(call.bridge(done))
        except StoreUnavailable:
            call.degraded = True  # counters run out by themselves; cap slots are leases

    def _refused(self, reservation: Reservation) -> Outcome:
        capped = reservation.limit is not None and reservation.limit.strategy == "concurrent"
        reason = Reason.CONCURRENCY_LIMITED if capped else Reason.RATE_LIMITED
        return refusal(Status.THROTTLED, reason, retry_after=reservation.retry_after)

    async def preview(self, call: Call) -> Outcome | None:
        """Throttled if a limit is full now; counts nothing."""
        buckets = self._all[1](call)
        try:
            answer: Any = (self._shared or self._local).test(self._limits, buckets)
            if hasattr(answer, "__await__"):
                answer = await call.bridge(answer)
        except StoreUnavailable:
            answer = self._local.test(self._limits, buckets)
        return None if answer.granted else self._refused(answer)

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {
            "limits": [f"{limit.name} ({limit.strategy})" for limit in self._limits],
            "shared": self._shared is not None,
        }
