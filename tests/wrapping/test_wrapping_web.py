"""Handlers of FastAPI, Flask and Django: their decorators above ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import flask
import pytest
from fastapi import Body, Depends, FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel

from botguard import Actor, CommandRegistry, Context, Guard, OutcomeError, current, guarded
from wrapping.setting import make_guard

REGISTRY = CommandRegistry()
app = FastAPI()
flask_app = flask.Flask(__name__)


class Order(BaseModel):
    sku: str
    quantity: int


class Customer(BaseModel):
    name: str


@pytest.fixture(scope="module", autouse=True)
def guard() -> Guard:
    app.state.guard = make_guard(registry=REGISTRY, access={"sales": {"orders.*"}}, context=from_flask)
    return app.state.guard


# -- FastAPI ----------------------------------------------------------------------------------------------------------


async def acting(request: Request, user: Annotated[str | None, Header()] = None) -> AsyncIterator[None]:
    """What the integration will do, in short."""
    actor = Actor(user, roles=("sales",) if user == "ann" else ()) if user else None
    with request.app.state.guard.acting(Context(org="acme", actor=actor, delivery=request.headers.get("delivery"))):
        yield


async def customer(user: Annotated[str | None, Header()] = None) -> Customer:
    return Customer(name=f"{user} Ltd")


app.router.dependencies.append(Depends(acting))


@app.exception_handler(OutcomeError)
async def refuse(request: Request, error: OutcomeError) -> JSONResponse:
    problem = error.outcome.problem()
    return JSONResponse(problem, problem["status"], media_type="application/problem+json")


@app.post("/orders")
@guarded("orders.create", registry=REGISTRY)
async def create_order(
    order: Order,
    buyer: Annotated[Customer, Depends(customer)],
    request: Request,
    dry: Annotated[bool, Query()] = False,
) -> dict[str, Any]:
    """Create an order."""
    assert current().payload is order
    return {"sku": order.sku, "quantity": order.quantity, "buyer": buyer.name, "path": request.url.path, "dry": dry}


@app.post("/orders/sync")
@guarded("orders.sync", registry=REGISTRY)
def create_order_sync(order: Order, buyer: Annotated[Customer, Depends(customer)]) -> dict[str, Any]:
    """FastAPI runs it in a thread."""
    return {"sku": order.sku, "buyer": buyer.name, "actor": current().actor.id}


@app.post("/orders/embedded")
@guarded("orders.embedded", registry=REGISTRY, request=Order)
async def create_embedded(
    order: Annotated[Order, Body(embed=True)], buyer: Annotated[Customer, Depends(customer)]
) -> dict[str, Any]:
    """Both models are annotated, so ``request=`` says which is the payload."""
    return {"sku": current().payload.sku, "buyer": buyer.name}


@app.get("/orders/{sku}")
@guarded("orders.show", registry=REGISTRY, effects="read", bind=lambda sku, full=False: ({"sku": sku}, None))
async def show_order(sku: str, full: bool = False) -> dict[str, Any]:
    """A path parameter and a query, and no body."""
    return {"sku": sku, "full": full, "payload": current().payload}


@app.post("/orders/hidden")
@guarded("finance.close", registry=REGISTRY)
async def close_books(order: Order) -> None:
    """Nobody here may."""
    raise AssertionError


@pytest.fixture(scope="module")
def client(guard: Guard) -> TestClient:
    return TestClient(app, headers={"user": "ann"})


def test_fastapi_body_dependency_request_and_query(client: TestClient) -> None:
    answer = client.post("/orders?dry=true", json={"sku": "tea", "quantity": "4"})
    assert answer.json() == {"sku": "tea", "quantity": 4, "buyer": "ann Ltd", "path": "/orders", "dry": True}
    assert answer.status_code == 200


def test_fastapi_sync_routes(client: TestClient) -> None:
    answer = client.post("/orders/sync", json={"sku": "tea", "quantity": 4})
    assert answer.json() == {"sku": "tea", "buyer": "ann Ltd", "actor": "ann"}


def test_fastapi_annotated_body(client: TestClient) -> None:
    answer = client.post("/orders/embedded", json={"order": {"sku": "tea", "quantity": 4}})
    assert answer.json() == {"sku": "tea", "buyer": "ann Ltd"}


def test_fastapi_path_parameters(client: TestClient) -> None:
    assert client.get("/orders/tea?full=1").json() == {"sku": "tea", "full": True, "payload": {"sku": "tea"}}


def test_fastapi_validates_first_and_the_guard_denies(client: TestClient) -> None:
    order = {"sku": "tea", "quantity": 4}
    assert client.post("/orders", json={"sku": "tea"}).status_code == 422
    assert client.post("/orders", json=order, headers={"user": "ben"}).status_code == 403
    assert client.post("/orders/hidden", json=order).json()["reasons"] == ["missing_permission"]


def test_fastapi_delivered_twice(client: TestClient, guard: Guard) -> None:
    answers = [
        client.post("/orders", json={"sku": "tea", "quantity": n}, headers={"delivery": "d1"}) for n in (4, 4, 5)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert answers[2].json()["reasons"] == ["key_reused"]
    assert answers[0].json() == answers[1].json()
    assert [event.replayed for event in guard.storage.events.tail(3)] == [False, True, False]


def test_fastapi_describes_the_handlers_own_parameters() -> None:
    create, show = app.openapi()["paths"]["/orders"]["post"], app.openapi()["paths"]["/orders/{sku}"]["get"]
    body = create["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Order"}
    assert create["summary"] == "Create Order"
    assert create["description"] == "Create an order."
    assert {p["name"]: p["in"] for p in create["parameters"]} == {"user": "header", "dry": "query"}
    assert {p["name"]: p["in"] for p in show["parameters"]} == {"sku": "path", "full": "query", "user": "header"}


# -- Flask ------------------------------------------------------------------------------------------------------------


def from_flask() -> Context | None:
    """``Guard(context=…)``: asked by each direct call that has no Context yet."""
    if not flask.has_request_context():
        return None
    return Context(org="acme", actor=Actor(flask.request.headers["user"], roles=("sales",)), channel="web")


@flask_app.post("/orders/<sku>")
@guarded(
    "orders.flask", registry=REGISTRY, bind=lambda sku: ({"sku": sku, **flask.request.get_json()}, None), request=Order
)
def flask_create(sku: str) -> dict[str, Any]:
    """A URL parameter; the rest is in the request."""
    return {"sku": sku, "quantity": current().payload.quantity, "actor": current().actor.id}


@flask_app.get("/orders/<int:number>")
@guarded("orders.flask_show", registry=REGISTRY, effects="read")
def flask_show(number: int) -> str:
    """The URL parameter is the payload."""
    return f"order {number}"


@flask_app.errorhandler(OutcomeError)
def flask_refuse(error: OutcomeError) -> tuple[dict[str, Any], int]:
    problem = error.outcome.problem()
    return problem, problem["status"]


def test_flask_url_parameters_with_bind() -> None:
    client = flask_app.test_client()
    answer = client.post("/orders/tea", json={"quantity": "4"}, headers={"user": "ann"})
    assert answer.json == {"sku": "tea", "quantity": 4, "actor": "ann"}
    refusal = client.post("/orders/tea", json={"quantity": "many"}, headers={"user": "ann"})
    assert (refusal.status_code, refusal.json["errors"][0]["field"]) == (422, "quantity")


def test_flask_url_parameter_as_payload() -> None:
    assert flask_app.test_client().get("/orders/17", headers={"user": "ann"}).text == "order 17"


def test_flask_endpoints_keep_the_handlers_names() -> None:
    assert {"flask_create", "flask_show"} <= set(flask_app.view_functions)
    with flask_app.test_request_context():
        assert flask.url_for("flask_create", sku="tea") == "/orders/tea"


# -- Django -----------------------------------------------------------------------------------------------------------


def test_django_views() -> None:
    """In a process of its own: Django's settings are set once, and another test may want others."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "wrapping.django_site"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {
        "plain": [200, {"sku": "tea", "quantity": 4, "actor": "ann", "method": "POST"}],
        "invalid": [422, ["quantity"]],
        "awaited": [200, {"sku": "tea", "quantity": 4, "actor": "ann"}],
        "class": [200, {"sku": "tea", "desk": "OrderView"}],
        "csrf_exempt": True,
        "get": [405, None],
        "replayed": [200, [1]],
    }
