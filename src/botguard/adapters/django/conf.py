"""``BOTGUARD = {…}`` of a project's settings: read when it is first needed, checked once, and again if a test changes it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from botguard.errors import ConfigurationError

__all__ = ["BotguardSettings", "current"]

_WHERE = "settings.BOTGUARD"


class BotguardSettings(BaseModel):
    """What may stand in ``BOTGUARD``; every entry has a default.

    Args:
        DATABASE: alias of the database that holds botguard's tables.
        SHARED_LIMITS: count limits in the database, for all processes, instead of in each process.
        FINGERPRINT_KEY: keys the payload fingerprints, 16 to 64 bytes; by default it is derived from SECRET_KEY.
        GUARD: the Guard, or its dotted path; for the middleware, the commands and the admin.
        IDENTIFY: who sent a request, or its dotted path; for the middleware.
        CHANNEL: what the Context of a request says where IDENTIFY does not.
        PERSON: a function of a User, or its dotted path: which person he is, so that nobody approves what he has asked
            for himself in the admin. By default his primary key and his name, both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    DATABASE: str = Field(default="default", min_length=1)
    SHARED_LIMITS: StrictBool = False
    FINGERPRINT_KEY: bytes | None = Field(default=None, min_length=16, max_length=64)
    GUARD: Any = None
    IDENTIFY: Any = None
    CHANNEL: str = Field(default="web", min_length=1)
    PERSON: Any = None

    def fingerprint_key(self) -> bytes:
        """The key of fingerprints."""
        if self.FINGERPRINT_KEY is not None:
            return self.FINGERPRINT_KEY
        return bytes(salted_hmac("botguard.fingerprint", b"", algorithm="sha256").digest())

    def load(self, name: str) -> Any:
        """The object that an entry is, or names; None where the entry is empty.

        Raises:
            ConfigurationError: BG221, if it names nothing.
        """
        value = getattr(self, name)
        if not isinstance(value, str):
            return value
        try:
            return import_string(value.replace(":", "."))
        except ImportError as error:
            raise ConfigurationError(
                "BG221",
                f"{name} = {value!r} cannot be imported: {error}",
                where=_WHERE,
                why="what it names would be missing at the first request or command",
                fix="write the dotted path of the object, as in 'shop.bots.guard'",
            ) from error

    def guard(self) -> Any:
        """The Guard.

        Raises:
            ConfigurationError: BG221 or BG222.
        """
        found = self.load("GUARD")
        if found is None or not hasattr(found, "run_async") or not hasattr(found, "acting"):
            said = "no GUARD" if found is None else f"GUARD = {found!r:.60}, which is no Guard"
            raise ConfigurationError(
                "BG222",
                f"there is {said}",
                where=_WHERE,
                why="middleware and commands would not know whose commands they serve",
                fix='BOTGUARD = {"GUARD": "shop.bots.guard", …}, where guard = Guard(…) in shop/bots.py',
            )
        return found


_NOTHING: dict[str, Any] = {}
#: What was read last, and from which object: a project's settings may be put together piece by piece.
_read: tuple[Any, BotguardSettings] | None = None


def current() -> BotguardSettings:
    """The settings as they stand.

    Raises:
        ConfigurationError: BG220, naming each entry that cannot be used.
    """
    global _read  # noqa: PLW0603 - read once; `setting_changed` lets go of it
    given = getattr(settings, "BOTGUARD", _NOTHING)
    if _read is None or _read[0] is not given:
        _read = (given, _checked(given))
    return _read[1]


def _checked(given: Any) -> BotguardSettings:
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise _unreadable(f"it is {given!r:.60}, which is no dict of names")
    try:
        return BotguardSettings(**given)
    except ValidationError as error:
        raise _unreadable("; ".join(_said(one) for one in error.errors())) from None


def _unreadable(what: str) -> ConfigurationError:
    return ConfigurationError(
        "BG220",
        what,
        where=_WHERE,
        why="what cannot be read would silently protect nothing",
        fix=f"write a dict with some of {', '.join(BotguardSettings.model_fields)}",
    )


def _said(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg']}"
    near = get_close_matches(name.upper(), BotguardSettings.model_fields, 1)
    return f"there is no {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _forget(*, setting: str, **_: Any) -> None:
    global _read  # noqa: PLW0603 - see above
    if setting == "BOTGUARD":
        _read = None


setting_changed.connect(_forget, dispatch_uid="botguard.settings")
