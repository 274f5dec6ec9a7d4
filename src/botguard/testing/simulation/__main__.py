"""``python -m botguard.testing.simulation``: many schedules over a store, or one again.

Exit codes: 0 every rule held and every state was reached; 1 a rule was broken, or the run was vacuous; 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from botguard.errors import ConfigurationError
from botguard.testing.simulation.batches import run_all

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code."""
    options = _parser().parse_args(arguments)
    first, number = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    try:
        report = run_all(
            range(first, first + number),
            storage=options.storage,
            commands=options.commands,
            steps=options.steps,
            replay=options.replay,
            jobs=options.jobs,
        )
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{report}\n")
    return 0 if report.ok or (options.seed is not None and not report.violations) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m botguard.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many schedules (10,000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--replay", help="the decisions that a failure printed, for its seed")
    parser.add_argument("--storage", default="memory", help="memory, sqlite, or module:factory(clock) of your own")
    parser.add_argument("--commands", help="built-in commands, joined by commas (all)")
    parser.add_argument("--steps", type=int, default=400, help="steps of a schedule before its faults stop (400)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
