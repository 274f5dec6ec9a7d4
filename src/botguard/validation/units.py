"""Units of measure: a small table with exact factors, and the names that people write.

Left out on purpose is what means different things to different people: ton, gallon, pint, cup, ounce of
fluid. A command can declare words of its own ("box", "pallet"), which convert into nothing.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import NamedTuple

__all__ = ["UNITS", "Unit", "find_unit"]


class Unit(NamedTuple):
    """One unit: what it measures, how many base units it is, and whether parts of one make sense."""

    symbol: str
    dimension: str
    factor: Decimal
    whole: bool = False


#: symbol: dimension, factor to the dimension's base, names (in any case).
_TABLE: dict[str, tuple[str, str, str]] = {
    "mg": ("mass", "0.000001", "milligram milligrams milligramm"),
    "g": ("mass", "0.001", "gr gram grams gramme grammes gramm"),
    "kg": ("mass", "1", "kgs kilo kilos kilogram kilograms kilogramme kilogrammes kilogramm"),
    "t": ("mass", "1000", "tonne tonnes"),
    "lb": ("mass", "0.45359237", "lbs"),
    "oz": ("mass", "0.028349523125", "ounce ounces"),
    "ml": ("volume", "0.001", "millilitre millilitres milliliter milliliters"),
    "cl": ("volume", "0.01", "centilitre centilitres centiliter centiliters"),
    "l": ("volume", "1", "litre litres liter liters ltr"),
    "m3": ("volume", "1000", "m³ cbm"),
    "mm": ("length", "0.001", "millimetre millimetres millimeter millimeters"),
    "cm": ("length", "0.01", "centimetre centimetres centimeter centimeters"),
    "m": ("length", "1", "metre metres meter meters"),
    "km": ("length", "1000", "kilometre kilometres kilometer kilometers"),
    "in": ("length", "0.0254", "inch inches"),
    "ft": ("length", "0.3048", "foot feet"),
    "m2": ("area", "1", "m² sqm qm"),
    "ha": ("area", "10000", "hectare hectares hektar"),
    "s": ("time", "1", "sec secs second seconds sekunde sekunden"),
    "min": ("time", "60", "mins minute minutes minuten"),
    "h": ("time", "3600", "hr hrs hour hours stunde stunden"),
    "d": ("time", "86400", "day days tag tage"),
    "kwh": ("energy", "1", ""),
    "mwh": ("energy", "1000", ""),
    "pcs": ("count", "1", "pc pcs. pc. piece pieces ea stk stk. stück"),
    "doz": ("count", "12", "dozen dutzend"),
}
_WHOLE = frozenset({"pcs", "doz"})
_SPELLED = {"kwh": "kWh", "mwh": "MWh"}
#: Read by the book these are a thousand million times what most people mean by them.
_UNCLEAR = frozenset({"Mg", "Ml", "ML", "Mm", "mWh", "mwh"})

UNITS: dict[str, Unit] = {
    _SPELLED.get(symbol, symbol): Unit(_SPELLED.get(symbol, symbol), dimension, Decimal(factor), symbol in _WHOLE)
    for symbol, (dimension, factor, _) in _TABLE.items()
}


@cache
def _names() -> dict[str, str]:
    found: dict[str, str] = {}
    for symbol, (_, _, names) in _TABLE.items():
        for name in (symbol, *names.split()):
            found[name.casefold()] = _SPELLED.get(symbol, symbol)
    return found


def find_unit(text: str) -> str | None:
    """The symbol for a unit's name, in any case that cannot mean another unit; None if unknown."""
    if text in UNITS:
        return text
    if len(text) > 20 or text in _UNCLEAR:
        return None
    return _names().get(text.casefold())
