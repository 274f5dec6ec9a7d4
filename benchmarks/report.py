"""The rows as a table on the terminal, as JSON, and as the page docs/reference/performance.md."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import sqlite3
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.harness import Row

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "performance.md"
LIBRARIES = (
    "pydantic",
    "tenacity",
    "limits",
    "pybreaker",
    "prometheus-client",
    "aws-lambda-powertools",
    "sqlalchemy",
    "psycopg",
    "pymysql",
)
HEADINGS = ("part", "case", "cost", "against", "figure (lowest to highest round)", "bound", "met")
PAGE_TEXT = """# Performance

What a guarded call costs, measured by `make bench`, which writes this page.

Measured on {date} with Python {python} on {cpus} CPUs; SQLite {sqlite}; {libraries}.

{table}

## How to read it

* **Compare ratios, not microseconds.** Another machine has other microseconds. Each ratio is formed within
  one round, in one process, against the case named beside it; the median over the rounds counts, and the
  extremes stand in brackets.
* *Memory* rows are CPU time of the process; SQLite, PostgreSQL, size, imports, threads and event loop are elapsed
  time.
* The *hand-written stack* is `benchmarks/peer_stack.py`: what a developer would put together from the same
  libraries. It is pinned, so that figures of different releases compare. There is no Sentry on either side.
* The async stack pays for the in-memory store of `limits`, which hops to a thread for each key that it
  sweeps, and does so whenever the loop turns. The cost of such a hop differs a lot between machines; the
  row *never swept* shows the stack without it.
* The *hand-rolled floor* is the same stages written out in one function: how much of the cost is the work
  itself.
* *bare sqlite3* is a claim, then its completion and the event: the same two commits and columns, with
  nothing around them.
* *PostgreSQL*: a run sends five statements (a look at the key; the claim; effect, completion and event), an `external`
  one four. *Bare SQLAlchemy Core* sends the very same constructs, recorded from a guarded run, with other values, a
  connection of the pool for each of the three transactions. *Bare psycopg* sends their text on one connection that it
  keeps: the difference between the two is SQLAlchemy's own. The cases take turns run by run, and a round's figure is
  its middle run. Commits are counted where SQLAlchemy sends them; the server's own transaction numbers say that
  completion, event and effect are of one.
* *Size*: the same operations on a table of 10,000 rows and of 1,000,000, in turns. Claims are timed without their
  commit (SQLite: with, `NORMAL`), so that no wait for the disk hides what size costs. A purge keeps up while it
  deletes more rows than are claimed meanwhile; every tenth row is due, anywhere in the table. On PostgreSQL and
  SQLite neither claims nor purge wait for the disk there; on MariaDB both do.
* *Normalisers* are microseconds of CPU time for one field as a request model reads it; the bound is absolute.
* *Threads* is throughput as a share of what the same threads reach without a guard.
* *Event loop* is how late a timer of 1 ms is woken; the figure is the difference between the two p99.9. Time
  in which the machine ran something else is left out, and the objects that the imports made are frozen
  (`gc.freeze`), as a server may do after its start.

## How far to trust it

A shared machine is noisy: a ratio near its bound may fall on either side of it in a single run, and the
durable cases depend on how long the disk takes to confirm a write at that moment: the slower it is, the less the guard
weighs, which is why the processor time of the client stands beside them. Interleaving and the
median take out most of this, not all; a wide bracket says that rounds were disturbed. Every round checks
its outcomes, effects and stored rows, so an error cannot pass for speed.
"""


def money(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cells(row: Row) -> tuple[str, ...]:
    cost = "" if row.cost is None else f"{money(row.cost)} {row.unit}"
    unit = row.figure_unit if row.figure_unit == "×" else f" {row.figure_unit}"
    figure = bound = ""
    if row.figure is not None:
        mid, low, high = row.figure
        figure = f"{money(mid)}{unit}" + ("" if low == high else f" ({money(low)} to {money(high)})")
    if row.bound is not None:
        bound = f"{'≥' if row.at_least else '≤'} {row.bound:g}{unit}"
    met = {None: "", True: "yes", False: "NO"}[row.met]
    return (
        row.group,
        row.case,
        cost,
        row.of,
        f"{figure}{'; ' if figure and row.note else ''}{row.note}",
        bound,
        met,
    )


def terminal(rows: list[Row]) -> str:
    lines = [HEADINGS, *map(cells, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADINGS))]
    padded = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def as_json(rows: list[Row]) -> str:
    return json.dumps([asdict(row) | {"met": row.met} for row in rows], indent=2, ensure_ascii=False)


def markdown(rows: list[Row]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(cells, rows)]
    return PAGE_TEXT.format(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        python=platform.python_version(),
        cpus=os.cpu_count(),
        sqlite=sqlite3.sqlite_version,
        libraries=", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        table="\n".join(f"| {' | '.join(line)} |" for line in lines),
    )


def write_page(rows: list[Row]) -> None:
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(markdown(rows), encoding="utf-8")
