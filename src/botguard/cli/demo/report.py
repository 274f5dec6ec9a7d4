"""The replay as text, line by line while it runs, and as one JSON object."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from botguard.cli.demo.replay import Entry, Promise, Replay

__all__ = ["Quiet", "Text", "as_data"]

_GREEN, _RED, _YELLOW, _BOLD, _DIM = "32", "1;31", "33", "1", "2"
_TINTS = {
    "succeeded": _GREEN,
    "in_flight": _YELLOW,
    "pending": _YELLOW,
    "unknown": _RED,
    "killed": _RED,
    "failed": _RED,
}
#: What is typed where a terminal shows the typographic sign.
_PLAIN = str.maketrans({"–": "-", "—": "-", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"', "→": "->", "×": "x"})
_TOTALS = {
    "updates": "different updates",
    "deliveries": "deliveries of them",
    "effects": "effects (orders, refunds, couriers, reservations), counted where they happened",
    "duplicates_stopped": "duplicates stopped",
    "refused": "refused: mistakes, people who may not, a number used twice",
    "unavailable": "put off: the order system was down",
    "retries": "tries beyond the first",
    "killed": "processes killed",
    "unknown": "answers that say: nobody can know",
}


class Quiet:
    """Tells a person at the terminal, beside the JSON on standard output, which scene is played."""

    def __init__(self, out: TextIO) -> None:
        self._out = out if out.isatty() else None

    def scene(self, title: str) -> None:
        """See the protocol."""
        if self._out is not None:
            self._out.write(f"{title}\n")
            self._out.flush()

    def entry(self, entry: Entry) -> None:
        """See the protocol."""

    def note(self, text: str) -> None:
        """See the protocol."""


class Text:
    """Writes lines for people.

    Args:
        out: where to.
        colour: False: never colours. True: where ``out`` is a terminal and NO_COLOR is not set.
    """

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        terminal = out.isatty()
        self._out = out
        self._colour = colour and terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._plain = not terminal or not (out.encoding or "").lower().startswith("utf")

    def line(self, text: str = "") -> None:
        """Write a line now."""
        if self._plain:
            text = text.translate(_PLAIN).encode("ascii", "backslashreplace").decode("ascii")
        self._out.write(text + "\n")
        self._out.flush()

    def _tint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text

    def scene(self, title: str) -> None:
        """See the protocol."""
        self.line()
        self.line(self._tint(title, _BOLD))

    def note(self, text: str) -> None:
        """See the protocol."""
        self.line(self._tint(f"          ({text})", _DIM))

    def entry(self, entry: Entry) -> None:
        """See the protocol."""
        answer = entry.answer
        status = answer.status
        if answer.replayed:
            status += ", again"
        elif answer.attempts > 1:
            status += f", {answer.attempts} tries"
        first, *rest = answer.message.splitlines() or [""]
        tinted = self._tint(f"{status:<20}", _TINTS.get(answer.status, ""))
        self.line(f"  {entry.after:5.2f} s  {entry.who:<6} {entry.sent:<23} {tinted} {first}".rstrip())
        for more in rest:
            self.line(" " * 63 + more)

    def opening(self, database: str) -> None:
        """What this is."""
        self.line("A day of a shop bot: recorded Telegram messages, and everything that goes wrong with them.")
        self.line(f"Database: {database}")
        self.line("Columns: time, who, what they sent ([...] is a button), status, what they read.")

    def closing(self, replay: Replay, kept_at: str | None) -> None:
        """Totals, promises and what to try next."""
        self.line()
        self.line(self._tint("In numbers", _BOLD))
        for name, number in replay.totals().items():
            self.line(f"  {number:5}  {_TOTALS[name]}")
        self.line()
        self.line(self._tint("Promises", _BOLD))
        for promise in replay.promises:
            self._promise(promise)
        broken = sum(1 for promise in replay.promises if not promise.kept)
        count = len(replay.promises)
        self.line()
        verdict = f"{broken} of {count} promises BROKEN" if broken else f"All {count} promises kept"
        self.line(self._tint(f"{verdict}, in {replay.elapsed:.1f} s.", _RED if broken else _GREEN))
        self._next(kept_at)

    def _promise(self, promise: Promise) -> None:
        word = self._tint("kept  ", _GREEN) if promise.kept else self._tint("BROKEN", _RED)
        self.line(f"  {word}  {promise.says}" + ("" if promise.kept else f" [{promise.name}]"))
        for fact, expected in promise.expected.items():
            found = promise.found[fact]
            text = f"          {fact}: expected {_shown(expected)}"
            if expected == found:
                self.line(self._tint(f"{text}; found the same", _DIM))
            else:
                self.line(self._tint(f"{text}; found {_shown(found)}", _RED))

    def _next(self, kept_at: str | None) -> None:
        self.line()
        self.line(self._tint("Next", _BOLD))
        botguard = _own_command()
        if kept_at is None:
            self.line(f"  {botguard} demo --database shop.db")
            self.line("      keep the file and look inside")
        else:
            query = "SELECT command, actor, status, reasons, attempts FROM botguard_events"
            self.line(f'  sqlite3 {shlex.quote(kept_at)} "{query}"')
            self.line("      who asked for what, and how it ended")
            self.line(f"  cat {shlex.quote(kept_at + '.effects.jsonl')}")
            self.line("      what happened outside, in the order system")
        self.line(f"  {botguard} demo --json")
        self.line("      the same for a script")


def _own_command() -> str:
    """How to call this again from here: the command may be in an environment that is not switched on."""
    if shutil.which("botguard"):
        return "botguard"
    near = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    return f"{shlex.quote(near)} -m botguard"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def as_data(replay: Replay, database: str | None) -> dict[str, Any]:
    """Everything as plain data; tokens of buttons are left out."""
    timeline = []
    for entry in replay.timeline:
        answer = asdict(entry.answer)
        del answer["token"]
        fields = {name: getattr(entry, name) for name in ("scene", "update_id", "who", "sent", "process")}
        timeline.append({"after": round(entry.after, 3), **fields, **answer})
    promises = [
        {"name": p.name, "says": p.says, "kept": p.kept, "expected": dict(p.expected), "found": dict(p.found)}
        for p in replay.promises
    ]
    return {
        "kept": all(promise.kept for promise in replay.promises),
        "database": database,
        "seconds": round(replay.elapsed, 3),
        "python": sys.version.split()[0],
        "totals": replay.totals(),
        "promises": promises,
        "timeline": timeline,
    }
