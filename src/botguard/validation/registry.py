"""Request models and further checks by command name, and validation by them without a guard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from botguard.errors import ConfigurationError, InvalidPayload
from botguard.outcome import Detail
from botguard.validation.bounds import check_bounds
from botguard.validation.catalogue import invalid, problem

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["ValidatorRegistry", "default_validators", "validate_payload"]

#: None: all is well. Else a sentence for the person, a code of the catalogue (a host's own has a dot in it),
#: a Detail, or several of these. A ValueError says the same by its text.
Verdict = None | str | Detail | Iterable[str | Detail]
Validator = Callable[[Any], Verdict]
V = TypeVar("V", bound=Validator)
M = TypeVar("M", bound="BaseModel")


@dataclass(slots=True)
class _Entry:
    model: type[BaseModel] | None = None
    #: Field name ("" for the whole payload) and function, in the order of registration.
    checks: list[tuple[str, Validator]] = field(default_factory=list)


class ValidatorRegistry:
    """What is known of each command's payload. Fill it while the program starts; reading it is safe in every
    thread.

    >>> registry = ValidatorRegistry()
    >>> registry.register("orders.create", CreateOrder)
    >>> @registry.check("orders.create", field="quantity")
    ... def whole_boxes(quantity):
    ...     if quantity.value % 6:
    ...         return "We sell boxes of six."
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def register(self, command: str, model: type[M], /, *checks: Validator) -> type[M]:
        """Make a pydantic model the request model of a command, with checks of the whole payload.

        Returns:
            the model.

        Raises:
            ConfigurationError: BG180, if it is no model, or the command has another one.
        """
        if not hasattr(model, "__pydantic_validator__"):
            raise ConfigurationError(
                "BG180",
                f"{model!r:.60} is no pydantic model",
                where=command,
                why="nothing else says what is right and what is wrong",
                fix="register a subclass of BaseModel",
            )
        entry = self._entries.setdefault(command, _Entry())
        if entry.model not in (None, model):
            raise ConfigurationError(
                "BG180",
                f"its request model is {entry.model.__name__} already",
                where=command,
                why="two parts of the program disagree on what the command takes",
                fix="register one of them, or use a ValidatorRegistry of your own",
            )
        entry.model = model
        entry.checks += [("", check) for check in checks]
        return model

    def check(self, command: str, *, field: str = "") -> Callable[[V], V]:
        """Decorate a function that gets the validated payload, or one field's value, and returns what is
        wrong.

        Checks run in the order of registration, after the model has accepted the payload; each says what it
        has to say. They look and do not change. A check of a field that is None is skipped.
        """

        def add(function: V) -> V:
            self._entries.setdefault(command, _Entry()).checks.append((field, function))
            return function

        return add

    def model(self, command: str) -> type[BaseModel]:
        """The command's request model.

        Raises:
            ConfigurationError: BG180, if there is none; a person's input never raises this.
        """
        entry = self._entries.get(command)
        if entry is None or entry.model is None:
            known = ", ".join(sorted(name for name, one in self._entries.items() if one.model is not None))
            raise ConfigurationError(
                "BG180",
                f"no request model is registered for {command!r:.60}",
                why=f"known are: {known[:300]}" if known else "the registry is empty",
                fix=f"registry.register({command!r:.60}, YourModel)",
            )
        return entry.model

    def commands(self) -> tuple[str, ...]:
        """Names of all commands that have a model, sorted."""
        return tuple(sorted(name for name, entry in self._entries.items() if entry.model is not None))

    def verdicts(self, command: str, payload: Any, locale: str = "en") -> tuple[Detail, ...]:
        """What the registered checks have to say about a validated payload."""
        entry = self._entries.get(command)
        found: list[Detail] = []
        for name, check in entry.checks if entry is not None else ():
            value = payload if not name else getattr(payload, name)
            if name and value is None:
                continue
            try:
                verdict = check(value)
            except ValueError as error:
                verdict = (str(error) if type(error) is ValueError else "") or "not_usable"
            found += _details(verdict, name, type(payload), locale)
        return tuple(found)


def _details(verdict: Verdict, name: str, model: type[Any], locale: str) -> list[Detail]:
    from botguard.validation.catalogue import knows, sentence
    from botguard.validation.echo import for_people
    from botguard.validation.spots import locate

    if verdict is None:
        return []
    if isinstance(verdict, Detail):
        return [verdict]
    if not isinstance(verdict, str):
        return [one for part in verdict for one in _details(part, name, model, locale)]
    label = locate(model, (name,) if name else (), locale).label
    if knows(verdict):
        return [Detail(name, verdict, sentence(verdict, locale, label=label, value=sentence("this", locale)))]
    if for_people(verdict):
        return [Detail(name, "refused", f"{label}: {verdict}" if name else verdict)]
    return [Detail(name, "not_usable", sentence("not_usable", locale, label=label, value=sentence("this", locale)))]


#: The registry that ``validate_payload`` uses when none is named: one for the process, for programs with one
#: host. Two hosts in one process, and tests, make their own.
default_validators = ValidatorRegistry()


def validate_payload(
    command_name: str,
    payload: Mapping[str, Any] | BaseModel | bytes,
    *,
    registry: ValidatorRegistry | None = None,
    locale: str = "en",
) -> BaseModel:
    """The command's request model, made from raw input that may be anything.

    Args:
        command_name: as registered.
        payload: names and values; or JSON as bytes; or an instance of the model, which is taken as it is.
        registry: default: :data:`default_validators`.
        locale: language of the particulars.

    Raises:
        InvalidPayload: with one particular for each wrong field; its outcome has the status ``invalid``.
            Nothing else is raised for a payload, not even where a validator of the host's stumbles: that
            error is its ``__cause__``.
        ConfigurationError: BG180, for a command that has no model.
    """
    registry = default_validators if registry is None else registry
    model = registry.model(command_name)
    try:
        made = _made(model, payload, locale)
        found = registry.verdicts(command_name, made, locale)
    except InvalidPayload as refused:
        raise invalid(*refused.details, command=command_name) from None
    except Exception as error:
        raise invalid(problem("not_usable", locale), command=command_name) from error
    if found:
        raise invalid(*found, command=command_name)
    return made


def _made(model: type[M], payload: Any, locale: str) -> M:
    if isinstance(payload, model):
        return payload
    if isinstance(payload, bytes | bytearray):
        from botguard.validation.json_text import parse_json

        payload = parse_json(payload, locale=locale)
    elif isinstance(payload, Mapping) and not isinstance(payload, dict):
        payload = dict(payload)  # a form's fields, a row
    beyond = check_bounds(payload, locale=locale)
    if beyond is not None:
        raise invalid(beyond)
    from pydantic import ValidationError

    from botguard.validation.describe import describe_errors

    try:
        return model.model_validate(payload)
    except ValidationError as error:
        details = describe_errors(model, error, locale)
    raise invalid(*details)
