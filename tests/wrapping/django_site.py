"""A Django site in one file, asked through its RequestFactory and its test client. Prints what it answered."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import django
from django.conf import settings

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="not secret", USE_TZ=True)
django.setup()

from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.test import Client, RequestFactory  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils.decorators import method_decorator  # noqa: E402
from django.views import View  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from django.views.decorators.http import require_POST  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from botguard import Actor, CommandRegistry, Context, OutcomeError, current, guarded  # noqa: E402
from wrapping.setting import make_guard  # noqa: E402

REGISTRY = CommandRegistry()
runs: list[str] = []


class Order(BaseModel):
    sku: str
    quantity: int


class JsonCodec:
    """How an answer is kept for a replay."""

    def encode(self, value: JsonResponse) -> bytes:
        return value.content

    def decode(self, data: bytes) -> JsonResponse:
        return JsonResponse(json.loads(data))


def of_request(request: HttpRequest, sku: str) -> tuple[dict[str, Any], Context]:
    actor = Actor(request.headers["User"], roles=("sales",))
    return {"sku": sku, **json.loads(request.body)}, Context(
        org="acme", actor=actor, channel="web", delivery=request.headers.get("Delivery")
    )


@csrf_exempt
@require_POST
@guarded("orders.create", registry=REGISTRY, bind=of_request, request=Order, result=JsonCodec())
def create(request: HttpRequest, sku: str) -> JsonResponse:
    runs.append(sku)
    order = current().payload
    return JsonResponse(
        {"sku": order.sku, "quantity": order.quantity, "actor": current().actor.id, "method": request.method}
    )


@csrf_exempt
@guarded("orders.awaited", registry=REGISTRY, bind=of_request, request=Order, result="discard")
async def create_awaited(request: HttpRequest, sku: str) -> JsonResponse:
    await asyncio.sleep(0)
    order = current().payload
    return JsonResponse({"sku": order.sku, "quantity": order.quantity, "actor": current().actor.id})


@method_decorator(csrf_exempt, name="dispatch")
class OrderView(View):
    @guarded(
        "orders.view", registry=REGISTRY, bind=lambda self, request, sku: of_request(request, sku), result="discard"
    )
    def post(self, request: HttpRequest, sku: str) -> JsonResponse:
        return JsonResponse({"sku": sku, "desk": type(self).__name__})


class Problems:
    """Turns the guard's refusals into answers, as the integration will."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> JsonResponse | None:
        if not isinstance(error, OutcomeError):
            return None
        problem = error.outcome.problem()
        return JsonResponse(problem, status=problem["status"])


settings.MIDDLEWARE = [f"{__name__}.Problems"]
urlpatterns = [
    path("orders/<str:sku>", create),
    path("awaited/<str:sku>", create_awaited),
    path("view/<str:sku>", OrderView.as_view()),
]


def main() -> None:
    """Ask each view."""
    make_guard(registry=REGISTRY)
    factory, client, headers = RequestFactory(), Client(enforce_csrf_checks=True), {"user": "ann"}
    body, json_type = {"quantity": "4"}, {"content_type": "application/json", "headers": headers}
    said: dict[str, Any] = {}

    answer = create(factory.post("/orders/tea", json.dumps(body), **json_type), sku="tea")
    said["plain"] = [answer.status_code, json.loads(answer.content)]
    answer = asyncio.run(create_awaited(factory.post("/awaited/tea", json.dumps(body), **json_type), "tea"))
    said["awaited"] = [answer.status_code, json.loads(answer.content)]
    answer = client.post("/view/tea", json.dumps(body), **json_type)
    said["class"] = [answer.status_code, answer.json()]
    answer = client.post("/orders/tea", json.dumps({"quantity": "many"}), **json_type)
    said["invalid"] = [answer.status_code, [error["field"] for error in answer.json()["errors"]]]
    said["csrf_exempt"] = create.csrf_exempt
    said["get"] = [client.get("/orders/tea").status_code, None]
    runs.clear()
    json_type["headers"] = {**headers, "delivery": "d1"}
    answers = [client.post("/orders/tea", json.dumps(body), **json_type) for _ in range(3)]
    assert answers[0].content == answers[1].content == answers[2].content
    said["replayed"] = [answers[2].status_code, [len(runs)]]
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
