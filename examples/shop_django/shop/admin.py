"""The shop's tables in the admin, beside those of the guard."""

from __future__ import annotations

from django.contrib import admin

from examples.shop_django.shop.models import Order, Stock

admin.site.register([Order, Stock])
