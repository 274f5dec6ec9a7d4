"""The documentation taken apart: the Python blocks of a page, what is shown as their output, and why some are not run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
_NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<reason>.+?) -->\s*$")
_OUTPUT = re.compile(r"^\s*<!-- output -->\s*$")


class Block(NamedTuple):
    """One Python block. ``output`` is the text block marked ``<!-- output -->`` after it, or None."""

    line: int  # of its first line of code
    code: str
    not_run: str
    output: str | None


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The page's Python blocks, in order."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            at += 1
            continue
        start = at + 1
        end = next(n for n in range(start, len(lines)) if lines[n].strip() == "```")
        before = lines[at - 1] if at else ""
        text = textwrap.dedent("\n".join(lines[start:end]))
        if fence["language"] == "python":
            reason = _NOT_RUN.match(before)
            found.append(Block(start + 1, text, reason["reason"] if reason else "", None))
        elif _OUTPUT.match(before):
            found[-1] = found[-1]._replace(output=text)
        at = end + 1
    return found
