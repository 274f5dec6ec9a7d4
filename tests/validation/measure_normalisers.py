"""How long each normaliser takes, in microseconds: ``python tests/validation/measure_normalisers.py``.

Prints the least of several runs for ordinary input through a pydantic model, and the longest time for hostile input.
No test looks at these numbers: they say more about the machine than about the code.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from botguard.validation import (
    Currency,
    Date,
    DateTime,
    DecimalNumber,
    Email,
    Money,
    Phone,
    Quantity,
    Text,
    Time,
    check_bounds,
    describe_errors,
    parse_command_line,
    parse_json,
)

BERLIN = DateTime(format="%d.%m.%Y %H:%M", timezone="Europe/Berlin")
COMMA = {"decimal": ",", "thousands": "."}
NORMALISERS: dict[str, tuple[Any, str]] = {
    "Phone (national)": (Annotated[str, Phone(region="ET")], "091 123 4567"),
    "Phone (international)": (Annotated[str, Phone(region="GB")], "+49 30 23125000"),
    "Phone (Arabic digits)": (Annotated[str, Phone(region="ET")], "٠٩١١٢٣٤٥٦٧"),
    "Date": (Annotated[date, Date(format="%d.%m.%Y")], "31.03.2026"),
    "Time": (Annotated[time_of_day, Time()], "14:30"),
    "DateTime": (Annotated[datetime, BERLIN], "31.03.2026 14:30"),
    "DateTime (ISO)": (Annotated[datetime, BERLIN], "2026-03-31T14:30:00+02:00"),
    "Quantity": (Quantity, "12,5 kg"),
    "Quantity (declared)": (Annotated[Quantity, Quantity.of("kg", "g", maximum="2000 kg", **COMMA)], "1.234,5 kg"),
    "DecimalNumber": (Annotated[Decimal, DecimalNumber(places=2, **COMMA)], "1.234,50"),
    "Money": (Money, "12.50 EUR"),
    "Money (declared)": (Annotated[Money, Money.of("EUR", maximum=5000, **COMMA)], "€1.234,50"),
    "Currency": (Annotated[str, Currency()], "eur"),
    "Email": (Annotated[str, Email()], "Ada.Lovelace@Example.com"),
    "Text": (Annotated[str, Text(max=200)], "Please ring the bell twice, the dog is friendly."),
    "Text (200 letters)": (Annotated[str, Text(max=400)], "Bitte zweimal läuten, der Hund ist größer als er tut. " * 4),
}
HOSTILE = [
    "9" * 16000,
    "+" * 16000,
    "a" * 16000,
    "a@" * 8000,
    "1." * 8000,
    "\u202e" * 16000,
    "\u0301" * 16000,
    "٣" * 16000,
    "1" * 90 + " kg",
    "(" * 59,
    "1,234" * 19,
    "a" * 60 + "@" + "b.c" * 80,
]


def microseconds(call: Callable[[], object], repeat: int = 25) -> float:
    """Least of several runs of about 10 ms of processor time each: what the code costs without its neighbours."""
    call()
    start = time.process_time()
    for _ in range(50):
        call()
    number = max(1, int(0.5 / max(time.process_time() - start, 1e-6)))
    runs = []
    for _ in range(repeat):
        start = time.process_time()
        for _ in range(number):
            call()
        runs.append((time.process_time() - start) / number)
    return min(runs) * 1e6


def worst(read: Callable[[Any], object]) -> float:
    """Microseconds for the hostile input that takes longest."""
    longest = 0.0
    for text in HOSTILE * 2:  # libraries that are loaded when they are first needed do not count
        if text == HOSTILE[0]:
            longest = 0.0
        start = time.process_time()
        try:
            read(text)
        except ValidationError:
            pass
        longest = max(longest, time.process_time() - start)
    return longest * 1e6


def others() -> dict[str, Callable[[], object]]:
    """What else is on the way of a request."""
    from validation_models import GOOD_ORDER, Order

    flat = {"order_id": "A-17", "sku": "SKU-9", "quantity": 12, "phone": "020 7946 0958"}
    try:
        Order.model_validate({**GOOD_ORDER, "phone": "12"})
    except ValidationError as error:
        wrong = error
    line = (
        '/create A-17 "12 kg" "1,5 kg" phone="020 7946 0958" email=a@b.com price="1 EUR" total=5 currency=EUR rate=1 '
    )
    line += "share=1 day=31.03.2026 at=14:30 due='31.03.2026 14:30'"
    body = b'{"order_id": "A-17", "sku": "SKU-9", "quantity": 12, "phone": "020 7946 0958"}'
    return {
        "check_bounds (flat, 4 values)": lambda: check_bounds(flat),
        "check_bounds (nested)": lambda: check_bounds({**flat, "lines": [{"a": 1}, {"b": "é"}]}),
        "check_bounds (9,000 numbers)": lambda: check_bounds({"a": [0] * 9000}),
        "parse_json (80 bytes)": lambda: parse_json(body),
        "parse_command_line": lambda: parse_command_line(line, Order),
        "describe_errors (one field)": lambda: describe_errors(Order, wrong),
    }


if __name__ == "__main__":
    emit = sys.stdout.write
    emit(f"{'':32}{'ordinary':>12}{'hostile':>12}  µs\n")
    for name, (annotation, text) in NORMALISERS.items():
        read = TypeAdapter(annotation).validate_python
        emit(f"{name:32}{microseconds(lambda read=read, text=text: read(text)):12.1f}{worst(read):12.0f}\n")
    for name, call in others().items():
        emit(f"{name:32}{microseconds(call):12.1f}\n")
