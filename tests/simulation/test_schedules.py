"""Ten thousand schedules and more, and what a report is worth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from botguard.adapters.memory import MemoryStorage
from botguard.errors import ConfigurationError
from botguard.options import Retry
from botguard.testing import FaultyStorage, simulate
from botguard.testing.simulation import CALM, Faults, TransactionalMemory, batches
from botguard.testing.simulation.batches import merged, run_all, storages


def test_ten_thousand_schedules_break_no_rule() -> None:
    report = simulate(seeds=range(10_000))
    assert report.ok, str(report)
    assert report.schedules == 10_000


def test_schedules_over_sqlite_break_no_rule() -> None:
    with storages("sqlite") as factory:
        report = simulate(storage=factory, seeds=range(20_000, 20_600))
    assert not report.violations, str(report)
    assert {"takeover", "crash while claimed", "rolled back", "lost answer", "pending"} <= report.coverage.keys()


def test_transactional_schedules_over_sqlite_break_no_rule() -> None:
    with storages("sqlite") as factory:
        report = simulate(storage=factory, seeds=range(600), commands=["transactional"])
    assert not report.violations, str(report)
    assert {"crash inside a unit of work", "stale owner refused", "takeover"} <= report.coverage.keys()


@pytest.mark.soak
def test_a_million_schedules_break_no_rule() -> None:
    report = run_all(range(1_000_000), storage="memory", jobs=os.cpu_count() or 1)
    assert report.ok, str(report)


@pytest.mark.soak
def test_twenty_thousand_schedules_over_sqlite_break_no_rule() -> None:
    report = run_all(range(20_000), storage="sqlite", jobs=os.cpu_count() or 1)
    assert report.ok, str(report)


# ── one seed, one course ─────────────────────────────────────────────────────────────────────────────────────────


def _printed(*arguments: str, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "botguard.testing.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_one_seed_gives_one_course_in_every_process() -> None:
    assert _printed("--seeds", "300", hash_seed="1") == _printed("--seeds", "300", hash_seed="2")


def test_seeds_do_not_depend_on_those_before_them() -> None:
    # Processes are used again: whatever one schedule left in their memory would change the next.
    forward, backward = simulate(seeds=range(400)), simulate(seeds=reversed(range(400)))
    assert (forward.turns, dict(forward.coverage)) == (backward.turns, dict(backward.coverage))


def test_seeds_on_several_processes_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_CHUNK", 100)
    both = run_all(range(400), storage="memory", commands="idempotent", jobs=2)
    alone = run_all(range(400), storage="memory", commands="idempotent")
    assert (both.schedules, both.turns, both.coverage) == (alone.schedules, alone.turns, alone.coverage)


def test_a_difference_between_two_runs_of_a_seed_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.testing.simulation.scenario import Delivery

    again: list[int] = []

    async def play(self: Delivery, world: Any) -> None:
        again.append(1)
        if len(again) % 2:
            await world.call(world.processes[0], self._run(world, "ann"))

    monkeypatch.setattr(Delivery, "play", play)
    assert simulate(seeds=range(1), faults=CALM).violations[0].rule == "0"


# ── vacuous ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_reached_too_little_is_vacuous() -> None:
    report = simulate(seeds=range(3))
    assert not report.violations
    assert not report.ok
    assert "takeover" in report.vacuous
    assert "vacuous" in str(report).splitlines()[0]


def test_what_cannot_happen_is_not_missed() -> None:
    report = simulate(seeds=range(300), faults=CALM, commands=["external"])
    assert report.ok, str(report)
    assert not {"crash", "lost answer", "clock jump", "cancelled"} & report.coverage.keys()


def test_a_fault_of_weight_0_never_strikes() -> None:
    report = simulate(seeds=range(300), faults=Faults(crash=0, most=9))
    assert "crash" not in report.coverage
    assert {"lost answer", "cancelled", "delay"} <= report.coverage.keys()


def test_reports_of_several_processes_are_one() -> None:
    parts = [simulate(seeds=range(at, at + 30)) for at in (0, 30)]
    whole = merged(parts)
    assert whole.schedules == 60
    assert whole.coverage == simulate(seeds=range(60)).coverage
    assert set(whole.vacuous) == set(parts[0].vacuous) & set(parts[1].vacuous)


# ── a host's own ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hosts_own_options_and_store() -> None:
    options: dict[str, Any] = {
        "orders.pay": {"effects": "external", "limits": ["3/minute per user"], "deadline": 5.0},
        "orders.note": {"effects": "idempotent", "retry": Retry(on=(OSError,))},
    }
    report = simulate(
        storage=lambda clock: FaultyStorage(MemoryStorage(clock=clock)), seeds=range(500), commands=options
    )
    assert not report.violations, str(report)
    assert report.coverage["succeeded"] > 100


def test_a_store_that_answers_without_waiting_may_be_async() -> None:
    def factory(clock: Any) -> MemoryStorage:
        storage = MemoryStorage(clock=clock)
        real = storage.idempotency.peek

        async def peek(key: str) -> Any:
            return real(key)

        storage.idempotency.peek = peek  # type: ignore[assignment]
        return storage

    assert not simulate(storage=factory, seeds=range(100)).violations


def test_a_store_that_waits_is_refused() -> None:
    def factory(clock: Any) -> MemoryStorage:
        import asyncio

        storage = MemoryStorage(clock=clock)

        async def peek(key: str) -> Any:
            await asyncio.sleep(0)

        storage.idempotency.peek = peek  # type: ignore[assignment]
        return storage

    with pytest.raises(ConfigurationError, match="BG232"):
        simulate(storage=factory, seeds=range(10))


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("BG230", {"commands": ["nonsense"]}),
        ("BG230", {"commands": {"a": {"key": "{order}"}}}),
        ("BG160", {"commands": ["transactional"], "storage": MemoryStorage}),
        ("BG231", {"seeds": [1], "replay": "a1?b"}),
        ("BG231", {"seeds": [1], "replay": "a1>b2"}),
    ],
)
def test_wrong_options_are_refused(code: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=code):
        simulate(**arguments)


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_a_weight_below_0_is_refused(weight: float) -> None:
    with pytest.raises(ConfigurationError, match="BG230"):
        Faults(crash=weight)


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.testing.simulation.__main__ import main

    assert main(["--seeds", "3"]) == 1  # vacuous
    assert "vacuous: never reached" in capsys.readouterr().out
    assert main(["--seed", "3", "--replay", "-"]) == 0
    assert main(["--seed", "3", "--replay", "?"]) == 2
    assert "BG231" in capsys.readouterr().err
    assert main(["--seed", "3", "--storage", "nothing:here"]) == 2
    (tmp_path / "shop_stores.py").write_text(
        "from botguard.adapters.memory import MemoryStorage\ndef make(clock):\n    return MemoryStorage(clock=clock)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["--seed", "3", "--storage", "shop_stores:make"]) == 0


def test_the_printed_line_shows_a_failure_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    from planted_bugs import no_second_look

    from botguard.stages.peek import LookAgain
    from botguard.testing.simulation.__main__ import main

    monkeypatch.setattr(LookAgain, "again", no_second_look)
    assert main(["--seeds", "3000", "--commands", "checked"]) == 1
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if "--replay" in line)
    assert line.strip().startswith("python -m botguard.testing.simulation --commands checked --seed ")
    assert main(shlex.split(line)[3:]) == 1
    assert "rule 7" in capsys.readouterr().out
    monkeypatch.undo()
    assert main(shlex.split(line)[3:]) == 0


def test_memory_with_units_keeps_its_promise_to_the_ledger() -> None:
    storage = TransactionalMemory()
    for end, stored in (("rollback", []), ("commit", [(7,)])):
        unit = storage.work.begin()  # type: ignore[attr-defined]
        unit.handle.execute("INSERT", (7,))
        getattr(unit, end)()
        assert storage.work.begin().handle.execute("SELECT").fetchall() == stored  # type: ignore[attr-defined]
