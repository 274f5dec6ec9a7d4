"""Digits, spaces and signs as people's keyboards write them, folded to ASCII before a number is read.

Decided on purpose: decimal digits of living scripts mean the same everywhere, so "٣" (Arabic-Indic) reads as
3 and "１２" (full-width) as 12, and what comes out is always ASCII. One number uses one script: "1٢" is
refused, since nobody types it. Digits for decoration (𝟏, ①, ²) are no digits here.
"""

from __future__ import annotations

from functools import cache

from botguard.validation.rule import fail

__all__ = ["fold"]

#: Zeros of the scripts whose digits people type: Arabic-Indic, Persian, Devanagari, Bengali, Gurmukhi,
#: Gujarati, Odia, Tamil, Telugu, Kannada, Malayalam, Thai, Lao, Tibetan, Myanmar, Khmer, Mongolian, N'Ko,
#: Adlam, full-width.
_ZEROS = (
    0x0660, 0x06F0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0E50, 0x0ED0,
    0x0F20, 0x1040, 0x17E0, 0x1810, 0x07C0, 0x1E950, 0xFF10,
)  # fmt: skip
#: No-break, figure, thin and narrow no-break spaces; minus and hyphens; full-width signs. U+066B is the
#: Arabic decimal separator, which means nothing else, so it stays.
_SIGNS = {
    "\u00a0": " ", "\u2007": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ", "\t": " ",
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2212": "-", "\uff0d": "-",
    "\uff0b": "+", "\uff0e": ".", "\uff0c": ",", "\uff08": "(", "\uff09": ")", "\uff1a": ":", "\uff0f": "/",
    "\u2019": "'", "\uff07": "'",
}  # fmt: skip
#: Marks that phones put around a copied number: they show nothing and, at the edges, change nothing. Those
#: that turn the order of what follows (U+202B, U+202E, U+2067) stay, and are refused with everything else
#: that is no number.
_EDGES = " \t\r\n\u00a0\u200b\u200c\u200d\u200e\u200f\u061c\u202a\u202c\u202d\u2066\u2068\u2069\ufeff"


@cache
def _table() -> dict[int, str]:
    digits = {zero + n: str(n) for zero in _ZEROS for n in range(10)}
    return digits | {ord(sign): ascii_sign for sign, ascii_sign in _SIGNS.items()}


@cache
def _script() -> dict[int, int]:
    zeros = (ord("0"), *_ZEROS)
    return {zero + n: zero for zero in zeros for n in range(10)}


def fold(text: str, longest: int) -> str:
    """The text with ASCII digits and signs, without spaces at its ends.

    Args:
        longest: characters; a longer text is refused before anything else is done with it.

    Raises:
        ValueError: ``too_long_for_this``, ``mixed_digits``.
    """
    if len(text) > longest:
        raise fail("too_long_for_this", n=longest)
    if text.isascii():
        return text.strip()
    script = _script()
    if len({script[ord(sign)] for sign in text if ord(sign) in script}) > 1:
        raise fail("mixed_digits")
    return text.strip(_EDGES).translate(_table())
