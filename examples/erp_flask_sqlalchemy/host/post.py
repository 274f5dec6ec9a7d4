"""The post office: what was handed in cannot be taken back, by no rollback."""

from __future__ import annotations

letters: list[int] = []


def send_letter(order_id: int) -> None:
    """Tell the customer of an order that it is cancelled."""
    letters.append(order_id)
