"""What every annotation of this package shares: how it enters a pydantic model, and how it says no.

A rule is an immutable value that is written into ``Annotated[str, Phone(region="ET")]``. It reads what a
person sent and gives the one normal form, or refuses with a code that the catalogue has a sentence for. Rules
import their libraries when a model is built or a value is read, never when this package is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, LiteralString, NoReturn, cast

from botguard.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_core import CoreSchema, PydanticCustomError

__all__ = ["Rule", "fail", "misdeclared"]


def fail(code: LiteralString, **context: str | int) -> PydanticCustomError:
    """The exception for a value that a rule refuses: ``raise fail("phone_too_short", region="GB")``.

    Args:
        code: names a sentence of the catalogue.
        context: what the sentence mentions. Never the value itself: the field may be secret.
    """
    from pydantic_core import PydanticCustomError

    from botguard.validation.catalogue import bare_sentence

    return PydanticCustomError(code, cast("Any", bare_sentence(code, context)), context)


def misdeclared(rule: str, what: str, fix: str, why: str = "") -> ConfigurationError:
    """The error for a rule whose own options are wrong, raised where it is written."""
    return ConfigurationError("BG181", what, where=rule, why=why, fix=fix)


class _SchemaHook:
    """pydantic's hook on a rule; on the bare class it explains how the rule is written.

    ``phone: Phone`` and ``Annotated[str, Phone]`` are what everybody tries first.
    """

    def __get__(self, rule: Rule | None, owner: type[Rule]) -> Any:
        return owner.misused if rule is None else rule.schema_for


class Rule:
    """Base of the annotations. Subclasses are frozen dataclasses with ``target`` and ``read``."""

    __slots__ = ()

    #: The type that the rule annotates.
    target: ClassVar[type[Any]]
    #: How it is written, for errors.
    written: ClassVar[str]

    __get_pydantic_core_schema__ = _SchemaHook()

    def read(self, value: Any) -> Any:
        """The normal form of what a person sent; reading that again gives the same.

        Raises:
            ValueError: where it is refused; ``type`` is the catalogue's code.
        """
        raise NotImplementedError  # pragma: no cover - a subclass without it is no rule

    def sample(self) -> str:
        """One good input, for hints."""
        return ""

    def prepare(self) -> None:
        """Load libraries and check options against them, when a model is built."""

    def json_schema(self) -> dict[str, Any]:
        """How an API description shows the field."""
        sample = self.sample()
        return {"type": "string", **({"examples": [sample]} if sample else {})}

    def serialize(self, value: Any) -> Any:
        """The JSON form, which ``read`` reads back equal."""
        return value

    def schema_for(self, source: Any, handler: Callable[[Any], CoreSchema]) -> CoreSchema:
        """pydantic's schema for a field of type ``source``.

        Raises:
            ConfigurationError: BG182, if the rule is not made for that type.
        """
        from pydantic_core import core_schema

        self._check_source(source)
        self.prepare()
        inner = handler(source)  # what the model declares beside the rule, such as Field(max_length=…)
        return core_schema.no_info_before_validator_function(
            self.read,
            inner,
            serialization=core_schema.plain_serializer_function_ser_schema(self.serialize, when_used="json"),
        )

    def _check_source(self, source: Any) -> None:
        if source is not self.target and source is not Any:
            raise ConfigurationError(
                "BG182",
                f"{type(self).__name__}(…) annotates {getattr(source, '__name__', source)!r:.60}",
                why=f"its values are of type {self.target.__name__}",
                fix=f"write {self.written}; where the field is optional: {self.written} | None = None",
            )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return self.json_schema()

    @classmethod
    def misused(cls, *_: Any) -> NoReturn:
        """Say how the rule is written, to who wrote it as a type."""
        raise ConfigurationError(
            "BG182",
            f"{cls.__name__} is used as a type or without parentheses",
            why="it is a rule about a value, and its options belong to it",
            fix=f"write {cls.written}",
        )
