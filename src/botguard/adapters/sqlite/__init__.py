"""SQLite, with nothing but the standard library: one file, many threads and processes, sync and async."""

from botguard.adapters.sqlite.storage import AsyncSqliteStorage, SqliteStorage

__all__ = ["AsyncSqliteStorage", "SqliteStorage"]
