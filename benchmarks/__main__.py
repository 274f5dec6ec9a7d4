"""``python -m benchmarks``: exit code 0 when every bound is met, 1 when one is not, 2 for wrong usage."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks import (
    case_concurrency,
    case_flat,
    case_imports,
    case_loop_stall,
    case_normalisers,
    cases_memory,
    cases_postgres,
    cases_sqlite,
    report,
)
from benchmarks.harness import Group, Row, Settings, progress

GROUPS: dict[str, Group] = {
    "memory-sync": cases_memory.sync_group,
    "memory-async": cases_memory.async_group,
    "sqlite": cases_sqlite.group,
    "postgres": cases_postgres.group,
    "flat": case_flat.group,
    "normalisers": case_normalisers.group,
    "imports": case_imports.group,
    "threads": case_concurrency.group,
    "loop-stall": case_loop_stall.group,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What botguard costs, as ratios.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first look, too noisy to publish")
    parser.add_argument("--only", action="append", choices=GROUPS, metavar="NAME", help=f"one of: {', '.join(GROUPS)}")
    parser.add_argument("--without-guard", action="store_true", help="only what botguard is compared with")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--write", action="store_true", help="write docs/reference/performance.md from a full run")
    chosen = parser.parse_args()
    if chosen.write and (chosen.quick or chosen.only or chosen.without_guard):
        parser.error("--write needs a full run, so that the page never mixes runs or shows a part for the whole")
    return chosen


def main() -> int:
    chosen = arguments()
    settings = Settings(quick=chosen.quick, with_guard=not chosen.without_guard)
    rows: list[Row] = []
    for name in chosen.only or GROUPS:
        started = time.perf_counter()
        rows += GROUPS[name](settings)
        progress(f"{name}: {time.perf_counter() - started:.0f} s")
    print(report.as_json(rows) if chosen.json else report.terminal(rows))
    if chosen.write:
        report.write_page(rows)
    missed = [row for row in rows if row.met is False]
    for row in missed:
        progress(f"bound not met: {row.group}: {row.case}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
