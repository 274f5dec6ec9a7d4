"""What a model says about its fields: names they are sent by, titles, choices, examples, secrets.

Works on pydantic models, pydantic and plain dataclasses and TypedDicts; anything else has no fields here.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from weakref import WeakKeyDictionary

from botguard.validation.rule import Rule

__all__ = ["Field", "alternatives", "choices_of", "fields_of", "holds_secret", "is_secret", "sample_of"]

_UNIONS = (Union, types.UnionType)


class Field(NamedTuple):
    """One field: its name in the model, the names it is sent by, and what is known of it."""

    name: str
    sent_as: tuple[str, ...]
    annotation: Any
    metadata: tuple[Any, ...] = ()
    title: str | None = None
    required: bool = True
    examples: tuple[Any, ...] = ()
    marked_secret: bool = False


#: Reading annotations takes longer than a request may; a model that is gone takes its entry with it.
_known: WeakKeyDictionary[Any, Mapping[str, Field]] = WeakKeyDictionary()


def fields_of(kind: Any) -> Mapping[str, Field]:
    """The fields of a model, by name; empty for what has none."""
    if not isinstance(kind, type):
        return {}
    found = _known.get(kind)
    if found is None:
        found = _read_fields(kind)
        if getattr(kind, "__pydantic_complete__", True):  # else its annotations are still names
            _known[kind] = found
    return found


def _read_fields(kind: Any) -> Mapping[str, Field]:
    infos = getattr(kind, "__pydantic_fields__", None)
    if infos is None and hasattr(kind, "__pydantic_validator__"):
        infos = getattr(kind, "model_fields", None)  # pydantic 2.9
    if isinstance(infos, Mapping):
        config = getattr(kind, "model_config", None) or {}
        by_name = bool(config.get("populate_by_name") or config.get("validate_by_name"))
        return {name: _from_info(name, info, by_name) for name, info in infos.items()}
    if hasattr(kind, "__required_keys__"):  # TypedDict, also of typing_extensions
        hints = _hints(kind)
        return {name: _plain(name, hint, name in kind.__required_keys__) for name, hint in hints.items()}
    if dataclasses.is_dataclass(kind):
        hints, missing = _hints(kind), dataclasses.MISSING
        return {
            one.name: _plain(
                one.name, hints.get(one.name, Any), one.default is missing and one.default_factory is missing
            )
            for one in dataclasses.fields(kind)
            if one.init
        }
    return {}


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except (NameError, TypeError):
        return {}


def _plain(name: str, hint: Any, required: bool) -> Field:
    return Field(name, (name,), hint, required=required)


def _from_info(name: str, info: Any, by_name: bool) -> Field:
    alias = info.validation_alias if info.validation_alias is not None else info.alias
    sent_as = tuple(_alias_names(alias)) if alias is not None else (name,)
    if by_name and name not in sent_as:
        sent_as = (*sent_as, name)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, Mapping) else {}
    secret = not info.repr or bool(extra.get("secret") or extra.get("writeOnly") or extra.get("format") == "password")
    return Field(
        name,
        sent_as,
        info.annotation,
        tuple(info.metadata),
        info.title,
        info.is_required(),
        tuple(info.examples or ()),
        secret,
    )


def _alias_names(alias: Any) -> Iterator[str]:
    if isinstance(alias, str):
        yield alias
    for choice in getattr(alias, "choices", ()):  # AliasChoices
        yield from _alias_names(choice)
    path = getattr(alias, "path", None)  # AliasPath: its first part is a name in the payload
    if path and len(path) == 1:
        yield from _alias_names(path[0])


def alternatives(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The plain types that an annotation stands for, each with its metadata: unions and aliases apart."""
    metadata = tuple(metadata)
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *own = get_args(annotation)
        yield from alternatives(inner, (*own, *metadata))
    elif origin in _UNIONS:
        for one in get_args(annotation):
            yield from alternatives(one, metadata)
    elif isinstance(annotation, TypeVar):
        for one in annotation.__constraints__ or (annotation.__bound__ or Any,):
            yield from alternatives(one, metadata)
    elif getattr(annotation, "__pydantic_root_model__", False):
        for root in fields_of(annotation).values():
            yield from alternatives(root.annotation, (*root.metadata, *metadata))
    elif hasattr(annotation, "__supertype__"):  # NewType
        yield from alternatives(annotation.__supertype__, metadata)
    elif hasattr(annotation, "__value__"):  # type X = …
        yield from alternatives(annotation.__value__, metadata)
    elif annotation is not type(None) and annotation is not None:
        yield annotation, metadata


def is_secret(annotation: Any, depth: int = 0) -> bool:
    """Whether a secret type is anywhere in the annotation, but not inside another model's fields."""
    if depth > 8:
        return True
    for kind, _ in alternatives(annotation):
        if hasattr(get_origin(kind) or kind, "get_secret_value"):
            return True
        arguments = () if get_origin(kind) is Literal else get_args(kind)
        if any(is_secret(one, depth + 1) for one in arguments if one is not ... and not isinstance(one, list)):
            return True
    return False


def holds_secret(kind: Any, depth: int = 0) -> bool:
    """Whether a model has a secret field anywhere, in models inside it too."""
    if depth > 8:
        return True
    for field in fields_of(kind).values():
        if field.marked_secret or is_secret(field.annotation):
            return True
        if any(holds_secret(inner, depth + 1) for inner in _models_in(field.annotation) if inner is not kind):
            return True
    return False


def _models_in(annotation: Any, depth: int = 0) -> Iterator[Any]:
    for kind, _ in alternatives(annotation):
        if fields_of(kind):
            yield kind
        if depth < 8 and get_origin(kind) is not Literal:
            for one in get_args(kind):
                if one is not ... and not isinstance(one, list):
                    yield from _models_in(one, depth + 1)


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """The values of enums and literals that an annotation takes; () if it also takes anything else."""
    found: list[Any] = []
    for kind, _ in alternatives(annotation):
        if get_origin(kind) is Literal:
            found += [one for one in get_args(kind) if one is not None]
        elif isinstance(kind, type) and issubclass(kind, Enum):
            found += [member.value for member in kind]
        else:
            return ()
    return tuple(value.value if isinstance(value, Enum) else value for value in found)


def sample_of(field: Field) -> str:
    """One good input for a field: its own example, its rule's, or its type's; "" where nothing is known."""
    for example in field.examples:
        if isinstance(example, str | int | float):
            return str(example)
    for kind, metadata in alternatives(field.annotation, field.metadata):
        for one in (*metadata, getattr(kind, "rule", None)):
            if isinstance(one, Rule):
                return one.sample()
        if isinstance(kind, type) and not metadata:
            return _SAMPLES.get(kind.__name__, "")
    return ""


#: By name, so that no library is imported for it. Only where nothing else limits the field.
_SAMPLES = {
    "int": "12",
    "float": "12.5",
    "Decimal": "12.5",
    "date": "2026-03-31",
    "time": "14:30",
    "datetime": "2026-03-31T14:30+02:00",
    "bool": "yes",
    "UUID": "123e4567-e89b-42d3-a456-426614174000",
    "HttpUrl": "https://example.com/page",
    "AnyUrl": "https://example.com/page",
    "AnyHttpUrl": "https://example.com/page",
    "EmailStr": "ada@example.com",
}
