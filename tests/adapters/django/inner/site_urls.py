"""The host's pages."""

from __future__ import annotations

import json

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from adapters.django.inner.shop import bots
from adapters.django.inner.shop.models import Order
from botguard.integrations.django import metrics


@csrf_exempt
def run(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(str(bots.guard.run(name, json.loads(request.body)).unwrap()))


@csrf_exempt
def run_and_fail(request: HttpRequest, name: str) -> HttpResponse:
    bots.guard.run(name, json.loads(request.body)).unwrap()
    raise ZeroDivisionError


@csrf_exempt
async def run_later(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(str((await bots.guard.run_async(name, json.loads(request.body))).unwrap()))


@csrf_exempt
def call(request: HttpRequest) -> HttpResponse:
    return HttpResponse(bots.create(bots.CreateOrder(**json.loads(request.body))))


def seen(request: HttpRequest) -> JsonResponse:
    return JsonResponse(bots.seen({}))


def opened(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Order.objects.count()))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("run/<str:name>", run),
    path("fail/<str:name>", run_and_fail),
    path("later/<str:name>", run_later),
    path("call", call),
    path("seen", seen),
    path("open", opened),
    path("metrics", metrics),
]
