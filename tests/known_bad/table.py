"""The table of known-bad stores: what it should be, and how it is written down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from known_bad import (  # noqa: F401 - each enters its stores
    approvals,
    asynchronous,
    claims_clocks,
    claims_leases,
    claims_purging,
    claims_settling,
    claims_winning,
    cut_off,
    events,
    limits,
)
from known_bad.harness import SUITES, failing, suite_of
from known_bad.register import KNOWN_BAD

__all__ = ["KNOWN_BAD", "PAGE", "fault", "read", "rendered"]

PAGE = Path(__file__).with_name("TABLE.md")

_HEAD = """# Known-bad stores

Each is right but for one thing. The named test was made for it, or it for the test; the others fail as well. Tests in
which chance has a part are named, and not counted among the others. Written by `python -m known_bad` with `tests` on
the path, and compared with what happens by `test_known_bad.py`.
"""


def rendered() -> str:
    """The page, from what happens now."""
    lines = [_HEAD]
    for suite in SUITES.values():
        lines += [
            f"## {suite.__name__}",
            "",
            "| store | what is wrong | must fail | fails as well |",
            "|---|---|---|---|",
        ]
        stores = sorted((s for s in KNOWN_BAD if suite_of(s) is suite), key=lambda store: store.__name__)
        lines += [_row(store) for store in stores] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _row(store: type[Any]) -> str:
    named = KNOWN_BAD[store]
    others = sorted(failing(store) - set(named))
    return f"| {store.__name__} | {fault(store)} | {_listed(named)} | {_listed(others)} |"


def fault(store: type[Any]) -> str:
    """What is wrong, in a sentence: the class's own, or its name."""
    own = vars(store).get("__doc__") or ""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", store.__name__).capitalize()
    return " ".join(own.split()).rstrip(".") or words


def _listed(tests: Any) -> str:
    return "<br>".join(test.removeprefix("test_") for test in tests)


def read() -> dict[str, tuple[set[str], set[str]]]:
    """The page as it stands: store -> the tests named, and the others."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 4 and cells[0] not in ("store", "---"):
            named, others = ({f"test_{test}" for test in cell.split("<br>") if test} for cell in cells[2:])
            found[cells[0]] = named, others
    return found
