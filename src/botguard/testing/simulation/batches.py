"""Many seeds on several processes, and the stores that the command line names."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from botguard.testing.simulation.campaign import simulate
from botguard.testing.simulation.memory import TransactionalMemory
from botguard.testing.simulation.report import Report
from botguard.testing.targets import load

__all__ = ["merged", "run_all", "run_some", "storages"]

#: Seeds that one process takes at a time.
_CHUNK = 2000
_STEPS = 400


def run_all(
    seeds: range,
    *,
    storage: str,
    commands: str | None = None,
    steps: int = _STEPS,
    replay: str | None = None,
    jobs: int = 1,
) -> Report:
    """Run all of them, on so many processes, and put the reports together; it stops where a rule is broken.

    Args:
        storage: see :func:`storages`.
        commands: names of built-in ones, joined by commas.
    """
    run = partial(run_some, storage, commands, steps, replay)
    if jobs <= 1 or len(seeds) <= _CHUNK:
        return run(seeds)
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    reports: list[Report] = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for report in pool.map(run, chunks):
            reports.append(report)
            if report.violations:
                pool.shutdown(cancel_futures=True)
                break
            if sum(one.schedules for one in reports) % 100_000 == 0:
                sys.stderr.write(f"{sum(one.schedules for one in reports):,} schedules\n")
    return merged(reports)


def run_some(storage: str, commands: str | None, steps: int, replay: str | None, seeds: range) -> Report:
    """What one process does."""
    names = commands.split(",") if commands else None
    line = "python -m botguard.testing.simulation"
    line += f" --storage {storage}" * (storage != "memory") + (f" --commands {commands}" if commands else "")
    line += f" --steps {steps}" * (steps != _STEPS)
    with storages(storage) as factory:
        return simulate(storage=factory, seeds=seeds, steps=steps, commands=names, replay=replay, shown_as=line)


def merged(reports: Sequence[Report]) -> Report:
    """Several reports as one: a state that any of them reached is reached."""
    coverage: dict[str, int] = {}
    for report in reports:
        for state, times in report.coverage.items():
            coverage[state] = coverage.get(state, 0) + times
    broken = tuple(violation for report in reports for violation in report.violations)
    missing = set.intersection(*(set(report.vacuous) for report in reports)) if reports and not broken else set()
    return Report(
        schedules=sum(report.schedules for report in reports),
        turns=sum(report.turns for report in reports),
        coverage=coverage,
        vacuous=tuple(sorted(missing)),
        violations=broken,
    )


@contextmanager
def storages(name: str) -> Iterator[Callable[..., Any]]:
    """A factory for ``memory``, ``sqlite`` (files that go when they are closed), or ``module:factory``.

    Raises:
        ConfigurationError: it names none.
    """
    if name == "memory":
        yield TransactionalMemory
    elif name == "sqlite":
        with tempfile.TemporaryDirectory(prefix="botguard-simulation-") as folder:
            yield _files(Path(folder))
    else:
        yield load(name)


def _files(folder: Path) -> Callable[[Any], Any]:
    from botguard.adapters.sqlite import SqliteStorage

    class Fleeting(SqliteStorage):
        """Its file goes when it is closed."""

        def close(self) -> None:
            super().close()
            for end in ("", "-wal", "-shm"):
                Path(self._path + end).unlink(missing_ok=True)

    number = count()
    return lambda clock: Fleeting(folder / f"{next(number)}.db", clock=clock, synchronous="NORMAL", busy_timeout=0.05)
