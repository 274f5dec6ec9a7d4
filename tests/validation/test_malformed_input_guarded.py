"""Malformed payloads and lines through a guard: refused in words for people, and nothing happens.

Each payload is spoilt in a way that no model can take (so there is no doubt what the answer has to be): a type that
no field has, text or numbers beyond every bound, NUL, halves of characters, depth, or text that one type refuses.
"""

from __future__ import annotations

import copy
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from validation_jargon import offences
from validation_models import GOOD_ORDER, GOOD_PLAIN, Login, Order, Plain

from botguard import Actor, Context, Guard, InvalidPayload, Outcome, Status
from botguard.adapters.memory import MemoryStorage
from botguard.messages import catalogue
from botguard.validation import parse_command_line

GOOD: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "order": (Order, GOOD_ORDER),
    "plain": (Plain, GOOD_PLAIN),
    "login": (Login, {"user": "ada", "password": "long enough", "pin": 1234, "codes": ["x"]}),
}
effects: list[Any] = []


def make_guard() -> Guard:
    guard = Guard(
        storage=MemoryStorage(),
        access={"sales": dict.fromkeys(GOOD)},
        refusals_per_minute=10**9,  # what is refused here is to be looked at, not cut off
    )
    for name, (model, _) in GOOD.items():
        # No key, no limits: whatever gets past validation has its effect.
        guard.command(name, request=model)(lambda payload: effects.append(payload))
    return guard


GUARD = make_guard()
#: Who asks: one who may, one who may not, and nobody known.
ANN = Actor("ann", roles=("sales",))
BOB = Actor("bob", roles=("guest",))


def nested(depth: int) -> Any:
    found: Any = "x"
    for n in range(depth):
        found = [found] if n % 2 else {"a": found}
    return found


#: Ways to spoil a value in any field of any model.
ANYWHERE: dict[str, Any] = {
    "type": lambda r: r.choice([object(), print, 1j, iter([]), int, range(3), frozenset]),
    "size": lambda r: r.choice(["x" * 17_000, "é" * 40_000, [0] * 20_000, "9" * 16_385, {str(n): 0 for n in range(10_001)}]),
    "nul": lambda r: r.choice(["\x00", "a\x00b", ["\x00"], {"a": "\x00"}, {"\x00": 1}]),
    "nesting": lambda r: nested(r.randrange(17, 200)),
    "depth that breaks recursion": lambda r: nested(r.randrange(2_000, 6_000)),
    "surrogate": lambda r: r.choice(["\ud800", "a\udfff", ["\ud800"], {"\udc00": 1}, "\udfff\ud800"]),
    "huge int": lambda r: r.choice([1, -1]) * 10 ** r.randrange(101, 6_000),
    "no number": lambda r: r.choice([float("nan"), float("inf"), float("-inf"), [float("nan")]]),
    "name": lambda r: {r.choice([5, None, 1.5, (1,)]): "x"},
}  # fmt: skip
#: Ways to spoil one field of an order: text that its type refuses.
IN_FIELD: dict[str, list[Any]] = {
    "order_id": ["", "   ", "x" * 41, "a\nb", 5, True, None, [], {}, "\u200b", "e" + "\u0301" * 50],
    "quantity": ["", "12", "kg", "12.5.5 kg", "1,234.5.6 kg", "1.234 kg", "½ kg", "1e9 kg", "12 kgs?", "1٢ kg", "𝟏 kg",
                 True, None, 12, {"value": "1"}, {"value": [], "unit": {}}, "-", "12 \u202e kg 3 kg"],
    "weight": ["600 kg", "1,5", "1.5 kg", "12 l", "1.23,4 kg", "kg 12", "１.٢ kg", None],
    "phone": ["12", "call me", "020 7946 0958 ext 5", "+999 12", 2079460958, "020 7946 0958 or 020 7946 0959", "FLOWERS"],
    "email": ["a@b", "@", "a@", "ada@example", "ada example.com", "a" * 65 + "@example.com", "a@b@c.com", 5, None],
    "price": ["12", "$12", "12.345 EUR", "EUR", "12.5 JPY", "1.234 EUR", {"amount": "1E9", "currency": "EUR"}, "12 XYZ"],
    "total": ["1.23,4", "12 USD", "1,234.50", "12,345", "--1", None],
    "currency": ["EURO", "GBP", "€€", "", 978, None],
    "rate": ["101", "1.5", "1,2345", "1e2", "NaN", "٣,٢,١", "0x1F", None, [], True],
    "share": ["1_000", "½", "1e999", "Infinity", "١2", "", None],
    "day": ["12", "31.02.2026", "12/31/2026", "2026", "1.5", "may", "tomorrow", 1767261882, "31.03.26", "٣", "１２", None],
    "at": ["25:00", "12", "14.30", "14:30:99", "noon", 1430, None],
    "due": ["31.03.2026", "29.03.2026 02:30", "25.10.2026 02:30", "2026-03-31T14:30:00", "31.03.2026 25:00", 0, None],
    "note": ["x" * 201, 5, [], "e" + "\u0301" * 50],
}  # fmt: skip

for texts in IN_FIELD.values():
    texts += [{1, 2}, b"\xff", bytearray(2)]


def spoil(random: Random) -> tuple[str, dict[Any, Any], str]:
    """A command, a payload that is good but for one to three fields, and how the first was spoilt."""
    name = random.choice(list(GOOD))
    model, good = GOOD[name]
    payload: dict[Any, Any] = copy.deepcopy(good)
    first = ""
    for _ in range(random.randrange(1, 4)):
        # Also in a name that the model lacks: it may not smuggle in what no field may have.
        field: Any = random.choice([*model.model_fields, "unknown", "__class__"])
        if field in IN_FIELD and name == "order" and random.randrange(2):
            payload[field], way = random.choice(IN_FIELD[field]), "text"
        else:
            way = random.choice(list(ANYWHERE))
            payload[field] = ANYWHERE[way](random)
        first = first or way
        if random.randrange(20) == 0:
            del payload[field]
            missing = next(n for n, f in model.model_fields.items() if f.is_required())
            payload.pop(missing, None)
    return name, payload, first


def spoilt_whole(random: Random) -> Any:
    return random.choice([[], "text", 5, [GOOD_ORDER], b"{}", object(), True, nested(30), "\x00", 10**400, {}, {5: 5}])


def check(outcome: Outcome, actor: Actor | None, locale: str) -> None:
    """Refused for the right reason, in plain words, and nothing happened."""
    allowed = actor is ANN
    assert outcome.status is (Status.INVALID if allowed else Status.DENIED), outcome
    assert effects == []
    assert outcome.value is None
    said = outcome.message(locale)
    assert said.strip()
    assert len(said) < 6_000
    assert "\x00" not in said
    said.encode("utf-8")  # no half of a character comes back
    if locale == "en":
        for line in said.splitlines():
            assert not offences(line), line
    assert outcome.problem(locale)["status"] in (401, 403, 413, 422)
    if allowed:
        assert outcome.error is None, "a validator of ours stumbled"


def fuzz(examples: int) -> Any:
    return settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        database=None,
        deadline=None,
    )


SEEDS = st.integers(0, 2**64)


def test_ten_thousand_malformed_payloads_have_no_effect() -> None:
    seen: Counter[str] = Counter()

    @fuzz(10_000)
    @given(SEEDS)
    def run(seed: int) -> None:
        random = Random(seed)
        name, payload, way = spoil(random)
        if random.randrange(25) == 0:
            payload, way = spoilt_whole(random), "whole"
        actor = random.choices([ANN, BOB, None], [8, 1, 1])[0]
        locale = random.choice(["en", "de", "ru"])
        context = Context(org="acme", actor=actor, locale=locale, channel="web")
        outcome = GUARD.run(name, payload, context=context)
        check(outcome, actor, locale)
        seen[way] += 1
        seen[str(outcome.status)] += 1

    effects.clear()
    run()
    assert effects == []
    assert not any(totals["failures"] for totals in GUARD.metrics.totals().values())
    # Every way was really tried, and both answers were really given.
    assert min(seen[way] for way in (*ANYWHERE, "text", "whole")) > 100, seen
    assert seen["invalid"] > 6_000, seen
    assert seen["denied"] > 1_000, seen
    assert seen["invalid"] + seen["denied"] >= 10_000, seen


def test_a_good_payload_has_its_effect() -> None:
    effects.clear()
    for name, (model, good) in GOOD.items():
        outcome = GUARD.run(name, copy.deepcopy(good), context=Context(org="acme", actor=ANN))
        assert outcome.ok, outcome
        assert set(effects.pop()) == set(model.model_fields)
    assert effects == []


@pytest.mark.parametrize("field", IN_FIELD)
def test_each_text_is_refused_by_itself(field: str) -> None:
    """So that none of them is refused in the test above only for what stands beside it."""
    effects.clear()
    for text in IN_FIELD[field]:
        if field == "note" and text is None:
            continue
        outcome = GUARD.run("order", {**GOOD_ORDER, field: text}, context=Context(org="acme", actor=ANN))
        check(outcome, ANN, "en")
        assert {detail.field.split(".")[0] for detail in outcome.details} == {field}, (text, outcome.details)


@pytest.mark.parametrize("way", ANYWHERE)
def test_each_way_to_spoil_is_refused_in_every_field(way: str) -> None:
    effects.clear()
    random = Random(7)
    for name, (model, good) in GOOD.items():
        for field in (*model.model_fields, "unknown"):
            for _ in range(4):
                payload = {**good, field: ANYWHERE[way](random)}
                check(GUARD.run(name, payload, context=Context(org="acme", actor=ANN)), ANN, "en")


def test_the_check_sees_an_effect_an_error_and_jargon(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(org="acme", actor=ANN)
    effects.clear()
    with pytest.raises(AssertionError):
        check(GUARD.run("order", copy.deepcopy(GOOD_ORDER), context=context), ANN, "en")
    effects.clear()
    bad = {**GOOD_ORDER, "phone": "12"}
    stumbled = GUARD.run("order", bad, context=context)
    stumbled.error = KeyError("phone")
    with pytest.raises(AssertionError, match="stumbled"):
        check(stumbled, ANN, "en")
    monkeypatch.setitem(catalogue.english.SENTENCES, "missing_permission", "Your payload lacks a permission key.")
    with pytest.raises(AssertionError):
        check(GUARD.run("order", bad, context=Context(org="acme", actor=BOB)), BOB, "en")


# ── lines of a chat ──────────────────────────────────────────────────────────────────────────────────────────────────


GUARD.command("line", request=Order, permission="order")(lambda payload: effects.append(payload))
FIELDS = [
    "order_id",
    "quantity",
    "weight",
    "phone",
    "email",
    "price",
    "total",
    "currency",
    "rate",
    "share",
    "day",
    "at",
]


def line_of(random: Random) -> str:
    """A line for an order, wrong in one place at least."""
    words = {name: str(GOOD_ORDER[name]) for name in (*FIELDS, "due")}
    kind = random.randrange(6)
    if kind < 3:
        name = random.choice(FIELDS)
        words[name] = random.choice([text for text in IN_FIELD[name] if isinstance(text, str)])
    written = {name: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for name, text in words.items()}
    if kind == 3:
        del written[random.choice(list(written))]
    parts = [f"{name}={text}" for name, text in written.items()]
    random.shuffle(parts)
    if kind == 4:
        parts.append(
            random.choice(["order_id=B", "“", '"', "bogus=1", "x y", "__class__=1", "'", "=", "quantity=1", "🙂"])
        )
    start = (
        "/line"
        if kind != 5
        else random.choice(["", "/", "//", "line", "/" + "x" * 70, "／line", "/li\x00ne", "/line@"])
    )
    return start + " " + random.choice([" ", "  ", "\t"]).join(parts)


def receive(line: str, context: Context) -> Outcome:
    """What a chat bot does with a line."""
    try:
        payload = parse_command_line(line, Order, locale=context.locale)
    except InvalidPayload as refused:
        return refused.outcome
    return GUARD.run("line", payload, context=context)


def test_two_thousand_malformed_lines_have_no_effect() -> None:
    seen: Counter[str] = Counter()

    @fuzz(2_000)
    @given(SEEDS)
    def run(seed: int) -> None:
        random = Random(seed)
        locale = random.choice(["en", "de", "ru"])
        outcome = receive(line_of(random), Context(org="acme", actor=ANN, locale=locale))
        assert outcome.status is Status.INVALID, outcome
        assert effects == []
        said = outcome.message(locale)
        assert said.strip()
        seen["guard" if outcome.event_id or outcome.duration else "parser"] += 1

    effects.clear()
    run()
    assert min(seen["guard"], seen["parser"]) > 300, seen


def test_a_good_line_has_its_effect() -> None:
    effects.clear()
    line = "/line " + " ".join(f'{name}="{GOOD_ORDER[name]}"' for name in (*FIELDS, "due"))
    assert receive(line, Context(org="acme", actor=ANN)).ok
    assert len(effects) == 1
    effects.clear()
