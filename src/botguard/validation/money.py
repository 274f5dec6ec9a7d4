"""Money: an exact amount with its currency."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from botguard.validation.currencies import currency_places, declared, read_currency
from botguard.validation.decimal_number import bound, decimals
from botguard.validation.digits import fold
from botguard.validation.numbers import LONGEST, MAX_DIGITS, NumberStyle, exact, plain
from botguard.validation.rule import fail, misdeclared
from botguard.validation.value_rule import ValueRule

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["Money", "MoneyRule"]

_NUMBER = r"[+-]?[0-9](?:[0-9.,' \u066b]*[0-9])?"
_ALONE = re.compile(_NUMBER)
_AMOUNT_FIRST = re.compile(rf"({_NUMBER}) ?([^0-9\s.,'+-]{{1,3}})")
_CODE_FIRST = re.compile(rf"([^0-9\s.,'+-]{{1,3}}) ?({_NUMBER})")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a currency: ``Money("12.50", "EUR")``. Immutable, hashable, exact, with the currency's
    decimals.

    As a bare type (``price: Money``) it takes every currency, and a comma or a point where it can mean only
    one thing. ``Annotated[Money, Money.of("EUR", decimal=",")]`` declares more. In JSON it is
    ``{"amount": "12.50", "currency": "EUR"}``, whatever people type.

    Raises:
        TypeError: for a float, which is not exact.
        ValueError: for an unknown currency, or more decimals than it has.
    """

    amount: Decimal
    currency: str

    #: What the bare type accepts.
    rule: ClassVar[MoneyRule]

    def __init__(self, amount: Decimal | int | str, currency: str) -> None:
        if isinstance(amount, float):
            raise TypeError(f"Money({amount!r}, …): a float is not exact; write Money('{amount!r}', …)")
        places = currency_places(currency)
        if places is None:
            raise ValueError(f"Money(…, {currency!r:.40}): not a currency code of ISO 4217")
        object.__setattr__(self, "amount", _in_places(exact(amount), places))
        object.__setattr__(self, "currency", currency)

    def __str__(self) -> str:
        return f"{plain(self.amount)} {self.currency}"

    @property
    def minor(self) -> int:
        """The amount in the smallest unit: cents, or yen."""
        return int(plain(self.amount).replace(".", ""))

    @staticmethod
    def of(
        *currencies: str,
        decimal: str | None = None,
        thousands: str | None = None,
        default: str | None = None,
        symbols: Mapping[str, str] | None = None,
        minimum: Decimal | int | str | None = 0,
        maximum: Decimal | int | str | None = None,
    ) -> MoneyRule:
        """What a command accepts, for ``Annotated[Money, Money.of("EUR", "USD")]``.

        Args:
            currencies: the codes that are accepted; none: all.
            decimal, thousands: see :class:`~botguard.validation.NumberStyle`.
            default: the currency of a bare number; None: a number without currency is refused.
            symbols: what signs mean here, such as ``{"$": "USD"}``. Only "€" is known without.
            minimum, maximum: bounds of the amount; with a bound, declare one currency. ``minimum=None`` takes
                negative amounts.
        """
        signs = tuple(sorted({"€": "EUR", **(symbols or {})}.items()))
        return MoneyRule(
            currencies, NumberStyle(decimal=decimal, thousands=thousands), default, signs, minimum, maximum
        )

    @classmethod
    def parse(cls, text: str) -> Money:
        """Money from text, as a field of the bare type reads it.

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


def _in_places(amount: Decimal, places: int) -> Decimal:
    """The amount with exactly this many decimals.

    Raises:
        ValueError: ``too_many_decimals``; nothing is rounded.
    """
    if decimals(amount) > places:
        raise fail("too_many_decimals", n=places)
    whole, _, fraction = plain(amount).partition(".")
    if len(whole) + places > MAX_DIGITS:
        raise fail("number_too_long", n=MAX_DIGITS)
    return Decimal(f"{whole}.{fraction[:places]:0<{places}}" if places else whole)


@dataclass(frozen=True, slots=True)
class MoneyRule(ValueRule):
    """What :meth:`Money.of` makes."""

    currencies: tuple[str, ...] = ()
    style: NumberStyle = field(default_factory=NumberStyle)
    default: str | None = None
    symbols: tuple[tuple[str, str], ...] = (("€", "EUR"),)
    minimum: Decimal | int | str | None = 0
    maximum: Decimal | int | str | None = None
    _least: Decimal | None = field(init=False, repr=False, compare=False)
    _most: Decimal | None = field(init=False, repr=False, compare=False)

    target: ClassVar[type[Any]] = Money
    parts: ClassVar[tuple[str, str]] = ("amount", "currency")
    written: ClassVar[str] = 'Annotated[Money, Money.of("EUR")]'

    def __post_init__(self) -> None:
        codes = declared("Money.of", self.currencies)
        declared("Money.of", tuple(code for _, code in self.symbols))
        set_ = object.__setattr__
        set_(self, "_least", bound(self.minimum, "minimum"))
        set_(self, "_most", bound(self.maximum, "maximum"))
        if (self._least or self._most is not None) and len(codes) != 1:
            raise misdeclared(
                "Money.of",
                "a bound without one currency",
                'declare it, as in Money.of("EUR", maximum=1000), or check amounts in the model',
                why="1000 of one currency is not 1000 of another",
            )
        if self.default is not None and self.default not in (codes or declared("Money.of", (self.default,))):
            raise misdeclared("Money.of", f"default={self.default!r} is not accepted here", "declare it as well")

    def read(self, value: Any) -> Money:
        if isinstance(value, str):
            return self._from_text(value)
        if isinstance(value, Money):
            return self._check(value.amount, value.currency)
        if isinstance(value, dict):
            return self._check(*self.taken_apart(value))
        return self._check(exact(value), self._no_currency())

    def _from_text(self, text: str) -> Money:
        text = fold(text, LONGEST)
        first = _AMOUNT_FIRST.fullmatch(text)
        if first is not None:
            return self._check(self.style.read_folded(first[1]), first[2])
        last = _CODE_FIRST.fullmatch(text)
        if last is not None:
            return self._check(self.style.read_folded(last[2]), last[1])
        if not _ALONE.fullmatch(text):
            raise fail("not_money")
        return self._check(self.style.read_folded(text), self._no_currency())

    def _no_currency(self) -> str:
        if self.default is None:
            raise fail("money_no_currency")
        return self.default

    def _check(self, amount: Decimal, name: str) -> Money:
        code = read_currency(dict(self.symbols).get(name, name), self.currencies)
        if self._least is not None and amount < self._least:
            raise fail("too_small", limit=self._show(self._least, code))
        if self._most is not None and amount > self._most:
            raise fail("too_big", limit=self._show(self._most, code))
        places = currency_places(code) or 0
        if decimals(amount) > places:
            raise fail("money_decimals", n=places, currency=code)
        return Money(amount, code)

    def _show(self, amount: Decimal, code: str) -> str:
        places = max(currency_places(code) or 0, 0)
        return f"{self.style.write(_in_places(amount, max(places, decimals(amount))))} {code}" if amount else "0"

    def sample(self) -> str:
        code = self.default or (self.currencies[0] if self.currencies else "EUR")
        amount = Decimal("12.5")
        if self._least is not None and amount < self._least:
            amount = self._least
        if self._most is not None and amount > self._most:
            amount = self._most
        if decimals(amount) > (currency_places(code) or 0):
            amount = Decimal(int(amount))
        return self._show(amount, code)


Money.rule = MoneyRule()
