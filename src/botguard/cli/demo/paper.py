"""Lines for people: plain where a file or a pipe takes them, tinted and broken to the width where a terminal does."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Self, TextIO

__all__ = ["BOLD", "DIM", "GREEN", "RED", "YELLOW", "Paper", "Progress", "own_command"]

GREEN, RED, YELLOW, BOLD, DIM = "32", "1;31", "33", "1", "2"
#: What is typed where a terminal shows the typographic sign.
_PLAIN = str.maketrans({"–": "-", "—": "-", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"', "→": "->", "×": "x"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: A last column narrower than this is not worth breaking lines for.
_NARROW = 24
#: Where text begins that stands below its row.
_INDENT = 16


def _visible(text: str) -> str:
    """What people and handlers wrote may hold control characters, and a terminal would obey them."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Paper:
    """Writes lines.

    Args:
        out: where to.
        colour: False: never colours. True: where ``out`` is a terminal and NO_COLOR is not set.
        progress: is taken off the screen before a line is written.
    """

    def __init__(self, out: TextIO, *, colour: bool, progress: Progress | None = None) -> None:
        terminal = out.isatty()
        self._out, self._progress = out, progress
        self._colour = colour and terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._plain = not terminal or not (out.encoding or "").lower().startswith("utf")
        self._width = shutil.get_terminal_size().columns if terminal else 0

    def line(self, text: str = "") -> None:
        """Write a line now."""
        if self._plain:
            text = text.translate(_PLAIN)
        # Half a character, which JSON can spell and UTF-8 cannot, would end the replay.
        text = text.encode("ascii" if self._plain else "utf-8", "backslashreplace").decode()
        if self._progress is not None:
            self._progress.clear()
        self._out.write(text + "\n")
        self._out.flush()

    def row(self, columns: list[tuple[str, int, str]], last: str, tint: str = "") -> None:
        """Write columns (text, width, tint) and then a text that may take several lines: beside them, or below them
        where the terminal is narrow."""
        last = _visible(last)
        columns = [(_visible(text), width, code) for text, width, code in columns]
        left = sum(width + 1 for _, width, _ in columns)
        head = "".join(self.tint(f"{text:<{width}}", code) + " " for text, width, code in columns)
        lines = [last]
        if self._width:
            below = self._width - left < min(_NARROW, len(last))
            left = _INDENT if below else left
            lines = textwrap.wrap(last, max(self._width - left, _NARROW), break_on_hyphens=False) or [""]
            if below:
                self.line(head.rstrip())
                head = " " * left
        self.line((head + self.tint(lines[0], tint)).rstrip())
        for more in lines[1:]:
            self.line(" " * left + self.tint(more, tint))

    def tint(self, text: str, code: str) -> str:
        """The text in a colour, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code and text else text


class Progress:
    """One line at the bottom of a terminal that says how far it is; nothing anywhere else."""

    def __init__(self, out: TextIO, *, wanted: bool = True) -> None:
        self._out = out if wanted and out.isatty() and os.environ.get("TERM") != "dumb" else None
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.clear()

    def show(self, number: int, of: int, title: str) -> None:
        """Replace what is shown."""
        if self._out is None:
            return
        width = shutil.get_terminal_size().columns
        done = "#" * round(10 * number / of)
        text = f"  [{done:<10}] {number}/{of}  {title}".encode("ascii", "replace").decode()
        self._out.write(f"\r\x1b[K{text[: width - 1]}")
        self._out.flush()
        self._shown = True

    def clear(self) -> None:
        """Take it off the screen."""
        if self._out is not None and self._shown:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._shown = False


def own_command() -> str:
    """How to call this again from here: the command may be in an environment that is not switched on."""
    if shutil.which("botguard"):
        return "botguard"
    python = Path(sys.executable)
    beside = python.with_name("botguard")
    command = beside if beside.exists() else python
    near = os.path.relpath(command) if command.is_relative_to(Path.cwd()) else str(command)
    return shlex.quote(near) + ("" if command is beside else " -m botguard")
