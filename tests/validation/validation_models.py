"""Request models that the tests share: one with every normalised type, one of plain types, one with secrets."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr

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
)


class Order(BaseModel):
    """Every normalised type."""

    order_id: Annotated[str, Text(max=40)]
    quantity: Quantity
    weight: Annotated[Quantity, Quantity.of("kg", "g", decimal=",", thousands=".", maximum="500 kg")]
    phone: Annotated[str, Phone(region="GB")]
    email: Annotated[str, Email()]
    price: Money
    total: Annotated[Money, Money.of("EUR", decimal=",", thousands=".", default="EUR")]
    currency: Annotated[str, Currency("EUR", "USD")]
    rate: Annotated[Decimal, DecimalNumber(decimal=",", places=3, maximum="100")]
    share: Annotated[Decimal, DecimalNumber()]
    day: Annotated[date, Date(format=("%d.%m.%Y", "%-d/%-m/%Y"))]
    at: Annotated[time, Time(format=("%H:%M", "%-I:%M %p"))]
    due: Annotated[datetime, DateTime(format="%d.%m.%Y %H:%M", timezone="Europe/Berlin")]
    note: Annotated[str, Text(max=200, multiline=True)] | None = None


GOOD_ORDER = {
    "order_id": "A-17",
    "quantity": "12 kg",
    "weight": "1,5 kg",
    "phone": "020 7946 0958",
    "email": "Ada@Example.COM",
    "price": "12.50 EUR",
    "total": "1.234,50",
    "currency": "eur",
    "rate": "12,345",
    "share": "0.5",
    "day": "31.03.2026",
    "at": "14:30",
    "due": "31.03.2026 14:30",
    "note": "two\r\nlines",
}


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Line(BaseModel):
    sku: str = Field(title="Article", min_length=2, max_length=12, pattern=r"^[A-Z0-9-]+$")
    quantity: int = Field(gt=0, le=1000)


class Cash(BaseModel):
    kind: Literal["cash"]
    amount: Decimal = Field(max_digits=6, decimal_places=2)


class Card(BaseModel):
    kind: Literal["card"]
    number: SecretStr


class Plain(BaseModel):
    """Types that hosts have in their models anyway."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=20)
    size: Size
    level: Level = Level.LOW
    colour: Literal["red", "green"] = "red"
    ratio: float = Field(ge=0, lt=1, allow_inf_nan=False)
    urgent: bool = False
    born: date | None = None
    wait: timedelta | None = None
    ref: UUID | None = None
    page: HttpUrl | None = None
    lines: list[Line] = Field(min_length=1, max_length=3)
    prices: dict[str, int] = {}
    pair: tuple[int, str] | None = None
    either: int | Literal["all"] = "all"
    pay: Annotated[Cash | Card, Field(discriminator="kind")] | None = None


GOOD_PLAIN = {"name": "Ada", "size": "small", "ratio": 0.5, "lines": [{"sku": "A-1", "quantity": 2}]}


class Login(BaseModel):
    """Secrets in every way that they are declared."""

    user: str = Field(max_length=8)
    password: SecretStr = Field(min_length=8)
    pin: int = Field(repr=False, gt=999)
    token: str = Field(default="", json_schema_extra={"writeOnly": True}, max_length=4)
    codes: list[SecretStr] = []
    spare: dict[str, SecretStr] = {}
    card: Card | None = None
