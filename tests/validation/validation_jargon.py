"""What a chat user must never read, and how to find it in a message."""

from __future__ import annotations

import re

from botguard.outcome import Detail

#: Words of programs, of the validation library, and of our own code.
WORDS = (
    "pydantic", "botguard", "validation error", "validator", "validate", "input", "input should", "field required",
    "value error", "assertion", "type=", "input_type", "input_value", "str", "dict", "list", "int", "float", "bool",
    "tuple", "bytes", "none", "null", "nonetype", "nan", "inf", "string", "integer", "boolean", "decimal input",
    "enum", "literal", "regex", "pattern", "unicode", "utf-8", "ascii", "json", "parse", "parsing", "exception",
    "error", "traceback", "object", "instance", "class", "model", "schema", "attribute", "argument", "key",
    "iterable", "mapping", "hashable", "callable", "timezone-aware", "naive", "discriminator", "input tag",
    "inputs", "frozen", "keys", "datetime", "datetimes", "url scheme", "base64", "payload", "e164", "iso 8601",
    "nfc", "nul", "bidi", "surrogate", "codepoint", "null byte",
)  # fmt: skip
_WORD = re.compile(r"(?<![\w-])(?:" + "|".join(re.escape(word) for word in WORDS) + r")(?![\w-])", re.IGNORECASE)
_CLASS_NAME = re.compile(r"\b(?:[A-Z][a-z]+){2,}\b|\b[a-z]+_[a-z_]+\b|\w+\(|\b0x|[{}\[\]]")
#: What the person sent is theirs: 'None' in quotes is no jargon of ours. So are the names of the host's fields.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"", re.DOTALL)


def offences(text: str) -> list[str]:
    """Everything in a message that is not for people."""
    plain = _QUOTED.sub("''", text)
    return _WORD.findall(plain) + _CLASS_NAME.findall(plain)


def check_message(detail: Detail, *, longest: int = 400) -> None:
    """A particular that a chat user can read: one or two plain sentences, bounded, and nothing that hides.

    A usage line, with its <names> and [names], is checked for length and hidden signs only.
    """
    text = f"{detail.message} {detail.hint}"
    assert detail.message.strip(), detail
    assert len(text) <= (2000 if detail.code == "usage" else longest), detail
    assert text.isprintable(), detail
    assert detail.code == "usage" or not offences(text), (offences(text), detail)
