"""Starlette and FastAPI: requests become Contexts, botguard's errors become problem responses."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import fastapi
import httpx2
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.testclient import TestClient

import botguard.integrations.fastapi
from botguard import ConfigurationError, Context, Denied, OutcomeError, StoreUnavailable
from botguard.integrations.starlette import install
from integrations.desk import Desk, Order, context_for, seen

TEA = {"sku": "tea", "quantity": 2}
ANN = {"X-User": "ann"}


def by_header(request: Request) -> Context | None:
    return context_for(request.headers.get("X-User"))


async def by_header_async(request: Request) -> Context | None:
    await asyncio.sleep(0)
    return by_header(request)


class Users:
    """A callable object, async."""

    async def __call__(self, request: Request) -> Context | None:
        return await by_header_async(request)


def make_app(desk: Desk, identify: Any = by_header, **options: Any) -> FastAPI:
    started: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        started.append("up")
        yield
        started.append("down")

    app = FastAPI(lifespan=lifespan)
    app.state.started = started
    botguard.integrations.fastapi.install(app, desk.guard, identify=identify, **options)

    @desk.guard.command("orders.seen", effects="read")
    def see(payload: dict[str, Any]) -> dict[str, Any]:
        return seen()

    @app.get("/open")
    async def open_to_all() -> str:
        return "open"

    @app.get("/seen")
    def sees() -> dict[str, Any]:
        return see({})

    @app.post("/orders")
    def orders(order: Order) -> str:
        return desk.create(order)

    @app.post("/orders/async")
    async def orders_async(order: Order) -> str:
        return await desk.create_async(order)

    @app.post("/run/{name}")
    def run(name: str, payload: dict[str, Any]) -> Any:
        return desk.guard.run(name, payload).unwrap()

    @app.post("/confirm/{token}")
    def confirm(token: str, request: Request) -> Any:
        return desk.guard.confirm(token, context=request.state.botguard).unwrap()

    def first_order() -> Iterator[str]:
        yield desk.create(Order(sku="first", quantity=1))

    @app.get("/depends")
    async def depends(order: str = Depends(first_order)) -> str:
        return order

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(desk.create, Order(sku="later", quantity=1))
        return "soon"

    @app.get("/stream")
    async def stream(kind: str) -> Response:
        def lines() -> Iterator[str]:
            for sku in ("tea", "salt"):
                yield desk.create(Order(sku=sku, quantity=1)) + "\n"

        async def lines_async() -> AsyncIterator[str]:
            for sku in ("tea", "salt"):
                yield await desk.create_async(Order(sku=sku, quantity=1)) + "\n"

        return StreamingResponse(lines() if kind == "sync" else lines_async())

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.send_text(await desk.create_async(Order(**TEA)))
        except Denied as error:
            await websocket.send_text(str(error.outcome.reasons[0]))
        await desk.create_async(Order(**TEA))

    return app


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def client(desk: Desk) -> TestClient:
    return TestClient(make_app(desk), raise_server_exceptions=False)


def test_endpoints_act_as_who_the_request_says_on_the_loop_and_in_threads(client: TestClient, desk: Desk) -> None:
    assert client.post("/orders", json=TEA, headers=ANN).json() == "2 x tea for ann"
    assert client.post("/orders/async", json=TEA, headers={"X-User": "ben"}).json() == "2 x tea for ben"
    assert desk.done == [("ann", "tea", 2), ("ben", "tea", 2)]


@pytest.mark.parametrize("path", ["/depends", "/background", "/stream?kind=sync", "/stream?kind=async"])
def test_so_do_dependencies_background_tasks_and_streams(client: TestClient, desk: Desk, path: str) -> None:
    assert client.get(path, headers=ANN).status_code == 200
    assert {actor for actor, *_ in desk.done} == {"ann"}


@pytest.mark.parametrize("identify", [by_header, by_header_async, Users(), lambda request: by_header_async(request)])
def test_the_context_is_completed_from_the_request(desk: Desk, identify: Any) -> None:
    headers = {**ANN, "Idempotency-Key": " 17 ", "Accept-Language": "de-AT,en;q=0.5", "X-Correlation-ID": "r-1"}
    client = TestClient(make_app(desk, identify))
    assert client.get("/seen", headers=headers).json() == {
        "org": "acme",
        "actor": "ann",
        "channel": "web",
        "delivery": "3:ann:17",
        "address": "testclient",
        "locale": "de-AT",
        "correlation_id": "r-1",
    }
    bare = client.get("/seen", headers=ANN).json()
    assert (bare["delivery"], bare["locale"], bare["correlation_id"]) == (None, "en", None)


def test_a_server_that_knows_no_address(desk: Desk) -> None:
    async def ask() -> Any:
        transport = httpx2.ASGITransport(make_app(desk), client=None)  # type: ignore[arg-type]
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
            return (await client.get("/seen", headers=ANN)).json()

    assert asyncio.run(ask())["address"] is None


def test_a_key_is_one_intent_of_one_actor(client: TestClient, desk: Desk) -> None:
    key = {"Idempotency-Key": "k1"}
    answers = [
        client.post(path, json=order, headers={"X-User": user, **key})
        for path in ("/orders", "/orders/async")
        for user, order in (("ann", TEA), ("ann", TEA), ("ben", TEA), ("ann", {**TEA, "quantity": 3}))
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422] * 2
    assert answers[3].json()["reasons"] == ["key_reused"]
    assert desk.done == [("ann", "tea", 2), ("ben", "tea", 2)] * 2


@pytest.mark.parametrize("key", ["", "   ", "x" * 256, b"na\xefve", "a\tb"])
def test_a_key_that_can_be_none_is_refused_and_nothing_runs(client: TestClient, desk: Desk, key: Any) -> None:
    answer = client.post("/orders", json=TEA, headers={**ANN, "Idempotency-Key": key})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert answer.headers["content-type"] == "application/problem+json"
    assert desk.done == []


def test_every_refusal_is_a_problem_with_its_status(client: TestClient) -> None:
    def post(name: str, payload: Any, **headers: str) -> tuple[int, str, bool]:
        answer = client.post(f"/run/{name}", json=payload, headers={**ANN, **headers})
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert "Traceback" not in answer.text
        return answer.status_code, answer.json()["reasons"][0], "Retry-After" in answer.headers

    assert post("orders.create", {"sku": "tea", "quantity": "many"}) == (422, "invalid_payload", False)
    assert post("stock.close", {}) == (403, "missing_permission", False)
    assert post("orders.nothing", {})[:2] == (404, "not_found")
    assert post("orders.cancel", {"order_id": "7"})[:2] == (202, "confirmation_required")
    assert post("orders.refuse", {}) == (409, "rejected", False)
    client.post("/run/orders.show", json={}, headers=ANN)
    assert post("orders.show", {}) == (429, "rate_limited", True)
    assert client.post("/run/orders.call_erp", json={}, headers=ANN).status_code == 500  # the handler's own error
    assert post("orders.call_erp", {}) == (503, "breaker_open", True)
    first = client.post("/run/orders.break", json={}, headers={**ANN, "Idempotency-Key": "b"})
    assert (first.status_code, first.text) == (500, "Internal Server Error"), "the framework's own answer"
    assert post("orders.break", {}, **{"Idempotency-Key": "b"}) == (500, "effect_unknown", False)


def test_problems_are_in_the_askers_language(client: TestClient) -> None:
    def said(language: str) -> str:
        answer = client.post("/run/stock.close", json={}, headers={**ANN, "Accept-Language": language})
        return answer.json()["detail"]

    assert said("de") != said("en") == said("xx") == said("*")


def test_a_stranger_is_denied_and_sees_what_is_open(client: TestClient, desk: Desk) -> None:
    assert client.get("/open").json() == "open"
    answer = client.post("/orders", json=TEA)
    assert (answer.status_code, answer.json()["reasons"]) == (401, ["no_actor"])
    assert desk.done == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("secret internals"), 403), (ConnectionError("db at 10.0.0.1"), 503), (StoreUnavailable("u.db"), 503)],
)
def test_an_identify_that_raises_lets_nobody_in(
    desk: Desk, caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    def identify(request: Request) -> Context | None:
        raise error

    with caplog.at_level(logging.ERROR, "botguard"):
        answer = TestClient(make_app(desk, identify)).post("/orders", json=TEA)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert str(error) not in answer.text
    assert caplog.records[0].exc_info[1] is error
    assert desk.done == []


def test_a_search_that_finds_nobody_hangs_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio cannot carry a StopIteration out of a thread."""
    app = make_app(desk, lambda request: next(iter(())))

    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop") as client:
            return await asyncio.wait_for(client.post("/orders", json=TEA), 10)

    assert asyncio.run(ask()).status_code == 403
    assert isinstance(caplog.records[0].exc_info[1].__cause__, StopIteration)


@pytest.mark.parametrize("found", ["ann", ("acme", "ann"), True])
def test_an_identify_that_returns_something_else_lets_nobody_in(
    desk: Desk, caplog: pytest.LogCaptureFixture, found: Any
) -> None:
    answer = TestClient(make_app(desk, lambda request: found)).post("/orders", json=TEA)
    assert (answer.status_code, answer.json()["reasons"]) == (403, ["check_error"])
    assert "BG123" in str(caplog.records[0].exc_info[1])


def test_identify_may_answer_as_the_framework_does(desk: Desk) -> None:
    def identify(request: Request) -> Context | None:
        raise fastapi.HTTPException(
            401, "Please sign in.", headers={"WWW-Authenticate": "Bearer", "content-type": "text/plain"}
        )

    answer = TestClient(make_app(desk, identify)).get("/open")
    assert (answer.status_code, answer.json()["detail"]) == (401, "Please sign in.")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers.get_list("content-type") == ["application/problem+json"]

    def odd(request: Request) -> Context | None:
        raise HTTPException(499, "gone")

    assert TestClient(make_app(Desk(), odd)).get("/open").status_code == 499


def test_identify_may_call_a_guarded_function(desk: Desk) -> None:
    answer = TestClient(make_app(desk, lambda request: desk.create(Order(**TEA)))).get("/open")
    assert (answer.status_code, answer.json()["reasons"]) == (401, ["no_context"])


def test_identify_cannot_eat_the_body(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    async def identify(request: Request) -> Context | None:
        await request.body()
        raise AssertionError

    assert TestClient(make_app(desk, identify)).post("/orders", json=TEA, headers=ANN).status_code == 403
    assert "Receive channel" in str(caplog.records[0].exc_info[1])


@pytest.mark.parametrize("before", [True, False])
def test_the_hosts_middleware_has_run_before_wherever_install_stands(desk: Desk, before: bool) -> None:
    class SignIn:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["user"] = "ann"
            await self.app(scope, receive, send)

    async def stamp(request: Request, call_next: Any) -> Response:
        answer = await call_next(request)
        answer.headers["stamp"] = "yes"
        return answer

    async def orders(request: Request) -> Response:
        return PlainTextResponse(desk.create(Order(**await request.json())))

    app = Starlette(routes=[Route("/orders", orders, methods=["POST"])])
    if before:
        app.add_middleware(SignIn)
        app.add_middleware(BaseHTTPMiddleware, dispatch=stamp)
    install(app, desk.guard, identify=lambda request: context_for(request.scope["user"]))
    if not before:
        app.add_middleware(SignIn)
        app.add_middleware(BaseHTTPMiddleware, dispatch=stamp)
    answer = TestClient(app).post("/orders", json=TEA)
    assert (answer.text, answer.headers["stamp"]) == ("2 x tea for ann", "yes")


def test_requests_at_once_never_see_each_other(desk: Desk) -> None:
    app = make_app(desk)
    threads = threading.Barrier(4, timeout=20)
    users = ["ann", "ben", "ann", "ben"]

    async def ask() -> list[list[str]]:
        tasks = asyncio.Barrier(4)

        @app.get("/meet")
        def meet(request: Request) -> str:
            threads.wait()
            mine = desk.create(Order(**TEA)).rsplit(" ", 1)[1]
            threads.wait()
            return f"{mine} {request.state.botguard.actor.id}"

        @app.get("/meet/async")
        async def meet_async(request: Request) -> str:
            await tasks.wait()
            mine = (await desk.create_async(Order(**TEA))).rsplit(" ", 1)[1]
            await tasks.wait()
            return f"{mine} {request.state.botguard.actor.id}"

        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:

            async def both(user: str) -> list[str]:
                paths = ["/meet", "/meet/async"] * 10
                return [(await client.get(path, headers={"X-User": user})).json() for path in paths]

            return await asyncio.gather(*map(both, users))

    assert asyncio.run(ask()) == [[f"{user} {user}"] * 20 for user in users]


def test_lifespan_passes_and_a_websocket_acts_as_nobody(desk: Desk) -> None:
    app = make_app(desk)
    with TestClient(app) as client:
        assert app.state.started == ["up"]
        with pytest.raises(Denied), client.websocket_connect("/ws", headers=ANN) as socket:
            assert socket.receive_text() == "no_context"
            socket.receive_text()
    assert app.state.started == ["up", "down"]


def test_an_endpoint_confirms_as_who_asks(client: TestClient) -> None:
    token = client.post("/run/orders.cancel", json={"order_id": "7"}, headers=ANN).json()["confirmation"]["token"]
    assert client.post(f"/confirm/{token}", headers={"X-User": "ben"}).status_code == 403
    assert client.post(f"/confirm/{token}", headers=ANN).json() == "cancelled for ann"


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kind", [Denied, OutcomeError])
def test_the_hosts_own_exception_handler_wins(desk: Desk, before: bool, kind: type[OutcomeError]) -> None:
    async def mine(request: Request, error: Exception) -> Response:
        return PlainTextResponse("no", 418)

    async def close(request: Request) -> Response:
        return PlainTextResponse(await asyncio.to_thread(lambda: desk.guard.run("stock.close", {}).unwrap()))

    handlers: Any = {kind: mine} if before else {}
    app = Starlette(routes=[Route("/", close)], exception_handlers=handlers)
    install(app, desk.guard, identify=by_header)
    if not before:
        app.add_exception_handler(kind, mine)
    assert TestClient(app).get("/", headers=ANN).status_code == 418


def test_metrics_are_served_on_request(desk: Desk) -> None:
    app = make_app(desk, metrics="/metrics")
    client = TestClient(app)
    client.post("/orders", json=TEA, headers=ANN)
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'bot_command_count{command="orders.create"} 1.0' in answer.text.splitlines()
    assert "/metrics" not in app.openapi()["paths"]
    assert TestClient(make_app(Desk())).get("/metrics").status_code == 404


def test_wiring_errors(desk: Desk) -> None:
    def refused(code: str, *args: Any, **kwargs: Any) -> None:
        with pytest.raises(ConfigurationError) as found:
            install(*args, **kwargs)
        assert found.value.code == code
        assert "Fix: " in str(found.value)

    app = FastAPI()
    refused("BG240", fastapi.APIRouter(), desk.guard, identify=by_header)
    refused("BG240", Router(), desk.guard, identify=by_header)
    refused("BG241", app, "guard", identify=by_header)
    refused("BG242", app, desk.guard, identify=None)
    refused("BG246", app, desk.guard, identify=by_header, metrics=True)
    install(app, desk.guard, identify=by_header)
    refused("BG243", app, desk.guard, identify=by_header)
    started = FastAPI()
    TestClient(started).get("/")
    refused("BG244", started, desk.guard, identify=by_header)
