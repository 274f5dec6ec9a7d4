"""What a bot's first line costs: fresh interpreters, in turn with the import of four libraries inside."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.harness import Row, Settings, expect, progress, spread

ROUNDS = 21
OURS = "from botguard import Guard, guarded, Actor, Context, Retry"
PEERS = "import pydantic, tenacity, limits, pybreaker"
#: None of these may be loaded by the import: an optional part, or one that only some hosts use.
ABSENT = [
    "sentry_sdk", "sqlalchemy", "django", "flask", "fastapi", "hypothesis", "sqlite3", "redis", "aiogram",
]  # fmt: skip
PROGRAM = """
import sys, time
started = time.perf_counter()
{statement}
took = time.perf_counter() - started
import json
print(json.dumps([took * 1000, [name for name in {absent!r} if name in sys.modules]]))
"""


def milliseconds(statement: str, absent: list[str]) -> float:
    """One import in an interpreter of its own."""
    program = PROGRAM.format(statement=statement, absent=absent)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    took, loaded = json.loads(done.stdout)
    expect(f"loaded by `{statement}`", loaded, [])
    return float(took)


def group(settings: Settings) -> list[Row]:
    statements = [PEERS, OURS] if settings.with_guard else [PEERS]
    # At least 15 even in a quick run: a single start of an interpreter says little.
    rounds = max(15, settings.rounds(ROUNDS))
    taken: dict[str, list[float]] = {statement: [] for statement in statements}
    for number in range(-1, rounds):
        for statement in statements:
            took = milliseconds(statement, ABSENT if statement is OURS else [])
            if number >= 0:  # the first round only compiles what is not compiled yet
                taken[statement].append(took)
        progress(f"imports {number + 1}/{rounds}  ms: " + "  ".join(f"{t[-1]:.0f}" for t in taken.values() if t))
    rows = [Row(group="imports", case=f"`{PEERS}`", cost=spread(taken[PEERS]).mid, unit="ms")]
    if settings.with_guard:
        rows.append(
            Row(
                group="imports",
                case=f"`{OURS}`",
                cost=spread(taken[OURS]).mid,
                unit="ms",
                of="the import above",
                figure=spread([ours / theirs for ours, theirs in zip(taken[OURS], taken[PEERS], strict=True)]),
                bound=1.0,
            )
        )
    return rows
