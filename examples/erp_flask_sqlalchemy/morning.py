"""A morning of requests to the ERP's own endpoints, and what came back."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from examples.erp_flask_sqlalchemy.host import database as db
from examples.erp_flask_sqlalchemy.host.models import Product
from examples.erp_flask_sqlalchemy.host.web import SECRET

CHATS = {"ann": 501, "bob": 502, "eve": 503}


class Telegram:
    """Delivers updates as Telegram does, and again if told."""

    def __init__(self, client: FlaskClient) -> None:
        self._client, self._updates = client, 0

    def say(self, who: str, text: str) -> dict[str, Any]:
        """A message; the update that it makes."""
        return self._update(who, message=self._message(who, text))

    def press(self, who: str, button: str) -> dict[str, Any]:
        """A button; the update that it makes."""
        return self._update(who, callback_query={"data": button, "message": self._message(who, "")})

    def _message(self, who: str, text: str) -> dict[str, Any]:
        return {"message_id": 900 + self._updates, "chat": {"id": CHATS[who]}, "text": text}

    def _update(self, who: str, **content: Any) -> dict[str, Any]:
        self._updates += 1
        return {"update_id": self._updates, **content}

    def deliver(self, update: dict[str, Any]) -> Any:
        """Post an update to the webhook."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
        return self._client.post("/telegram/webhook", json=update, headers=headers)


class Morning:
    """The requests of one morning, each printed with its answer."""

    def __init__(self, app: Flask) -> None:
        app.config["PROPAGATE_EXCEPTIONS"] = False  # an error is an answer here
        self._client = app.test_client()
        self._telegram = Telegram(self._client)

    def spend(self) -> None:
        """Send all of them."""
        self._say("ann", "/stock tea")
        approval = self._say("ann", "/approve 17")
        self._again(approval)
        self._say("ann", "/approve 17", "asked once more")
        self._say("bob", "/approve 18", "a clerk")
        self._say("eve", "/approve 18", "left in May")
        self._say("ann", "please do not approve", "a keyword, no order")
        broken = self._say("ann", "/approve 19", "fails half-way")
        self._repair()
        self._again(broken)
        self._say("ann", "/approve 20")
        self._say("ann", "/approve 21", "too many, for an hour")
        self._cancel()
        self._deliver("D-1", ("tea", 5), ("pepper", 1))
        self._deliver("D-1", ("tea", 5), ("salt", 1))
        self._deliver("D-1", ("tea", 5), ("salt", 1))
        self._deliver("D-2", ("tea", 5), token="t-bob")

    def _say(self, who: str, text: str, remark: str = "") -> dict[str, Any]:
        update = self._telegram.say(who, text)
        self._tell(f"{who}: {text}", self._telegram.deliver(update), remark)
        return update

    def _again(self, update: dict[str, Any]) -> None:
        self._tell("  the same update again", self._telegram.deliver(update))

    def _cancel(self) -> None:
        update = self._telegram.say("ann", "/cancel 22")
        asked = self._telegram.deliver(update)
        self._tell("ann: /cancel 22", asked)
        for _ in range(2):
            if keyboard := asked.get_json().get("keyboard"):
                pressed = self._telegram.press("ann", keyboard[0][1])
                self._tell("  ann presses Yes", self._telegram.deliver(pressed))
            else:
                self._again(update)

    def _repair(self) -> None:
        with db.session.begin():
            db.session.query(Product).filter_by(sku="salt").update({"account": "sales-salt"})
        db.session.remove()
        print("  (somebody gives salt an account)")

    def _deliver(self, number: str, *lines: tuple[str, int], token: str = "t-ann") -> None:
        body = {"delivery_no": number, "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines]}
        said = ", ".join(f"{quantity} {sku}" for sku, quantity in lines)
        answer = self._client.post("/api/deliveries", json=body, headers={"X-Api-Token": token})
        self._tell(f"delivery {number}: {said}", answer, "a clerk" if token == "t-bob" else "")

    def _tell(self, asked: str, answer: Any, remark: str = "") -> None:
        said = answer.get_json(silent=True)
        if isinstance(said, list):
            said = " ".join(said)
        elif isinstance(said, dict):
            said = next((said[name] for name in ("text", "detail", "error", "title") if name in said), said)
        else:
            said = "(an error page)"
        asked += f"  ({remark})" if remark else ""
        print(f"  {asked:<46} {answer.status_code}  {str(said).replace(chr(10), ' ')}")
