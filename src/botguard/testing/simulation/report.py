"""What a simulation found, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from botguard.testing.simulation.decisions import Schedule

__all__ = ["RULES", "Report", "Violation"]

#: The rules by number; docs/explanation/simulation.md tells how each of them is judged.
RULES = {
    "0": "a guarded call ends in an outcome, and one seed always gives one course",
    "1": "at most one live claim a key; a stale owner changes nothing; claim ids never repeat",
    "2": "the effect happens as often as the command's effects allow, and what is said about it is true",
    "4": "no effect or result without a caller who may have it, a valid payload, the rules' consent and an event",
    "5": "a confirmation counts once, for its person and for exactly what was shown",
    "7": "a refused call, a replay and a twin that loses consume nothing",
    "8": "the trail holds every event that was acknowledged, and no other",
    "9": "when faults stop, every call ends, and every key is settled, free or visibly parked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that was broken.

    Args:
        seed: the seed that found it.
        rule: its number, as in :data:`RULES`.
        what: what was seen.
        schedule: the fewest decisions with which it still happens.
        command: one line that shows it again.
        story: the course of that schedule, a line for each step.
    """

    seed: int
    rule: str
    what: str
    schedule: Schedule
    command: str
    story: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"rule {self.rule} ({RULES.get(self.rule, '')})\n  {self.what}\n  {self.command}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a simulation found.

    Args:
        schedules: how many were run.
        turns: steps that were taken in all of them.
        coverage: how often each state was seen.
        vacuous: states that the options make possible and that were never reached; a run with any shows little.
        violations: broken rules; the simulation stops at the first.
    """

    schedules: int
    turns: int
    coverage: Mapping[str, int]
    vacuous: tuple[str, ...]
    violations: tuple[Violation, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """True if no rule was broken and every state was reached."""
        return not self.violations and not self.vacuous

    def __str__(self) -> str:
        verdict = f"{len(self.violations)} violations" if self.violations else "0 violations"
        lines = [f"{self.schedules:,} schedules, {self.turns:,} steps: {verdict}{', vacuous' * bool(self.vacuous)}"]
        lines += [str(violation) for violation in self.violations]
        for violation in self.violations:
            lines += ["", *violation.story]
        if self.vacuous:
            lines.append(f"vacuous: never reached {', '.join(self.vacuous)}")
        shown = [f"{name} {count:,}" for name, count in sorted(self.coverage.items())]
        return "\n".join([*lines, f"reached: {', '.join(shown)}"])
