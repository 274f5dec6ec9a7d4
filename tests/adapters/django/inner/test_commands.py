"""Management commands, system checks, settings and migrations."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.test import override_settings

from adapters.django.inner.shop import bots
from adapters.django.inner.site import empty
from botguard import ALLOW_ALL, Actor, ConfigurationError, Context, Guard
from botguard.adapters.django import DjangoStorage, conf
from botguard.adapters.django.models import Approval, Claim
from botguard.testing import FakeClock

ANN = Context(org="acme", actor=Actor("ann", roles=("sales",)), channel="web")
GUARD = {"GUARD": "adapters.django.inner.shop.bots.guard"}


@pytest.fixture(autouse=True)
def site(made: Callable[[str], str]) -> Iterator[None]:
    empty(made("default"))
    with override_settings(BOTGUARD=GUARD):
        yield


def called(name: str, *args: str) -> str:
    out = io.StringIO()
    call_command(name, *args, stdout=out, no_color=True)
    return out.getvalue()


def old_rows(count: int) -> None:
    """Settled claims and a request whose time has long been over."""
    clock = FakeClock(start=1_000_000_000)
    guard = Guard(storage=DjangoStorage(clock=clock), access=ALLOW_ALL, clock=clock)

    @guard.command("orders.old", key="{n}")
    def old(payload: dict[str, Any]) -> str:
        return "done"

    @guard.command("orders.asked", key="{n}", risk="high")
    def asked(payload: dict[str, Any]) -> str:
        return "done"

    for n in range(count):
        guard.run("orders.old", {"n": n}, context=ANN)
    guard.run("orders.asked", {"n": 1}, context=ANN)


# ── purge ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_purge_says_what_it_would_delete_and_then_does() -> None:
    old_rows(5)
    bots.guard.run("orders.send", {"sku": "tea"}, context=ANN)  # unknown: never deleted
    assert json.loads(called("botguard_purge", "--dry-run", "--json")) == {"claims": 5, "approvals": 1, "dry_run": True}
    assert Claim.objects.count() == 6
    assert "claims: 2 would be deleted" in called("botguard_purge", "--dry-run", "--limit", "2")
    assert "claims: 2 deleted" in called("botguard_purge", "--limit", "2")
    assert Claim.objects.count() == 4
    assert "claims: 3 deleted" in called("botguard_purge", "--batch", "2")
    assert list(Claim.objects.values_list("state", flat=True)) == ["unknown"]
    assert Approval.objects.count() == 0
    with pytest.raises(CommandError, match="limit"):
        called("botguard_purge", "--limit", "0")


def test_purge_tells_a_database_that_is_down_from_an_empty_one() -> None:
    with pytest.raises(CommandError) as raised, broken_database():
        called("botguard_purge")
    assert raised.value.returncode == 3


class broken_database:  # noqa: N801 - used like a function
    """The tables are gone for a while."""

    def __enter__(self) -> None:
        self._rename("botguard_claims", "hidden_claims")

    def __exit__(self, *_: object) -> None:
        self._rename("hidden_claims", "botguard_claims")

    @staticmethod
    def _rename(before: str, after: str) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")


# ── metrics, check, demo ─────────────────────────────────────────────────────────────────────────────────────────────


def test_metrics_prints_the_guards_families() -> None:
    assert 'bot_commands_total{command="orders.create"' in called("botguard_metrics")
    assert any(family["name"] == "bot_commands" for family in json.loads(called("botguard_metrics", "--json")))
    with override_settings(BOTGUARD={}), pytest.raises(CommandError, match="BG222"):
        called("botguard_metrics")


def test_check_counts_what_waits_and_names_what_is_wrong() -> None:
    bots.guard.run("orders.send", {"sku": "tea"}, context=ANN)
    with pytest.raises(CommandError) as raised:
        called("botguard_check")
    assert raised.value.returncode == 1  # W003: orders.retried and orders.create have no key, one of them is retried
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("botguard_check", json=True, stdout=out)
    said = json.loads(out.getvalue())
    assert [one["id"] for one in said["findings"]] == ["botguard.W003"]
    assert said["waiting"] == {"unknown effects": 1, "open requests": 0}
    with override_settings(BOTGUARD={}):
        assert "no findings" in called("botguard_check")


def test_check_exits_differently_where_the_database_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def refuse(*_: object) -> None:
        raise OperationalError("could not connect")

    monkeypatch.setattr(type(connections["default"]), "cursor", refuse)
    with override_settings(BOTGUARD={}), pytest.raises(CommandError) as raised:
        called("botguard_check")
    assert raised.value.returncode == 3


def test_demo_runs_a_script_on_the_projects_guard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "day.jsonl"
    script.write_text(
        json.dumps(
            {"command": "orders.create", "payload": {"sku": "tea"}, "org": "acme", "actor": "ann", "roles": ["sales"]}
        )
        + "\n"
    )
    assert "orders.create" in called("botguard_demo", "--script", str(script))
    with pytest.raises(CommandError) as raised:
        called("botguard_demo", "--script", str(tmp_path / "missing"))
    assert raised.value.returncode == 2


# ── checks and settings ──────────────────────────────────────────────────────────────────────────────────────────────


def found(**changes: Any) -> list[str]:
    with override_settings(**changes):
        return [one.id for one in run_checks(tags=["botguard"])]


def database(**changes: Any) -> Any:
    """The default database's settings, changed for a while."""
    return _Changed(connections["default"].settings_dict, changes)


class _Changed:
    def __init__(self, settings: dict[str, Any], changes: dict[str, Any]) -> None:
        self._settings, self._changes, self._before = settings, changes, dict(settings)

    def __enter__(self) -> None:
        self._settings.update(self._changes)

    def __exit__(self, *_: object) -> None:
        self._settings.update(self._before)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"DATABSE": "default"}, ["botguard.E002"]),
        ({"SHARED_LIMITS": "yes"}, ["botguard.E002"]),
        ({"FINGERPRINT_KEY": b"short"}, ["botguard.E002"]),
        ("default", ["botguard.E002"]),
        ({"DATABASE": "nowhere"}, ["botguard.E003"]),
        ({"GUARD": "adapters.django.inner.shop.bots.nothing"}, ["botguard.E006"]),
        ({"GUARD": "adapters.django.inner.shop.bots.identify"}, ["botguard.E006"]),
        ({"PERSON": "adapters.django.inner.shop.bots.ROOT"}, ["botguard.E006"]),
        ({"IDENTIFY": "adapters.django.inner.shop.bots.identify"}, ["botguard.W004"]),
        (GUARD, ["botguard.W003"]),
    ],
)
def test_settings_are_checked(given: Any, expected: list[str]) -> None:
    assert found(BOTGUARD=given) == expected


def test_the_project_is_checked() -> None:
    middleware = ["botguard.integrations.django.BotguardMiddleware"]
    assert found(BOTGUARD={}, MIDDLEWARE=middleware) == ["botguard.E007"]
    assert found(BOTGUARD={}, INSTALLED_APPS=["django.contrib.contenttypes"]) == ["botguard.E001"]
    with database(AUTOCOMMIT=False):
        assert found(BOTGUARD={}) == ["botguard.E005"]
    with database(OPTIONS={}):
        assert found(BOTGUARD={}) == ["botguard.W001"]
    with database(ATOMIC_REQUESTS=True):
        assert found(BOTGUARD={}) == ["botguard.W005"]


def test_the_database_is_checked_where_checks_may_ask_it() -> None:
    def asked() -> list[str]:
        with override_settings(BOTGUARD={}):
            return [one.id for one in run_checks(tags=["botguard"], databases=["default"])]

    assert asked() == []
    with broken_database():
        assert asked() == ["botguard.W006"]
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=DELETE")
        try:
            assert asked() == ["botguard.W002"]
        finally:
            cursor.execute("PRAGMA journal_mode=WAL")


def test_a_wrong_setting_says_what_where_and_what_instead() -> None:
    with override_settings(BOTGUARD={"DATABSE": "x", "SHARED_LIMITS": 3}), pytest.raises(ConfigurationError) as raised:
        DjangoStorage()
    assert raised.value.code == "BG220"
    text = str(raised.value)
    assert "did you mean 'DATABASE'" in text
    assert "SHARED_LIMITS" in text
    assert "settings.BOTGUARD" in text


def test_settings_follow_a_change_in_tests() -> None:
    storage = DjangoStorage()
    assert storage.alias == "default"
    with override_settings(BOTGUARD={"DATABASE": "postgresql"}):
        assert storage.alias == "postgresql"
    assert storage.alias == "default"
    keys = {conf.current().fingerprint_key()}
    with override_settings(SECRET_KEY="another"):
        keys.add(conf.current().fingerprint_key())
    with override_settings(BOTGUARD={"FINGERPRINT_KEY": b"k" * 32}):
        keys.add(conf.current().fingerprint_key())
    assert len(keys) == 3


# ── migrations ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("auto_field", ["AutoField", "BigAutoField"])
def test_models_and_migrations_agree_whatever_the_hosts_auto_field(auto_field: str) -> None:
    environ = {**os.environ, "BOTGUARD_DJANGO_AUTO_FIELD": f"django.db.models.{auto_field}"}
    path = os.pathsep.join(sys.path)
    code = (
        "import adapters.django.inner.site; from django.core.management import call_command;"
        "call_command('makemigrations', 'botguard', check=True, dry_run=True)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_migrations_can_be_taken_back() -> None:
    call_command("migrate", "botguard", "zero", verbosity=0)
    assert not [name for name in connections["default"].introspection.table_names() if name.startswith("botguard")]
    call_command("migrate", "botguard", verbosity=0)
    assert bots.guard.run("orders.create", {"sku": "tea"}, context=ANN).ok


def test_without_its_tables_the_store_says_what_to_do() -> None:
    with broken_database():
        outcome = bots.guard.run("orders.send", {"sku": "tea"}, context=ANN)
    assert "migrate" in str(outcome.error)
