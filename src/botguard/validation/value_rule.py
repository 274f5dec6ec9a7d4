"""The common part of the rules for value objects: Quantity and Money."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from botguard.validation.numbers import exact, plain
from botguard.validation.rule import Rule, fail

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["ValueRule"]


class ValueRule(Rule):
    """Base of the rules whose target is a value object of ours: two parts, such as a number and its unit."""

    __slots__ = ()

    #: Names of the two parts in JSON.
    parts: ClassVar[tuple[str, str]]

    def schema_for(self, source: Any, handler: Callable[[Any], CoreSchema]) -> CoreSchema:
        from pydantic_core import core_schema

        self._check_source(source)
        return core_schema.no_info_plain_validator_function(
            self.read,
            serialization=core_schema.plain_serializer_function_ser_schema(self.serialize, when_used="json"),
        )

    def taken_apart(self, value: dict[Any, Any]) -> tuple[Decimal, str]:
        """The parts of the JSON form, and nothing beside them.

        Raises:
            ValueError: ``not_two_parts``, or what is wrong with the number.
        """
        number, name = self.parts
        if len(value) != 2 or number not in value or not isinstance(value.get(name), str):
            raise fail("not_two_parts", first=number, second=name)
        return exact(value[number]), value[name]

    def serialize(self, value: Any) -> dict[str, str]:
        number, name = self.parts
        return {number: plain(getattr(value, number)), name: getattr(value, name)}

    def json_schema(self) -> dict[str, Any]:
        form = {
            "type": "object",
            "properties": {part: {"type": "string"} for part in self.parts},
            "required": list(self.parts),
            "additionalProperties": False,
        }
        return {"anyOf": [{"type": "string"}, form], "examples": [self.sample()]}
