"""DecimalNumber: an exact decimal with declared separators, places and bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from botguard.validation.numbers import NumberStyle, exact, plain
from botguard.validation.rule import Rule, fail, misdeclared

__all__ = ["DecimalNumber", "bound"]


def bound(value: Decimal | int | str | None, option: str) -> Decimal | None:
    """A limit as it is declared; a float is refused, since 0.1 would not be a tenth."""
    if value is None:
        return None
    try:
        limit = Decimal("NaN" if isinstance(value, float) else value)
    except InvalidOperation:
        limit = Decimal("NaN")
    if not limit.is_finite():
        raise misdeclared(option, f"{option}={value!r} is no exact number", f'write {option}="0.5"')
    return limit


@dataclass(frozen=True, slots=True, kw_only=True)
class DecimalNumber(Rule):
    """``rate: Annotated[Decimal, DecimalNumber(decimal=",", places=2)]``.

    Text is read by the declared separators; numbers from programs are taken exactly. In JSON the value is
    text in the declared style, so that it reads back equal.

    Args:
        decimal: ``"."``, ``","``, or None for either where it can mean only one thing ("1.234" is refused).
        thousands: what groups thousands; None refuses grouping.
        places: decimals at most.
        minimum: least value, 0 unless declared otherwise; None: none.
        maximum: greatest value.
    """

    decimal: str | None = None
    thousands: str | None = None
    places: int | None = None
    minimum: Decimal | int | str | None = 0
    maximum: Decimal | int | str | None = None
    _style: NumberStyle = field(init=False, repr=False, compare=False)
    _least: Decimal | None = field(init=False, repr=False, compare=False)
    _most: Decimal | None = field(init=False, repr=False, compare=False)

    target: ClassVar[type[Any]] = Decimal
    written: ClassVar[str] = "Annotated[Decimal, DecimalNumber()]"

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "_style", NumberStyle(decimal=self.decimal, thousands=self.thousands))
        set_(self, "_least", bound(self.minimum, "minimum"))
        set_(self, "_most", bound(self.maximum, "maximum"))

    def read(self, value: Any) -> Decimal:
        number = self._style.read(value) if isinstance(value, str) else exact(value)
        if self._least is not None and number < self._least:
            raise fail("too_small", limit=self._style.write(self._least))
        if self._most is not None and number > self._most:
            raise fail("too_big", limit=self._style.write(self._most))
        if self.places is not None and decimals(number) > self.places:
            raise fail("too_many_decimals", n=self.places)
        return number

    def sample(self) -> str:
        number = Decimal(12) if self.places == 0 else Decimal("12.5")
        if self._most is not None and number > self._most:
            number = self._most
        if self._least is not None and number < self._least:
            number = self._least
        return self._style.write(number)

    def serialize(self, value: Decimal) -> str:
        return self._style.write(value)


def decimals(number: Decimal) -> int:
    """Digits behind the separator that say something: none in 12.00."""
    return len(plain(number).partition(".")[2].rstrip("0"))
