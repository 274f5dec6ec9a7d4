"""Where the databases are: addresses and URLs from the variables that the tests read too."""

from __future__ import annotations

import os
from typing import Any

#: name → (URL for an address, the usual port)
_SERVERS = {
    "postgresql": ("postgresql+psycopg://postgres@{}/test", "127.0.0.1:5432"),
    "mariadb": ("mysql+pymysql://root@{}/test", "127.0.0.1:3306"),
}
#: Before the names of a run's tables, so that runs on one server do not meet.
PREFIX = f"botguard_bench{os.getpid()}_"


def connect_to(name: str, **options: Any) -> Any:
    """An engine on a server, or the reason why there is none as text."""
    from sqlalchemy import create_engine, exc

    pattern, usual = _SERVERS[name]
    variable = f"BOTGUARD_TEST_{name.upper()}"
    url = os.environ.get(f"{variable}_URL") or pattern.format(os.environ.get(variable) or usual)
    engine = create_engine(url, **options)
    try:
        engine.connect().close()
    except exc.OperationalError as error:
        engine.dispose()
        return f"no {name} ({str(error.orig).splitlines()[0]}); set {variable}=host:port"
    return engine


def no_fsync(engine: Any) -> None:
    """Let commits of an engine's new connections not wait for the disk, so that nothing else is hidden by that."""
    from sqlalchemy import event

    setting = {"postgresql": "SET synchronous_commit = off"}.get(engine.dialect.name)
    if setting is None:
        return

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(setting)
        connection.commit()
