"""The last resort for a completion that the store did not take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

__all__ = ["Spool"]


class Spool(Protocol):
    """An append-only place that does not depend on the store: a file on local disk."""

    def write(self, record: dict[str, Any]) -> None:
        """Append one record, on stable storage when it returns."""
        ...

    def drain(self) -> Iterable[tuple[dict[str, Any], Any]]:
        """Yield (record, acknowledge) pairs; a record is removed only when ``acknowledge()`` is called."""
        ...
