"""What a host has of its own."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An effect that can be counted."""

    sku = models.CharField(max_length=50)

    class Meta:
        app_label = "shop"
        db_table = "shop_orders"

    def __str__(self) -> str:
        return self.sku
