"""An order form and an API in Flask, behind one guard.

    flask --app examples/flask_app.py run

Then open http://127.0.0.1:5000/ (ann, tea), or, in another terminal:

    curl -u ann:tea -H 'Idempotency-Key: 17' --json '{"sku": "tea", "quantity": 2}' http://127.0.0.1:5000/orders
    curl -u ann:tea -H 'Idempotency-Key: 17' --json '{"sku": "tea", "quantity": 2}' http://127.0.0.1:5000/orders
    curl -u bob:salt --json '{"sku": "tea", "quantity": 2}' http://127.0.0.1:5000/orders
    curl http://127.0.0.1:5000/metrics

The second call gets the first one's answer, and the shop books once: so do a double click and a reload of the form.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from flask import Flask, Response, g, render_template_string, request
from pydantic import BaseModel, Field

from botguard import Actor, Context, Guard
from botguard.adapters.sqlite import SqliteStorage
from botguard.integrations.flask import install

PEOPLE = {"ann": ("tea", "sales"), "bob": ("salt", "guest")}  # name -> password, role; your user table does this

guard = Guard(storage=SqliteStorage("orders.db"), access={"sales": {"orders.create"}})
app = Flask(__name__)


def identify(request: Any) -> Context | None:
    """Who sent this? A form has no headers, so its key is a hidden field."""
    login = request.authorization
    password, role = PEOPLE.get(login.username, ("", "")) if login is not None else ("", "")
    if not password or not hmac.compare_digest(password, login.password or ""):
        return None  # a stranger: every command is denied
    key = request.form.get("key")
    delivery = f"form:{login.username}:{key}" if key else None
    return Context(org="acme", actor=Actor(login.username, roles=(role,)), delivery=delivery)


install(app, guard, identify=identify, metrics="/metrics")


class Order(BaseModel):
    """What an order says."""

    sku: str = Field(min_length=1, max_length=40)
    quantity: int = Field(gt=0, le=1000)


@guard.command("orders.create", limits=["30/minute per user"])
def create_order(order: Order) -> str:
    """Book an order: once for each intent, whatever happens on the way."""
    print(f"... the shop books {order.quantity} x {order.sku}", flush=True)
    return f"Order {secrets.token_hex(3)} is booked: {order.quantity} x {order.sku}."


@app.post("/orders")
def orders() -> dict[str, str]:
    """The API: a value, or an exception that ``install`` turns into a problem response."""
    return {"said": guard.run(create_order, request.get_json()).unwrap()}


@app.route("/", methods=["GET", "POST"])
def form() -> Response | str:
    """The form: always a page, so it looks at the outcome instead."""
    if g.botguard.actor is None:
        return Response("Please sign in.", 401, {"WWW-Authenticate": 'Basic realm="shop"'})
    said = ""
    if request.method == "POST":
        said = guard.run(create_order, request.form.to_dict()).message(g.botguard.locale)
    return render_template_string(PAGE, said=said, key=secrets.token_urlsafe(12))


PAGE = """<!doctype html>
<title>Shop</title>
<p>{{ said }}</p>
<form method="post">
  <input type="hidden" name="key" value="{{ key }}">
  <label>What? <input name="sku" required></label>
  <label>How many? <input name="quantity" value="1"></label>
  <button>Order</button>
</form>
"""
