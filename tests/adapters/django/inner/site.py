"""The site: set up once, at the first import."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql

pymysql.install_as_MySQLdb()  # Django's own driver needs a compiler and the server's headers
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "adapters.django.inner.site_settings")

import django  # noqa: E402

django.setup()

import psycopg  # noqa: E402
from django.db import connections  # noqa: E402
from psycopg import sql  # noqa: E402

from adapters.django.inner.shop.models import Order  # noqa: E402
from botguard.adapters.django.models import Approval, Claim, Counter, Event  # noqa: E402

#: The databases, and the server that each needs.
SERVERS: dict[str, Any] = {"default": None, "postgresql": "postgresql", "mariadb": "mariadb"}


def empty(alias: str) -> None:
    """Take the rows of the tests away."""
    for model in (Claim, Event, Approval, Counter, Order):
        model.objects.using(alias).all().delete()


@contextmanager
def without_database(alias: str) -> Iterator[None]:
    """A block in which PostgreSQL lets nobody into a database, after it has thrown everybody out."""
    name = connections[alias].settings_dict["NAME"]
    _allow(alias, name, allowed=False)
    cut(alias)
    try:
        yield
    finally:
        _allow(alias, name, allowed=True)


def _allow(alias: str, name: str, *, allowed: bool) -> None:
    with _around(alias) as server:
        said = sql.SQL("true" if allowed else "false")
        server.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}").format(sql.Identifier(name), said))


def cut(alias: str) -> None:
    """End all connections to a database of PostgreSQL's, as a restart of the server would."""
    with _around(alias) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (connections[alias].settings_dict["NAME"],),
        )


def _around(alias: str) -> psycopg.Connection[Any]:
    place = connections[alias].settings_dict
    return psycopg.connect(
        host=place["HOST"], port=place["PORT"], user=place["USER"], dbname="postgres", autocommit=True
    )
