"""Async stores that do not stand being cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

from known_bad.good import AsyncApprovals, AsyncClaims, AsyncEvents, AsyncLimits
from known_bad.register import caught_by


@caught_by("test_idem_18_a_claim_that_is_cancelled_can_be_asked_again", "test_idem_18_cancelled_rivals_leave_one_owner")
class TakesTheConnectionAlong(AsyncClaims):
    """Who is cancelled never gives the connection back."""

    async def carry_out(self, name: str, *args: Any, **kwargs: Any) -> Any:
        await self.turn.acquire()
        await asyncio.sleep(0)
        answer = self.apply(name, *args, **kwargs)
        await asyncio.sleep(0)
        self.turn.release()
        return answer


@caught_by(
    "test_idem_18_a_claim_that_is_cancelled_can_be_asked_again",
    "test_idem_18_an_end_that_is_cancelled_can_be_said_again",
)
class SwallowsTheCancellation(AsyncClaims):
    """``except BaseException`` around the wait: the task runs on though it was told to stop."""

    async def carry_out(self, name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().carry_out(name, *args, **kwargs)
        except asyncio.CancelledError:
            return self.apply(name, *args, **kwargs)


@caught_by("test_idem_18_a_claim_that_is_cancelled_can_be_asked_again")
class RowAndEventApart(AsyncClaims):
    """The row is committed, and the event after another wait."""

    async def claim(self, request: Any, event: Any = None) -> Any:
        before = self.inner.live(request.key)
        answer = await self.carry_out("claim", request)
        if answer.won and before is None:
            await asyncio.sleep(0)
            self.inner.store(event)
        return answer


@caught_by("test_idem_18_an_end_that_is_cancelled_can_be_said_again")
class FinishesAgainToBeSure(AsyncClaims):
    """A shielded finish goes on, and is made once more when its caller is cancelled: two events of one run."""

    async def carry_out(self, name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().carry_out(name, *args, **kwargs)
        except asyncio.CancelledError:
            if name == "finish":
                self.apply(name, *args)
                self.inner.store(args[-1])
            raise


@caught_by("test_idem_18_an_end_that_is_cancelled_can_be_said_again")
class ReleaseParksWhenCancelled(AsyncClaims):
    async def carry_out(self, name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().carry_out(name, *args, **kwargs)
        except asyncio.CancelledError:
            if name == "release" and (row := self.inner.rows.get(args[0])) is not None:
                row.request = row.request._replace(claim_id="cancelled")
            raise


@caught_by("test_idem_18_cancelled_rivals_leave_one_owner")
class HandsTheKeyOn(AsyncClaims):
    """A cancelled winner's row goes to the next one, who was told already that he lost."""

    async def claim(self, request: Any, event: Any = None) -> Any:
        answer = self.apply("claim", request, event)
        try:
            for _ in range(4):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if answer.won:
                row = self.inner.rows[request.key]
                row.request = row.request._replace(claim_id=f"{request.claim_id}-cancelled")
            raise
        return answer


@caught_by("test_idem_18_a_use_that_is_cancelled_can_be_asked_again")
class SpendsBeforeItKnowsForWhat(AsyncApprovals):
    """Marks the request as used in one step, and says for which key in the next."""

    async def spend(self, subject: str, key: str) -> bool:
        found = self.inner.by_subject(subject)
        if found is None or found.state != "approved" or found.spent_on not in ("", key):
            await asyncio.sleep(0)
            return False
        self.inner.requests[subject] = found._replace(spent_on="?")
        await asyncio.sleep(0)
        self.inner.requests[subject] = found._replace(spent_on=key)
        return True


@caught_by("test_idem_18_an_event_that_is_cancelled_is_there_once_or_not_at_all")
class AppendsAgainToBeSure(AsyncEvents):
    async def append(self, event: Any) -> Any:
        try:
            return await self.carry_out("append", event)
        except asyncio.CancelledError:
            self.apply("append", event)
            raise


@caught_by("test_idem_18_a_reservation_that_is_cancelled_counts_in_all_limits_or_in_none")
class WaitsBetweenLimits(AsyncLimits):
    """Each limit is counted in a round trip of its own."""

    async def reserve(self, limits: Any, buckets: Any, token: str) -> Any:
        answer = self.apply("test", limits, buckets)
        await asyncio.sleep(0)
        if not answer.granted:
            return answer
        for limit, bucket in zip(limits, buckets, strict=True):
            answer = self.apply("reserve", (limit,), (bucket,), token)
            await asyncio.sleep(0)
        return answer if limits else self.apply("reserve", limits, buckets, token)


@caught_by("test_idem_18_a_return_that_is_cancelled_disturbs_nobody")
class CancelledReturnsFreeEverything(AsyncLimits):
    async def carry_out(self, name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().carry_out(name, *args, **kwargs)
        except asyncio.CancelledError:
            if name in ("refund", "release"):
                for limit, bucket in zip(args[0], args[1], strict=True):
                    self.inner.of(limit, bucket).clear()
            raise
