"""Quantity: an exact number with its unit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Any, ClassVar

from botguard.validation.decimal_number import decimals
from botguard.validation.digits import fold
from botguard.validation.numbers import LONGEST, NumberStyle, exact, plain
from botguard.validation.rule import fail, misdeclared
from botguard.validation.units import UNITS, find_unit
from botguard.validation.value_rule import ValueRule

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["Quantity", "QuantityRule"]

_SPLIT = re.compile(r"([+-]?[0-9][0-9.,' \u066b]*)(.*)", re.DOTALL)
_EXACT = Context(prec=80, traps=[Inexact, InvalidOperation])


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit: ``Quantity("12.5", "kg")``. Immutable, hashable, and exact.

    As a bare type (``quantity: Quantity``) it takes every unit of the built-in table, and a comma or a point
    where it can mean only one thing. ``Annotated[Quantity, Quantity.of("kg", "g", decimal=",")]`` declares
    more. In JSON it is ``{"value": "12.5", "unit": "kg"}``, whatever people type.

    Equal are quantities of equal number *and* unit: 1 kg and 1000 g are not; see :meth:`to`.

    Raises:
        TypeError: for a float, which is not exact.
        ValueError: for a number that is not finite or too long, and for a unit that is none.
    """

    value: Decimal
    unit: str

    #: What the bare type accepts.
    rule: ClassVar[QuantityRule]

    def __init__(self, value: Decimal | int | str, unit: str) -> None:
        if isinstance(value, float):
            raise TypeError(f"Quantity({value!r}, …): a float is not exact; write Quantity('{value!r}', …)")
        if not 0 < len(unit) <= 20:
            raise ValueError(f"Quantity(…, {unit!r:.40}): a unit is a text of 1 to 20 characters")
        object.__setattr__(self, "value", exact(value))
        object.__setattr__(self, "unit", find_unit(unit) or unit)

    def __str__(self) -> str:
        return f"{plain(self.value)} {self.unit}"

    def to(self, unit: str) -> Quantity:
        """The same amount in another unit of the same kind: ``Quantity(1, "kg").to("g")`` is 1000 g.

        Raises:
            ValueError: if the units measure different things, or the result has no exact decimal form.
        """
        symbol = find_unit(unit) or unit
        if symbol == self.unit:
            return self
        here, there = UNITS.get(self.unit), UNITS.get(symbol)
        if here is None or there is None or here.dimension != there.dimension:
            raise ValueError(f"{self.unit} cannot be expressed in {unit:.40}")
        try:
            value = _EXACT.divide(_EXACT.multiply(self.value, here.factor), there.factor)
        except Inexact:
            raise ValueError(f"{self} is no exact number of {symbol}") from None
        return Quantity(value, symbol)

    @staticmethod
    def of(
        *units: str,
        own: tuple[str, ...] = (),
        decimal: str | None = None,
        thousands: str | None = None,
        default: str | None = None,
        places: int | None = None,
        minimum: str | None = None,
        maximum: str | None = None,
    ) -> QuantityRule:
        """What a command accepts, for ``Annotated[Quantity, Quantity.of("kg", "g")]``.

        Args:
            units: the units that are accepted, by symbol; none: all of the table.
            own: words of the command's own, accepted too ("box", "pallet").
            decimal, thousands: see :class:`~botguard.validation.NumberStyle`.
            default: the unit of a number without one; None: a number without unit is refused.
            places: decimals at most.
            minimum, maximum: bounds such as ``"0.5 kg"``; without a minimum, negative ones are refused.
        """
        return QuantityRule(
            units, own, NumberStyle(decimal=decimal, thousands=thousands), default, places, minimum, maximum
        )

    @classmethod
    def parse(cls, text: str) -> Quantity:
        """A quantity from text, as a field of the bare type reads it.

        Raises:
            ValueError: where such a field would refuse it.
        """
        return cls.rule.read(text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return cls.rule.schema_for(source, handler)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return cls.rule.json_schema()


@dataclass(frozen=True, slots=True)
class QuantityRule(ValueRule):
    """What :meth:`Quantity.of` makes."""

    units: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    style: NumberStyle = field(default_factory=NumberStyle)
    default: str | None = None
    places: int | None = None
    minimum: str | None = None
    maximum: str | None = None
    _least: Quantity | None = field(init=False, repr=False, compare=False)
    _most: Quantity | None = field(init=False, repr=False, compare=False)
    _words: dict[str, str] = field(init=False, repr=False, compare=False)

    target: ClassVar[type[Any]] = Quantity
    parts: ClassVar[tuple[str, str]] = ("value", "unit")
    written: ClassVar[str] = 'Annotated[Quantity, Quantity.of("kg", "g")]'

    def __post_init__(self) -> None:
        for unit in self.units:
            if unit not in UNITS:
                known = find_unit(unit)
                raise misdeclared(
                    "Quantity.of",
                    f"{unit!r} is not in the table of units",
                    f"write {known!r}" if known else f"write own=({unit!r},) if it is a word of your own",
                )
        set_ = object.__setattr__
        set_(self, "_words", {word.casefold(): word for word in self.own})
        set_(self, "_least", self._limit(self.minimum, "minimum"))
        set_(self, "_most", self._limit(self.maximum, "maximum"))
        if self.default is not None and self._unit(self.default) is None:
            raise misdeclared("Quantity.of", f"default={self.default!r} is not accepted here", "declare it as a unit")
        for limit in [limit for limit in (self._least, self._most) if limit is not None]:
            for unit in (self.units or (() if self.own else tuple(UNITS))) + self.own:
                if not _comparable(limit.unit, unit):
                    raise misdeclared(
                        "Quantity.of",
                        f"a bound of {limit} says nothing about {unit}",
                        "declare units of one kind, or check the amount in the model",
                        why="such an amount would have no bound at all",
                    )

    def _limit(self, text: str | None, option: str) -> Quantity | None:
        if text is None:
            return None
        number, _, unit = text.partition(" ")
        symbol = self._unit(unit)
        try:
            if symbol is not None:
                return Quantity(number, symbol)
        except ValueError:
            pass
        raise misdeclared("Quantity.of", f"{option}={text!r} is no quantity of these units", f'write {option}="0.5 kg"')

    def _unit(self, name: str) -> str | None:
        word = self._words.get(name.casefold())
        if word is not None:
            return word
        symbol = find_unit(name)
        if symbol is None or not (symbol in self.units or not (self.units or self.own)):
            return None
        return symbol

    def read(self, value: Any) -> Quantity:
        if isinstance(value, str):
            return self._check(*self._from_text(value))
        if isinstance(value, Quantity):
            return self._check(value.value, value.unit)
        if isinstance(value, dict):
            return self._check(*self.taken_apart(value))
        return self._check(exact(value), "")

    def _from_text(self, text: str) -> tuple[Decimal, str]:
        text = fold(text, LONGEST)
        found = _SPLIT.fullmatch(text)
        if found is None:
            raise fail("quantity_no_number")
        number, unit = found[1].rstrip(" "), found[2].strip()
        return self.style.read_folded(number), unit

    def _check(self, value: Decimal, name: str) -> Quantity:
        if not name and self.default is None:
            raise fail("quantity_no_unit")
        unit = self._unit(name or self.default or "")
        if unit is None:
            raise fail("unit_unknown", units=self._choices())
        known = UNITS.get(unit)
        places = 0 if known is not None and known.whole else self.places
        if places is not None and decimals(value) > places:
            raise fail("too_many_decimals", n=places)
        quantity = Quantity(value, unit)
        if self._least is None:
            if value < 0:
                raise fail("too_small", limit="0")
        elif _less(quantity, self._least):
            raise fail("too_small", limit=self._show(self._least))
        if self._most is not None and _less(self._most, quantity):
            raise fail("too_big", limit=self._show(self._most))
        return quantity

    def _choices(self) -> str:
        units = self.units + self.own or ("kg", "g", "l", "m", "pcs")
        return ", ".join(units)

    def _show(self, quantity: Quantity) -> str:
        return f"{self.style.write(quantity.value)} {quantity.unit}"

    def sample(self) -> str:
        unit = (self.units + self.own or ("kg",))[0]
        best = Quantity(12, unit)
        for limit, outside in ((self._least, _less), (self._most, lambda a, b: _less(b, a))):
            if limit is not None and outside(best, limit):
                best = limit
        return self._show(best)


def _comparable(one: str, other: str) -> bool:
    here, there = UNITS.get(one), UNITS.get(other)
    return one == other or (here is not None and there is not None and here.dimension == there.dimension)


def _less(one: Quantity, other: Quantity) -> bool:
    """Whether one is less; the units are comparable."""
    if one.unit == other.unit:
        return one.value < other.value
    here, there = UNITS[one.unit], UNITS[other.unit]
    return _EXACT.multiply(one.value, here.factor) < _EXACT.multiply(other.value, there.factor)


Quantity.rule = QuantityRule()
