"""Validation: what somebody sent becomes a command's request model, or an answer they understand.

Importing this package loads nothing. Its parts are loaded when the first name of theirs is used, and the data on
telephone numbers, e-mail addresses and time zones only when a rule that needs them is put into a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botguard.validation.bounds import check_bounds
    from botguard.validation.catalogue import add_sentences
    from botguard.validation.command_line import parse_command_line, usage
    from botguard.validation.currencies import Currency
    from botguard.validation.decimal_number import DecimalNumber
    from botguard.validation.describe import describe_errors
    from botguard.validation.email_address import Email
    from botguard.validation.json_text import parse_json
    from botguard.validation.line_tokens import split_command
    from botguard.validation.moments import Date, DateTime, Time
    from botguard.validation.money import Money
    from botguard.validation.numbers import NumberStyle
    from botguard.validation.phone import Phone
    from botguard.validation.quantity import Quantity
    from botguard.validation.registry import ValidatorRegistry, default_validators, validate_payload
    from botguard.validation.text import Text

#: Public name → the part that has it.
_HOMES = {
    "Currency": "currencies",
    "Date": "moments",
    "DateTime": "moments",
    "DecimalNumber": "decimal_number",
    "Email": "email_address",
    "Money": "money",
    "NumberStyle": "numbers",
    "Phone": "phone",
    "Quantity": "quantity",
    "Text": "text",
    "Time": "moments",
    "ValidatorRegistry": "registry",
    "add_sentences": "catalogue",
    "check_bounds": "bounds",
    "default_validators": "registry",
    "describe_errors": "describe",
    "parse_command_line": "command_line",
    "parse_json": "json_text",
    "split_command": "line_tokens",
    "usage": "command_line",
    "validate_payload": "registry",
}

__all__ = [
    "Currency",
    "Date",
    "DateTime",
    "DecimalNumber",
    "Email",
    "Money",
    "NumberStyle",
    "Phone",
    "Quantity",
    "Text",
    "Time",
    "ValidatorRegistry",
    "add_sentences",
    "check_bounds",
    "default_validators",
    "describe_errors",
    "parse_command_line",
    "parse_json",
    "split_command",
    "usage",
    "validate_payload",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: TID251 - parts of this same package: no layer is evaded

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
