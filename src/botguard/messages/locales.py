"""Which languages to try for a locale, the closest first."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["fallbacks", "normal"]

#: No tag of a language is longer; what a channel sends may be.
_LONGEST = 35


def normal(locale: str) -> str:
    """A locale in one spelling: "de_AT", "de-at" and "de_AT.UTF-8" are all "de-at"."""
    return str(locale)[:_LONGEST].partition(".")[0].partition("@")[0].replace("_", "-").lower()


@lru_cache(maxsize=256)
def fallbacks(locale: str) -> tuple[str, ...]:
    """``"de-AT"`` → ``("de-at", "de", "en")``: the locale, what it is a form of, and English for what both lack."""
    parts = normal(locale).split("-")
    found = ["-".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return tuple(dict.fromkeys([*found, "en"]))
