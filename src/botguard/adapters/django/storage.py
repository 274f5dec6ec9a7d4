"""DjangoStorage: all stores in a database of the project's, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from botguard.adapters.django import conf
from botguard.adapters.django.approvals import ApprovalOperations, Approvals
from botguard.adapters.django.claims import ClaimOperations, Claims
from botguard.adapters.django.drivers import AsyncDriver, Driver, SyncDriver, While
from botguard.adapters.django.events import EventOperations, Events
from botguard.adapters.django.limits import LimitOperations, Limits
from botguard.adapters.django.places import is_host_open
from botguard.adapters.django.spelling import Clock
from botguard.adapters.django.work import Units
from botguard.errors import ConfigurationError
from botguard.ports.colour import Colour
from botguard.ports.runtime import Clock as ClockPort
from botguard.ports.storage import COMPLETION_WITH_EVENT

__all__ = ["AsyncDjangoStorage", "DjangoStorage", "is_used"]


class _Made:
    """Whether this process has a storage: then the app must be installed."""

    any = False


class _Shared:
    """The logic of all stores, and what was given; every form of the storage has the same one."""

    def __init__(
        self, database: str | None, clock: ClockPort | None, shared_limits: bool | None, fingerprint_key: bytes | None
    ) -> None:
        self._database, self._limits, self._key = database, shared_limits, fingerprint_key
        judge = Clock(None if clock is None else clock.time)
        self.events = EventOperations(judge)
        self.claims = ClaimOperations(judge, self.events)
        self.approvals = ApprovalOperations(judge)
        self.counters = LimitOperations(judge)

    def alias(self) -> str:
        return self._database or conf.current().DATABASE

    @property
    def counts(self) -> bool:
        return conf.current().SHARED_LIMITS if self._limits is None else self._limits

    @property
    def key(self) -> bytes:
        return conf.current().fingerprint_key() if self._key is None else self._key


class _Stores:
    """What all forms have."""

    atomic = frozenset({COMPLETION_WITH_EVENT})

    def __init__(
        self, shared: _Shared, drivers: Callable[[While], Driver], claims: While, others: While = "beside-or-join"
    ) -> None:
        self._shared = shared
        outside = drivers(others)
        self.idempotency = Claims(drivers(claims), shared.claims)
        self.events = Events(outside, shared.events)
        self.approvals = Approvals(outside, shared.approvals)
        self.limits = Limits(outside, shared.counters) if shared.counts else None
        self.fingerprint_key = shared.key

    @property
    def alias(self) -> str:
        """Alias of the database that holds the rows."""
        return self._shared.alias()


class DjangoStorage(_Stores):
    """Claims, events, confirmations and, on request, shared limits in a database of the project's.

    Args:
        database: alias of that database; default: ``BOTGUARD["DATABASE"]``.
        clock: judges leases and lifetimes; default: the server's own, so that no machine's clock matters.
        shared_limits: count limits in the database, for all processes; default: ``BOTGUARD["SHARED_LIMITS"]``.
        fingerprint_key: keys the payload fingerprints, 16 to 64 bytes, the same in every process; default:
            ``BOTGUARD["FINGERPRINT_KEY"]``, else derived from ``SECRET_KEY``.

    While the host has a transaction open (``atomic()``, ATOMIC_REQUESTS), ``transactional`` commands are part of it; the
    claims of others, and what must outlive a rollback, are committed on a connection beside it.

    Raises:
        ConfigurationError: for settings that cannot be read.
    """

    colour: Colour = "sync"

    def __init__(
        self,
        database: str | None = None,
        *,
        clock: ClockPort | None = None,
        shared_limits: bool | None = None,
        fingerprint_key: bytes | None = None,
    ) -> None:
        if fingerprint_key is not None and not 16 <= len(fingerprint_key) <= 64:
            raise ConfigurationError(
                "BG172",
                "fingerprint_key= is not 16 to 64 bytes",
                why="fingerprints of payloads could be guessed",
                fix="take secrets.token_bytes(32) once, and keep it safe",
            )
        _Made.any = True
        shared = _Shared(database, clock, shared_limits, fingerprint_key)
        super().__init__(shared, self._on_thread, "beside")
        self.work = Units(shared.alias, shared.claims)
        self._joining = _JoiningStorage(shared, self._on_thread, self)
        self._async = AsyncDjangoStorage(shared, self._on_loop)

    def _on_thread(self, way: While) -> SyncDriver:
        return SyncDriver(self._shared.alias, way)

    def _on_loop(self, way: While) -> AsyncDriver:
        return AsyncDriver(self._on_thread(way))

    def for_async(self) -> AsyncDjangoStorage:
        """The same rows for async handlers; always the same object."""
        return self._async

    def for_transactional(self) -> _JoiningStorage:
        """The form that ``transactional`` commands get: its claims are in the host's transaction, where one is open."""
        return self._joining

    def joined(self, session: Any) -> _JoiningStorage:
        """The same stores inside the open transaction of ``connections[alias]``, which ``session`` is, or its alias."""
        return self._joining.joined(session)

    def inside(self) -> _Stores:
        """All stores inside the present ``atomic()`` block, so that operators' acts and their records are one."""
        return _Stores(self._shared, self._on_thread, "join", "join")

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call it once what was written is durable: now, or when the host commits; never if the host rolls back."""
        self._joining.after_commit(call)

    def __repr__(self) -> str:
        return f"DjangoStorage({self._shared.alias()!r})"


class _JoiningStorage(_Stores):
    """For ``transactional`` commands: claim, effect, completion and its event are the host's transaction's, or undone
    with it. Denials and failures are audited, and counters count, beside it; on SQLite, which has one writer, in it."""

    colour: Colour = "sync"

    def __init__(self, shared: _Shared, drivers: Callable[[While], Driver], outer: DjangoStorage) -> None:
        super().__init__(shared, drivers, "join")
        self.work = Units(shared.alias, shared.claims)

    def for_async(self) -> None:
        """A transaction does not leave its thread."""
        return

    def for_transactional(self) -> _JoiningStorage:
        """Itself."""
        return self

    def joined(self, session: Any) -> _JoiningStorage:
        """Itself, if a transaction is open there.

        Raises:
            ConfigurationError: BG141.
        """
        alias = self._shared.alias()
        connection = connections[alias]
        if session not in (connection, alias):
            raise _refuse(f"{session!r:.80} is not the connection of the database {alias!r}")
        if not connection.in_atomic_block:
            raise _refuse("no transaction is open on it")
        return self

    def after_commit(self, call: Callable[[], object]) -> None:
        """See :meth:`DjangoStorage.after_commit`."""
        alias = self._shared.alias()
        connection = connections[alias]
        if connection.in_atomic_block and is_host_open(connection):
            transaction.on_commit(call, using=alias, robust=True)
        else:
            call()


class AsyncDjangoStorage(_Stores):
    """The same rows for event loops. ``work`` is None: Django has no transactions that a task could keep open."""

    colour: Colour = "async"
    work = None

    def __init__(self, shared: _Shared, drivers: Callable[[While], Driver]) -> None:
        super().__init__(shared, drivers, "beside")

    def for_async(self) -> AsyncDjangoStorage:
        """Itself."""
        return self

    def joined(self, session: Any) -> _JoiningStorage:
        """Not from here."""
        raise _refuse("an async command cannot join a transaction: Django's belong to one thread")


def is_used() -> bool:
    """True if a DjangoStorage was made in this process."""
    return _Made.any


def _refuse(what: str) -> ConfigurationError:
    return ConfigurationError(
        "BG141",
        what,
        where="session",
        why="the guard's rows and the host's would not share one transaction",
        fix="call it inside atomic(): a transactional command finds the open transaction by itself",
    )
