"""Delta debugging: fewer decisions, as long as the same rule is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["shrink"]


def shrink(marks: Sequence[str], fails: Callable[[Sequence[str]], bool], most: int = 600) -> list[str]:
    """The decisions that are left when no single one can be taken out any more, or ``most`` runs are used up.

    ``fails`` tells whether a schedule of these decisions still breaks the rule.
    """
    kept, size, runs = list(marks), max(1, len(marks) // 2), 0
    while size:
        at, shorter = 0, False
        while at < len(kept) and runs < most:
            fewer = kept[:at] + kept[at + size :]
            runs += 1
            if fails(fewer):
                kept, shorter = fewer, True
            else:
                at += size
        if runs >= most:
            break
        if size == 1 and not shorter:
            break
        size = max(1, size // 2) if size > 1 else 1
    return kept
