"""Email: an address that can be written to, in one normal form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from botguard.validation.rule import Rule, fail

__all__ = ["Email"]

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
#: Names that never lead to a mailbox (RFC 6761 and its kin).
_NOWHERE = frozenset({"arpa", "invalid", "local", "localhost", "onion", "test"})


@dataclass(frozen=True, slots=True)
class Email(Rule):
    """``email: Annotated[str, Email()]``: "Ada@Example.COM" → "Ada@example.com".

    The domain is lower-cased; what stands before the "@" is the receiver's business and stays as it is. With
    email-validator installed (the extra ``email``), addresses with other scripts are read too
    ("jürgen@müller.de"); without it, plain ASCII addresses alone. Both give the same form for what both take.
    Nothing is looked up on the network.
    """

    target: ClassVar[type[Any]] = str
    written: ClassVar[str] = "Annotated[str, Email()]"

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise fail("not_email")
        if len(value) > 320:
            raise fail("too_long_for_this", n=254)
        text = value.strip()
        if text.rfind("@") > 64:  # RFC 5321; the library takes more
            raise fail("not_email")
        plain = _plain(text)
        return plain if plain is not None else _by_library(text)

    def sample(self) -> str:
        return "ada@example.com"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "email", "examples": [self.sample()]}


def _plain(text: str) -> str | None:
    """The normal form of an ordinary address; None for anything unusual, which is not yet wrong."""
    local, _, domain = text.rpartition("@")
    domain = domain.lower() if domain.isascii() else ""
    if len(local) > 64 or len(domain) > 253 or len(text) > 254 or "--" in domain:
        return None
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        return None
    return f"{local}@{domain}" if domain.rpartition(".")[2] not in _NOWHERE else None


def _by_library(text: str) -> str:
    try:
        import email_validator
    except ImportError:
        raise fail("not_email") from None
    try:
        found = email_validator.validate_email(text, check_deliverability=False)
    except ValueError:  # EmailNotValidError, and what its parts raise for odd input
        raise fail("not_email") from None
    return found.normalized
