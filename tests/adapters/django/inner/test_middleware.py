"""Requests become Contexts, and botguard's errors become problem responses; under WSGI and ASGI."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connections
from django.test import AsyncClient, Client, override_settings

from adapters.django.inner.shop.models import Order
from adapters.django.inner.site import empty
from botguard import ConfigurationError
from botguard.adapters.django.models import Claim, Event
from botguard.integrations.django import BotguardMiddleware

ANN = {"X-User": "ann"}
SITE = {"GUARD": "adapters.django.inner.shop.bots.guard", "IDENTIFY": "adapters.django.inner.shop.bots.identify"}


class Browser:
    """Asks the site, through one of Django's two handlers."""

    def __init__(self, kind: str) -> None:
        self._client: Any = (
            AsyncClient(raise_request_exception=False) if kind == "asgi" else Client(raise_request_exception=False)
        )
        self._asgi = kind == "asgi"

    def get(self, path: str, **headers: str) -> Any:
        return self._ask("get", path, None, headers)

    def post(self, path: str, payload: Any, headers: dict[str, str] | None = None) -> Any:
        return self._ask("post", path, payload, headers or {})

    def _ask(self, method: str, path: str, payload: Any, headers: dict[str, str]) -> Any:
        given = {} if payload is None else {"data": json.dumps(payload), "content_type": "application/json"}
        ask = getattr(self._client, method)
        ask = async_to_sync(ask) if self._asgi else ask
        return ask(path, headers={name.replace("_", "-"): value for name, value in headers.items()}, **given)


@pytest.fixture(params=["wsgi", "asgi"])
def browser(request: pytest.FixtureRequest, made: Callable[[str], str]) -> Iterator[Browser]:
    empty(made("default"))
    middleware = [*settings.MIDDLEWARE, "botguard.integrations.django.BotguardMiddleware"]
    with override_settings(BOTGUARD=SITE, MIDDLEWARE=middleware):
        yield Browser(request.param)


def test_a_view_acts_as_who_the_request_says(browser: Browser) -> None:
    answer = browser.post("/run/orders.create", {"sku": "tea", "quantity": "2"}, ANN)
    assert (answer.status_code, answer.content) == (200, b"2 x tea for ann")
    assert browser.post("/call", {"sku": "salt"}, {"X-User": "ben"}).content == b"1 x salt for ben"
    assert browser.post("/later/orders.later", {"sku": "tea"}, ANN).content == b"1 x tea for ann"
    assert sorted(Order.objects.values_list("sku", flat=True)) == ["salt", "tea"]


def test_the_context_is_completed_from_the_request(browser: Browser) -> None:
    said = browser.get(
        "/seen", X_User="ann", Idempotency_Key=" 17 ", Accept_Language="de-AT,en;q=0.5", X_Request_ID="r-1"
    ).json()
    assert said == {
        "org": "acme", "channel": "web", "delivery": "3:ann:17", "address": "127.0.0.1", "locale": "de-AT",
        "correlation_id": "r-1",
    }  # fmt: skip


def test_the_same_key_is_one_intent(browser: Browser) -> None:
    headers = {**ANN, "Idempotency-Key": "17"}
    answers = [browser.post("/run/orders.create", {"sku": "tea"}, headers) for _ in range(2)]
    assert [answer.content for answer in answers] == [b"1 x tea for ann"] * 2
    assert Order.objects.count() == 1
    other = browser.post("/run/orders.create", {"sku": "salt"}, headers)
    assert (other.status_code, other.json()["reasons"]) == (422, ["key_reused"])


def test_refusals_are_problems_in_the_askers_language(browser: Browser) -> None:
    stranger = browser.post("/run/orders.create", {"sku": "tea"})
    assert (stranger.status_code, stranger.headers["Content-Type"]) == (401, "application/problem+json")
    assert stranger.json()["reasons"] == ["no_actor"]
    bad = browser.post("/run/orders.create", {"sku": "tea", "quantity": "many"}, {**ANN, "Accept-Language": "de"})
    assert (bad.status_code, [error["field"] for error in bad.json()["errors"]]) == (422, ["quantity"])
    assert "keine" in bad.content.decode("unicode-escape")
    refused = browser.post("/run/orders.create", {"sku": "nothing"}, ANN)
    assert (refused.status_code, refused.json()["detail"]) == (409, "Nothing is not for sale.")
    assert browser.post("/run/orders.create", {"sku": "tea"}, {**ANN, "Idempotency-Key": "ü"}).status_code == 422
    pending = browser.post("/run/orders.cancel", {"sku": "tea"}, ANN)
    assert (pending.status_code, bool(pending.json()["confirmation"]["token"])) == (202, True)
    assert Order.objects.count() == 0


def test_a_stranger_may_look_at_open_pages_and_the_metrics(browser: Browser) -> None:
    assert browser.get("/open").content == b"0"
    found = browser.get("/metrics")
    assert found.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"bot_commands_total" in found.content


def test_identify_may_end_a_request_in_djangos_words_or_fail_closed(browser: Browser, caplog: Any) -> None:
    assert browser.get("/open", X_User="nobody").status_code == 403
    with caplog.at_level(logging.ERROR, "botguard.integrations"):
        broken = browser.get("/open", X_User="broken")
    assert (broken.status_code, broken.json()["reasons"]) == (403, ["check_error"])
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in broken.content.decode()


def test_identify_may_be_async(browser: Browser) -> None:
    with override_settings(
        BOTGUARD={**SITE, "IDENTIFY": "adapters.django.inner.shop.bots.identify_later", "CHANNEL": "shop"}
    ):
        assert browser.get("/seen", X_User="ann").json()["channel"] == "shop"


def test_the_hosts_own_errors_are_the_hosts(browser: Browser) -> None:
    assert browser.post("/fail/orders.create", {"sku": "tea"}, ANN).status_code == 500
    assert Order.objects.count() == 1


def test_with_atomic_requests_a_failing_view_undoes_the_run(made: Callable[[str], str]) -> None:
    empty(made("default"))
    middleware = [*settings.MIDDLEWARE, "botguard.integrations.django.BotguardMiddleware"]
    before = connections.settings["default"]["ATOMIC_REQUESTS"]
    connections.settings["default"]["ATOMIC_REQUESTS"] = connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    try:
        with override_settings(BOTGUARD=SITE, MIDDLEWARE=middleware):
            browser = Browser("wsgi")
            headers = {**ANN, "Idempotency-Key": "17"}
            assert browser.post("/fail/orders.create", {"sku": "tea"}, headers).status_code == 500
            assert (Order.objects.count(), Claim.objects.count(), Event.objects.count()) == (0, 0, 0)
            assert browser.post("/run/orders.create", {"sku": "tea"}, headers).status_code == 200
            assert (Order.objects.count(), Claim.objects.count(), Event.objects.count()) == (1, 1, 1)
            refused = browser.post("/run/orders.send", {"sku": "tea"}, ANN)
            assert (refused.status_code, refused.json()["reasons"]) == (503, ["host_transaction_open"])
    finally:
        connections.settings["default"]["ATOMIC_REQUESTS"] = before
        connections["default"].settings_dict["ATOMIC_REQUESTS"] = before


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"GUARD": SITE["GUARD"]}, "BG242"),
        ({"IDENTIFY": SITE["IDENTIFY"]}, "BG222"),
        ({**SITE, "GUARD": "adapters.django.inner.shop.bots.missing"}, "BG221"),
        ({**SITE, "GUARD": "adapters.django.inner.shop.bots.identify"}, "BG222"),
    ],
)
def test_settings_that_cannot_work_are_told_at_start_up(given: dict[str, Any], code: str) -> None:
    with override_settings(BOTGUARD=given), pytest.raises(ConfigurationError, match=code):
        BotguardMiddleware(lambda request: None)
