"""From pydantic's location of an error to the field that a person knows, and whether it is secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, get_args, get_origin

from botguard.validation.catalogue import label_of, sentence
from botguard.validation.echo import quoted, shown
from botguard.validation.fields import Field, alternatives, choices_of, fields_of, holds_secret, is_secret

__all__ = ["Spot", "locate"]

_LONGEST = 40


class Spot(NamedTuple):
    """Where an error is.

    Attributes:
        path: as in ``Detail.field``: "lines.0.quantity".
        label: in words: "Lines 1, Quantity".
        field: the field itself, where the model declares it.
        parent: the model that it belongs to.
        open: whether what was sent may be shown: the way was understood and nothing on it is secret.
    """

    path: str
    label: str
    field: Field | None
    parent: Any
    open: bool


def locate(model: Any, location: Sequence[str | int], locale: str) -> Spot:
    """Follow a location through the model. What it does not understand, it takes for secret."""
    walk = _Walk(model, locale)
    for part in location:
        walk.step(part)
    label = ", ".join(walk.labels) or sentence("request", locale)
    # One value where a model with secrets belongs may well be one of them.
    shown_to_all = walk.open and not any(holds_secret(kind) for kind in walk.kinds)
    return Spot(".".join(walk.path), label, walk.field, walk.parent, shown_to_all)


class _Walk:
    def __init__(self, model: Any, locale: str) -> None:
        self.locale = locale
        self.path: list[str] = []
        self.labels: list[str] = []
        self.kinds: list[Any] = []
        self.field: Field | None = None
        self.parent: Any = None
        self.open = True
        #: Whether a name of a union's member may come here: pydantic puts it between the parts.
        self.in_union = False
        self._enter([model])

    def step(self, part: str | int) -> None:
        if part == "[key]" or (isinstance(part, int) and self._into_item(part)):
            return
        if isinstance(part, str) and (self._into_field(part) or self._into_value(part)):
            return
        if self.in_union:
            self._into_branch(part)
            return
        # A name that no model declares: an extra one that was sent, or something this walk does not understand.
        name = shown(part, _LONGEST)
        self.path.append(name)
        self.labels.append(quoted(part))
        self.parent = self.kinds[0] if self.kinds else None
        self.field, self.kinds, self.open = None, [], False

    def _into_field(self, name: str) -> bool:
        found = [
            (kind, field)
            for kind in self.kinds
            for field in fields_of(kind).values()
            if name == field.name or name in field.sent_as
        ]
        if not found:
            return False
        self.parent, self.field = found[0]
        self.path.append(name)
        self.labels.append(label_of(self.field.name, self.field.title, self.locale))
        self._enter([field.annotation for _, field in found], any(field.marked_secret for _, field in found))
        return True

    def _enter(self, annotations: list[Any], secret: bool = False) -> None:
        self.kinds = [kind for one in annotations for kind, _ in alternatives(one)]
        self.in_union = len(self.kinds) > 1
        self.open = self.open and not secret and not any(is_secret(one) for one in annotations)

    def _into_item(self, index: int) -> bool:
        items = [item for kind in self.kinds for item in _items(kind, index)]
        if not items:
            return False
        self.path.append(str(index))
        if self.labels:
            self.labels[-1] = f"{self.labels[-1]} {index + 1}"
        self._enter_part(items)
        return True

    def _into_value(self, name: str) -> bool:
        values = [value for kind in self.kinds for value in _values(kind)]
        if not values:
            return False
        shown_name = shown(name, _LONGEST)
        self.path.append(shown_name)
        self.labels.append(quoted(name))
        self._enter_part(values)
        return True

    def _enter_part(self, annotations: list[Any]) -> None:
        self._enter(annotations)
        if self.field is not None:
            self.field = self.field._replace(annotation=annotations[0], examples=(), metadata=())

    def _into_branch(self, tag: str | int) -> None:
        """The name of a union's member: no part of what was sent, but it tells which model is meant."""
        models = [kind for kind in self.kinds if fields_of(kind)]
        meant = [kind for kind in models if getattr(kind, "__name__", None) == tag or _is_tagged(kind, tag)]
        self.kinds = meant or self.kinds
        # Only names that pydantic has put together ("tagged-union[…]") are followed by another.
        self.in_union = not meant and "[" in str(tag)


def _is_tagged(kind: Any, tag: str | int) -> bool:
    return any(tag in choices_of(field.annotation) for field in fields_of(kind).values())


def _items(kind: Any, index: int) -> list[Any]:
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if not isinstance(origin, type) or not issubclass(origin, Sequence | AbstractSet) or issubclass(origin, str):
        return []
    if issubclass(origin, tuple) and len(arguments) > 1 and arguments[1] is not ...:
        return [arguments[min(index, len(arguments) - 1)]]
    return [arguments[0] if arguments else Any]


def _values(kind: Any) -> list[Any]:
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if not isinstance(origin, type) or not issubclass(origin, Mapping) or fields_of(kind):
        return []
    return [arguments[1] if len(arguments) == 2 else Any]
