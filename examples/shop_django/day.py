"""A day of requests to the shop's own pages, and what came back."""

from __future__ import annotations

import json
import re
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from botguard.adapters.django.models import Claim
from examples.shop_django.shop import carrier
from examples.shop_django.shop.bots import CHATS
from examples.shop_django.shop.models import Order
from examples.shop_django.shop.views import SECRET

_CHAT_OF = {name: chat for chat, name in CHATS.items()}
_CLAIMS = "/admin/botguard/claim/"


class Day:
    """The requests of one day, each printed with its answer."""

    def __init__(self) -> None:
        self._updates = 0
        self._browsers: dict[str, Client] = {}

    def spend(self) -> None:
        """Send all of them."""
        print("The bot")
        booked = self._say("ann", "/order A-1 tea 2")
        self._deliver("  the same update again", booked)
        self._say("ann", "/order A-1 tea 2", "asked once more")
        self._say("bob", "/order A-2 tea 1", "may not sell")
        self._say("somebody", "/order A-2 tea 1", "a stranger")
        self._say("ann", "/order A-2 tea many", "no number")

        print("\nA basket: all lines or none")
        keys = self._keys()
        self._basket(("A-3", "tea", 1), ("A-4", "salt", 99))
        print(f"  left of A-3: {Order.objects.filter(number='A-3').count()} orders, {self._keys() - keys} keys")
        self._basket(("A-3", "tea", 3), ("A-4", "salt", 1))

        print("\nGoods come")
        for quantity, remark in ((5, ""), (5, "sent again"), (6, "other goods")):
            asked = f"bob: {quantity} x tea, Idempotency-Key d-1"
            self._post("bob", "/deliveries", {"sku": "tea", "quantity": quantity}, asked, remark, key="d-1")

        print("\nParcels go")
        self._deliver("  the same update again", self._say("bob", "/ship A-1"))
        carrier.silent_for.add("A-3")
        self._ship("A-3", "the carrier does not answer")
        self._ship("A-3", "sent again")
        self._operator_settles()
        self._ship("A-3", "sent again")

    def _keys(self) -> int:
        return Claim.objects.filter(command="orders.place").exclude(state="released").count()

    def _say(self, who: str, text: str, remark: str = "") -> dict[str, Any]:
        self._updates += 1
        message = {"message_id": 900 + self._updates, "chat": {"id": _CHAT_OF.get(who, 999)}, "text": text}
        update = {"update_id": self._updates, "message": message}
        self._deliver(f"{who}: {text}", update, remark)
        return update

    def _deliver(self, asked: str, update: dict[str, Any], remark: str = "") -> None:
        headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
        answer = Client().post("/webhook", json.dumps(update), content_type="application/json", headers=headers)
        _tell(asked, answer, remark)

    def _basket(self, *lines: tuple[str, str, int]) -> None:
        body = [{"number": number, "sku": sku, "quantity": quantity} for number, sku, quantity in lines]
        said = ", ".join(f"{quantity} {sku} as {number}" for number, sku, quantity in lines)
        self._post("ann", "/baskets", body, f"ann: {said}")

    def _ship(self, number: str, remark: str) -> None:
        self._post("bob", f"/orders/{number}/ship", {}, f"bob: ship {number}", remark)

    def _post(self, who: str, page: str, body: Any, asked: str, remark: str = "", key: str | None = None) -> None:
        headers = {} if key is None else {"Idempotency-Key": key}
        browser = self._browser(who)
        _tell(asked, browser.post(page, json.dumps(body), content_type="application/json", headers=headers), remark)

    def _operator_settles(self) -> None:
        """Claims whose effect nobody knows are shown in the admin; a person finds out, and says so there."""
        page = self._browser("eve").get(_CLAIMS).content.decode()
        rows = re.findall(r'name="_selected_action" value="(\d+)"', page)
        print(f"  eve, in the admin, sees what nobody knows of: {len(rows)} call of orders.ship")
        act = {"action": "settle", "confirmed": "settle", "_selected_action": rows}
        answer = self._browser("eve").post(_CLAIMS, act, follow=True)
        said = " ".join(str(message) for message in answer.context["messages"])
        print(f"  eve has asked the carrier, who has the parcel: {said}")

    def _browser(self, who: str) -> Client:
        if who not in self._browsers:
            self._browsers[who] = Client(raise_request_exception=False)  # an error is an answer here
            self._browsers[who].force_login(User.objects.get(username=who))
        return self._browsers[who]


def _tell(asked: str, answer: Any, remark: str = "") -> None:
    said = "(an error page)"
    if "json" in answer.headers.get("Content-Type", ""):
        body = answer.json()
        said = next(str(body[name]) for name in ("text", "detail", "title") if body.get(name))
    asked += f"  ({remark})" if remark else ""
    print(f"  {asked:<51} {answer.status_code}  {said}")
