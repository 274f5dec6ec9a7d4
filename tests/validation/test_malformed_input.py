"""Ten thousand malformed payloads and two thousand malformed lines: an answer for people, or a valid model."""

from __future__ import annotations

import time
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from validation_jargon import check_message
from validation_models import GOOD_ORDER, GOOD_PLAIN, Login, Order, Plain

from botguard.errors import InvalidPayload
from botguard.outcome import Status
from botguard.validation import ValidatorRegistry, catalogue, describe, parse_command_line, validate_payload

REGISTRY = ValidatorRegistry()
GOOD_LOGIN = {"user": "ada", "password": "long enough", "pin": 1234, "codes": ["x"]}
GOOD: dict[type[BaseModel], dict[str, Any]] = {Order: GOOD_ORDER, Plain: GOOD_PLAIN, Login: GOOD_LOGIN}
for model in GOOD:
    REGISTRY.register(model.__name__.lower(), model)

#: Seconds for one payload; ordinary ones take a thousandth of that, also when they are refused.
LONGEST = 1.0
SECRET = "zq7secret"


def nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = [inner] if depth % 2 else {"a": inner}
    return inner


FIXED: list[Any] = [
    None, True, False, 0, -1, 10**30, 10**400, 2**63, -(10**5000), 0.1, -0.0, 1e308, float("nan"), float("inf"),
    Decimal("NaN"), Decimal("1E+999999"), Decimal("-0"), "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800",
    "\u202e", "\u200b", "\ufeff", "e" + "\u0301" * 50, "x" * 300, "x" * 5000, "x" * 20000, "é" * 16000, "9" * 4000,
    "9" * 4400, "9" * 16000, "12,5 kg", "1.234 kg", "12", "٣", "１２", "1٢ kg", "0x1F", "1e999", "NaN", "-Infinity",
    "1_000", "½", "31.02.2026", "12/31/2026", "2026-03-31T25:00:00Z", "+999 12", "020 7946 0958 ext 5", "a@b",
    "🙂" * 20, "{label}", "%s%n", "{0.__class__}", "${jndi:ldap://x}", "<script>alert(1)</script>",
    "'; DROP TABLE orders; --", "None", "null", "[object]", [], {}, [None], [[]], {"": ""}, {"a": {"b": {}}},
    {1: 2}, {None: None}, {"value": "1", "unit": "kg"}, {"value": [], "unit": {}},
    {"amount": "1E9", "currency": "EUR"}, nested(5, 1), nested(15, "x"), nested(40, 1), nested(5000, 1), [0] * 50,
    [0] * 20000, {str(n): n for n in range(100)}, (1, 2), {1, 2}, b"\xff", object(), int, print, 1j, iter([]),
]  # fmt: skip
ANYTHING = st.one_of(
    st.sampled_from(FIXED),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.text(st.characters(), max_size=30),
    st.text("0123456789.,+-:/ kgEUR@'\"\\{}\u202e\x00٣", max_size=20),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)
NAMES = st.sampled_from(["\x00", "\ud800", "", "unknown", "x" * 3000, "a'b", "__class__", 5, None]) | st.text(
    max_size=5
)


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, Any]:
    """Shrinks to the smallest example, and takes its time for that."""
    model = draw(st.sampled_from(list(GOOD)))
    names = NAMES | st.sampled_from(list(model.model_fields))
    return model.__name__.lower(), {**GOOD[model], **draw(st.dictionaries(names, ANYTHING, min_size=1, max_size=3))}


def random_value(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(8 if depth < 4 else 6)
    if kind < 3:
        return random.choice(FIXED)
    if kind == 3:
        return random.choice(
            (random.randrange(-(10**6), 10**6), random.getrandbits(random.randrange(1, 200)), random.uniform(-1e3, 1e3))
        )
    if kind == 4:
        return "".join(
            chr(random.choice((random.randrange(128), random.randrange(0x3000), random.randrange(0x110000))))
            for _ in range(random.randrange(20))
        )
    if kind == 5:
        return "".join(random.choice("0123456789.,+-:/ kgEUR@'\"\\{}\u202e\x00٣") for _ in range(random.randrange(20)))
    if kind == 6:
        return [random_value(random, depth + 1) for _ in range(random.randrange(4))]
    return {random_name(random): random_value(random, depth + 1) for _ in range(random.randrange(4))}


def random_name(random: Random) -> Any:
    return random.choice(
        ("a", "kind", "value", "unit", "amount", "", "\x00", "\ud800", "x" * 3000, "a'b", "__class__", 5, None)
    )


def random_payload(random: Random) -> tuple[str, Any]:
    model = random.choice(list(GOOD))
    payload: dict[Any, Any] = dict(GOOD[model])
    for _ in range(random.randrange(1, 4)):
        name = random_name(random) if random.randrange(6) == 0 else random.choice(list(model.model_fields))
        payload[name] = random_value(random)
        if random.randrange(8) == 0:
            del payload[name]
    return model.__name__.lower(), random_value(random) if random.randrange(20) == 0 else payload


def check_payload(command: str, payload: Any, locale: str) -> None:
    """Valid and normal, or refused with particulars for people; in bounded time; and nothing else is raised."""
    start = time.process_time()
    refused, made = None, None
    try:
        made = validate_payload(command, payload, registry=REGISTRY, locale=locale)
    except InvalidPayload as error:
        refused = error
    if refused is not None:
        assert refused.__cause__ is None, "a validator of ours stumbled"
        check_refusal(refused, describe.MAX_DETAILS + 1)
    elif command != "login":  # secrets are written as stars
        assert type(made).model_validate_json(made.model_dump_json()) == made
        assert type(made).model_validate(made.model_dump()) == made
    assert time.process_time() - start < LONGEST


def check_refusal(error: InvalidPayload, most: int) -> None:
    assert error.outcome.status is Status.INVALID
    assert 1 <= len(error.details) <= most
    for detail in error.details:
        check_message(detail, longest=500)
        assert len(detail.field) <= 800


def fuzz(examples: int) -> Any:
    return settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        database=None,
    )


@fuzz(10_000)
@given(st.integers(0, 2**64))
def test_ten_thousand_malformed_payloads(seed: int) -> None:
    random = Random(seed)
    check_payload(*random_payload(random), random.choice(["en", "de", "ru"]))


@fuzz(500)
@given(payloads(), st.sampled_from(["en", "de", "ru"]))
def test_malformed_payloads_that_shrink(example: tuple[str, Any], locale: str) -> None:
    check_payload(*example, locale)


@pytest.mark.parametrize("model", GOOD)
def test_every_fixed_value_in_every_field(model: type[BaseModel]) -> None:
    for name in (*model.model_fields, "unknown"):
        for value in FIXED:
            check_payload(model.__name__.lower(), {**GOOD[model], name: value}, "en")


def test_the_check_of_payloads_sees_a_raw_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        describe, "_detail", lambda group, locale: describe.Detail(group[0][0].path, "x", group[0][1]["msg"])
    )
    with pytest.raises(AssertionError):
        check_payload("order", {**GOOD_ORDER, "order_id": 5, "note": [5]}, "en") or check_payload(
            "plain", {**GOOD_PLAIN, "name": 5}, "en"
        )


def test_the_check_of_payloads_sees_a_word_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.english.SENTENCES, "not_text", "{label}: NoneType is not a str.")
    with pytest.raises(AssertionError):
        check_payload("plain", {**GOOD_PLAIN, "name": None}, "en")


def test_the_check_of_payloads_sees_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles(*_: Any) -> Any:
        raise KeyError("phone")

    monkeypatch.setattr(describe, "describe_errors", stumbles)
    with pytest.raises(AssertionError, match="stumbled"):
        check_payload("plain", {**GOOD_PLAIN, "name": None}, "en")


# ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────

WORDS = [
    "A-17", "'12 kg'", '"12 kg"', "“12 kg”", "phone=", "phone='020 7946 0958'", "size=small", "pin=5", "x=", "=x",
    "=", '"', "“", "'", "\\", '\\"', "a\\ b", "\x00", "\ud800", "\u202e", "\u200b", "order_id=a", "order_id=b",
    "lines=1", "1" * 500, "\n", "\u00a0", "é=1", "__class__=1", SECRET, f"pass{SECRET}=word", f'"{SECRET}',
    f'"a"{SECRET}', "x", "5", "tags=a", "«a", "a»", "１２", "٣", "🙂", "a'b", "{}", "quantity=3", "password=x",
]  # fmt: skip
TEXTS = [value for value in FIXED if isinstance(value, str)]
STARTS = [
    "/create",
    "/create@My_Bot",
    "create",
    "/",
    "//",
    "/create@",
    " /create",
    "",
    "/c" * 40,
    "/" + "x" * 70,
    "／create",
]
SPACES = [" ", "  ", "\t", "\n", ""]


class Small(BaseModel):
    order_id: str
    quantity: int
    size: str = "small"
    phone: str | None = None
    tags: list[str] = []


class Entry(BaseModel):
    user: str
    password: SecretStr
    pin: int = 0


@st.composite
def lines(draw: st.DrawFn) -> str:
    words = draw(st.lists(st.sampled_from(WORDS) | st.text(max_size=12), max_size=8))
    return draw(st.sampled_from(STARTS)) + " " + draw(st.sampled_from(SPACES)).join(words)


def random_line(random: Random) -> str:
    words = [random.choice(WORDS if random.randrange(4) else TEXTS) for _ in range(random.randrange(8))]
    start = random.choice(STARTS if random.randrange(3) == 0 else ["/create"])
    return start + random.choice(SPACES[:4]) + random.choice(SPACES).join(words)


def check_line(line: str, model: type[BaseModel], locale: str) -> None:
    """A payload of words that were in the line, with all that is required; or an answer for people."""
    start = time.process_time()
    refused, payload = None, {}
    try:
        payload = parse_command_line(line, model, locale=locale)
    except InvalidPayload as error:
        refused = error
    if refused is not None:
        check_refusal(refused, 12)
        assert model is not Entry or SECRET not in str(refused)
    else:
        required = {name for name, field in model.model_fields.items() if field.is_required()}
        assert required <= set(payload) <= set(model.model_fields)
        bare = line.replace("\\", "")
        for value in payload.values():
            for word in value if isinstance(value, list) else [value]:
                assert str(word).replace("\\", "") in bare
    assert time.process_time() - start < LONGEST


@fuzz(2_000)
@given(st.integers(0, 2**64))
def test_two_thousand_malformed_lines(seed: int) -> None:
    random = Random(seed)
    check_line(random_line(random), random.choice([Small, Entry]), random.choice(["en", "de", "ru"]))


@fuzz(300)
@given(lines(), st.sampled_from([Small, Entry]), st.sampled_from(["en", "de", "ru"]))
def test_malformed_lines_that_shrink(line: str, model: type[BaseModel], locale: str) -> None:
    check_line(line, model, locale)


def test_the_check_of_lines_sees_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.validation import command_line

    monkeypatch.setattr(command_line, "_value", lambda slot, text, locale: text or "12")
    with pytest.raises(AssertionError):
        check_line("/create A-17 quantity=", Small, "en")


def test_the_check_of_lines_sees_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.validation import command_line

    monkeypatch.setattr(command_line, "holds_secret", lambda _: False)
    with pytest.raises(AssertionError):
        check_line(f"/create ada pw 5 {SECRET}", Entry, "en")
