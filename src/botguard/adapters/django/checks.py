"""System checks: what would break promises, said by ``manage.py check`` and before every ``runserver`` and ``migrate``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connections

from botguard.adapters.django import conf
from botguard.adapters.django.spelling import VENDORS
from botguard.errors import ConfigurationError

__all__ = ["MIDDLEWARE", "TAG", "check_database", "check_settings"]

TAG = "botguard"
MIDDLEWARE = "botguard.integrations.django.BotguardMiddleware"
_TABLES = ("botguard_claims", "botguard_events", "botguard_approvals", "botguard_limits")


@checks.register(TAG)
def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Everything that can be seen without asking the database."""
    try:
        found = conf.current()
    except ConfigurationError as error:
        return [checks.Error(_head(error), hint=error.fix, id="botguard.E002")]
    return [
        *_check_paths(found),
        *_check_app(),
        *_check_alias(found.DATABASE),
        *_check_middleware(found),
        *_check_commands(found),
    ]


def _head(error: ConfigurationError) -> str:
    return f"{error.where}: {error.what} [{error.code}]"


def _check_paths(found: conf.BotguardSettings) -> Iterator[checks.CheckMessage]:
    for name in ("GUARD", "IDENTIFY", "PERSON"):
        try:
            loaded = found.guard() if name == "GUARD" and found.GUARD is not None else found.load(name)
        except ConfigurationError as error:
            yield checks.Error(_head(error), hint=error.fix, id="botguard.E006")
            continue
        if loaded is not None and name != "GUARD" and not callable(loaded):
            yield checks.Error(f"BOTGUARD[{name!r}] is {loaded!r:.60}, which is no function", id="botguard.E006")


def _check_app() -> Iterator[checks.CheckMessage]:
    from botguard.adapters.django.storage import is_used

    if is_used() and not apps.is_installed("botguard.adapters.django"):
        yield checks.Error(
            "DjangoStorage() is used, and its app is not installed: there are no tables",
            hint='Add "botguard.adapters.django" to INSTALLED_APPS and run migrate.',
            id="botguard.E001",
        )


def _check_alias(alias: str) -> Iterator[checks.CheckMessage]:
    if alias not in connections.settings:
        known = ", ".join(repr(name) for name in connections.settings)
        yield checks.Error(
            f"BOTGUARD['DATABASE'] is {alias!r}, and DATABASES has: {known}",
            hint="Name one of them.",
            id="botguard.E003",
        )
        return
    connection = connections[alias]
    database = connection.settings_dict
    if connection.vendor not in VENDORS or (
        not connection.features.can_return_columns_from_insert and connection.vendor != "mysql"
    ):
        yield checks.Error(
            f"DATABASES[{alias!r}] is {connection.display_name}, which botguard cannot use",
            hint="Use PostgreSQL, MariaDB, MySQL, or SQLite 3.35 or newer, and name its alias in BOTGUARD['DATABASE'].",
            id="botguard.E004",
        )
        return
    if not database["AUTOCOMMIT"]:
        yield checks.Error(
            f"DATABASES[{alias!r}]['AUTOCOMMIT'] is False: a claim would never be committed before its effect",
            hint="Leave AUTOCOMMIT as it is, or give botguard another alias of the same database.",
            id="botguard.E005",
        )
    if connection.vendor == "sqlite":
        yield from _check_sqlite(alias, connection, database)


def _check_sqlite(alias: str, connection: Any, database: Any) -> Iterator[checks.CheckMessage]:
    mode = database["OPTIONS"].get("transaction_mode") or ""
    if mode.upper() != "IMMEDIATE" and not connection.is_in_memory_db():
        yield checks.Warning(
            f"DATABASES[{alias!r}]: transactions begin deferred, and one that has read before it writes may be refused the "
            "lock at once, whatever the time-out is",
            hint="OPTIONS = {'transaction_mode': 'IMMEDIATE'}",
            id="botguard.W001",
        )
    if database["ATOMIC_REQUESTS"]:
        yield checks.Warning(
            f"DATABASES[{alias!r}] is SQLite with ATOMIC_REQUESTS: the request holds the only write lock, so that commands "
            "with external or idempotent effects are refused in every view, and what must outlive a rollback does not",
            hint="Mark such views with @transaction.non_atomic_requests, or use PostgreSQL.",
            id="botguard.W005",
        )


def _check_middleware(found: conf.BotguardSettings) -> Iterator[checks.CheckMessage]:
    there = MIDDLEWARE in settings.MIDDLEWARE
    missing = [name for name in ("GUARD", "IDENTIFY") if getattr(found, name) is None]
    if there and missing:
        yield checks.Error(
            f"{MIDDLEWARE} is installed, and BOTGUARD has no {' and no '.join(missing)}",
            hint="Give the dotted paths of your Guard, and of the function that says who sent a request.",
            id="botguard.E007",
        )
    elif not there and found.IDENTIFY is not None:
        yield checks.Warning(
            "BOTGUARD has IDENTIFY, and nothing asks it: the middleware is not installed",
            hint=f'Add "{MIDDLEWARE}" to MIDDLEWARE, below the authentication it relies on.',
            id="botguard.W004",
        )


def _check_commands(found: conf.BotguardSettings) -> Iterator[checks.CheckMessage]:
    try:
        guard = found.guard() if found.GUARD is not None else None
    except ConfigurationError:
        return  # said above
    for declaration in guard.registry if guard is not None else ():
        command = declaration.command
        if command.retry is not None and command.key is None:
            yield checks.Warning(
                f"{command.name} is retried, and has no key: where the channel gives no delivery key, the same intent sent "
                "again is not recognised",
                hint='Declare one, such as key="{order_id}".',
                obj=command.name,
                id="botguard.W003",
            )


@checks.register(TAG, checks.Tags.database)
def check_database(databases: Any = None, **_: Any) -> list[checks.CheckMessage]:
    """What the database itself says; only where checks may ask it (``check --database``, ``migrate``)."""
    try:
        alias = conf.current().DATABASE
    except ConfigurationError:
        return []  # said above
    if alias not in (databases or ()) or alias not in connections.settings:
        return []
    connection = connections[alias]
    try:
        return [*_check_tables(alias, connection), *_check_journal(alias, connection)]
    except DatabaseError as error:
        return [checks.Error(f"DATABASES[{alias!r}] cannot be reached: {error}", id="botguard.E008")]


def _check_tables(alias: str, connection: Any) -> Iterator[checks.CheckMessage]:
    with connection.cursor() as cursor:
        there = connection.introspection.table_names(cursor)
    missing = [name for name in _TABLES if name not in there]
    if missing:
        yield checks.Warning(
            f"DATABASES[{alias!r}] has no {', '.join(missing)}",
            hint=f"Run manage.py migrate botguard --database={alias}.",
            id="botguard.W006",
        )


def _check_journal(alias: str, connection: Any) -> Iterator[checks.CheckMessage]:
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return
    with connection.cursor() as cursor:
        mode = cursor.execute("PRAGMA journal_mode").fetchall()[0][0]
    if mode != "wal":
        yield checks.Warning(
            f"DATABASES[{alias!r}] keeps no write-ahead log ({mode}): readers and writers block each other",
            hint="OPTIONS = {'init_command': 'PRAGMA journal_mode=WAL'}",
            id="botguard.W002",
        )
