"""Whose transaction a claim, an effect and a completion are part of."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.test import TestCase

from adapters.django.inner.shop.models import Order
from adapters.django.inner.site import empty
from botguard import ALLOW_ALL, Actor, ConfigurationError, Context, Guard, Pending, Reason, Status
from botguard.adapters.django import DjangoStorage
from botguard.adapters.django.models import Claim, Event

ANN = Context(org="acme", actor=Actor("ann"), channel="web")


class Shop:
    """A guard on one database, with a command of each kind of effects."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.guard = Guard(storage=DjangoStorage(alias), access=ALLOW_ALL)
        self.inside: Callable[[str], object] = lambda sku: None
        self.calls: list[str] = []

        def book(payload: dict[str, Any]) -> str:
            self.calls.append(payload["sku"])
            Order.objects.using(alias).create(sku=payload["sku"])
            self.inside(payload["sku"])
            return payload["sku"]

        for effects in ("transactional", "idempotent", "external"):
            self.guard.command(f"orders.{effects}", effects=effects, key="{sku}")(_named(book, effects))

    def run(self, effects: str, sku: str = "tea", **given: Any) -> Any:
        return self.guard.run(f"orders.{effects}", {"sku": sku}, context=ANN, **given)

    def rows(self) -> tuple[int, int]:
        """Orders and claims, by a look from the outside; a key that was given back is none."""
        claims = Claim.objects.using(self.alias).exclude(state="released")
        return Order.objects.using(self.alias).count(), claims.count()

    def states(self) -> list[str]:
        return list(Claim.objects.using(self.alias).order_by("seq").values_list("state", flat=True))

    def events(self) -> list[str]:
        return list(Event.objects.using(self.alias).order_by("seq").values_list("status", flat=True))

    def counted(self, effects: str) -> dict[str, int]:
        return self.guard.metrics.totals()[f"orders.{effects}"]["statuses"]


def _named(function: Any, name: str) -> Any:
    def handler(payload: dict[str, Any]) -> str:
        return function(payload)  # type: ignore[no-any-return]

    handler.__name__ = handler.__qualname__ = name
    return handler


@pytest.fixture
def shop(alias: str) -> Shop:
    return Shop(alias)


# ── the guard's own transaction ──────────────────────────────────────────────────────────────────────────────────────


def test_effect_completion_and_event_commit_together(shop: Shop) -> None:
    seen: list[bool] = []
    shop.inside = lambda sku: seen.append(connections[shop.alias].in_atomic_block)
    assert shop.run("transactional").value == "tea"
    assert seen == [True]
    assert (shop.rows(), shop.states(), shop.events()) == ((1, 1), ["done"], ["succeeded"])
    again = shop.run("transactional")
    assert again.replayed
    assert shop.calls == ["tea"]


def test_a_handler_that_raises_leaves_nothing_and_may_run_again(shop: Shop) -> None:
    shop.inside = lambda sku: 1 / 0
    outcome = shop.run("transactional")
    assert isinstance(outcome.error, ZeroDivisionError)
    assert (shop.rows(), shop.events()) == ((0, 0), ["failed"])
    shop.inside = lambda sku: None
    assert shop.run("transactional").ok
    assert shop.rows() == (1, 1)


def test_a_handler_that_breaks_the_transaction_is_told_so(shop: Shop) -> None:
    shop.inside = lambda sku: transaction.set_rollback(True, using=shop.alias)
    with pytest.raises(ConfigurationError, match="BG142"):
        shop.run("transactional")
    assert shop.rows() == (0, 0)
    assert not connections[shop.alias].in_atomic_block


@pytest.mark.parametrize("statement", ["COMMIT", " rollback", "ROLLBACK WORK"])
def test_a_handler_that_ends_the_transaction_is_stopped(shop: Shop, statement: str) -> None:
    def end(_: str) -> None:
        with connections[shop.alias].cursor() as cursor:
            cursor.execute(statement)

    shop.inside = end
    outcome = None
    with contextlib.suppress(ConfigurationError):
        outcome = shop.run("transactional")
    assert outcome is None or "BG142" in str(outcome.error)
    assert shop.rows() == (0, 0)

    def use_savepoints(_: str) -> None:
        with contextlib.suppress(KeyError), transaction.atomic(using=shop.alias):
            raise KeyError

    shop.inside = use_savepoints
    assert shop.run("transactional").ok


def test_what_a_handler_does_on_commit_comes_after_it_and_cannot_undo_it(shop: Shop, caplog: Any) -> None:
    seen: list[tuple[int, int]] = []

    def later(_: str) -> None:
        transaction.on_commit(lambda: seen.append(shop.rows()), using=shop.alias)
        transaction.on_commit(lambda: 1 / 0, using=shop.alias)

    shop.inside = later
    outcome = shop.run("transactional")
    assert outcome.ok
    assert seen == [(1, 1)]
    assert "on_commit" in caplog.text
    assert shop.states() == ["done"]


# ── the host's transaction ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_transactional_command_joins_an_open_transaction_and_is_undone_with_it(shop: Shop) -> None:
    with pytest.raises(KeyError), transaction.atomic(using=shop.alias):
        assert shop.run("transactional").ok
        assert shop.run("transactional").replayed  # inside, its claim is seen
        raise KeyError
    assert shop.rows() == (0, 0)
    assert shop.events() == ([] if shop.alias == "default" else ["succeeded"])  # the replay's, on its own connection
    assert shop.counted("transactional") == {"succeeded": 1}
    assert shop.guard.metrics.totals()["orders.transactional"]["replayed"] == 1  # the run itself never counted


def test_event_and_count_go_out_when_the_host_commits(shop: Shop) -> None:
    with transaction.atomic(using=shop.alias):
        assert shop.run("transactional").ok
        assert shop.counted("transactional").get("succeeded", 0) == 0
    assert shop.counted("transactional") == {"succeeded": 1}
    assert (shop.rows(), shop.events()) == ((1, 1), ["succeeded"])


def test_a_failure_inside_undoes_its_own_work_only(shop: Shop) -> None:
    shop.inside = lambda sku: 1 / 0 if sku == "salt" else None
    with transaction.atomic(using=shop.alias):
        assert shop.run("transactional", "tea").ok
        assert shop.run("transactional", "salt").status is Status.FAILED
        Order.objects.using(shop.alias).create(sku="the host's own")
    assert shop.rows() == (2, 1)
    assert sorted(shop.events()) == ["failed", "succeeded"]


def test_a_database_error_inside_leaves_the_hosts_transaction_usable(shop: Shop) -> None:
    def broken(_: str) -> None:
        with connections[shop.alias].cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    shop.inside = broken
    with transaction.atomic(using=shop.alias):
        assert isinstance(shop.run("transactional").error, DatabaseError)
        Order.objects.using(shop.alias).create(sku="the host's own")
    assert shop.rows() == (1, 0)


def test_a_failure_is_audited_though_the_host_rolls_back(shop: Shop) -> None:
    shop.inside = lambda sku: 1 / 0
    with pytest.raises(KeyError), transaction.atomic(using=shop.alias):
        shop.run("transactional")
        raise KeyError
    # SQLite has one writer, which is the host here: what is written beside it would wait for ever.
    assert shop.events() == ([] if shop.alias == "default" else ["failed"])
    assert shop.counted("transactional") == {"failed": 1}


@pytest.mark.parametrize("effects", ["idempotent", "external"])
def test_other_claims_are_committed_beside_the_hosts_transaction(shop: Shop, effects: str) -> None:
    if shop.alias == "default":
        pytest.skip("SQLite has one writer")
    with pytest.raises(KeyError), transaction.atomic(using=shop.alias):
        assert shop.run(effects).ok
        raise KeyError
    assert shop.rows() == (0, 1)  # the effect was in the host's database and is undone; the claim says that it ran
    assert shop.states() == ["done"]
    assert shop.run(effects).replayed
    assert not connections[shop.alias].in_atomic_block


@pytest.mark.parametrize("effects", ["idempotent", "external"])
def test_on_sqlite_they_are_told_at_once_that_the_host_holds_the_lock(made: Callable[[str], str], effects: str) -> None:
    empty(made("default"))
    shop = Shop("default")
    with transaction.atomic():
        outcome = shop.run(effects)
    assert outcome.status is Status.UNAVAILABLE
    assert outcome.reasons[0] is Reason.HOST_TRANSACTION_OPEN
    assert "atomic()" in str(outcome.error)
    assert shop.calls == []
    assert shop.events() == ["unavailable"]  # in the host's transaction, which was committed


def test_a_request_for_confirmation_outlives_the_hosts_rollback(shop: Shop) -> None:
    """The exception Pending, let out of a view with ATOMIC_REQUESTS, undoes the view; the person was asked all the same."""

    @shop.guard.command("orders.risky", effects="transactional", key="{sku}", risk="high")
    def risky(payload: dict[str, Any]) -> str:
        return "done"

    outcome = None
    with pytest.raises(Pending), transaction.atomic(using=shop.alias):
        outcome = shop.guard.run("orders.risky", {"sku": "tea"}, context=ANN)
        outcome.unwrap()
    assert outcome is not None
    confirmed = shop.guard.confirm(outcome.confirmation.token, context=ANN)
    if shop.alias == "default":  # one writer: what is written is the host's, and undone with it
        assert confirmed.status is Status.DENIED
    else:
        assert confirmed.value == "done"


def test_a_broken_transaction_of_the_hosts_is_no_outage(shop: Shop) -> None:
    with pytest.raises(KeyError), transaction.atomic(using=shop.alias):
        transaction.set_rollback(True, using=shop.alias)
        outcome = shop.run("transactional")
        assert outcome.reasons[0] is Reason.HOST_TRANSACTION_OPEN
        raise KeyError
    assert shop.calls == []


def test_nested_transactional_commands_share_one_transaction(shop: Shop) -> None:
    @shop.guard.command("orders.both", effects="transactional", key="{name}")
    def both(payload: dict[str, Any]) -> str:
        for sku in ("tea", "salt"):
            shop.guard.run("orders.transactional", {"sku": sku}).unwrap()
        raise ZeroDivisionError

    assert isinstance(shop.guard.run("orders.both", {"name": "b"}, context=ANN).error, ZeroDivisionError)
    assert shop.calls == ["tea", "salt"]
    assert shop.rows() == (0, 0)
    assert shop.counted("transactional").get("succeeded", 0) == 0


def test_session_names_the_open_transaction(shop: Shop) -> None:
    with transaction.atomic(using=shop.alias):
        assert shop.run("transactional", session=connections[shop.alias]).ok
    with pytest.raises(ConfigurationError, match="BG141"):
        shop.run("transactional", "salt", session=connections[shop.alias])
    with pytest.raises(ConfigurationError, match="BG141"), transaction.atomic(using=shop.alias):
        shop.run("transactional", "salt", session=object())


def test_a_test_case_holds_everything_in_its_own_transaction(made: Callable[[str], str]) -> None:
    """What a host's TestCase wraps around a test is no transaction of the host's code: no second connection is opened,
    and nothing is left when it ends."""
    empty(made("default"))

    class Case(TestCase):
        def test(self) -> None:
            shop = Shop("default")
            for effects in ("transactional", "idempotent", "external"):
                assert shop.run(effects, effects).ok
                assert shop.run(effects, effects).replayed
            assert shop.rows() == (3, 3)
            assert shop.counted("transactional") == {"succeeded": 2}

    result = unittest.TestResult()
    unittest.TestSuite([Case("test")]).run(result)
    assert result.testsRun == 1
    assert not result.errors, result.errors[0][1]
    assert not result.failures, result.failures[0][1]
    assert Claim.objects.count() == 0
