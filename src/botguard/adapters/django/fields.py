"""Text that is compared byte by byte on every database."""

from __future__ import annotations

from typing import Any

from django.db import models

__all__ = ["ExactCharField"]


class ExactCharField(models.CharField):
    """A CharField; VARBINARY on MySQL and MariaDB, whose text ignores case, and trailing blanks in any collation."""

    def db_type(self, connection: Any) -> str:
        """See Django."""
        if connection.vendor == "mysql":
            return f"varbinary({self.max_length if self.max_length <= 64 else 4 * self.max_length})"
        return super().db_type(connection)  # type: ignore[no-any-return]

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Bytes of a VARBINARY as text."""
        return value.decode() if isinstance(value, bytes) else value
