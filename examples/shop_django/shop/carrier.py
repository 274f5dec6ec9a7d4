"""The carrier: another company's service. What it has been told, no rollback takes back."""

from __future__ import annotations

#: Numbers of the orders whose parcels it has taken, as often as it was told.
parcels: list[str] = []
#: Orders for which its answer gets lost, once.
silent_for: set[str] = set()


def collect(number: str) -> None:
    """Have a parcel collected.

    Raises:
        TimeoutError: there was no answer. Whether it takes the parcel, the shop cannot know.
    """
    parcels.append(number)
    if number in silent_for:
        silent_for.remove(number)
        raise TimeoutError("no answer from the carrier")
