"""Flask: requests become Contexts, botguard's errors become problem responses."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient

from botguard import ConfigurationError, Context, Denied, Outcome, Reason, ReplayedFailure, Status, StoreUnavailable
from botguard.integrations.flask import install
from integrations.desk import Desk, Order, context_for, seen


def by_header(request: flask.Request) -> Context | None:
    return context_for(request.headers.get("X-User"))


def make_app(desk: Desk, identify: Any = by_header, **options: Any) -> flask.Flask:
    app = flask.Flask(__name__)
    install(app, desk.guard, identify=identify, **options)

    @desk.guard.command("orders.seen", effects="read")
    def see(payload: dict[str, Any]) -> dict[str, Any]:
        return seen()

    @app.route("/open")
    def open_to_all() -> str:
        return "open"

    @app.route("/seen")
    def sees() -> dict[str, Any]:
        return see({})

    @app.post("/orders")
    def orders() -> str:
        return desk.create(Order(**flask.request.get_json()))

    @app.post("/orders/async")
    async def orders_async() -> str:
        return await desk.create_async(Order(**flask.request.get_json()))

    @app.post("/run/<name>")
    def run(name: str) -> Any:
        return desk.guard.run(name, flask.request.get_json()).unwrap()

    @app.post("/confirm/<token>")
    def confirm(token: str) -> Any:
        return desk.guard.confirm(token, context=flask.g.botguard).unwrap()

    @app.get("/stream")
    def stream() -> flask.Response:
        def lines() -> Any:
            with desk.guard.acting(flask.g.botguard):
                for sku in ("tea", "salt"):
                    yield desk.create(Order(sku=sku, quantity=1)) + "\n"

        return flask.Response(flask.stream_with_context(lines()))

    return app


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def client(desk: Desk) -> FlaskClient:
    return make_app(desk).test_client()


TEA = {"sku": "tea", "quantity": 2}
ANN = {"X-User": "ann"}


def test_a_view_acts_as_who_the_request_says(client: FlaskClient, desk: Desk) -> None:
    assert client.post("/orders", json=TEA, headers=ANN).text == "2 x tea for ann"
    assert client.post("/orders/async", json=TEA, headers={"X-User": "ben"}).text == "2 x tea for ben"
    assert desk.done == [("ann", "tea", 2), ("ben", "tea", 2)]


def test_the_context_is_completed_from_the_request(client: FlaskClient) -> None:
    headers = {**ANN, "Idempotency-Key": " 17 ", "Accept-Language": "de-AT,en;q=0.5", "X-Request-ID": "r-1"}
    assert client.get("/seen", headers=headers).json == {
        "org": "acme",
        "actor": "ann",
        "channel": "web",
        "delivery": "3:ann:17",
        "address": "127.0.0.1",
        "locale": "de-AT",
        "correlation_id": "r-1",
    }
    bare = client.get("/seen", headers=ANN).json
    assert (bare["delivery"], bare["locale"], bare["correlation_id"]) == (None, "en", None)


def test_what_identify_says_itself_is_kept(desk: Desk) -> None:
    def identify(request: flask.Request) -> Context | None:
        return context_for(
            "ann", channel="shop", delivery="d", address="a", locale="ru", correlation_id=request.path.strip("/")
        )

    headers = {"Idempotency-Key": "k", "X-Request-ID": "r", "Accept-Language": "de"}
    answer = make_app(desk, identify).test_client().get("/seen", headers=headers)
    assert answer.json == {
        "org": "acme", "actor": "ann", "channel": "shop", "delivery": "d", "address": "a", "locale": "ru",
        "correlation_id": "seen",
    }  # fmt: skip


def test_the_channel_is_an_option(desk: Desk) -> None:
    app = make_app(desk, channel="miniapp")
    assert app.test_client().get("/seen", headers=ANN).json["channel"] == "miniapp"


def test_a_key_is_one_intent_of_one_actor(client: FlaskClient, desk: Desk) -> None:
    key = {"Idempotency-Key": "k1"}
    answers = [
        client.post("/orders", json=order, headers={"X-User": user, **key})
        for user, order in (("ann", TEA), ("ann", TEA), ("ben", TEA), ("ann", {**TEA, "quantity": 3}))
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422]
    assert answers[3].json["reasons"] == ["key_reused"]
    assert desk.done == [("ann", "tea", 2), ("ben", "tea", 2)]


@pytest.mark.parametrize("key", ["", "   ", "x" * 256, "naïve", "a\tb"])
def test_a_key_that_can_be_none_is_refused_and_nothing_runs(client: FlaskClient, desk: Desk, key: str) -> None:
    answer = client.post("/orders", json=TEA, headers={**ANN, "Idempotency-Key": key})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert answer.content_type == "application/problem+json"
    assert desk.done == []


def test_every_refusal_is_a_problem_with_its_status(client: FlaskClient, desk: Desk) -> None:
    def post(name: str, payload: Any, **headers: str) -> tuple[int, str, str | None]:
        answer = client.post(f"/run/{name}", json=payload, headers={**ANN, **headers})
        assert answer.content_type == "application/problem+json"
        assert answer.json["status"] == answer.status_code
        assert "Traceback" not in answer.text
        return answer.status_code, answer.json["reasons"][0], answer.headers.get("Retry-After")

    assert post("orders.create", {"sku": "tea", "quantity": "many"}) == (422, "invalid_payload", None)
    assert post("stock.close", {}) == (403, "missing_permission", None)
    assert post("orders.nothing", {})[:2] == (404, "not_found")
    assert post("orders.cancel", {"order_id": "7"})[:2] == (202, "confirmation_required")
    assert post("orders.refuse", {}) == (409, "rejected", None)
    client.post("/run/orders.show", json={}, headers=ANN)
    assert post("orders.show", {}) in [(429, "rate_limited", "60"), (429, "rate_limited", "61")]
    assert client.post("/run/orders.call_erp", json={}, headers=ANN).status_code == 500  # the handler's own error
    assert post("orders.call_erp", {}) == (503, "breaker_open", "30")
    first = client.post("/run/orders.break", json={}, headers={**ANN, "Idempotency-Key": "b"})
    assert (first.status_code, first.content_type) == (500, "text/html; charset=utf-8"), "the framework's own answer"
    assert post("orders.break", {}, **{"Idempotency-Key": "b"}) == (500, "effect_unknown", None)


def test_a_business_refusal_is_replayed_as_the_same_problem(client: FlaskClient) -> None:
    headers = {**ANN, "Idempotency-Key": "r"}
    first, second = [client.post("/run/orders.refuse", json={}, headers=headers).json for _ in range(2)]
    assert first == second
    assert (first["detail"], first["errors"][0]["code"]) == ("Tea is sold out.", "sold_out")


def test_a_stored_failure_keeps_its_internals_to_itself(desk: Desk) -> None:
    app = make_app(desk)

    @app.get("/replayed")
    def replayed() -> str:
        raise ReplayedFailure("builtins.ValueError", "secret internals")

    answer = app.test_client().get("/replayed", headers=ANN)
    assert (answer.status_code, answer.json["detail"]) == (500, "Something went wrong.")
    assert "secret" not in answer.text


def test_a_call_that_runs_already_is_told_so(desk: Desk) -> None:
    app, inside, go = make_app(desk), threading.Event(), threading.Event()

    @desk.guard.command("orders.slow")
    def slow(payload: dict[str, Any]) -> str:
        inside.set()
        assert go.wait(10)
        return "slow"

    def post() -> Any:
        return app.test_client().post("/run/orders.slow", json={}, headers={**ANN, "Idempotency-Key": "s"})

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post)
        assert inside.wait(10)
        second = post()
        go.set()
        assert first.result().text == "slow"
    assert (second.status_code, second.json["reasons"]) == (409, ["running"])
    assert int(second.headers["Retry-After"]) >= 1


def test_problems_are_in_the_askers_language(client: FlaskClient) -> None:
    said = {
        language: client.post("/run/stock.close", json={}, headers={**ANN, "Accept-Language": language}).json["detail"]
        for language in ("de-AT,de;q=0.9", "en", "xx", "*", "")
    }
    denied = Outcome(Status.DENIED, reasons=(Reason.MISSING_PERMISSION,))
    assert said.pop("de-AT,de;q=0.9") == denied.message("de") != denied.message()
    assert set(said.values()) == {denied.message()}


def test_a_stranger_is_denied_and_sees_what_is_open(client: FlaskClient, desk: Desk) -> None:
    assert client.get("/open").text == "open"
    answer = client.post("/orders", json=TEA)
    assert (answer.status_code, answer.json["reasons"]) == (401, ["no_actor"])
    assert desk.done == []
    assert [(event.org, event.actor) for event in desk.guard.storage.events.tail(1)] == [("unknown", "")]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("secret internals"), 403),
        (KeyError("x"), 403),
        (ConnectionError("database at 10.0.0.1"), 503),
        (StoreUnavailable("users.db"), 503),
    ],
)
def test_an_identify_that_raises_lets_nobody_in(
    desk: Desk, caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    def identify(request: flask.Request) -> Context | None:
        raise error

    app = make_app(desk, identify)
    app.testing = True  # Flask would show errors to a test; this one has been answered
    with caplog.at_level(logging.ERROR, "botguard"):
        answer = app.test_client().post("/orders", json=TEA)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert str(error) not in answer.text
    assert "Traceback" not in answer.text
    assert caplog.records[0].exc_info[1] is error
    assert desk.done == []


@pytest.mark.parametrize("found", ["ann", ("acme", "ann"), True, {"org": "acme"}])
def test_an_identify_that_returns_something_else_lets_nobody_in(
    desk: Desk, caplog: pytest.LogCaptureFixture, found: Any
) -> None:
    answer = make_app(desk, lambda request: found).test_client().post("/orders", json=TEA)
    assert (answer.status_code, answer.json["reasons"]) == (403, ["check_error"])
    assert "BG123" in str(caplog.records[0].exc_info[1])


def test_identify_may_answer_as_flask_does(desk: Desk) -> None:
    answer = make_app(desk, lambda request: flask.abort(401, "Please sign in.")).test_client().get("/seen")
    assert (answer.status_code, "Please sign in." in answer.text) == (401, True)


def test_identify_may_call_a_guarded_function(desk: Desk) -> None:
    answer = make_app(desk, lambda request: desk.create(Order(**TEA))).test_client().get("/open")
    assert (answer.status_code, answer.json["reasons"]) == (401, ["no_context"])


def test_identify_may_be_async(desk: Desk) -> None:
    async def identify(request: flask.Request) -> Context | None:
        return by_header(request)

    class Users:
        async def __call__(self, request: flask.Request) -> Context | None:
            return by_header(request)

    for asked in (identify, Users()):
        app = make_app(Desk(), asked)
        assert app.test_client().get("/seen", headers=ANN).json["actor"] == "ann"
        assert app.test_client().get("/seen").status_code == 401


def test_a_lambda_around_an_async_function_lets_nobody_in(desk: Desk) -> None:
    async def identify(request: flask.Request) -> Context | None:
        raise AssertionError

    assert make_app(desk, lambda request: identify(request)).test_client().get("/seen").status_code == 403


def test_identify_sees_what_earlier_hooks_found(desk: Desk) -> None:
    app = flask.Flask(__name__)

    @app.before_request
    def sign_in() -> None:
        flask.g.user = flask.request.headers.get("X-User")

    install(app, desk.guard, identify=lambda request: context_for(flask.g.user))
    app.add_url_rule("/", "tea", lambda: desk.create(Order(**TEA)))
    assert app.test_client().get("/", headers=ANN).text == "2 x tea for ann"


def test_two_requests_at_once_never_see_each_other(desk: Desk) -> None:
    app, meet = make_app(desk), threading.Barrier(4, timeout=20)

    @app.get("/meet")
    def meeting() -> str:
        meet.wait()
        mine = desk.create(Order(**TEA)).rsplit(" ", 1)[1]
        meet.wait()
        return f"{mine} {flask.g.botguard.actor.id}"

    def ask(user: str) -> list[str]:
        return [app.test_client().get("/meet", headers={"X-User": user}).text for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, ["ann", "ben", "ann", "ben"]))
    assert answers == [[f"{user} {user}"] * 20 for user in ("ann", "ben", "ann", "ben")]


def test_after_a_request_nobody_acts(client: FlaskClient, desk: Desk) -> None:
    for path in ("/seen", "/open", "/nowhere", "/stream"):
        client.get(path, headers=ANN).get_data()
        with pytest.raises(Denied, match="no_context"):
            desk.create(Order(**TEA))


def test_a_copy_of_the_request_in_a_thread_ends_nothing_of_the_request(desk: Desk) -> None:
    app = make_app(desk)
    told: list[Any] = []

    @app.get("/copied")
    def copied() -> str:
        @flask.copy_current_request_context
        def work() -> None:
            told.append(desk.guard.run("orders.create", TEA).status)

        with ThreadPoolExecutor(1) as thread:
            thread.submit(work).result()
        return str(desk.guard.run("orders.create", TEA).unwrap())

    assert app.test_client().get("/copied", headers=ANN).text == "2 x tea for ann"
    assert told == ["denied"], "a thread of the host's own says itself who acts"
    assert desk.guard.run("orders.create", TEA).reasons == ("no_context",), "after the request nobody acts"


def test_a_request_inside_a_request_leaves_it_who_it_was(desk: Desk) -> None:
    app = make_app(desk)

    @app.get("/both")
    def both() -> list[str]:
        inner = app.test_client().post("/orders", json=TEA, headers={"X-User": "ben"}).text
        return [inner, flask.g.botguard.actor.id, desk.create(Order(**TEA))]

    assert app.test_client().get("/both", headers=ANN).json == ["2 x tea for ben", "ann", "2 x tea for ann"]


def test_a_streamed_body_can_act_as_its_request(client: FlaskClient) -> None:
    assert client.get("/stream", headers=ANN).text == "1 x tea for ann\n1 x salt for ann\n"


def test_a_view_confirms_as_who_asks(client: FlaskClient) -> None:
    asked = client.post("/run/orders.cancel", json={"order_id": "7"}, headers=ANN).json
    token = asked["confirmation"]["token"]
    assert client.post(f"/confirm/{token}", headers={"X-User": "ben"}).status_code == 403
    assert client.post(f"/confirm/{token}", headers=ANN).text == "cancelled for ann"


def test_the_hosts_own_error_handler_wins(desk: Desk) -> None:
    app = make_app(desk)
    app.register_error_handler(Denied, lambda error: ("no", 418))
    client = app.test_client()
    assert client.post("/run/stock.close", json={}, headers=ANN).status_code == 418
    assert client.post("/run/orders.cancel", json={"order_id": "7"}, headers=ANN).status_code == 202


def test_metrics_are_served_on_request(desk: Desk) -> None:
    client = make_app(desk, metrics="/metrics").test_client()
    client.post("/orders", json=TEA, headers=ANN)
    answer = client.get("/metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert 'bot_command_count{command="orders.create"} 1.0' in answer.text.splitlines()
    assert make_app(Desk()).test_client().get("/metrics").status_code == 404


def test_wiring_errors(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(code: str, *args: Any, **kwargs: Any) -> None:
        with pytest.raises(ConfigurationError) as found:
            install(*args, **kwargs)
        assert found.value.code == code
        assert "Fix: " in str(found.value)

    app = flask.Flask(__name__)
    refused("BG240", flask.Blueprint("b", __name__), desk.guard, identify=by_header)
    refused("BG240", desk.guard, app, identify=by_header)
    refused("BG241", app, None, identify=by_header)
    refused("BG242", app, desk.guard, identify=context_for("ann"))
    refused("BG246", app, desk.guard, identify=by_header, metrics="metrics")
    install(app, desk.guard, identify=by_header)
    refused("BG243", app, desk.guard, identify=by_header)
    started = flask.Flask(__name__)
    started.test_client().get("/")
    refused("BG244", started, desk.guard, identify=by_header)

    async def identify(request: flask.Request) -> Context | None:
        return None

    monkeypatch.setitem(__import__("sys").modules, "asgiref.sync", None)
    refused("BG245", flask.Flask(__name__), desk.guard, identify=identify)
