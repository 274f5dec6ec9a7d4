"""The shop's tables."""

from __future__ import annotations

from django.db import models


class Stock(models.Model):
    """How many of an article are on the shelf."""

    sku = models.CharField(max_length=40, unique=True)
    on_hand = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.on_hand} x {self.sku}"


class Order(models.Model):
    """What a customer has bought."""

    number = models.CharField(max_length=40, unique=True)
    sku = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.number}: {self.quantity} x {self.sku}"
