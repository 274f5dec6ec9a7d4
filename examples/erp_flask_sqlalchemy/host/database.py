"""The ERP's database: one engine, and the thread's session, which everything in the ERP works with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import scoped_session, sessionmaker

session = scoped_session(sessionmaker())


def connect(url: str) -> Engine:
    """Open the database, and have the session use it."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connected(connection: Any, _: Any) -> None:  # readers do not keep the writer waiting, nor he them
            connection.execute("PRAGMA journal_mode = WAL")

    session.remove()
    session.configure(bind=engine)
    return engine
