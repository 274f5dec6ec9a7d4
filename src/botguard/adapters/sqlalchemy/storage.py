"""SqlAlchemyStorage and AsyncSqlAlchemyStorage: all stores in the host's database."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from sqlalchemy import MetaData, Table

from botguard.adapters.sqlalchemy.approvals import ApprovalOperations, Approvals
from botguard.adapters.sqlalchemy.claims import ClaimOperations, Claims
from botguard.adapters.sqlalchemy.drivers import AsyncDriver, Driver, SyncDriver, forget_connections_after_fork
from botguard.adapters.sqlalchemy.engines import async_engine_of, engine_of
from botguard.adapters.sqlalchemy.events import Events, EventStatements
from botguard.adapters.sqlalchemy.extra import require_greenlet
from botguard.adapters.sqlalchemy.joined import AsyncJoinedStorage, JoinedStorage
from botguard.adapters.sqlalchemy.limits import LimitOperations, Limits
from botguard.adapters.sqlalchemy.mapping import layouts
from botguard.adapters.sqlalchemy.moment import Clock
from botguard.adapters.sqlalchemy.work import AsyncUnits, Units
from botguard.errors import ConfigurationError
from botguard.ports.colour import Colour
from botguard.ports.runtime import Clock as ClockPort
from botguard.ports.storage import COMPLETION_WITH_EVENT

__all__ = ["AsyncSqlAlchemyStorage", "Operations", "SqlAlchemyStorage"]

#: Keys the fingerprints where the host names no secret. It is public; see Guard(secret=…).
_PUBLIC_KEY = blake2b(b"botguard.adapters.sqlalchemy", digest_size=32).digest()


class Operations:
    """The logic of all stores over one set of tables; both colours and joined transactions share it."""

    def __init__(
        self,
        metadata: MetaData | None,
        tables: Mapping[str, Any] | None,
        prefix: str,
        schema: str | None,
        clock: ClockPort | None,
        dialect: str,
    ) -> None:
        self.metadata = MetaData() if metadata is None else metadata
        found = layouts(self.metadata, tables, prefix, schema, dialect)
        self.tables: tuple[Table, ...] = tuple(layout.table for layout in found.values())
        time = None if clock is None else clock.time

        def judge(store: str) -> Clock:
            return Clock(time, embedded=found[store].keeps_time)

        self.events = EventStatements(found["events"])
        self.claims = ClaimOperations(found["claims"], judge("claims"), self.events)
        self.approvals = ApprovalOperations(found["approvals"], judge("approvals"))
        self.limits = LimitOperations(found["limits"], judge("limits"))


class _Stores:
    """What both colours share."""

    atomic = frozenset({COMPLETION_WITH_EVENT})

    def __init__(self, driver: Driver, operations: Operations, *, shared_limits: bool, fingerprint_key: bytes) -> None:
        self.operations, self.fingerprint_key = operations, fingerprint_key
        self.idempotency = Claims(driver, operations.claims)
        self.events = Events(driver, operations.events)
        self.approvals = Approvals(driver, operations.approvals)
        self.limits = Limits(driver, operations.limits) if shared_limits else None

    @property
    def metadata(self) -> MetaData:
        """Where our own tables are declared, for Alembic's ``target_metadata``."""
        return self.operations.metadata


def _secret(given: bytes | None) -> bytes:
    if given is None:
        return _PUBLIC_KEY
    said: Any = given
    if not isinstance(said, bytes) or not 16 <= len(given) <= 64:
        raise ConfigurationError(
            "BG172",
            "fingerprint_key= is not 16 to 64 bytes",
            why="fingerprints of payloads could be guessed",
            fix="take secrets.token_bytes(32) once, and keep it safe",
        )
    return given


class SqlAlchemyStorage(_Stores):
    """Claims, events, confirmations and, on request, shared limits in a database that SQLAlchemy reaches.

    Args:
        database: an Engine, a sessionmaker or a scoped_session. The stores open short transactions of their own on it;
            ``transactional`` commands get a Connection of the engine, or a session of the factory.
        metadata: the host's MetaData, which our tables join, with its naming convention; default: one of our own.
        tables: ``{"claims": MappedTable(…), …}`` for stores that live in tables that the host already has.
        prefix, schema: of our own tables.
        clock: judges leases and lifetimes; default: the server's own, so that no machine's clock matters.
        shared_limits: count limits in the database, for all processes, instead of in each process.
        async_database: an AsyncEngine or async_sessionmaker on the same database, for async handlers.
        fingerprint_key: keys the payload fingerprints, 16 to 64 bytes; the same in every process. Without one (or
            ``Guard(secret=…)``) who can read the rows can test guesses of a payload.

    Raises:
        ConfigurationError: for a database or a mapping that cannot keep the promises, with the fix.
    """

    colour: Colour = "sync"

    def __init__(
        self,
        database: Any,
        *,
        metadata: MetaData | None = None,
        tables: Mapping[str, Any] | None = None,
        prefix: str = "botguard_",
        schema: str | None = None,
        clock: ClockPort | None = None,
        shared_limits: bool = False,
        async_database: Any = None,
        fingerprint_key: bytes | None = None,
    ) -> None:
        self.engine = engine_of(database)
        forget_connections_after_fork(self.engine)
        operations = Operations(metadata, tables, prefix, schema, clock, self.engine.dialect.name)
        key = _secret(fingerprint_key)
        super().__init__(SyncDriver(self.engine), operations, shared_limits=shared_limits, fingerprint_key=key)
        self.work = Units(self.engine if database is self.engine else database, operations.claims)
        self.twin: AsyncSqlAlchemyStorage | None = None
        if async_database is not None:
            self.twin = AsyncSqlAlchemyStorage(
                async_database, shared_limits=shared_limits, fingerprint_key=key, operations=operations
            )

    def for_async(self) -> AsyncSqlAlchemyStorage | None:
        """The same rows for async handlers, if ``async_database`` was given."""
        return self.twin

    def joined(self, session: Any) -> JoinedStorage:
        """The same stores inside the open transaction of a Session or Connection of this database."""
        return JoinedStorage(session, self, self.engine, self.operations)

    def create_tables(self) -> None:
        """Make the tables that are not there, for trials and tests; a host's migrations make them otherwise."""
        self.metadata.create_all(self.engine, tables=list(self.operations.tables))

    def __repr__(self) -> str:
        return f"SqlAlchemyStorage({self.engine.url!r})"


class AsyncSqlAlchemyStorage(_Stores):
    """The same for event loops, over an AsyncEngine or async_sessionmaker; every method returns an awaitable.

    Args: see :class:`SqlAlchemyStorage`; ``operations`` is what a sync storage shares with its async twin.
    """

    colour: Colour = "async"

    def __init__(
        self,
        database: Any,
        *,
        metadata: MetaData | None = None,
        tables: Mapping[str, Any] | None = None,
        prefix: str = "botguard_",
        schema: str | None = None,
        clock: ClockPort | None = None,
        shared_limits: bool = False,
        fingerprint_key: bytes | None = None,
        operations: Operations | None = None,
    ) -> None:
        require_greenlet()
        self.engine = async_engine_of(database)
        forget_connections_after_fork(self.engine.sync_engine)
        shared = operations or Operations(metadata, tables, prefix, schema, clock, self.engine.dialect.name)
        key = _secret(fingerprint_key)
        super().__init__(AsyncDriver(self.engine), shared, shared_limits=shared_limits, fingerprint_key=key)
        self.work = AsyncUnits(self.engine if database is self.engine else database, shared.claims)

    def for_async(self) -> AsyncSqlAlchemyStorage:
        """Itself."""
        return self

    def joined(self, session: Any) -> AsyncJoinedStorage:
        """The same stores inside the open transaction of an AsyncSession or AsyncConnection of this database."""
        return AsyncJoinedStorage(session, self, self.engine.sync_engine, self.operations)

    async def create_tables(self) -> None:
        """Make the tables that are not there, for trials and tests; a host's migrations make them otherwise."""
        async with self.engine.begin() as connection:
            await connection.run_sync(self.metadata.create_all, tables=list(self.operations.tables))

    def __repr__(self) -> str:
        return f"AsyncSqlAlchemyStorage({self.engine.url!r})"
