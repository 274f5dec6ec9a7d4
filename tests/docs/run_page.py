"""Runs the Python blocks of one page in one namespace, in the present folder: ``run_page.py PAGE``.

A block may await at its top level. Errors name the page and its line. Shown output is compared.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import sys
from pathlib import Path
from typing import Any

from pages import Block, blocks


def main(page: Path) -> int:
    """Run what is to be run; 1 if a shown output differs from the real one."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.not_run:
            continue
        printed = run(block, page, names)
        if block.output is not None and printed.strip() != block.output.strip():
            sys.stderr.write(f"{page.name}:{block.line}: it printed\n{printed}\nand the page shows\n{block.output}\n")
            return 1
    return 0


def run(block: Block, page: Path, names: dict[str, Any]) -> str:
    """Run one block; returns what it printed."""
    padded = "\n" * (block.line - 1) + block.code
    code = compile(padded, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        waiting = eval(code, names)
        if inspect.iscoroutine(waiting):
            asyncio.run(waiting)
    return printed.getvalue()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
