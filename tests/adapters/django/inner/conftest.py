"""A Django site with test databases, for the tests of this folder; in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(_TESTS.parent), str(_TESTS)]

from asgiref.sync import sync_to_async  # noqa: E402
from django.db import connections  # noqa: E402
from django.test.utils import setup_databases, setup_test_environment, teardown_databases  # noqa: E402

from adapters.django.inner import site  # noqa: E402, F401 - first of all: Django is set up
from adapters.django.inner.site import SERVERS, empty  # noqa: E402
from botguard.adapters.django.places import forget_side_connections  # noqa: E402
from servers import require_server  # noqa: E402

setup_test_environment()
ALIASES = ("default", "postgresql", "mariadb")


@pytest.fixture(scope="session")
def made() -> Iterator[Callable[[str], str]]:
    """Makes the test database of an alias when it is first wanted."""
    kept: dict[str, Any] = {}

    def make(alias: str) -> str:
        server = SERVERS[alias]
        if server is not None:
            require_server(server)
        if alias not in kept:
            kept[alias] = setup_databases(0, False, aliases=[alias])
        return alias

    yield make
    forget_side_connections()
    asyncio.run(sync_to_async(connections.close_all)())
    connections.close_all()
    for old in kept.values():
        teardown_databases(old, 0)


@pytest.fixture(params=ALIASES)
def alias(request: pytest.FixtureRequest, made: Callable[[str], str]) -> Iterator[str]:
    """Each database in turn, without rows."""
    found = made(request.param)
    empty(found)
    yield found
    forget_side_connections()
    connections.close_all()
