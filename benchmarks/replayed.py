"""The very statements of a guarded run, recorded where they leave the guard, and sent again without it.

Nothing is written by hand, so the bare runs cannot fall behind the adapter: what a run sends is recorded once, as
SQLAlchemy constructs and as the text that psycopg was given, and is sent again with values of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.harness import expect

Values = dict[str, Any]


class Statement(NamedTuple):
    """One statement of a run: its construct and values, and the same as text for the driver."""

    construct: Any
    values: Values
    text: str
    driver_values: Values

    @property
    def verb(self) -> str:
        return self.text.split(None, 1)[0]


class Recording(NamedTuple):
    """All statements of a run, in order; the first ``alone`` commit one by one, the others together."""

    statements: list[Statement]
    alone: int

    def with_values(self, names: dict[str, str], *, driver: bool) -> list[Values]:
        """The values of another run: each one that was ``names``' key becomes its value."""
        recorded = [sent.driver_values if driver else sent.values for sent in self.statements]
        return [
            {name: names.get(value, value) if isinstance(value, str) else value for name, value in values.items()}
            for values in recorded
        ]


@contextmanager
def listening(engine: Any, **listeners: Callable[..., None]) -> Iterator[None]:
    from sqlalchemy import event

    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners.items():
            event.remove(engine, name, listener)


def record(engine: Any, run: Callable[[], None], wanted: list[str], alone: int) -> Recording:
    """What one guarded run sends; refused unless its statements begin with the words in ``wanted``."""
    constructs: list[tuple[Any, Values]] = []
    texts: list[tuple[str, Values]] = []

    def before_execute(_: Any, construct: Any, many: Any, values: Any, __: Any) -> None:
        constructs.append((construct, dict(values or (many[0] if many else {}))))

    def before_cursor_execute(_: Any, __: Any, text: str, values: Any, *___: Any) -> None:
        texts.append((text, dict(values)))

    with listening(engine, before_execute=before_execute, before_cursor_execute=before_cursor_execute):
        run()
    statements = [Statement(*one, *other) for one, other in zip(constructs, texts, strict=True)]
    expect("statements of a run", [sent.verb for sent in statements], wanted)
    return Recording(statements, alone)


def commits_of(engine: Any, run: Callable[[], None]) -> int:
    """How many transactions ``run`` commits (a read that is rolled back is none)."""
    seen: list[Any] = []
    with listening(engine, commit=seen.append):
        run()
    return len(seen)


class Core:
    """Sends a recording by SQLAlchemy Core: a connection of the pool for each transaction, as a program would."""

    driver = False

    def __init__(self, engine: Any, recording: Recording) -> None:
        self.engine, self.alone = engine, engine.execution_options(isolation_level="AUTOCOMMIT")
        self.constructs = [sent.construct for sent in recording.statements]
        self.first = recording.alone

    def run(self, values: list[Values]) -> None:
        for n in range(self.first):
            with self.alone.connect() as connection:
                _read(connection.execute(self.constructs[n], values[n]))
        with self.engine.begin() as connection:
            for n in range(self.first, len(values)):
                _read(connection.execute(self.constructs[n], values[n]))

    def close(self) -> None:
        self.engine.dispose()


def _read(result: Any) -> Any:
    return result.all() if result.returns_rows else result.rowcount


class Raw:
    """Sends a recording by psycopg alone, on one connection that it keeps."""

    driver = True

    def __init__(self, engine: Any, recording: Recording) -> None:
        import psycopg

        url = engine.url.set(drivername="postgresql")
        self.connection = psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)
        self.texts = [sent.text for sent in recording.statements]
        self.first = recording.alone

    def run(self, values: list[Values]) -> None:
        connection, texts = self.connection, self.texts
        for n in range(self.first):
            connection.execute(texts[n], values[n]).fetchall()
        with connection.transaction():
            for n in range(self.first, len(values)):
                connection.execute(texts[n], values[n])

    def close(self) -> None:
        self.connection.close()
