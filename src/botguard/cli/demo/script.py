"""A script of one's own: a file with one JSON object a line, each a Telegram update or a neutral record.

Read strictly: what a line says and nobody would heed is an error with file, line and fix, before anything is run.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from botguard.cli.demo.updates import TOKEN, read
from botguard.errors import ConfigurationError
from botguard.invocation import Actor, Context
from botguard.outcome import Reason, Status

__all__ = ["Expected", "Step", "read_script"]

#: Stands where a record says nothing else.
DEMO = "demo"
_BESIDE_UPDATE = ("expect", "org", "roles")
_SHOWN = 60


class Expected(BaseModel):
    """How a line is to end: ``"succeeded"``, or ``{"status": …, "reason": …, "replayed": …}``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    status: str
    reason: str | None = None
    replayed: bool | None = None


def _spelt_out(value: Any) -> Any:
    return {"status": value} if isinstance(value, str) else value


_Expect = Annotated[Expected | None, BeforeValidator(_spelt_out)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    actor: str | None
    command: str | None = None
    payload: dict[str, Any] = {}
    confirm: str | None = None
    decline: str | None = None
    id: str | None = None
    org: str = DEMO
    person: str | None = None
    roles: list[str] = []
    channel: str = DEMO
    delivery: str | None = None
    address: str | None = None
    bot_class: str | None = None
    locale: str = "en"
    expect: _Expect = None
    note: str = ""


class _Beside(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    expect: _Expect = None
    org: str = DEMO
    roles: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line, ready to be run.

    ``words`` is what a chat user typed or pressed, where ``command`` is still to be found; ``answer`` is ``confirm`` or
    ``decline`` where the line answers the question that is kept under ``to``. A question that this line leads to is kept
    under ``asks_as``.
    """

    where: str
    line: int
    who: str
    sent: str
    context: Context
    command: str = ""
    payload: Any = None
    words: str = ""
    answer: str = ""
    to: Hashable = None
    asks_as: Hashable = None
    expected: Expected | None = None


def read_script(path: Path) -> list[Step]:
    """The steps of a script.

    Raises:
        ConfigurationError: BG195, if the file cannot be read; BG196, for the first line that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not written in UTF-8"
        raise ConfigurationError(
            "BG195", f"the script cannot be read: {why}", where=str(path), fix="name a file with one JSON object a line"
        ) from None
    steps: list[Step] = []
    asked: set[Hashable] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            steps.append(_Line(path.name, number).step(line, asked))
            asked.add(steps[-1].asks_as)
    if not steps:
        raise ConfigurationError(
            "BG195",
            "the script is empty",
            where=str(path),
            fix='write lines such as {"command": "orders.create", "actor": "ann"}',
        )
    return steps


class _Line:
    """Reads one line, and knows how to complain about it."""

    def __init__(self, file: str, number: int) -> None:
        self._where, self._number = f"{file}:{number}", number

    def wrong(self, what: str, fix: str) -> NoReturn:
        raise ConfigurationError("BG196", what, where=self._where, fix=fix) from None

    def step(self, text: str, asked: set[Hashable]) -> Step:
        data = self._json(text)
        try:
            step = self._of_update(data) if "update_id" in data else self._of_record(data)
        except ConfigurationError as error:
            if error.code == "BG196":
                raise
            self.wrong(error.what, error.fix or "give another one")
        if step.answer and step.to not in asked:
            self.wrong(
                "it answers a question that no line before it can lead to", 'give that line an "id", and name it here'
            )
        return step

    def _json(self, text: str) -> dict[str, Any]:
        try:
            data = json.loads(text, object_pairs_hook=self._once, parse_constant=self._no_number)
        except json.JSONDecodeError as error:
            self.wrong(f"no JSON: {error.msg} at character {error.pos + 1}", "write one whole JSON object on one line")
        except RecursionError:
            self.wrong("it is nested too deeply", "write a flat object")
        if not isinstance(data, dict):
            self.wrong(f"it is {_kind(data)}, not an object", "write one JSON object a line, with no list around them")
        return data

    def _once(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                self.wrong(f"{name!r} is there twice", "keep one of the two")
            found[name] = value
        return found

    def _no_number(self, text: str) -> NoReturn:
        self.wrong(f"{text} is no JSON", "write a number, a string or null")

    # -- neutral records ------------------------------------------------------------------------------------------

    def _of_record(self, data: dict[str, Any]) -> Step:
        try:
            record = _Record.model_validate(data)
        except ValidationError as error:
            self._invalid(error, list(_Record.model_fields))
        answer = next((name for name in ("confirm", "decline") if getattr(record, name) is not None), "")
        asked = [name for name in ("command", "confirm", "decline") if getattr(record, name) is not None]
        if len(asked) != 1:
            told = " and ".join(map(repr, asked)) or "neither a command nor an answer"
            self.wrong(f"it has {told}", 'write one of "command", "confirm" and "decline"')
        if answer and record.payload:
            self.wrong("an answer has no payload", 'drop "payload": what was asked is what will be done')
        sent = (
            f"{answer} {getattr(record, answer)}"
            if answer
            else " ".join([record.command or "", *_shown(record.payload)])
        )
        return Step(
            where=self._where,
            line=self._number,
            who=record.actor or "-",
            sent=sent if len(sent) <= _SHOWN else sent[: _SHOWN - 3] + "...",
            context=Context(
                org=record.org,
                actor=None if record.actor is None else Actor(record.actor, tuple(record.roles), person=record.person),
                channel=record.channel,
                delivery=record.delivery,
                address=record.address,
                bot_class=record.bot_class,
                locale=record.locale,
                correlation_id=self._where,
            ),
            command=record.command or "",
            payload=record.payload,
            answer=answer,
            to=("id", getattr(record, answer)) if answer else None,
            asks_as=("id", record.id) if record.id is not None else None,
            expected=self._expected(record.expect),
        )

    def _invalid(self, error: ValidationError, known: list[str]) -> NoReturn:
        errors = error.errors(include_url=False)
        first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
        path = [str(part) for part in first["loc"]]
        name = ".".join(path)
        if first["type"] == "extra_forbidden":
            known = list(Expected.model_fields) if len(path) > 1 else known
            near = difflib.get_close_matches(path[-1], known, n=1)
            self.wrong(
                f"there is no {name!r}", f"did you mean {near[0]!r}?" if near else f"it may have: {', '.join(known)}"
            )
        if first["type"] == "missing":
            self.wrong(
                f"it has no {name!r}", 'write "actor": "ann", or null for nobody' if name == "actor" else "add it"
            )
        if path[0] == "expect":
            self.wrong(
                f"{name!r} is no ending", 'write "expect": "succeeded", or {"status": "denied", "reason": "no_actor"}'
            )
        said = str(first["msg"]).replace("Input should be", "it should be")
        self.wrong(f"{name!r}: {said}", "see docs/how-to/demo-your-own.md for what each name takes")

    def _expected(self, expected: Expected | None) -> Expected | None:
        if expected is None:
            return None
        for name, known in (("status", list(Status)), ("reason", list(Reason))):
            value = getattr(expected, name)
            if value is not None and value not in known:
                near = difflib.get_close_matches(value, known, n=1)
                fix = f"did you mean {str(near[0])!r}?" if near else f"write one of: {', '.join(known)}"
                self.wrong(f"no call ends with the {name} {value!r}", fix)
        return expected

    # -- Telegram's updates ---------------------------------------------------------------------------------------

    def _of_update(self, data: dict[str, Any]) -> Step:
        try:
            beside = _Beside.model_validate(data)
        except ValidationError as error:
            self._invalid(error, list(_BESIDE_UPDATE))
        press = "callback_query" in data
        if not press and "message" not in data:
            self.wrong("this kind of update is not run", "take messages with text, and presses of buttons")
        message = "callback_query.message" if press else "message"
        sender = "callback_query.from" if press else "message.from"
        for path, kind in (
            ("update_id", int),
            (f"{message}.message_id", int),
            (f"{message}.chat.id", int),
            (f"{sender}.id", int),
            (f"{sender}.first_name", str),
            ("callback_query.data" if press else "message.text", str),
        ):
            self._present(data, path, kind)
        said = read(data, beside.org)
        actor = Actor(said.context.actor.id if said.context.actor else "", tuple(beside.roles))
        chat = ("chat", said.context.address)
        answers = {f"yes {TOKEN}": "confirm", f"no {TOKEN}": "decline"}
        answer = answers.get(said.words, "") if press else ""
        return Step(
            where=self._where,
            line=self._number,
            who=said.who,
            sent=said.shown[:_SHOWN],
            context=replace(said.context, actor=actor),
            words=said.words,
            answer=answer,
            to=chat if answer else None,
            asks_as=chat,
            expected=self._expected(beside.expect),
        )

    def _present(self, data: Any, path: str, kind: type) -> None:
        for name in path.split("."):
            data = data.get(name) if isinstance(data, dict) else None
        if type(data) is not kind:
            self.wrong(f"{path!r} is {_kind(data)}", "take the update as Telegram sends it (Bot API, Update)")


def _shown(payload: dict[str, Any]) -> list[str]:
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in payload.items()]


def _kind(value: Any) -> str:
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return kinds.get(type(value), "missing")
