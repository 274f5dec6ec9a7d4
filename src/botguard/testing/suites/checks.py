"""How a suite says that a promise is broken, and the texts that stores mix up."""

from __future__ import annotations

__all__ = ["HARD_STRINGS", "VACUOUS", "Vacuous", "equal", "must"]

#: Texts that stores mix up: by case, by trailing blanks, by normalisation, by their own syntax.
HARD_STRINGS: tuple[str, ...] = (
    "a",
    "A",
    "a ",
    " a",
    "a\n",
    "a\t",
    "ab",
    "%",
    "_",
    "*",
    "a:b",
    "a|b",
    "1:a",
    "a\\b",
    'a"b',
    "'; DROP TABLE botguard_claims; --",
    "None",
    "null",
    "0",
    "-0",
    "1e3",
    "\u00e9",  # one character
    "e\u0301",  # the same to the eye, in two
    "\u00df",
    "ss",
    "\u0131",  # a dotless i
    "i",
    "I",
    "\u202egnp.exe",  # right to left
    "\u200b",  # no width
    "\u1230\u120b\u121d",
    "\U0001f600",
    "x" * 255,
    "x" * 254 + "y",
)


#: How the message of :class:`Vacuous` begins, after the promise.
VACUOUS = "VACUOUS, nothing was shown"


class Vacuous(AssertionError):
    """Nothing was broken because nothing was tried: the run never came to what it should have tested."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {VACUOUS}: {what}")


def must(condition: object, promise: str, what: str) -> None:
    """Fail in the name of a promise; not an ``assert``, so that ``python -O`` changes nothing."""
    __tracebackhide__ = True
    if not condition:
        raise AssertionError(f"{promise}: {what}")


def equal(got: object, wanted: object, promise: str, what: str) -> None:
    """Fail unless both are equal and of one type."""
    __tracebackhide__ = True
    if got != wanted or type(got) is not type(wanted):
        raise AssertionError(f"{promise}: {what}: it is {got!r}, not {wanted!r}")
