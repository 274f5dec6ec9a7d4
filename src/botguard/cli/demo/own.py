"""``botguard demo --app module:guard --script day.jsonl``: a script's lines, one after the other, on the host's guard."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import inspect
import json
import sys
import time
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

from botguard.cli.demo.paper import BOLD, DIM, GREEN, RED, Paper, Progress
from botguard.cli.demo.replay import Answer, answer_to
from botguard.cli.demo.report import status_text, tint_of
from botguard.cli.demo.script import Expected, Step
from botguard.command import Declaration
from botguard.errors import ConfigurationError, InvalidPayload
from botguard.guard import Guard
from botguard.outcome import Outcome, Reason, Status
from botguard.validation import parse_command_line

__all__ = ["FINDINGS", "STORE_DOWN", "Played", "check_commands", "run_script"]

FINDINGS, STORE_DOWN = 1, 3


@dataclass(frozen=True, slots=True)
class Played:
    """A line and what became of it; ``error`` is what a chat user never reads and a developer wants to know."""

    step: Step
    answer: Answer
    error: str = ""

    @property
    def kept(self) -> bool:
        """True if it ended as expected, or nothing was expected."""
        expected, answer = self.step.expected, self.answer
        return expected is None or (
            expected.status == answer.status
            and expected.reason in (None, *answer.reasons)
            and expected.replayed in (None, answer.replayed)
        )

    @property
    def store_down(self) -> bool:
        """True if a store could not be reached, and that was not what the script is about."""
        return Reason.STORE_UNAVAILABLE in self.answer.reasons and (self.step.expected is None or not self.kept)


def run_script(
    guard: Guard, steps: list[Step], *, app: str, script: str, as_json: bool = False, colour: bool = True
) -> int:
    """Run the steps and report.

    Returns:
        0; 1 if a line ended otherwise than expected; 3 if a store could not be reached.

    Raises:
        ConfigurationError: BG196, for a line whose command cannot be run; nothing was run if no command has its name.
    """
    check_commands(guard, steps)
    began = time.monotonic()
    progress = Progress(sys.stderr, wanted=as_json or sys.stdout.isatty())
    paper = Paper(sys.stdout, colour=colour, progress=progress)
    table = _Table(paper, steps)
    if not as_json:
        table.opening(app, script)
    played: list[Played] = []
    with progress, _Runner(guard, quiet=as_json) as runner:
        for number, step in enumerate(steps, 1):
            progress.show(number, len(steps), step.sent)
            played.append(runner.play(step))
            if not as_json:
                table.row(played[-1])
    seconds = time.monotonic() - began
    if as_json:
        print(json.dumps(_as_data(played, app, script, seconds), indent=2))
    else:
        table.closing(played, seconds)
    if any(line.store_down for line in played):
        return STORE_DOWN
    return 0 if all(line.kept for line in played) else FINDINGS


def check_commands(guard: Guard, steps: Iterable[Step]) -> None:
    """A command that nobody has declared is most likely misspelt, unless the line expects that it is refused.

    Raises:
        ConfigurationError: BG196, for the first such line.
    """
    names = [declaration.command.name for declaration in guard.registry]
    for step in steps:
        refused = step.expected is not None and step.expected.status == Status.DENIED
        if step.command and step.command not in names and not refused:
            near = difflib.get_close_matches(step.command, names, n=1)
            raise ConfigurationError(
                "BG196",
                f"the guard has no command {step.command!r}",
                where=step.where,
                fix=f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(names) or 'none'}",
            )


class _Runner:
    """Runs steps on a guard: sync commands here, async ones on one event loop for the whole script."""

    def __init__(self, guard: Guard, *, quiet: bool) -> None:
        self._guard, self._quiet = guard, quiet
        self._loop = asyncio.Runner()
        #: What was asked and not answered yet: the token and the command that waits for it.
        self._asked: dict[Hashable, tuple[str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.close()

    def play(self, step: Step) -> Played:
        """Run one step.

        Raises:
            ConfigurationError: with the line, where the wiring fails only when it is used.
        """
        try:
            # What handlers print would end up in the middle of the JSON.
            with contextlib.redirect_stdout(sys.stderr) if self._quiet else contextlib.nullcontext():
                outcome = self._outcome(step)
        except ConfigurationError as error:
            where = f"{step.where}: {error.where}" if error.where else step.where
            raise ConfigurationError(error.code, error.what, where=where, why=error.why, fix=error.fix) from error
        except SystemExit as error:  # its code would pass for the script's own: 0, and no line after it was run
            raise ConfigurationError(
                "BG196",
                f"the handler ended the process (SystemExit: {error.code})",
                where=step.where,
                why="no line after it can be run",
                fix="put a test double in the place of what calls sys.exit()",
            ) from error
        if outcome.confirmation is not None and step.asks_as is not None:
            self._asked[step.asks_as] = (outcome.confirmation.token, outcome.confirmation.command)
        raised = outcome.error
        told = f"{type(raised).__name__}: {raised}" if raised is not None else ""
        return Played(step, answer_to(outcome, step.context.locale), told)

    def _outcome(self, step: Step) -> Outcome:
        if step.answer:
            return self._answered(step)
        command, payload = step.command, step.payload
        if step.words:
            word, _, rest = step.words.partition(" ")
            declared = _named(self._guard, word.removeprefix("/").partition("@")[0])
            command = declared.command.name if declared is not None else word.removeprefix("/") or "?"
            try:
                payload = _payload(declared, command, rest)
            except InvalidPayload as error:
                return error.outcome
        if self._waits(command):
            return self._loop.run(self._guard.run_async(command, payload, context=step.context))
        return self._guard.run(command, payload, context=step.context)

    def _answered(self, step: Step) -> Outcome:
        # A question that was never asked is answered with a token that nobody has, as somebody who guesses would.
        token, command = self._asked.get(step.to, ("not-asked", ""))
        if self._waits(command):
            answer = self._guard.confirm_async if step.answer == "confirm" else self._guard.decline_async
            return self._loop.run(answer(token, context=step.context))
        say = self._guard.confirm if step.answer == "confirm" else self._guard.decline
        return say(token, context=step.context)

    def _waits(self, command: str) -> bool:
        """True for what only an event loop can run. Sync handlers stay in this thread, which may own what they use."""
        declared = self._guard.registry.get(command)
        if declared is None:
            return self._guard.storage.colour == "async"
        return inspect.iscoroutinefunction(declared.function)


def _named(guard: Guard, word: str) -> Declaration | None:
    """The command behind ``/orders.create`` or, since a chat takes no dots, ``/orders_create``."""
    wanted = word.casefold()
    for declaration in guard.registry:
        name = declaration.command.name
        if wanted in (name, name.replace(".", "_").replace("-", "_")):
            return declaration
    return None


def _payload(declared: Declaration | None, command: str, rest: str) -> Any:
    if declared is None:
        return {}
    declared.shape.resolve()
    model = declared.shape.model
    if model is None:  # it takes plain data
        return {"text": rest} if rest else {}
    return parse_command_line(rest, model, command=command.replace(".", "_"))


class _Table:
    """The lines as text."""

    def __init__(self, paper: Paper, steps: list[Step]) -> None:
        self._paper = paper
        self._who = max(len(step.who) for step in steps)
        self._sent = max(len(step.sent) for step in steps)

    def opening(self, app: str, script: str) -> None:
        """What this is."""
        self._paper.row([], f"{script} on {app}. The handlers are the real ones: what they do is done.")
        self._paper.row([], "Columns: line, who, what they sent ([...] is a button), how it ended, what they read.")
        self._paper.line()

    def row(self, played: Played) -> None:
        """One line of the script."""
        step, answer = played.step, played.answer
        columns = [
            (f"{step.line:4}", 5, DIM),
            (step.who, self._who, ""),
            (step.sent, self._sent, ""),
            (status_text(answer), 20, tint_of(answer.status)),
        ]
        self._paper.row(columns, " ".join(answer.message.split()))
        if played.error:
            self._paper.row([("", 7, "")], f"({' '.join(played.error.split())})", DIM)
        if not played.kept and step.expected is not None:
            self._paper.row([("  BROKEN", 8, RED)], f"expected {_told(step.expected)}; found {_found(answer)}", RED)

    def closing(self, played: list[Played], seconds: float) -> None:
        """Totals and the verdict."""
        paper = self._paper
        paper.line()
        paper.line(paper.tint("In numbers", BOLD))
        for name, number in _totals(played).items():
            paper.line(f"  {number:5}  {name.replace('_', ' ')}")
        paper.line()
        expected = [line for line in played if line.step.expected is not None]
        broken = sum(1 for line in expected if not line.kept)
        if any(line.store_down for line in played):
            text = "The store could not be reached"
        elif broken:
            text = f"{broken} of {len(expected)} expectations BROKEN"
        elif expected:
            text = f"All {len(expected)} expectations kept"
        else:
            text = 'Nothing was expected (add "expect": "succeeded" to a line)'
        good = not broken and not any(line.store_down for line in played)
        paper.line(paper.tint(f"{text}, in {seconds:.1f} s.", GREEN if good else RED))


def _told(expected: Expected) -> str:
    more = [expected.reason] if expected.reason is not None else []
    if expected.replayed is not None:
        more.append("again" if expected.replayed else "not again")
    return expected.status + (f" ({', '.join(more)})" if more else "")


def _found(answer: Answer) -> str:
    more = [*answer.reasons, *(["again"] if answer.replayed else [])]
    return answer.status + (f" ({', '.join(more)})" if more else "")


def _totals(played: list[Played]) -> dict[str, int]:
    statuses = Counter(line.answer.status for line in played)
    return {
        "lines": len(played),
        **{str(status): statuses[status] for status in Status if statuses[status]},
        "duplicates_stopped": sum(1 for line in played if line.answer.replayed or line.answer.status == "in_flight"),
        "tries_beyond_the_first": sum(max(0, p.answer.attempts - 1) for p in played if not p.answer.replayed),
    }


def _as_data(played: list[Played], app: str, script: str, seconds: float) -> dict[str, Any]:
    lines = []
    for one in played:
        step, answer = one.step, asdict(one.answer)
        del answer["token"]
        expected = step.expected.model_dump(exclude_none=True) if step.expected is not None else None
        told = {"line": step.line, "who": step.who, "sent": step.sent}
        lines.append({**told, **answer, "error": one.error, "expected": expected, "kept": one.kept})
    return {
        "kept": all(line.kept for line in played),
        "app": app,
        "script": script,
        "seconds": round(seconds, 3),
        "totals": _totals(played),
        "lines": lines,
    }
