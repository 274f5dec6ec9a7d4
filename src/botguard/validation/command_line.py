"""From a line in a chat to a payload, by the fields of the request model.

``/create A-17 SKU-9 "12 kg" phone="020 7946 0958"``: words fill the fields in the order of the model,
``name=value`` fills the field of that name. What does not fit is answered with the line as it should be;
nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, NoReturn, get_origin

from botguard.errors import ConfigurationError
from botguard.outcome import Detail
from botguard.validation.bounds import check_bounds
from botguard.validation.catalogue import invalid, label_of, problem, sentence
from botguard.validation.echo import echo, quoted
from botguard.validation.fields import Field, alternatives, choices_of, fields_of, holds_secret, sample_of
from botguard.validation.line_tokens import BadLine, Token, split_command, tokens

__all__ = ["parse_command_line", "usage"]

_MOST_WORDS = 256
_MOST_PROBLEMS = 10
_SHOWN_CHOICES = 6


class _Slot(NamedTuple):
    """A field as it appears on a line."""

    field: Field
    key: str
    many: bool
    positional: bool


def usage(model: Any, command: str, locale: str = "en") -> str:
    """The line as it should be: ``/create <order id> <sku> <quantity> [phone]``.

    Required fields are in <>, others in []; several words are "…"; a field that is only taken by name is
    "name=…".
    """
    return " ".join((f"/{command}" if command else "", *(_shown_slot(slot, locale) for slot in _slots(model)))).strip()


def parse_command_line(
    text: str, model: Any, *, command: str | None = None, max_length: int = 4096, locale: str = "en"
) -> dict[str, Any]:
    """The payload in a line, for the model to validate.

    Words in quotes (also typographic ones) are one value; a backslash makes a quote, a space or an equals
    sign ordinary. A list field takes all words that are left if it is the last, or ``name=`` several times.
    Enums and literals are recognised in any case where that is unambiguous; all other values stay text.
    Optional fields in front of required ones are taken by name only, and so is a list that is not the last.

    Args:
        text: the whole line, "/create …" or "/create@MyBot …"; with ``command``, only what follows it, as
            Slack sends it.
        model: the request model.
        command: the command's name in the usage line, where the text does not begin with it.
        max_length: characters.

    Raises:
        InvalidPayload: saying what is missing, too much, unknown or there twice, and how the line should be
            (a particular with the code ``usage``).
        ConfigurationError: BG183, if the model has required fields that no word can be.
    """
    slots = _slots(model)
    if len(text) > max_length:
        raise invalid(problem("too_large", locale))
    rest = text
    if command is None:
        found = split_command(text)
        if found is None:
            raise invalid(problem("not_a_command", locale))
        command, _, rest = found
    line = _Line(model, command, slots, locale)
    try:
        words = tokens(rest)
    except BadLine as bad:
        line.refuse(problem(bad.code, locale, value=line.repeated(bad.text)))
    if len(words) > _MOST_WORDS:
        line.refuse(problem("too_large", locale))
    payload = line.payload(words)
    beyond = check_bounds(payload, locale=locale)
    if beyond is not None:
        raise invalid(beyond)
    return payload


class _Line:
    """One line while it is read: what is filled, and what is wrong."""

    def __init__(self, model: Any, command: str, slots: Sequence[_Slot], locale: str) -> None:
        self._model, self._command, self._slots, self._locale = model, command, slots, locale
        self._filled: dict[str, Any] = {}
        #: Whether a field was filled by its name or by its place. As in a call of a function, a name does not shift
        #: the places: a word that is meant for one field never lands in another.
        self._how: dict[str, str] = {}
        self._problems: list[Detail] = []

    def payload(self, words: Sequence[Token]) -> dict[str, Any]:
        """What the words say.

        Raises:
            InvalidPayload: where they do not fit the model.
        """
        places = [slot for slot in self._slots if slot.positional]
        for word in words:
            if word.name:
                self._named(word)
            else:
                self._positional(word, places)
        for slot in self._slots:
            if slot.field.required and slot.key not in self._filled:
                self._missing(slot)
        if self._problems:
            self.refuse(*self._problems)
        return {slot.key: self._filled[slot.key] for slot in self._slots if slot.key in self._filled}

    def refuse(self, *problems: Detail) -> NoReturn:
        """Raise InvalidPayload with the problems and the usage line."""
        line = usage(self._model, self._command, self._locale)
        last = Detail("", "usage", sentence("usage", self._locale, usage=line))
        kept = problems[:_MOST_PROBLEMS]
        if len(problems) > len(kept):
            more = len(problems) - len(kept)
            kept = (*kept, Detail("", "more", sentence("more", self._locale, n=more)))
        raise invalid(*kept, last)

    def repeated(self, text: str) -> str:
        """A piece of the line in quotes; not if a field is secret, since it may be the second half of a password."""
        return ("" if holds_secret(self._model) else echo(text)) or sentence("this", self._locale)

    def _named(self, word: Token) -> None:
        slot = self._slot(word.name)
        if slot is None:
            hidden = holds_secret(self._model)
            near = "" if hidden else self._near(word.name)
            hint = sentence("hint.did_you_mean", self._locale, name=near) if near else ""
            label = sentence("this", self._locale).capitalize() if hidden else quoted(word.name)
            self._problems.append(problem("unknown_field", self._locale, hint=hint, label=label))
        else:
            self._fill(slot, word)

    def _positional(self, word: Token, places: list[_Slot]) -> None:
        if not places:
            hint = sentence("hint.quotes", self._locale)
            self._problems.append(problem("too_much", self._locale, value=self.repeated(word.value), hint=hint))
        else:
            self._fill(places[0] if places[0].many else places.pop(0), word)

    def _fill(self, slot: _Slot, word: Token) -> None:
        how = "name" if word.name else "place"
        before = self._how.setdefault(slot.key, how)
        value = _value(slot, word.value, self._locale)
        if slot.many and before == how:
            self._filled.setdefault(slot.key, []).append(value)
        elif slot.key in self._filled:
            self._problems.append(problem("given_twice", self._locale, field=slot.key, label=self._label(slot)))
        else:
            self._filled[slot.key] = value

    def _missing(self, slot: _Slot) -> None:
        example = sample_of(slot.field)
        hint = sentence("hint.like", self._locale, example=_as_word(example)) if example else ""
        self._problems.append(problem("missing", self._locale, field=slot.key, label=self._label(slot), hint=hint))

    def _label(self, slot: _Slot) -> str:
        return label_of(slot.field.name, slot.field.title, self._locale)

    def _slot(self, name: str) -> _Slot | None:
        wanted = name.replace("-", "_")
        for slot in self._slots:
            if wanted == slot.field.name or wanted in slot.field.sent_as:
                return slot
        folded = wanted.casefold()
        near = [s for s in self._slots if folded in {one.casefold() for one in (s.field.name, *s.field.sent_as)}]
        return near[0] if len(near) == 1 else None

    def _near(self, name: str) -> str:
        from difflib import get_close_matches

        return "".join(get_close_matches(name.casefold(), [slot.key for slot in self._slots], n=1, cutoff=0.75))


def _slots(model: Any) -> list[_Slot]:
    shapes = [(field, _shape(field)) for field in fields_of(model).values() if field.sent_as]
    for field, shape in shapes:
        if shape == "parts" and field.required:
            raise ConfigurationError(
                "BG183",
                f"{field.name!r} cannot be written as one word",
                where=getattr(model, "__name__", "model"),
                why="the line of a chat has words, and this field has parts of its own",
                fix="ask for it in a conversation, or give the field a default",
            )
    fields = [(field, shape == "many") for field, shape in shapes if shape != "parts"]
    last_required = max((i for i, (field, _) in enumerate(fields) if field.required), default=-1)
    slots = []
    for place, (field, many) in enumerate(fields):
        positional = (field.required or place > last_required) and (not many or place == len(fields) - 1)
        slots.append(_Slot(field, field.sent_as[0], many, positional))
    return slots


def _shape(field: Field) -> str:
    """How a field is written: "one" word, "many" words, or "parts" that no word can be."""
    shapes = set()
    for kind, _ in alternatives(field.annotation):
        origin = get_origin(kind) or kind
        own_parts = fields_of(kind) and getattr(kind, "rule", None) is None
        if own_parts or (isinstance(origin, type) and issubclass(origin, dict)):
            shapes.add("parts")
        elif (
            isinstance(origin, type)
            and issubclass(origin, Sequence | AbstractSet)
            and not issubclass(origin, str | bytes)
        ):
            shapes.add("many")
        else:
            shapes.add("one")
    return "one" if "one" in shapes else "many" if "many" in shapes else "parts"


def _value(slot: _Slot, text: str, locale: str) -> Any:
    """The member that a word means, where the field has choices; else the word, for the model to judge."""
    annotation = slot.field.annotation
    inner = [one for kind, _ in alternatives(annotation) for one in getattr(kind, "__args__", ())]
    choices = choices_of(annotation) or tuple(choice for one in inner for choice in choices_of(one))
    exact = [choice for choice in choices if str(choice) == text]
    near = exact or [choice for choice in choices if str(choice).casefold() == text.casefold()]
    if len(near) == 1:
        return near[0]
    if _is_yes_no(slot):
        words = {sentence("yes", locale): "yes", sentence("no", locale): "no"}
        return words.get(text.casefold(), text)
    return text


def _is_yes_no(slot: _Slot) -> bool:
    return any(kind is bool for kind, _ in alternatives(slot.field.annotation))


def _shown_slot(slot: _Slot, locale: str) -> str:
    name = (slot.field.title or slot.field.name.replace("_", " ")).strip().lower()
    choices = choices_of(slot.field.annotation)
    if choices and len(choices) <= _SHOWN_CHOICES:
        name = f"{name}: {'|'.join(str(choice) for choice in choices)}"
    elif _is_yes_no(slot):
        name = f"{name}: {sentence('yes', locale)}|{sentence('no', locale)}"
    name += "…" if slot.many else ""
    if not slot.positional:
        name = f"{slot.key}=<{name}>"
        return name if slot.field.required else f"[{name}]"
    return f"<{name}>" if slot.field.required else f"[{name}]"


def _as_word(example: str) -> str:
    return f'"{example}"' if " " in example else example
