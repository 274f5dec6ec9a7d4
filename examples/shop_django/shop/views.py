"""The shop's pages. Refusals that they let out become problem responses, by the middleware."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from botguard import Status
from examples.shop_django.shop.bots import guard, sender

SECRET = "telegram-secret"
_SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
#: The commands of the chat, and the fields that the words after them are.
COMMANDS = {
    "/order": ("orders.place", ("number", "sku", "quantity")),
    "/ship": ("orders.ship", ("number",)),
}
_LATER = {Status.UNAVAILABLE, Status.IN_FLIGHT}


@require_POST
def basket(request: HttpRequest) -> HttpResponse:
    """Order some articles: all lines, or none. The first refusal leaves the view, and ATOMIC_REQUESTS rolls it back."""
    lines = json.loads(request.body)
    return JsonResponse({"text": " ".join(guard.run("orders.place", line).unwrap() for line in lines)})


@require_POST
def delivery(request: HttpRequest) -> HttpResponse:
    """Goods have come."""
    return JsonResponse({"text": guard.run("stock.receive", json.loads(request.body)).unwrap()})


@require_POST
@transaction.non_atomic_requests  # orders.ship is external: see there
def ship(_: HttpRequest, number: str) -> HttpResponse:
    """Send an order."""
    outcome = guard.run("orders.ship", {"number": number})
    return JsonResponse({"text": outcome.unwrap() or outcome.message()})  # an operator who settled it gave no value


@csrf_exempt
@require_POST
@transaction.non_atomic_requests  # it may run orders.ship
def webhook(request: HttpRequest) -> HttpResponse:
    """A message to the bot, delivered at least once; any other answer than 200 makes it come again."""
    if not secrets.compare_digest(request.headers.get(_SECRET_HEADER, "").encode(), SECRET.encode()):
        raise PermissionDenied
    update = json.loads(request.body)
    name, payload = understood(update["message"]["text"])
    if name is None:
        return JsonResponse({"text": f"I know {' and '.join(COMMANDS)}."})
    outcome = guard.run(name, payload, context=sender(update))
    return JsonResponse({"text": outcome.value or outcome.message()}, status=503 if outcome.status in _LATER else 200)


def understood(text: str) -> tuple[str | None, dict[str, Any]]:
    """The command that a message names, and its payload; what is wrong with that, the guard says."""
    word, *given = text.split()
    name, fields = COMMANDS.get(word, (None, ()))
    return name, dict(zip(fields, given, strict=False))
