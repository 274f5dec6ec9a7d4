"""One replay: delivers updates, writes the timeline, and compares what was promised with what is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any, Protocol

from botguard.cli.demo.erp import go_on
from botguard.cli.demo.shop import Shop
from botguard.cli.demo.updates import Updates, numbered, read
from botguard.outcome import Outcome

__all__ = ["Answer", "Entry", "Listener", "Promise", "Replay", "answer_to", "statuses"]

#: Seconds after which a child process that says nothing is given up.
PATIENCE = 20.0
#: Seconds for which a delivery that is held up waits to be overtaken.
HELD = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one delivery.

    ``command`` is empty where no command was called; ``token`` is the button's, where the bot asked for a yes.
    """

    status: str
    command: str = ""
    reasons: tuple[str, ...] = ()
    message: str = ""
    attempts: int = 0
    replayed: bool = False
    event_id: str = ""
    retry_after: float | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline; ``after`` is in seconds since the start."""

    after: float
    scene: str
    update_id: int
    who: str
    sent: str
    process: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Promise:
    """Something the bot promised, with what was expected and what was found."""

    name: str
    says: str
    expected: Mapping[str, Any]
    found: Mapping[str, Any]

    @property
    def kept(self) -> bool:
        """True if everything is as expected."""
        return self.expected == self.found


class Listener(Protocol):
    """Is told what happens, while it happens."""

    def scene(self, number: int, of: int, title: str) -> None:
        """A new scene begins: which of how many."""
        ...

    def entry(self, entry: Entry, times: int) -> None:
        """An update was answered, or its process killed; so often in the same words, one after the other."""
        ...

    def promise(self, promise: Promise) -> None:
        """Something that was promised was looked at."""
        ...

    def note(self, text: str) -> None:
        """Something happened beside the chat."""
        ...


def answer_to(outcome: Outcome, locale: str) -> Answer:
    """An outcome, as the timeline keeps it."""
    return Answer(
        status=str(outcome.status),
        command=outcome.command,
        reasons=tuple(str(reason) for reason in outcome.reasons),
        message=outcome.message(locale),
        attempts=outcome.attempts,
        replayed=outcome.replayed,
        event_id=outcome.event_id,
        retry_after=outcome.retry_after,
        token=outcome.confirmation.token if outcome.confirmation is not None else "",
    )


def statuses(answers: Sequence[Answer]) -> list[str]:
    """How each ended."""
    return [answer.status for answer in answers]


def _was_killed(child: subprocess.CompletedProcess[str]) -> bool:
    if hasattr(signal, "SIGKILL"):
        return child.returncode == -signal.SIGKILL
    return child.returncode == signal.SIGTERM and not child.stdout  # Windows: the number given to TerminateProcess


class Replay:
    """Delivers to one shop and remembers everything.

    Args:
        shop: the bot in this process.
        database: its file, for bots in other processes.
        effects: the order system's file, likewise.
        listener: is told of every line as it is written.
    """

    def __init__(self, shop: Shop, database: Path, effects: Path, listener: Listener) -> None:
        self.shop, self.erp, self.updates = shop, shop.erp, Updates()
        self._files = {"database": str(database), "effects": str(effects)}
        self._listener = listener
        self._started = time.monotonic()
        self._scene = ""
        self.timeline: list[Entry] = []
        self.promises: list[Promise] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def scene(self, number: int, of: int, title: str) -> None:
        """Begin a scene."""
        self._scene = title
        self._listener.scene(number, of, title)

    def note(self, text: str) -> None:
        """Tell of something that happened beside the chat."""
        self._listener.note(text)

    def promise(self, name: str, says: str, facts: Mapping[str, tuple[Any, Any]]) -> None:
        """Compare: ``facts`` maps what was looked at to what was expected and what was found."""
        expected = {fact: pair[0] for fact, pair in facts.items()}
        found = {fact: pair[1] for fact, pair in facts.items()}
        self.promises.append(Promise(name, says, expected, found))
        self._listener.promise(self.promises[-1])

    def later(self, seconds: float) -> None:
        """Set the bot's clock ahead, so that nobody has to wait."""
        self.shop.clock.ahead += seconds
        self.note(f"{seconds:.0f} s later, by the bot's clock")

    def say(self, words: str, nth: int = 0, *, by: str = "") -> Answer:
        """Deliver the recorded update with these words."""
        return self.deliver(self.updates.said(words, nth, by=by))

    def deliver(self, update: Mapping[str, Any]) -> Answer:
        """Deliver an update to the bot in this process."""
        answer = self._answered(update)
        self._write(update, "bot", [answer])
        return answer

    def _answered(self, update: Mapping[str, Any]) -> Answer:
        said = read(update)
        return answer_to(self.shop.handle(said), said.context.locale)

    def flood(self, update: Mapping[str, Any], most: int, until: str = "") -> list[Answer]:
        """Deliver a message as somebody sends it again and again: each time a new one, until an answer has a status."""
        answers: list[Answer] = []
        while len(answers) < most and not (answers and answers[-1].status == until):
            answers.append(self._answered(numbered(update, len(answers))))
        self._write(update, "bot", answers)
        return answers

    def overtaken(self, update: Mapping[str, Any]) -> list[Answer]:
        """Deliver an update twice. The second is through while the first still looks at the shelves."""
        looking, overtaken = Event(), Event()

        def held_up() -> None:
            self.erp.on_look = go_on  # the other one is not
            looking.set()
            overtaken.wait(HELD)

        self.erp.on_look = held_up
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(self._answered, update)
            looking.wait(HELD)
            second = self._answered(update)
            overtaken.set()
            answers = [second, first.result()]
        self.erp.on_look = go_on
        self._write(update, "bot", answers)
        return answers

    def at_once(self, update: Mapping[str, Any], times: int) -> list[Answer]:
        """Deliver one update several times at the same moment."""
        gate = Barrier(times)

        def one(_: int) -> Answer:
            gate.wait(PATIENCE)
            return self._answered(update)

        with ThreadPoolExecutor(times) as threads:
            answers = list(threads.map(one, range(times)))
        self._write(update, "bot", answers)
        return answers

    def killed_after_effect(self, sayings: Sequence[str]) -> list[Answer]:
        """Deliver each to a bot in a process of its own, which is killed right after the effect."""
        updates = [self.updates.said(words) for words in sayings]
        tasks = [{"updates": [update["update_id"]], "kill": True, "ahead": self.shop.clock.ahead} for update in updates]
        with ThreadPoolExecutor(len(tasks)) as threads:
            children = list(threads.map(self._child, tasks))
        answers = []
        for update, child in zip(updates, children, strict=True):
            told = (child.stderr.strip().splitlines() or ["it came to its end"])[-1]
            answers.append(Answer("killed") if _was_killed(child) else Answer("not killed", message=told))
            self._write(update, "killed", answers[-1:])
        return answers

    def restarted(self, sayings: Sequence[str], ahead: float) -> list[Answer]:
        """Deliver to a bot in a new process, by whose clock it is ``ahead`` seconds later."""
        updates = [self.updates.said(words) for words in sayings]
        ahead += self.shop.clock.ahead
        child = self._child({"updates": [u["update_id"] for u in updates], "kill": False, "ahead": ahead})
        if child.returncode != 0:
            raise RuntimeError(f"the restarted process ended with {child.returncode}: {child.stderr.strip()[-300:]}")
        answers = [Answer(**{**told, "reasons": tuple(told["reasons"])}) for told in json.loads(child.stdout)]
        for update, answer in zip(updates, answers, strict=True):
            self._write(update, "restarted", [answer])
        return answers

    def _child(self, task: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        source = str(Path(__file__).parents[3])  # this very botguard, installed or not
        known = os.environ.get("PYTHONPATH")
        return subprocess.run(
            [sys.executable, "-P", "-m", "botguard.cli.demo.child"],
            input=json.dumps({**task, **self._files}),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
            env={**os.environ, "PYTHONPATH": source + (os.pathsep + known if known else ""), "PYTHONUTF8": "1"},
        )

    def _write(self, update: Mapping[str, Any], process: str, answers: Sequence[Answer]) -> None:
        """Write a line for each answer; what reads the same is told once, with its number."""
        said = read(update)
        told: dict[Answer, list[Entry]] = {}
        for answer in answers:
            entry = Entry(self.elapsed, self._scene, update["update_id"], said.who, said.shown, process, answer)
            self.timeline.append(entry)
            told.setdefault(replace(answer, event_id="", retry_after=None), []).append(entry)
        for alike in told.values():
            self._listener.entry(alike[0], len(alike))

    def totals(self) -> dict[str, int]:
        """The numbers of the whole replay. Effects are counted where they happened, not in the guard's tables."""
        answers = [entry.answer for entry in self.timeline]

        def count(test: Callable[[Answer], bool]) -> int:
            return sum(1 for answer in answers if test(answer))

        return {
            "updates": len({entry.update_id for entry in self.timeline}),
            "deliveries": len(answers),
            "effects": len(self.erp.effects()) + self.shop.reservations(),
            "duplicates_stopped": count(lambda a: a.replayed or a.status == "in_flight"),
            "refused": count(lambda a: a.status in ("invalid", "denied", "conflict")),
            "throttled": count(lambda a: a.status == "throttled"),
            "unavailable": count(lambda a: a.status == "unavailable"),
            "retries": sum(max(0, a.attempts - 1) for a in answers if not a.replayed),
            "killed": count(lambda a: a.status == "killed"),
            "unknown": count(lambda a: a.status == "unknown"),
        }
