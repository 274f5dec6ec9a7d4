"""Calls of several actors on one key, whose answers must fit some order of them."""

from __future__ import annotations

from collections.abc import Hashable
from random import Random
from typing import Any

from botguard.ports.idempotency import Ack, RowState
from botguard.testing.suites.actors import settled
from botguard.testing.suites.checks import Vacuous, must
from botguard.testing.suites.idempotency.words import KEEP, LEASE, ClaimWords
from botguard.testing.suites.linear import Recorder, misfit

__all__ = ["Interleaving"]

_CLAIMED, _DONE, _FAILED, _UNKNOWN = RowState
_ABSENT = ("absent", "")
#: As many turns as are worth the time, and more of them while no two calls have met.
_TURNS, _MOST = 24, 240
_ACTORS, _CALLS = 4, 6
#: Mostly what gives the key to the next one: a settled key has nothing more to tell.
_ENDS = ("release", "release", "release", "release", "extend", "peek", "finish", "park")


class Interleaving(ClaimWords):
    """What several do at once."""

    def test_idem_03_what_many_do_at_once_is_as_if_done_one_by_one(self) -> None:
        """IDEM-03: for whatever several do at once on one key, there is an order that explains every answer."""
        overlaps, threaded = 0, "threads" in self.ways()
        for turn in range(_MOST):
            recorder = Recorder()
            actors = [self._actor(recorder, n, f"k{turn}", Random(f"{turn} {n}")) for n in range(_ACTORS)]  # noqa: S311
            self.together(self.store, actors)
            overlaps += recorder.overlaps()
            wrong = misfit(recorder.calls, _ABSENT, _step)
            must(not wrong, "IDEM-03", f"no order explains the last answer; asked and answered at:\n{wrong}")
            if turn >= _TURNS and (overlaps or not threaded):
                return  # tasks of a store that never waits do not meet, and need not
        if not overlaps:
            raise Vacuous("IDEM-03", "no call ever began while another one was under way")

    def _actor(self, recorder: Recorder, n: int, key: str, random: Random) -> Any:
        async def run() -> None:
            mine, made = "", 0
            for _ in range(_CALLS):
                what = random.choice(_ENDS) if mine else "claim"
                if what == "claim":
                    made += 1
                    mine = f"actor-{n}-{made}"
                began = recorder.begin()
                answer = await self._call(what, key, mine)
                recorder.end(n, began, (what, mine), answer)
                if what == "release" or (what == "claim" and answer[0] != "won"):
                    mine = ""

        return run

    async def _call(self, what: str, key: str, mine: str) -> tuple[str, str]:
        store = self.store
        match what:
            case "claim":
                answer = await settled(store.claim(self.request(mine, key=key), None))
                return ("won", mine) if answer.won else (str(answer.row.state), answer.row.claim_id)
            case "peek":
                row = await settled(store.peek(key))
                return _ABSENT if row is None else (str(row.state), row.claim_id)
            case "release":
                ack = await settled(store.release(key, mine))
            case "extend":
                ack = await settled(store.extend(key, mine, LEASE))
            case _:
                state = _DONE if what == "finish" else _UNKNOWN
                ack = await settled(store.finish(key, mine, state, None, KEEP, 1, None))
                return str(ack), ""
        return ("applied" if ack is Ack.APPLIED else "not applied"), ""


def _step(now: Any, call: tuple[Any, ...]) -> tuple[Hashable, Hashable]:
    """The port in one key and without time: the next state, and the answer."""
    state, owner = now
    what, mine = call
    match what:
        case "peek":
            return now, now
        case "claim":
            return (("claimed", mine), ("won", mine)) if state == "absent" else (now, now)
        case "release" | "extend":
            if (state, owner) != ("claimed", mine):
                return now, ("not applied", "")
            return (_ABSENT if what == "release" else now), ("applied", "")
        case _:
            wanted = "done" if what == "finish" else "unknown"
            if owner != mine:
                return now, ("lost", "")
            if state in ("done", wanted):
                return now, ("already", "")
            return (wanted, mine), ("applied", "")
