"""Validation: what somebody sent becomes a command's request model, or an answer they understand.

Importing this package loads nothing. Its parts are loaded when the first name is used, and the data on
telephone numbers, e-mail addresses and time zones only when a rule that needs them is put into a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botguard.validation.names import (
        Currency,
        Date,
        DateTime,
        DecimalNumber,
        Email,
        Money,
        NumberStyle,
        Phone,
        Quantity,
        Text,
        Time,
        ValidatorRegistry,
        add_sentences,
        check_bounds,
        default_validators,
        describe_errors,
        parse_command_line,
        parse_json,
        split_command,
        usage,
        validate_payload,
    )

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
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from botguard.validation import names

    value = globals()[name] = getattr(names, name)  # found at once the next time
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
