"""Every public name of the package; :mod:`botguard.validation` loads this when the first is used."""

from __future__ import annotations

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
