"""SQLAlchemy: claims, events, requests and limits in the host's own database, sync and async, in its transactions."""

from botguard.adapters.sqlalchemy.extra import require_sqlalchemy

require_sqlalchemy()

from botguard.adapters.sqlalchemy.engines import prepare  # noqa: E402 - says first which extra is missing
from botguard.adapters.sqlalchemy.mapping import MappedTable  # noqa: E402
from botguard.adapters.sqlalchemy.storage import AsyncSqlAlchemyStorage, SqlAlchemyStorage  # noqa: E402
from botguard.adapters.sqlalchemy.tables import botguard_tables  # noqa: E402
from botguard.adapters.sqlalchemy.work import SqlAlchemyWork  # noqa: E402

__all__ = [
    "AsyncSqlAlchemyStorage",
    "MappedTable",
    "SqlAlchemyStorage",
    "SqlAlchemyWork",
    "botguard_tables",
    "prepare",
]
