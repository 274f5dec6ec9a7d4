"""Plays histories on a suite's store, and says what was broken, or that nothing was shown."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from botguard.testing.machines.approvals import ApprovalMachine
from botguard.testing.machines.base import Broken, PortMachine, Step
from botguard.testing.machines.claims import ClaimMachine
from botguard.testing.machines.events import EventMachine
from botguard.testing.machines.limits import LimitMachine
from botguard.testing.suites.base import StoreSuite
from botguard.testing.suites.checks import Vacuous

__all__ = ["play"]

_MACHINES: dict[str, type[PortMachine]] = {
    "approvals": ApprovalMachine,
    "claims": ClaimMachine,
    "events": EventMachine,
    "limits": LimitMachine,
}

_RACE = "Played once more, the same history went well: a race, or rows that outlive fresh_store."
#: How often a history is played again to make it shorter.
_REPLAYS = 500


def play(name: str, suite: StoreSuite) -> None:
    """Play as many histories as the suite wants, as long as it wants them.

    Raises:
        AssertionError: a promise is broken; the message holds the shortest history that shows it.
        Vacuous: none was, and the histories never came to situations that matter.
    """
    __tracebackhide__ = True
    base = _MACHINES[name]
    if base.needs_a_still_clock:
        suite.needs_a_still_clock()
    reached: Counter[str] = Counter()
    broken: list[Broken] = []
    machine: Any = type(base.__name__, (base,), {"suite": suite, "reached": reached, "broken": broken})
    if suite.seed is not None:
        machine = seed(suite.seed)(machine)
    try:
        run_state_machine_as_test(machine, settings=_settings(suite))
    except (Broken, Flaky):
        if not broken:
            raise
        first = broken[0]
        again = _replayed(machine, first.steps)
        shortest = _shortest(machine, again) if again is not None else first
        race = "" if again is not None else f"{_RACE}\n"
        raise AssertionError(f"{shortest}\n{race}{_again(suite)}") from shortest.__cause__
    _shown(base, reached, suite)


def _shortest(machine: type[PortMachine], broken: Broken) -> Broken:
    """A promise broken in fewer steps: parts of the history are left out as long as one is broken.

    Hypothesis could shorten it as well, by rules; a rule here is several steps, and the history is told in steps.
    """
    steps, size, left = broken.steps, max(1, len(broken.steps) // 2), _REPLAYS
    while size:
        at, before = 0, len(steps)
        while at < len(steps) and left:
            left -= 1
            found = _replayed(machine, [*steps[:at], *steps[at + size :]])
            if found is not None:
                broken, steps = found, found.steps
            else:
                at += size
        size = size if size == 1 and len(steps) < before and left else size // 2
    return broken


def _replayed(machine: type[PortMachine], steps: list[Step]) -> Broken | None:
    played = machine()
    try:
        for name, args in steps:
            getattr(played, name)(*args)
            played.everything_agrees()
        played.teardown()
    except Broken as broken:
        return broken
    return None


def _settings(suite: StoreSuite) -> settings:
    # Nothing here depends on profiles of the host's: a run must be the same wherever it is started.
    return settings(
        max_examples=suite.examples,
        stateful_step_count=suite.steps,
        derandomize=suite.seed is None,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )


def _again(suite: StoreSuite) -> str:
    if suite.seed is None:
        return f"{type(suite).__name__} plays the same histories every time: run this test again to see it again."
    return f"Set seed = {suite.seed} on {type(suite).__name__} to see it again."


def _shown(machine: type[PortMachine], reached: Counter[str], suite: StoreSuite) -> None:
    __tracebackhide__ = True
    wanted = set(machine.rare) - set(machine.only_still if suite.drift else ())
    missed = sorted(situation for situation in wanted if not reached[situation])
    if missed:
        raise Vacuous(
            "IDEM-03",
            f"{suite.examples} histories of {suite.steps} steps never came to: {', '.join(missed)}; play more",
        )
