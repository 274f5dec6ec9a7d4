"""The traffic that every case gets: the same users, orgs and orders, under keys that no other round used."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.peer_stack import Caller

#: Users and orgs over which the calls rotate; every user always belongs to the same org.
USERS = 1000
ORGS = 10
#: High enough that nothing is ever refused: the cost of an admitted call is what is measured.
LIMITS = ["100000/minute per user", "100000/minute per org"]


class Sent(NamedTuple):
    """One call: who sends what."""

    user: int
    raw: dict[str, Any]


def orders(label: str, count: int) -> list[Sent]:
    """``count`` raw payloads of four fields; ``label`` keeps their keys apart from those of other rounds."""
    return [
        Sent(n % USERS, {"order_id": f"{label}-{n}", "sku": "SKU-7", "quantity": 3, "phone": "+251911234567"})
        for n in range(count)
    ]


def org_of(user: int) -> str:
    return f"org-{user % ORGS}"


def callers(role: str = "sales") -> list[Caller]:
    """The users as the peer knows them."""
    return [Caller(org_of(n), f"user-{n}", role) for n in range(USERS)]
