"""Every store on every database, sync and async, against the suite of its port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from adapters.django.inner.site import empty, without_database
from botguard.adapters.django import DjangoStorage
from botguard.testing import ApprovalStoreSuite, EventStoreSuite, FakeClock, IdempotencyStoreSuite, LimitStoreSuite

#: MariaDB makes every commit wait for the disk: the async form, which runs the same statements, is shown on the others.
FORMS = ("default-sync", "postgresql-sync", "postgresql-async", "mariadb-sync")
#: The stores beside the claims share their drivers: every database and both forms, but not each with each.
FEWER = ("default-async", "postgresql-sync", "mariadb-sync")


class OnDjango:
    """Picks one port of two storages; ``reopen`` gives that of the second one."""

    port = ""
    threads = 6
    examples = 6
    alias: str
    form: str

    @pytest.fixture(autouse=True)
    def database(self, request: pytest.FixtureRequest, made: Callable[[str], str]) -> None:
        self.alias, _, self.form = request.param.partition("-")
        made(self.alias)
        if self.alias == "postgresql":
            self.capabilities = self.capabilities | {"outage"}

    def make_store(self) -> Any:
        empty(self.alias)
        self.clock = FakeClock()
        self.storages = [self._open() for _ in range(2)]
        return getattr(self.storages[0], self.port)

    def _open(self) -> Any:
        storage = DjangoStorage(self.alias, clock=self.clock, shared_limits=True)
        return storage.for_async() if self.form == "async" else storage

    def fresh_store(self, store: Any) -> Any:
        empty(self.alias)
        return store

    def reopen(self, store: Any) -> Any:
        return getattr(self.storages[1], self.port)

    def events_of(self, store: Any) -> Any:
        return self.storages[0].events

    @contextmanager
    def outage(self, store: Any) -> Iterator[None]:
        """The server throws everybody out of the database, and lets nobody in."""
        with without_database("postgresql"):
            yield

    def close_store(self, store: Any) -> Any:
        connections.close_all()
        return sync_to_async(connections.close_all)() if self.form == "async" else None

    def together(self, store: Any, actors: Sequence[Any], way: Any = None) -> list[Any]:
        """Threads of a host close their connections when they end."""
        if (way or self.ways()[0]) == "tasks":
            return super().together(store, actors, way)

        def closing(actor: Any) -> Any:
            async def act() -> Any:
                try:
                    return await actor()
                finally:
                    connections.close_all()

            return act

        return super().together(store, [closing(actor) for actor in actors], way)


@pytest.mark.parametrize("database", FORMS, indirect=True)
class TestClaims(OnDjango, IdempotencyStoreSuite):
    port = "idempotency"
    examples = 10  # with fewer, some rare states are never met
    capabilities = frozenset({"events", "reopen"})


@pytest.mark.parametrize("database", FEWER, indirect=True)
class TestEvents(OnDjango, EventStoreSuite):
    port = "events"
    capabilities = frozenset({"reopen"})


@pytest.mark.parametrize("database", FEWER, indirect=True)
class TestApprovals(OnDjango, ApprovalStoreSuite):
    port = "approvals"
    capabilities = frozenset({"reopen"})


@pytest.mark.parametrize("database", FEWER, indirect=True)
class TestLimits(OnDjango, LimitStoreSuite):
    port = "limits"
    capabilities = frozenset({"reopen"})
    examples = 4
