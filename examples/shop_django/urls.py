"""Where the shop's pages are."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from botguard.integrations.django import metrics
from examples.shop_django.shop import views

urlpatterns = [
    path("baskets", views.basket),
    path("deliveries", views.delivery),
    path("orders/<str:number>/ship", views.ship),
    path("webhook", views.webhook),
    path("admin/", admin.site.urls),
    path("metrics", metrics),
]
