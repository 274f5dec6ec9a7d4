"""Who works in the shop, and what is on its shelves in the morning."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission, User

from examples.shop_django.shop.models import Stock

OPENING = {"tea": 40, "salt": 40}


def seed(password: str | None = None) -> None:
    """Write it down, where it is not there already. Without a password nobody can sign in by the page."""
    for sku, on_hand in OPENING.items():
        Stock.objects.get_or_create(sku=sku, defaults={"on_hand": on_hand})
    for name, role in (("ann", "sales"), ("bob", "warehouse"), ("eve", "operators")):
        if not User.objects.filter(username=name).exists():
            user = User.objects.create_user(name, password=password, is_staff=True)
            user.groups.add(Group.objects.get_or_create(name=role)[0])
    triage = Permission.objects.filter(content_type__app_label="botguard")
    Group.objects.get(name="operators").permissions.add(*triage)
