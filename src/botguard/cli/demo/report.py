"""The replay as text, line by line while it runs, and as one JSON object."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from typing import Any

from botguard.cli.demo.paper import BOLD, DIM, GREEN, RED, YELLOW, Paper, Progress, own_command
from botguard.cli.demo.replay import Answer, Entry, Promise, Replay

__all__ = ["Quiet", "Text", "as_data", "status_text", "tint_of"]

_TINTS = {
    "succeeded": GREEN,
    "in_flight": YELLOW,
    "pending": YELLOW,
    "throttled": YELLOW,
    "unavailable": YELLOW,
    "unknown": RED,
    "killed": RED,
    "failed": RED,
}
_TOTALS = {
    "updates": "different updates",
    "deliveries": "deliveries of them",
    "effects": "effects (orders, refunds, labels, reservations ...), counted where they happened",
    "duplicates_stopped": "duplicates stopped",
    "refused": "refused: mistakes, people who may not, a number used twice",
    "throttled": "slowed down: too many of them",
    "unavailable": "put off: the order system was down",
    "retries": "tries beyond the first",
    "killed": "processes killed",
    "unknown": "answers that say: nobody can know",
}


def tint_of(status: str) -> str:
    """The colour of an ending."""
    return _TINTS.get(status, "")


def status_text(answer: Answer, times: int = 1) -> str:
    """How it ended, in a few words."""
    text = answer.status
    if answer.replayed:
        text += ", again"
    elif answer.attempts > 1:
        text += f", {answer.attempts} tries"
    return text + (f", {times} times" if times > 1 else "")


class Quiet:
    """Tells a person at the terminal, beside the JSON on standard output, which scene is played."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def scene(self, number: int, of: int, title: str) -> None:
        """See the protocol."""
        self._progress.show(number, of, title)

    def entry(self, entry: Entry, times: int) -> None:
        """See the protocol."""

    def note(self, text: str) -> None:
        """See the protocol."""

    def promise(self, promise: Promise) -> None:
        """See the protocol."""


class Text:
    """Writes lines for people.

    Args:
        paper: where to.
        progress: the line below them.
        facts: also what was compared for each promise that was kept.
    """

    def __init__(self, paper: Paper, progress: Progress, *, facts: bool = False) -> None:
        self._paper, self._progress, self._facts = paper, progress, facts
        self._now = (0, 0, "")

    def opening(self, database: str) -> None:
        """What this is."""
        self._paper.row(
            [], "A day of a shop bot: recorded Telegram messages, and everything that goes wrong with them."
        )
        self._paper.line(f"Database: {database}")
        self._paper.row([], "Columns: seconds, who, what they sent ([...] is a button), how it ended, what they read.")

    def scene(self, number: int, of: int, title: str) -> None:
        """See the protocol."""
        self._now = (number, of, title)
        self._paper.line()
        self._paper.line(self._paper.tint(title, BOLD))
        self._progress.show(*self._now)

    def note(self, text: str) -> None:
        """See the protocol."""
        self._paper.row([("", 7, "")], f"({text})", DIM)
        self._progress.show(*self._now)

    def entry(self, entry: Entry, times: int) -> None:
        """See the protocol."""
        answer = entry.answer
        columns = [
            (f"  {entry.after:5.2f}", 8, DIM),
            (entry.who, 6, ""),
            (entry.sent, 24, ""),
            (status_text(answer, times), 20, tint_of(answer.status)),
        ]
        self._paper.row(columns, " ".join(answer.message.split()))
        self._progress.show(*self._now)

    def promise(self, promise: Promise) -> None:
        """See the protocol."""
        _promise(self._paper, promise, facts=self._facts)
        self._progress.show(*self._now)

    def closing(self, replay: Replay, kept_at: str | None) -> None:
        """Totals, what was broken, and what to try next."""
        paper = self._paper
        paper.line()
        paper.line(paper.tint("In numbers", BOLD))
        for name, number in replay.totals().items():
            paper.line(f"  {number:5}  {_TOTALS[name]}")
        paper.line()
        broken = [promise for promise in replay.promises if not promise.kept]
        count = len(replay.promises)
        for promise in broken:
            _promise(paper, promise, facts=True)
        verdict = f"{len(broken)} of {count} promises BROKEN" if broken else f"All {count} promises kept"
        paper.line(paper.tint(f"{verdict}, in {replay.elapsed:.1f} s.", RED if broken else GREEN))
        _next(paper, kept_at)


def _promise(paper: Paper, promise: Promise, *, facts: bool) -> None:
    word = ("  kept", 8, GREEN) if promise.kept else ("  BROKEN", 8, RED)
    paper.row([word], promise.says + ("" if promise.kept else f" [{promise.name}]"))
    if not facts and promise.kept:
        return
    for fact, expected in promise.expected.items():
        found = promise.found[fact]
        text = f"{fact}: expected {_shown(expected)}"
        same = expected == found
        paper.row(
            [("", 8, "")], text + ("; found the same" if same else f"; found {_shown(found)}"), DIM if same else RED
        )


def _next(paper: Paper, kept_at: str | None) -> None:
    botguard = own_command()
    tries = [
        (f"{botguard} demo --facts", "what was compared for each promise"),
        (f"{botguard} demo --json", "the same for a script"),
        (f"{botguard} demo --database shop.db", "keep the file and look inside"),
        (f"{botguard} demo --app shop:guard --script day.jsonl", "your own bot: docs/how-to/demo-your-own.md"),
    ]
    if kept_at is not None:
        query = "SELECT command, actor, status, reasons, attempts FROM botguard_events"
        tries[2:3] = [
            (f'sqlite3 {shlex.quote(kept_at)} "{query}"', "who asked for what, and how it ended"),
            (f"cat {shlex.quote(kept_at + '.effects.jsonl')}", "what happened outside, in the order system"),
        ]
    paper.line()
    paper.line(paper.tint("Next", BOLD))
    for command, what in tries:
        paper.line(f"  {command}")
        paper.line(paper.tint(f"      {what}", DIM))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{number} {name}" for name, number in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value) or "none"
    return str(value)


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
