"""The demo notices when a stage is broken: each is taken out in turn, and a promise that leans on it must be named.

A stage is made to let everything pass, in the class itself; the demo has no hook for this. Only the scenes concerned are
played, in this process; the whole day, in a process of its own, is played for one stage here and for all by `make soak`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from botguard.cli import main
from botguard.cli.demo import scenes
from botguard.cli.demo.replay import Replay
from botguard.cli.demo.scenes import failures, people, trade, trail
from botguard.pipeline.order import ORDER

SOURCE = Path(__file__).parents[2] / "src"
Scene = Callable[[Replay], None]

#: How a stage is taken out, as source text: it is patched in this process, and in a process of its own.
WRAP = """
from botguard.stages.{module} import {name} as Stage
async def around(self, proceed, call):
    return await proceed(call)
Stage.around = around
"""
GATE = """
from botguard.stages.{module} import {name} as Stage
Stage.check = lambda self, call: None
"""
CHECKS = """
from botguard.stages.checks import Checks as Stage
asked = Stage.check
Stage.check = lambda self, call: None if self.name == {name!r} else asked(self, call)
"""


class Break(NamedTuple):
    """How a stage is broken, and which promises of which scenes that breaks."""

    patch: str
    scenes: tuple[Scene, ...]
    promises: set[str]


def wrap(module: str, name: str) -> str:
    return WRAP.format(module=module, name=name)


def gate(module: str, name: str) -> str:
    return GATE.format(module=module, name=name)


BREAKS: dict[str, Break] = {
    "record": Break(wrap("record", "Record"), (people.not_allowed, trail.the_record), {"everything_recorded"}),
    "edge": Break(gate("edge", "Edge"), (people.stranger,), {"strangers_cut_off"}),
    "authorize": Break(
        # It also tells who asks; without a name nothing could be done in anybody's name.
        "from botguard.stages.authorize import Authorize as Stage\n"
        "def check(self, call):\n"
        "    call.person = call.context.actor.id\n"
        "Stage.check = check\n",
        (people.not_allowed, people.revoked),
        {"permission_needed", "blocked_means_blocked"},
    ),
    "validate": Break(
        "from botguard.stages.validate import Validate as Stage\n"
        "def check(self, call):\n"
        "    call.payload = call.raw\n"
        "Stage.check = check\n",
        (trade.mistakes,),
        {"mistakes_explained", "numbers_written_one_way"},
    ),
    "peek": Break(
        # It also names the intent, which the claim needs.
        "from botguard.stages.peek import Peek as Stage\n"
        "async def around(self, proceed, call):\n"
        "    return self._identity(call) or await proceed(call)\n"
        "Stage.around = around\n",
        (failures.outage,),
        {"old_answers_need_no_system"},
    ),
    "limit": Break(wrap("limit", "LimitStage"), (people.flood,), {"flood_throttled", "refused_calls_are_free"}),
    "look again": Break(
        "from botguard.stages.peek import LookAgain as Stage\n"
        "async def again(self, call, refused):\n"
        "    return refused\n"
        "Stage.again = again\n",
        (trade.last_piece,),
        {"overtaken_by_its_twin"},
    ),
    "policy": Break(gate("policy", "Policy"), (trade.common_sense,), {"rules_hold", "refused_is_not_used_up"}),
    "visibility": Break(
        CHECKS.format(name="visibility"), (trade.common_sense,), {"others_orders_unseen", "state_looked_at"}
    ),
    "context": Break(
        CHECKS.format(name="context"), (trade.common_sense,), {"unknown_things_refused", "state_looked_at"}
    ),
    "consistency": Break(CHECKS.format(name="consistency"), (trade.common_sense,), {"stock_is_real"}),
    "predict": Break(CHECKS.format(name="predict"), (trade.common_sense,), {"forecast_heeded"}),
    "confirm": Break(
        gate("confirm", "Confirm"), (people.confirmed_refund,), {"refund_confirmed", "only_who_was_asked"}
    ),
    "claim": Break(wrap("claim", "Claim"), (trade.five_at_once,), {"duplicates_stopped"}),
    "complete": Break(wrap("complete", "Complete"), (trade.five_at_once,), {"duplicates_stopped"}),
    "retry": Break(wrap("retry", "RetryStage"), (failures.hiccup,), {"refused_connections_retried"}),
    "breaker": Break(wrap("breaker", "BreakerStage"), (failures.outage,), {"dead_system_left_alone"}),
    "timeout": Break(wrap("timeout", "Timeout"), (failures.slow,), {"nobody_waits_for_ever", "late_is_not_twice"}),
    "work": Break(wrap("work", "Work"), (trade.buttons,), {"presses_counted"}),
    "handler": Break(
        "from botguard.outcome import Outcome, Status\n"
        "from botguard.stages.handler import Handler as Stage\n"
        "async def __call__(self, call):\n"
        "    call.began = True\n"
        "    return Outcome(Status.SUCCEEDED, 'Done.')\n"
        "Stage.__call__ = __call__\n",
        (trade.good_order,),
        {"order_once"},
    ),
}

Demo = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Demo:
    """Plays only the scenes named; returns the exit code and the promises by name."""

    def play(*chosen: Scene) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(scenes, "SCENES", [(scene.__name__, scene) for scene in chosen])
        code = main(["demo", "--json"])
        return code, {p["name"]: p for p in json.loads(capsys.readouterr().out)["promises"]}

    return play


def broken(promises: dict[str, Any]) -> set[str]:
    return {name for name, promise in promises.items() if not promise["kept"]}


def apply(monkeypatch: pytest.MonkeyPatch, patch: str) -> None:
    """Run a patch, and have its class put back after the test."""
    names: dict[str, Any] = {}
    exec("\n".join(line for line in patch.splitlines() if line.startswith("from ")), names)
    stage = names["Stage"]
    for name in ("around", "check", "again", "__call__"):
        if name in vars(stage):
            monkeypatch.setattr(stage, name, vars(stage)[name])
    exec(patch, {})


def test_every_stage_has_its_break() -> None:
    assert set(BREAKS) == {place.stage for place in ORDER}


@pytest.mark.parametrize("stage", BREAKS)
def test_a_broken_stage_breaks_its_promises(stage: str, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(monkeypatch, BREAKS[stage].patch)
    code, promises = demo(*BREAKS[stage].scenes)
    assert code == 1
    assert broken(promises) == BREAKS[stage].promises


def test_the_same_scenes_keep_their_promises_unbroken(demo: Demo) -> None:
    chosen = [scene for _, scene in scenes.SCENES if any(scene in one.scenes for one in BREAKS.values())]
    code, promises = demo(*chosen)
    assert broken(promises) == set()
    assert code == 0
    assert set().union(*(one.promises for one in BREAKS.values())) <= set(promises)


def whole_day(patch: str) -> tuple[int, set[str], str]:
    """The demo as people run it, with a stage broken from outside; in its children too."""
    start = f"{patch}\nimport sys\nfrom botguard.cli import main\nsys.exit(main(['demo']))"
    done = subprocess.run(
        [sys.executable, "-c", start],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    ending = done.stdout.partition("In numbers")[2]
    named = {part.partition("]")[0] for part in ending.split(" [")[1:]}
    return done.returncode, named, done.stderr


def test_the_whole_day_names_what_a_broken_stage_broke() -> None:
    code, named, complaints = whole_day(BREAKS["confirm"].patch)
    assert (code, complaints) == (1, "")
    assert BREAKS["confirm"].promises <= named


@pytest.mark.soak
@pytest.mark.parametrize("stage", BREAKS)
def test_the_whole_day_with_each_stage_broken(stage: str) -> None:
    code, named, _ = whole_day(BREAKS[stage].patch)
    assert code == 1
    assert BREAKS[stage].promises <= named


# ── parts of a stage ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_breaker_never_closes(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botguard.stages.breaker.BreakerGate.ok", lambda self, permit: None)
    _, promises = demo(failures.outage)
    assert broken(promises) == {"back_after_outage"}


def test_refused_calls_are_charged(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.limiter import LocalLimiter

    reserve = LocalLimiter.reserve

    def greedy(self: LocalLimiter, limits: Any, buckets: Any, token: str = "") -> Any:
        """Charges each limit on its own, as a row of independent limiters does."""
        answers = [reserve(self, (limit,), (bucket,), token) for limit, bucket in zip(limits, buckets, strict=True)]
        return next((answer for answer in answers if not answer.granted), answers[0])

    monkeypatch.setattr(LocalLimiter, "reserve", greedy)
    _, promises = demo(people.flood)
    assert "flood_throttled" in broken(promises)


def test_numbers_are_shared_by_companies(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.pipeline.identity import Identity

    name = Identity._name

    def without_org(self: Identity, call: Any) -> Any:
        from dataclasses import replace

        real = call.context
        call.context = replace(real, org="all")
        try:
            return name(self, call)
        finally:
            call.context = real

    monkeypatch.setattr(Identity, "_name", without_org)
    _, promises = demo(people.numbers)
    assert broken(promises) == {"companies_apart"}


def test_stored_answers_are_shown_to_everybody(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.pipeline.meeting import Meeting

    made = Meeting.__init__

    def open_to_all(self: Meeting, *args: Any) -> None:
        made(self, *args)
        self._to_org = True

    monkeypatch.setattr(Meeting, "__init__", open_to_all)
    _, promises = demo(people.numbers)
    assert broken(promises) == {"answers_are_personal"}


def test_a_press_counts_by_its_update(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from botguard.cli.demo import replay, updates

    def naive(update: Any, org: str | None = None) -> updates.Said:
        said = updates.read(update, org)
        return replace(said, context=replace(said.context, delivery=str(update["update_id"])))

    monkeypatch.setattr(replay, "read", naive)
    _, promises = demo(trade.buttons)
    assert promises["presses_counted"]["found"]["reservations of 2 SKU-9"] == 2


def test_a_process_that_was_not_killed(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Replay._child
    monkeypatch.setattr(Replay, "_child", lambda self, task: child(self, {**task, "kill": False}))
    _, promises = demo(failures.killed)
    assert promises["nobody_jumps_in"]["found"]["processes"] == ["not killed"] * 3


def test_the_restarted_process_takes_over_what_it_must_not(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from botguard.stages.claim import Claim\n"
        "made = Claim.__init__\n"
        "def takes_over(self, *args, **kwargs):\n"
        "    made(self, *args, **kwargs)\n"
        "    self._takeover = True\n"
        "Claim.__init__ = takes_over\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, promises = demo(failures.killed)
    assert code == 1
    assert broken(promises) == {"killed_and_nobody_knows", "killed_then_asked"}
    assert promises["killed_and_nobody_knows"]["found"]["couriers booked"] == 2
    assert promises["killed_then_asked"]["found"]["orders A-23 in the order system"] == 2


def test_a_scene_that_breaks_off(demo: Demo) -> None:
    def falls(replay: Replay) -> None:
        raise LookupError("nothing there")

    code, promises = demo(falls, trade.mistakes)
    assert code == 1
    assert broken(promises) == {"falls_to_its_end"}
    assert promises["falls_to_its_end"]["found"] == {"it ended with": "LookupError: nothing there"}


def test_text_names_what_is_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scenes, "SCENES", [("A short failure", failures.hiccup)])
    apply(monkeypatch, BREAKS["retry"].patch)
    assert main(["demo"]) == 1
    text = capsys.readouterr().out
    assert "BROKEN" in text
    assert text.count("[refused_connections_retried]") == 2  # where it happened, and at the end
    assert "answer: expected succeeded; found failed" in text
    assert "1 of 1 promises BROKEN" in text
