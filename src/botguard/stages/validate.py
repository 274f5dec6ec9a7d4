"""validate: the payload becomes the command's request model, or the call ends before any side effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botguard.outcome import Detail, Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal

__all__ = ["Validate"]

#: pydantic's ValidationError -> particulars for people, in the caller's language.
Describe = Callable[[Any, Exception, str], tuple[Detail, ...]]
#: Raw input -> a particular if it is too large, too deep or no plain data.
Bounds = Callable[..., Detail | None]


class Validate:
    """The second gate. ``model`` None passes plain data on as it is, within bounds."""

    name = "validate"

    def __init__(self, model: Any, bounds: Bounds, describe: Describe) -> None:
        from pydantic import ValidationError

        self._model, self._bounds, self._describe, self._error = model, bounds, describe, ValidationError
        self._validate = model.__pydantic_validator__.validate_python if model is not None else None
        self._again = _revalidator(model) if model is not None else None

    def check(self, call: Call) -> Outcome | None:
        """Bounds first, then the model."""
        raw = call.raw
        validate = self._validate
        if type(raw) is dict or validate is None or not isinstance(raw, self._model):
            beyond = self._bounds(raw, locale=_locale(call))
            if beyond is not None:
                reason = Reason.PAYLOAD_TOO_LARGE if beyond.code == "too_large" else Reason.INVALID_PAYLOAD
                return refusal(Status.INVALID, reason, (beyond,))
        else:
            validate = self._again
        if validate is None:
            call.payload = raw
            return None
        try:
            call.payload = validate(raw)
        except self._error as error:
            return refusal(Status.INVALID, Reason.INVALID_PAYLOAD, self._describe(self._model, error, _locale(call)))
        except Exception as error:  # noqa: BLE001 - a host's validator may raise anything; input is still just wrong
            outcome = refusal(Status.INVALID, Reason.INVALID_PAYLOAD)
            outcome.error = error
            return outcome
        return None

    def describe(self) -> dict[str, Any]:
        """Options for ``guard.describe()``."""
        return {"model": self._model.__name__ if self._model is not None else "any plain data"}


def _locale(call: Call) -> str:
    return call.context.locale if call.context is not None else "en"


def _revalidator(model: Any) -> Callable[[Any], Any]:
    """Validates an instance of the model again: it may have been changed since, or built without validation.

    pydantic can do that ("revalidate_instances"), but only as a setting of the model, which is the host's.
    """
    from pydantic_core import SchemaValidator

    schema = dict(model.__pydantic_core_schema__)
    node = schema
    while node.get("type") in ("definitions", "function-after", "function-before", "function-wrap"):
        node["schema"] = node = dict(node["schema"])
    if node.get("type") != "model":  # one that refers to itself
        return _as_it_was(_from_its_fields(model))
    # An instance holds its values by name, whatever aliases its input has.
    node["revalidate_instances"] = "always"
    node["config"] = {**node.get("config", {}), "populate_by_name": True, "validate_by_name": True}
    try:
        # Newer versions take the class's own validator for its schema, which would let instances through again.
        return _as_it_was(SchemaValidator(schema, _use_prebuilt=False).validate_python)
    except TypeError:
        return _as_it_was(SchemaValidator(schema).validate_python)


def _from_its_fields(model: Any) -> Callable[[Any], Any]:
    """Validates what an instance holds as if it had come in."""
    names = {
        name: field.validation_alias if isinstance(field.validation_alias, str) else name
        for name, field in model.model_fields.items()
    }
    validate = model.__pydantic_validator__.validate_python
    return lambda raw: validate({names.get(name, name): value for name, value in raw.__dict__.items()})


def _as_it_was(validate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The new instance keeps what validation does not see: which fields were set, and private attributes."""

    def again(raw: Any) -> Any:
        made = validate(raw)
        object.__setattr__(made, "__pydantic_fields_set__", raw.__pydantic_fields_set__.copy())
        if raw.__pydantic_private__:  # a bot framework keeps the bot there that its message came by
            object.__setattr__(made, "__pydantic_private__", raw.__pydantic_private__.copy())
        return made

    return again
