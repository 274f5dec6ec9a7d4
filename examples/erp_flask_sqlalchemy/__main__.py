"""An ERP with a bot, first watched, then guarded.

    python -m examples.erp_flask_sqlalchemy            a morning of requests, in shadow and enforced
    python -m examples.erp_flask_sqlalchemy --serve    the guarded ERP on port 5000

DATABASE_URL names a database without tables of these names, such as postgresql+psycopg://localhost/erp or
mysql+pymysql://root@localhost/erp; default: a SQLite file. What it makes is removed in the end.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from flask import Flask
from sqlalchemy import Engine, func, inspect, select, text

from botguard import ConfigurationError, Guard
from examples.erp_flask_sqlalchemy import guarding, mapping
from examples.erp_flask_sqlalchemy.books import faults, unlike_asked
from examples.erp_flask_sqlalchemy.host import database as db
from examples.erp_flask_sqlalchemy.host.models import Base, IdempotencyKey
from examples.erp_flask_sqlalchemy.host.seed import seed
from examples.erp_flask_sqlalchemy.host.web import create_app
from examples.erp_flask_sqlalchemy.morning import Morning


def main() -> int:
    """Run what the command line says; 1 if the guarded books are wrong."""
    parser = argparse.ArgumentParser(prog="python -m examples.erp_flask_sqlalchemy")
    parser.add_argument("--serve", type=int, nargs="?", const=5000, metavar="PORT", help="serve the guarded ERP")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("DATABASE_URL") or f"sqlite:///{Path(folder) / 'erp.db'}"
        engine = db.connect(url)
        taken = set(inspect(engine).get_table_names()) & set(Base.metadata.tables)
        engine.dispose()
        if taken:
            sys.exit(f"{engine.url!r} has a table {min(taken)} already; name another database in DATABASE_URL")
        try:
            if options.serve is not None:
                return serve(url, options.serve)
            return rehearse(url, Path(folder) / "shadow.db")
        finally:
            engine = db.connect(url)
            Base.metadata.drop_all(engine)
            engine.dispose()


def rehearse(url: str, notes: Path) -> int:
    """The same morning twice: watched, and guarded."""
    engine = db.connect(url)
    Base.metadata.create_all(engine)
    print("In shadow")
    guard = a_morning(guarding.watch(app := create_app(), engine, notes), app)
    print(guard.shadow_report())
    tell_books(engine)
    print("\nThe tables")
    migrate(engine)
    engine.dispose()

    engine = db.connect(url)
    print("\nEnforced")
    guard = a_morning(guarding.enforce(app := create_app(), engine), app)
    for line in app.test_client().get("/metrics").text.splitlines():
        if line.startswith("bot_command_replays_total") and not line.endswith(" 0.0"):
            print(f"  {line}")
    tell_rows(engine)
    wrong = tell_books(engine)
    guard.storage.engine.dispose()
    engine.dispose()
    return 1 if wrong else 0


def a_morning(guard: Guard, app: Flask) -> Guard:
    """Begin with a morning's data, and send its requests."""
    seed()
    db.session.remove()
    Morning(app).spend()
    print()
    return guard


def tell_books(engine: Engine) -> list[str]:
    """Print what is wrong with the books."""
    found = faults(engine) + unlike_asked(engine)
    print("\n  the books are", "wrong:" if found else "right")
    for fault in found:
        print(f"    {fault}")
    return found


def tell_rows(engine: Engine) -> None:
    """Print where the guard's rows are."""
    with engine.connect() as connection:
        for store in (mapping.claims(IdempotencyKey), mapping.EVENTS, mapping.APPROVALS, mapping.LIMITS):
            table = store.table.__table__
            ours = [table.c[name] == value for name, value in store.values.items()]
            rows = connection.scalar(select(func.count()).select_from(table).where(*ours))
            print(f"  {rows:>2} rows of the guard's in {table.name}")


def migrate(engine: Engine) -> None:
    """Map the table of keys as it is, learn what it lacks, and add it."""
    try:
        mapping.storage(engine, IdempotencyKey)
    except ConfigurationError as lacking:
        print(f"  {lacking}\n")
    with engine.begin() as connection:
        connection.execute(text(mapping.MIGRATION))
    print(f"  done: {mapping.MIGRATION}")


def serve(url: str, port: int) -> int:
    """Serve the guarded ERP, with a morning's data."""
    engine = db.connect(url)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text(mapping.MIGRATION))
    engine.dispose()
    engine = db.connect(url)
    app = create_app()
    guarding.enforce(app, engine)
    seed()
    db.session.remove()
    app.run(port=port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
