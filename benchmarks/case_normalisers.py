"""What reading one field costs, in microseconds: ordinary input against a bound, hostile input beside it.

Each normaliser is called as a request model calls it. A figure of microseconds says as much about the machine as about
the code; the bound is far enough away for any machine that runs a bot, and close enough to see a careless loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from typing import Annotated, Any

from benchmarks.harness import Row, Settings, Spread, expect, progress, spread

#: Microseconds for ordinary input.
BOUND = 60.0
_COMMA = {"decimal": ",", "thousands": "."}
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


def normalisers() -> dict[str, tuple[Any, Any, Any]]:
    """Name → (annotated type, what somebody sends, what it means)."""
    from botguard import Currency, Date, DateTime, DecimalNumber, Email, Money, Phone, Quantity, Text, Time

    berlin = DateTime(format="%d.%m.%Y %H:%M", timezone="Europe/Berlin")
    at = berlin.read("2026-03-31T14:30:00+02:00")
    bell = "Please ring the bell twice, the dog is friendly."
    long = ("Bitte zweimal läuten, der Hund ist größer als er tut. " * 4).strip()
    return {
        "Phone, national": (Annotated[str, Phone(region="ET")], "091 123 4567", "+251911234567"),
        "Phone, international": (Annotated[str, Phone(region="GB")], "+49 30 23125000", "+493023125000"),
        "Phone, Arabic digits": (Annotated[str, Phone(region="ET")], "٠٩١١٢٣٤٥٦٧", "+251911234567"),
        "Date": (Annotated[date, Date(format="%d.%m.%Y")], "31.03.2026", date(2026, 3, 31)),
        "Time": (Annotated[time_of_day, Time()], "14:30", time_of_day(14, 30)),
        "DateTime": (Annotated[datetime, berlin], "31.03.2026 14:30", at),
        "DateTime, ISO": (Annotated[datetime, berlin], "2026-03-31T14:30:00+02:00", at),
        "Quantity": (Quantity, "12,5 kg", Quantity("12.5", "kg")),
        "Quantity, declared": (
            Annotated[Quantity, Quantity.of("kg", "g", maximum="2000 kg", **_COMMA)],
            "1.234,5 kg",
            Quantity("1234.5", "kg"),
        ),
        "DecimalNumber": (Annotated[Decimal, DecimalNumber(places=2, **_COMMA)], "1.234,50", Decimal("1234.50")),
        "Money": (Money, "12.50 EUR", Money("12.50", "EUR")),
        "Money, declared": (
            Annotated[Money, Money.of("EUR", maximum=5000, **_COMMA)],
            "€1.234,50",
            Money("1234.50", "EUR"),
        ),
        "Currency": (Annotated[str, Currency()], "eur", "EUR"),
        "Email": (Annotated[str, Email()], "Ada.Lovelace@Example.com", "Ada.Lovelace@example.com"),
        "Text": (Annotated[str, Text(max=200)], bell, bell),
        "Text, 216 letters": (Annotated[str, Text(max=400)], long, long),
    }


def group(settings: Settings) -> list[Row]:
    """One row for each normaliser, and one for each other step between a request and its model."""
    from pydantic import TypeAdapter

    rounds, rows = settings.rounds(25), []
    for name, (annotation, sent, meant) in normalisers().items() if settings.with_guard else ():
        read = TypeAdapter(annotation).validate_python
        expect(name, read(sent), meant)
        cost = _microseconds(lambda read=read, sent=sent: read(sent), rounds)
        rows.append(
            Row(
                group="normalisers",
                case=name,
                figure=cost,
                figure_unit="µs",
                bound=BOUND,
                note=f"hostile input: at most {_worst(read):.0f} µs",
            )
        )
        progress(f"normalisers  {name}: {cost.mid:.1f} µs")
    for name, step in _other_steps().items() if settings.with_guard else ():
        rows.append(Row(group="normalisers", case=name, cost=_microseconds(step, rounds).mid))
    return rows


def _microseconds(call: Callable[[], object], rounds: int) -> Spread:
    """Processor time of one call, in rounds of about 10 ms."""
    call()
    start = time.process_time()
    for _ in range(50):
        call()
    number = max(1, int(0.5 / max(time.process_time() - start, 1e-6)))
    runs = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(number):
            call()
        runs.append((time.process_time() - start) / number * 1e6)
    return spread(runs)


def _worst(read: Callable[[Any], object]) -> float:
    """Microseconds for the hostile input that takes longest."""
    longest = 0.0
    for text in HOSTILE:
        runs = []
        for _ in range(2):  # libraries that are loaded when they are first needed do not count
            start = time.process_time()
            try:
                read(text)
            except ValueError:
                pass
            runs.append(time.process_time() - start)
        longest = max(longest, *runs[1:])
    return longest * 1e6


def _other_steps() -> dict[str, Callable[[], object]]:
    """What else is on the way of a request."""
    from pydantic import BaseModel, ValidationError

    from botguard import Phone
    from botguard.validation import check_bounds, describe_errors, parse_command_line, parse_json

    class Order(BaseModel):
        order_id: str
        sku: str
        quantity: int
        phone: Annotated[str, Phone(region="GB")]

    flat = {"order_id": "A-17", "sku": "SKU-9", "quantity": 12, "phone": "020 7946 0958"}
    nested = {**flat, "lines": [{"a": 1}, {"b": "é"}]}
    many = {"a": [0] * 9000}
    try:
        Order.model_validate({**flat, "phone": "12"})
    except ValidationError as error:
        wrong = error
    line = '/create A-17 SKU-9 12 phone="020 7946 0958"'
    body = b'{"order_id": "A-17", "sku": "SKU-9", "quantity": 12, "phone": "020 7946 0958"}'
    return {
        "bounds of 4 values": lambda: check_bounds(flat),
        "bounds of 8 values, nested": lambda: check_bounds(nested),
        "bounds of 9000 numbers": lambda: check_bounds(many),
        "JSON of 80 bytes": lambda: parse_json(body),
        "a line of a chat, 4 words": lambda: parse_command_line(line, Order),
        "one wrong field in words": lambda: describe_errors(Order, wrong),
    }
