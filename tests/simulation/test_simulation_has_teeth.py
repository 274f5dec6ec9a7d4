"""The simulation has teeth: it finds every planted bug, tells it in one line, and that line is clean without the bug."""

from __future__ import annotations

import pytest
from planted_bugs import BUGS

from botguard.testing.simulation import TransactionalMemory, simulate

#: Far more than any of them needs.
SEEDS = range(6000)


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = BUGS[name]
    with monkeypatch.context() as patch:
        storage = bug.plant(patch) or TransactionalMemory
        report = simulate(storage=storage, seeds=SEEDS, commands=bug.commands)
        assert report.violations, f"{report.schedules} schedules have not found it"
        found = report.violations[0]
        assert found.rule in bug.rules, str(report)
        again = simulate(storage=storage, seeds=[found.seed], commands=bug.commands, replay=str(found.schedule))
        assert [violation.rule for violation in again.violations] == [found.rule]
    control = simulate(seeds=[found.seed], commands=bug.commands, replay=str(found.schedule))
    assert not control.violations, f"the control is broken: {control}"
