"""What an intent is called and what it contained: the idempotency key and the payload's fingerprint."""

from __future__ import annotations

import string
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from botguard.command import Command
from botguard.errors import ConfigurationError
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.call import Call, refusal
from botguard.pipeline.canonical import NAMED, Uncanonical, canonical, digest, model_encoder

__all__ = ["Identity", "compile_template"]

#: Types of fields that may stand in a key template.
_SCALARS = ("str", "int", "bool", "float", "Decimal", "date", "datetime", "time", "UUID")


def compile_template(template: str, command: str, model: Any) -> Callable[[Any], tuple[Any, ...]]:
    """``"{org_unit}/{order_id}"`` as a function of the payload; checked against the model's fields.

    Raises:
        ConfigurationError: for a field that the model lacks, or that is secret or no scalar.
    """

    def wrong(what: str, why: str = "", fix: str = "") -> ConfigurationError:
        return ConfigurationError("BG114", f"key {template!r}: {what}", where=command, why=why, fix=fix)

    parts = _parsed(template, wrong)
    names = [name for _, name, *_ in parts if name is not None]
    if not names:
        raise wrong("it names no field", "every call would have the same key", 'write "{order_id}"')
    _check_fields(names, model, wrong)
    literals = tuple(literal for literal, *_ in parts)

    def key(payload: Any) -> tuple[Any, ...]:
        values = tuple(payload[n] if isinstance(payload, dict) else getattr(payload, n) for n in names)
        return (literals, values)

    return key


def _parsed(template: str, wrong: Callable[..., ConfigurationError]) -> list[Any]:
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise wrong(str(error), fix='write "{order_id}"') from None
    for _, name, spec, conversion in parts:
        if name is not None and (spec or conversion or not name.isidentifier()):
            raise wrong(
                f"{{{name}}} must be a bare field name",
                "a part or a form of a value may be the same for two intents",
                "write {order_id}, or give a function of the payload",
            )
    return parts


def _check_fields(names: list[str], model: Any, wrong: Callable[..., ConfigurationError]) -> None:
    fields: Any = getattr(model, "model_fields", None)
    if fields is None:
        return
    for name in names:
        if name not in fields:
            raise wrong(
                f"{model.__name__} has no field {name!r}",
                "without it no intent could be told from another",
                f"name one of its fields: {', '.join(fields)}",
            )
        if "Secret" in str(fields[name].annotation):
            raise wrong(f"{name!r} is secret", "keys are stored and shown to operators", "use another field")
        if not _is_scalar(fields[name].annotation):
            raise wrong(f"{name!r} is no single value", "its form may differ for the same intent", "use a function")


def _is_scalar(annotation: Any) -> bool:
    """True for one value; a list, dict or model is none. ``Optional`` is judged by what else it may be."""
    parts = [part for part in getattr(annotation, "__args__", ()) if part is not type(None)]
    origin = getattr(annotation, "__origin__", None)
    if origin is not None or not isinstance(annotation, type):
        return bool(parts) and origin not in (list, dict, set, tuple, frozenset) and all(map(_is_scalar, parts))
    return not issubclass(annotation, list | dict | set | tuple | frozenset)


class Identity:
    """Names the intents of one command: fills ``call.row_key`` and ``call.fingerprint``."""

    def __init__(self, command: Command, model: Any, fingerprint_key: bytes) -> None:
        self._command = command.name
        self._encode = model_encoder(model) if model is not None else canonical
        # Hashes that have seen already what each of a command's keys begins with: a copy costs half of a new one.
        self._keys = blake2b(f"key {len(command.name)}:{command.name}".encode(), digest_size=20)
        # The secret goes first: blake2 cannot be extended, so this is as good a key as its key=, at half the price.
        self._prints = blake2b(fingerprint_key, digest_size=16)
        self._key: Callable[[Any], Any] | None = None
        if isinstance(command.key, str):
            self._key = compile_template(command.key, command.name, model)
        elif command.key is not None:
            self._key = command.key

    def __call__(self, call: Call) -> Outcome | None:
        """Name the intent; an outcome if its key cannot be made."""
        try:
            if call.row_key is None and (refused := self._name(call)) is not None:
                return refused
            spelt = self._prints.copy()
            spelt.update(self._encode(call.payload).encode("utf-8", "surrogatepass"))
            call.fingerprint = spelt.digest()
        except Uncanonical:
            return refusal(Status.INVALID, Reason.INVALID_PAYLOAD)
        return None

    def _name(self, call: Call) -> Outcome | None:
        org, key = call.context.org, self._key
        if key is not None:
            try:
                value = key(call.payload)
            except Exception as error:  # noqa: BLE001 - a host function may raise anything; the key is missing then
                outcome = refusal(Status.INVALID, Reason.KEY_MISSING)
                outcome.error = error
                return outcome
            if type(value) is not tuple:
                value = (value,)
            name = self._keys.copy()
            if NAMED.issuperset(map(type, value)):
                name.update(f"{len(org)}:{org}{value!a}".encode())
            elif _lacks(value):
                return refusal(Status.INVALID, Reason.KEY_MISSING)
            else:
                name.update(f"{len(org)}:{org}{canonical(value)}".encode("utf-8", "surrogatepass"))
            call.row_key = name.hexdigest()
        elif call.context.delivery is not None:
            call.row_key = digest(org, self._command, "delivery", call.context.channel, call.context.delivery)
        else:
            call.row_key = digest(org, self._command, "once", call.plan.new_id())
            call.fresh_key = True
        return None


def _lacks(value: tuple[Any, ...]) -> bool:
    return any(item is None or (type(item) is tuple and _lacks(item)) for item in value)
