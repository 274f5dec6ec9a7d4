"""SIGKILL before and after every call of the store and around the effect; then the update is delivered again."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from faultkit import Broken, chosen_point, hold, key_of
from kill_child import KillScene

from botguard import Status
from botguard.adapters.sqlite import claims

DAY = 86400.0
VARIANTS = [
    "transactional",
    "idempotent",
    "external",
    "external+reconcile",
    "external+audited+loose",
    "idempotent+async",
    "external+async",
]


@pytest.fixture(scope="module")
def killer() -> Iterator[subprocess.Popen[str]]:
    """A process whose children die."""
    child = Path(__file__).with_name("kill_child.py")
    with subprocess.Popen(
        [sys.executable, str(child)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


class Scan:
    """One kind of command, killed everywhere; all its orders are in one file."""

    def __init__(self, killer: subprocess.Popen[str], folder: Path, variant: str, *, cheats: bool = False) -> None:
        self.killer, self.folder, self.variant, self.cheats = killer, folder, variant, cheats
        self.effects = variant.split("+", maxsplit=1)[0]
        self.now = 1_800_000_000.0
        self.places: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        with sqlite3.connect(folder / "bot.db") as connection:
            connection.execute("CREATE TABLE effects (order_id TEXT)")
        connection.close()

    def run(self) -> None:
        chosen = chosen_point()
        if chosen is not None:
            self._point(*chosen)
            return
        for call in count(0):  # 0 is the handler itself
            killed = [self._point(call, after) for after in (0, 1)]
            if not any(killed):
                break

    def _point(self, call: int, after: int) -> bool:
        self.now += 10 * DAY
        order = f"o{call}-{after}"
        place = self._kill(order, call, "after" if after else "before")
        if place is None:
            return False
        self.places[place] += 1
        key = key_of(order)
        at_once = KillScene(self.folder, self.now + 1, self.variant, cheats=self.cheats)
        row = at_once.inner.idempotency.peek(key)
        state = str(row.state) if row is not None else None
        self.states[str(state)] += 1
        before = at_once.effects_of(order)
        broken = self._left(state, before)
        if state == "claimed":
            outcome = at_once.deliver(order)
            if outcome.status is not Status.IN_FLIGHT or at_once.effects_of(order) != before:
                broken.append(f"while the lease runs: {outcome!r}")
        at_once.inner.close()
        later = KillScene(self.folder, self.now + DAY, self.variant, cheats=self.cheats)
        broken += self._redelivered(later, order, state, before)
        broken += self._audited(later, order, key)
        later.inner.close()
        hold(broken, call, after, story=f"{self.variant}, killed {place}")
        return True

    def _kill(self, order: str, call: int, when: str) -> str | None:
        """Where the child died; None if it lived."""
        asked = {
            "folder": str(self.folder),
            "start": self.now,
            "variant": self.variant,
            "order": order,
            "call": call,
            "when": when,
            "cheats": self.cheats,
        }
        assert self.killer.stdin is not None
        assert self.killer.stdout is not None
        self.killer.stdin.write(json.dumps(asked) + "\n")
        self.killer.stdin.flush()
        answer = self.killer.stdout.readline()
        assert answer, "the killer is dead; see its stderr"
        told = json.loads(answer)
        return told["place"] if told["killed"] else None

    def _left(self, state: str | None, effects: int) -> list[str]:
        """What the dead process left behind."""
        fits = {
            None: effects == 0,
            "claimed": effects <= (0 if self.effects == "transactional" else 1),
            "done": effects == 1,
        }
        return [] if fits.get(state) else [f"it left {effects} effects, and the key {state}"]

    def _redelivered(self, scene: KillScene, order: str, state: str | None, before: int) -> list[str]:
        """Every lease is over; the update arrives twice more."""
        first, second = scene.deliver(order), scene.deliver(order)
        effects = scene.effects_of(order)
        self.ends[str(first.status)] += 1
        story = f"left {state} and {before} effects; then {first!r}, {second!r}, {effects} effects"
        unknowable = state == "claimed" and self.effects == "external" and "reconcile" not in self.variant
        if unknowable:
            fits = first.status is second.status is Status.UNKNOWN and effects == before
        else:
            replays = state == "done" or ("reconcile" in self.variant and before == 1)
            fits = (
                first.status is second.status is Status.SUCCEEDED
                and first.value == second.value == f"made {order}"
                and (first.replayed, second.replayed) == (replays, True)
                and effects == (before if replays else before + 1)
            )
        allowed = {"transactional": (1,), "external": (0, 1), "idempotent": (1, 2)}[self.effects]
        return [] if fits and effects in allowed else [story]

    def _audited(self, scene: KillScene, order: str, key: str) -> list[str]:
        """A success is in the trail once; one whose event was to follow separately may be missing it."""
        events = [event for event in scene.inner.events.tail(1000) if event.key == key]
        made = [event for event in events if event.success and not event.replayed and event.kind == "run"]
        told = [event for event in events if event.kind in ("run", "reconciled")]
        most = 1
        least = 1 if scene.deliver(order).ok and "loose" not in self.variant and "reconcile" not in self.variant else 0
        if not least <= len(made) <= most or not told:
            return [f"its trail is {[(e.kind, e.status, e.replayed) for e in events]}"]
        return []


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_around_every_call_and_delivered_again(
    killer: subprocess.Popen[str], tmp_path: Path, variant: str
) -> None:
    scan = Scan(killer, tmp_path, variant)
    scan.run()
    if chosen_point() is not None:
        return
    calls = {place.split()[1] for place in scan.places}
    wanted = {"the", "idempotency.peek", "limits.reserve", "idempotency.claim", "limits.release"}
    wanted |= {"work.begin", "unit.finish", "unit.commit"} if variant == "transactional" else {"idempotency.finish"}
    assert wanted <= calls, f"vacuous: only {sorted(calls)}"
    assert set(scan.states) == {"None", "claimed", "done"}, f"vacuous: {scan.states}"
    unknowable = variant.startswith("external") and "reconcile" not in variant
    assert set(scan.ends) == ({"succeeded", "unknown"} if unknowable else {"succeeded"})


# ── the scan finds what it is there for ──────────────────────────────────────────────────────────────────────────


def test_it_finds_an_effect_outside_of_the_transaction(killer: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(Broken, match="reproduce: BOTGUARD_FAULT_AT="):
        Scan(killer, tmp_path, "transactional", cheats=True).run()


def test_it_finds_an_external_effect_that_is_done_again(
    killer: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest = claims._contest

    def generous(execute: Any, request: Any, *of: Any) -> Any:
        return contest(execute, request._replace(takeover=True), *of)

    monkeypatch.setattr(claims, "_contest", generous)
    with pytest.raises(Broken, match="reproduce: BOTGUARD_FAULT_AT="):
        Scan(killer, tmp_path, "external").run()


def test_it_finds_a_lease_that_never_ends(
    killer: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest = claims._contest
    monkeypatch.setattr(claims, "_contest", lambda execute, request, found, now: contest(execute, request, found, 0.0))
    with pytest.raises(Broken, match="reproduce: BOTGUARD_FAULT_AT="):
        Scan(killer, tmp_path, "idempotent").run()
