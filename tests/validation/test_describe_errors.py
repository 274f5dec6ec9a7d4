from __future__ import annotations

import ast
import dataclasses
import string
from pathlib import Path
from typing import Annotated, Any, Generic, NewType, TypeVar, get_args

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    IPvAnyAddress,
    RootModel,
    SecretBytes,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema
from typing_extensions import TypedDict
from validation_jargon import check_message, offences
from validation_models import GOOD_ORDER, GOOD_PLAIN, Card, Login, Order, Plain

import botguard.validation
from botguard.outcome import Detail
from botguard.validation import add_sentences, catalogue, describe, describe_errors, english, german, russian
from botguard.validation.describe import MAX_DETAILS
from botguard.validation.kinds import KINDS, LIMITS

PACKAGE = Path(botguard.validation.__file__).parent


def details(model: Any, payload: Any, locale: str = "en") -> tuple[Detail, ...]:
    try:
        model.model_validate(payload)
    except ValidationError as error:
        found = describe_errors(model, error, locale)
        for detail in found:
            check_message(detail)
        return found
    return ()


def words(model: Any, payload: Any, locale: str = "en") -> dict[str, str]:
    return {detail.field: f"{detail.message} {detail.hint}".strip() for detail in details(model, payload, locale)}


def test_the_example_of_the_readme() -> None:
    (detail,) = details(Order, {**GOOD_ORDER, "phone": "12"})
    assert detail == Detail(
        "phone",
        "phone_too_short",
        "Phone number: '12' is too short for the United Kingdom.",
        "Send it like 020 7946 0958.",
    )


def test_what_people_read() -> None:
    found = words(
        Plain,
        {
            "name": "",
            "size": "huge",
            "ratio": 1.5,
            "urgent": "perhaps",
            "born": "12",
            "wait": "soon",
            "ref": "x",
            "lines": [{"sku": "a", "quantity": 0}],
            "colour": 5,
        },
    )
    assert found == {
        "name": "Name is empty.",
        "size": "Size: 'huge' is not one of the choices. Choose one of: small, large.",
        "colour": "Colour: '5' is not one of the choices. Choose one of: red, green.",
        "ratio": "Ratio: '1.5' is too big; it has to be less than 1.0.",
        "urgent": "Urgent: 'perhaps' is neither yes nor no. Send it like yes.",
        "born": "Born: '12' is not a date in the form that is expected. Send it like 2026-03-31.",
        "wait": "Wait: 'soon' is not a length of time.",
        "ref": "Ref: 'x' is not a complete code. Send it like 123e4567-e89b-42d3-a456-426614174000.",
        "lines.0.sku": "Lines 1, Article: 'a' is too short; at least 2 characters are needed.",
        "lines.0.quantity": "Lines 1, Quantity: '0' is too small; it has to be more than 0.",
    }


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"lines": []}, "lines", "Lines: at least one entry is needed."),
        ({"lines": 5}, "lines", "Lines: please send one or more entries."),
        ({"lines": [7]}, "lines.0", "Lines 1: this has to be sent in its single parts."),
        ({"lines": None}, "lines", "Lines: please send one or more entries."),
        ({"pay": {"kind": "gift"}}, "pay", "Pay: this is not one of the choices."),
        (
            {"pay": {"kind": "cash", "amount": "1.234"}},
            "pay.amount",
            "Pay, Amount: '1.234' has too many decimals; at most 2 fit.",
        ),
        ({"pay": {"kind": "card", "number": 5}}, "pay.number", "Pay, Number: please send text."),
        ({"either": "some"}, "either", "Either: 'some' does not fit. Send it like 12."),
        ({"prices": {"a": "x"}}, "prices.a", "Prices, 'a': 'x' is not a whole number. Send it like 12."),
        ({"pair": [1]}, "pair.1", "Pair 2 is missing."),
        ({"name": 5}, "name", "Name: please send text."),
        ({"ratio": "x"}, "ratio", "Ratio: 'x' is not a number."),
        ({"ratio": float("inf")}, "ratio", "Ratio: '?' is not a number to count with."),
        ({"level": 3}, "level", "Level: '3' is not one of the choices. Choose one of: 1, 2."),
        ({"page": "example"}, "page", "Page: 'example' is not a complete web address."),
        (
            {"colur": "red"},
            "colur",
            (
                "'colur' is not known here. You can send: 'name', 'size', 'level', 'colour', 'ratio', 'urgent', "
                "'born', 'wait', 'ref', 'page', 'lines', 'prices', …."
            ),
        ),
    ],
)
def test_one_wrong_field(change: dict[str, Any], field: str, expected: str) -> None:
    found = words(Plain, {**GOOD_PLAIN, **change})[field]
    assert found == expected or (field == "page" and found.startswith(expected)), found


def test_german() -> None:
    assert words(Order, {**GOOD_ORDER, "phone": "12", "quantity": "12"}, "de-AT") == {
        "phone": "Telefonnummer: '12' ist zu kurz (Land: Vereinigtes Königreich). Zum Beispiel so: 020 7946 0958.",
        "quantity": "Menge: Nach '12' fehlt die Einheit. Zum Beispiel so: 12 kg.",
    }
    assert words(Order, {**GOOD_ORDER, "phone": "12"}, "fr") == words(Order, {**GOOD_ORDER, "phone": "12"})


# ── every type of error ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_error_type_of_pydantic_has_a_code_and_every_code_a_sentence() -> None:
    types = set(get_args(core_schema.ErrorType))
    assert len(types) > 90
    assert types - set(KINDS) == set()
    assert set(KINDS.values()) <= set(english.SENTENCES)


def test_every_error_type_is_said_in_words_of_people() -> None:
    from pydantic_core._pydantic_core import list_all_errors

    class Model(BaseModel):
        phone: Any = None

    for kind in list_all_errors():
        context = {**(kind.get("example_context") or {})}
        if "error" in context:
            context["error"] = (
                ValueError("x") if kind["type"] in ("value_error", "assertion_error") else "expected ident"
            )
        line = InitErrorDetails(
            type=kind["type"],
            loc=("phone",),
            input="12",
            ctx=context,
        )
        error = ValidationError.from_exception_data("Model", [line])
        for locale in ("en", "de", "ru"):
            (detail,) = describe_errors(Model, error, locale)
            assert detail.field == "phone"
            check_message(detail)
            # The length of a secret is checked like that of a list, and "12" is none.
            assert detail.code in (KINDS[kind["type"]], f"text_{kind['type']}"), kind


def test_an_error_type_from_the_future_is_said_in_general_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("int_parsing", "missing", "string_too_short"):
        monkeypatch.delitem(KINDS, kind)
    assert words(Plain, {**GOOD_PLAIN, "lines": [{"sku": "", "quantity": "x"}]}) == {
        "lines.0.sku": "Lines 1, Article: this cannot be used.",
        "lines.0.quantity": "Lines 1, Quantity: 'x' cannot be used.",
    }


def test_the_jargon_list_sees_pydantics_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic_core._pydantic_core import list_all_errors

    blind = [kind["type"] for kind in list_all_errors() if not offences(kind["message_template_python"])]
    # What it cannot see has no word of a program in it.
    assert set(blind) <= {
        "finite_number",
        "date_past",
        "date_future",
        "datetime_past",
        "datetime_future",
        "multiple_of",
        "uuid_version",
    }

    raw = "Input should be a valid string, unable to parse string as an integer"
    monkeypatch.setattr(describe, "sentence", lambda *_, **__: raw)
    with pytest.raises(AssertionError):
        words(Plain, {**GOOD_PLAIN, "ratio": "x"})


# ── the catalogue ────────────────────────────────────────────────────────────────────────────────────────────────────


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def complete(sentences: dict[str, str]) -> None:
    """A language that has every sentence with the same places, without jargon."""
    assert set(sentences) == set(english.SENTENCES)
    for code, text in sentences.items():
        assert placeholders(text) == placeholders(english.SENTENCES[code]), code
        assert text.strip() == text != "", code
        if not code.startswith(("label.", "hint.")):
            assert not offences(text.replace("{", "").replace("}", "")), (code, offences(text))


@pytest.mark.parametrize("language", [english, german, russian])
def test_every_language_is_complete(language: Any) -> None:
    complete(language.SENTENCES)


def test_the_check_of_languages_sees_what_is_missing() -> None:
    for broken in (
        {code: text for code, text in german.SENTENCES.items() if code != "missing"},
        {**german.SENTENCES, "missing": "Das fehlt."},
        {**german.SENTENCES, "missing": "{label}: validation error"},
    ):
        with pytest.raises(AssertionError):
            complete(broken)


def literals(name: str) -> set[str]:
    """First arguments of calls of a function in the package, as far as they are written out."""
    found = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name and node.args:
                found |= {
                    leaf.value
                    for leaf in ast.walk(node.args[0])
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
                }
    return found


def test_every_code_in_the_source_has_a_sentence_and_every_sentence_a_use() -> None:
    codes = (
        literals("fail")
        | literals("problem")
        | literals("_Beyond")
        | literals("_Refused")
        | literals("BadLine")
        | literals("sentence")
        | literals("_detail")
    )
    assert len(codes) > 40
    missing = {code for code in codes if not catalogue.knows(code)}
    assert not missing
    said = (
        codes
        | set(KINDS.values())
        | {"no_match", "not_email"}
        | {hint for hint in english.SENTENCES if hint.startswith(("hint.", "label."))}
    )
    unused = {code.removesuffix(".one").removesuffix(".zero") for code in english.SENTENCES} - said
    assert not unused


def test_hosts_add_languages_sentences_and_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_added", {})
    add_sentences(
        "am",
        {
            "missing": "{label} ይጎድላል።",
            "label.phone": "ስልክ ቁጥር",
            "country.GB": "እንግሊዝ",
            "phone_too_short": "{label}፦ {value} {country}",
        },
    )
    add_sentences("en", {"shop.weekend": "{label}: we do not deliver at weekends."})
    add_sentences("de", {"shop.weekend": "{label}: Am Wochenende liefern wir nicht."})
    order = {name: value for name, value in GOOD_ORDER.items() if name != "phone"}
    assert words(Order, order, "am") == {"phone": "ስልክ ቁጥር ይጎድላል። Send it like 020 7946 0958."}
    assert words(Order, {**order, "phone": "12"}, "am-ET")["phone"].startswith("ስልክ ቁጥር፦ '12' እንግሊዝ")

    def no_weekend(day: str) -> str:
        raise PydanticCustomError("shop.weekend", "not at weekends")

    class Delivery(BaseModel):
        day: Annotated[str, AfterValidator(no_weekend)]

    assert words(Delivery, {"day": "Sunday"}) == {"day": "Day: we do not deliver at weekends."}
    assert words(Delivery, {"day": "Sunday"}, "de")["day"] == "Day: Am Wochenende liefern wir nicht."
    for wrong in ({"mising": "x"}, {"missing": "{lable}"}, {"missing": "{label.__class__}"}):
        with pytest.raises(ValueError, match="sentences for"):
            add_sentences("en", wrong)


# ── words of the host's own validators ───────────────────────────────────────────────────────────────────────────────


def raising(error: BaseException) -> Any:
    def check(value: Any) -> Any:
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("We sell boxes of six."), "Box: We sell boxes of six."),
        (
            PydanticCustomError("box", "We sell boxes of six.", {"hint": "Send 6 or 12."}),
            "Box: We sell boxes of six. Send 6 or 12.",
        ),
        (ValueError("invalid literal for int() with base 10: 'x'"), "Box: '7' cannot be used."),
        (ValueError("Value error, must be a str"), "Box: '7' cannot be used."),
        (ValueError(""), "Box: '7' cannot be used."),
        (ValueError("x" * 5000), "Box: '7' cannot be used."),
        (ValueError("two\nlines"), "Box: '7' cannot be used."),
        (AssertionError("boxes of six"), "Box: '7' cannot be used."),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "odd"), "Box: '7' cannot be used."),
        (PydanticCustomError("box", "Input should be an instance of Box"), "Box: '7' cannot be used."),
    ],
)
def test_a_hosts_validator_is_heard_if_it_speaks_to_people(error: Exception, expected: str) -> None:
    class Model(BaseModel):
        box: Annotated[int, AfterValidator(raising(error))]

    assert words(Model, {"box": "7"}) == {"box": expected}


def test_validators_across_fields() -> None:
    class Span(BaseModel):
        start: int
        end: int

        @model_validator(mode="after")
        def in_order(self) -> Span:
            if self.end < self.start:
                raise ValueError("The end comes before the start.")
            return self

        @field_validator("start")
        @classmethod
        def early(cls, value: int) -> int:
            if value > 10:
                raise PydanticCustomError("too_late_to_start", "That is too late.")
            return value

    assert words(Span, {"start": 2, "end": 1}) == {"": "The end comes before the start."}
    assert [detail.code for detail in details(Span, {"start": 11, "end": 1})] == ["too_late_to_start"]
    assert words(Span, 5) == {"": "Your request: this has to be sent in its single parts."}


def test_pydantics_own_special_types_are_said_in_our_words() -> None:
    class Model(BaseModel):
        mail: EmailStr = "a@b.com"
        host: IPvAnyAddress | None = None

    assert words(Model, {"mail": "x", "host": "y"}) == {
        "mail": "Mail: 'x' is not an e-mail address. Send it like ada@example.com.",
        "host": "Host: 'y' cannot be used.",
    }


# ── names, aliases and places ────────────────────────────────────────────────────────────────────────────────────────

T = TypeVar("T")
Amount = NewType("Amount", int)


class Box(BaseModel, Generic[T]):
    inside: T


class Typed(TypedDict):
    count: int


@dataclasses.dataclass
class Data:
    count: int


def test_fields_are_called_what_the_sender_calls_them() -> None:
    class Model(BaseModel):
        due_date: int = Field(validation_alias="dueDate")
        vat_id: int = Field(title="Tax number")
        lot: Amount = Amount(1)
        box: Box[int] | None = None
        typed: Typed | None = None
        data: Data | None = None
        order_id: int = Field(examples=[17])

    bad = {
        "dueDate": "x",
        "vat_id": "x",
        "lot": "x",
        "box": {"inside": "x"},
        "typed": {"count": "x"},
        "data": {"count": "x"},
        "order_id": "x",
    }
    assert words(Model, bad) == {
        "dueDate": "Due date: 'x' is not a whole number. Send it like 12.",
        "vat_id": "Tax number: 'x' is not a whole number. Send it like 12.",
        "lot": "Lot: 'x' is not a whole number. Send it like 12.",
        "box.inside": "Box, Inside: 'x' is not a whole number. Send it like 12.",
        "typed.count": "Typed, Count: 'x' is not a whole number. Send it like 12.",
        "data.count": "Data, Count: 'x' is not a whole number. Send it like 12.",
        "order_id": "Order ID: 'x' is not a whole number. Send it like 17.",
    }


def test_many_problems_are_counted() -> None:
    class Many(BaseModel):
        numbers: list[int]

    found = details(Many, {"numbers": ["x"] * 500})
    assert len(found) == MAX_DETAILS + 1
    assert found[-1] == Detail("", "more", "There are 490 more things to put right.")
    assert details(Many, {"numbers": ["x"] * 11})[-1].message == "There is one more thing to put right."


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("x" * 100, "'" + "x" * 40 + "…'"),
        ("a\x00\x1b[31m", "'a<U+0000><U+001B>[31m'"),
        ("\u202eevil", "'<U+202E>evil'"),
        ("a\u200bb\ufeff", "'a<U+200B>b<U+FEFF>'"),
        ("two\nlines", "'two<U+000A>lines'"),
        ("e" + "\u0301" * 10, "'e" + "\u0301" * 3 + "<U+0301>" * 7 + "'"),
        ("   ", "this"),
        ("", "this"),
        ("{label} {value.__class__} %s", "'{label} {value.__class__} %s'"),
        ("Ada", "'Ada'"),
    ],
)
def test_what_was_sent_is_shown_bounded_and_visible(sent: str, shown: str) -> None:
    assert details(Plain, {**GOOD_PLAIN, "size": sent})[0].message == f"Size: {shown} is not one of the choices."


def test_a_huge_number_is_not_written_out() -> None:
    found = details(Plain, {**GOOD_PLAIN, "lines": [{"sku": "A-1", "quantity": 10**5000}]})
    assert found[0].message == "Lines 1, Quantity: '" + "9" * 40 + "…' is too big; the most is 1000."


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SECRET = "hunter2"
SECRET_NUMBER = 314


def leaks(found: tuple[Detail, ...]) -> list[Detail]:
    return [detail for detail in found if SECRET in str(detail) or str(SECRET_NUMBER) in str(detail)]


@pytest.mark.parametrize(
    "bad",
    [
        {"password": SECRET},
        {"password": SECRET_NUMBER},
        {"password": [SECRET]},
        {"password": {"value": SECRET}},
        {"pin": SECRET},
        {"pin": SECRET_NUMBER},
        {"token": SECRET},
        {"codes": [SECRET, SECRET_NUMBER]},
        {"codes": {SECRET: SECRET}},
        {"codes": SECRET},
        {"spare": {"a": SECRET_NUMBER}},
        {"spare": SECRET},
        {"card": {"kind": "cash", "number": SECRET}},
        {"card": {"kind": "card", "number": SECRET_NUMBER}},
        {"card": SECRET},
    ],
)
def test_a_secret_is_never_repeated(bad: dict[str, Any]) -> None:
    payload = {"user": "ada", "password": "long enough", "pin": 1234, **bad}
    for locale in ("en", "de", "ru"):
        found = details(Login, payload, locale)
        assert found, bad
        assert not leaks(found)


def test_a_secret_in_a_union_a_base_class_or_a_validator_is_never_repeated() -> None:
    def tell(value: Any) -> Any:
        raise ValueError(f"I do not like {SECRET}.")

    class Base(BaseModel):
        key: SecretBytes | int | None = Field(default=None)

    class Model(Base):
        model_config = ConfigDict(extra="forbid")
        choice: SecretStr | list[int] = SecretStr("")
        checked: Annotated[SecretStr, AfterValidator(tell)] = SecretStr("x")
        nested: list[Card | int] = Field(default=[])
        tupled: tuple[SecretStr, int] | None = None

    for bad in (
        {"key": SECRET_NUMBER * 1.5},
        {"choice": SECRET_NUMBER},
        {"checked": SECRET},
        {"nested": [SECRET]},
        {"nested": [{"kind": "card", "number": SECRET_NUMBER}]},
        {"tupled": [SECRET_NUMBER, SECRET]},
        {"tupled": [SECRET]},
        {"pasword": SECRET},
        {"checked": SECRET, "choice": SECRET_NUMBER},
    ):
        assert not leaks(details(Model, bad)), bad


class Vault:
    """A type that no walk through fields can look into."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        inner = core_schema.typed_dict_field(core_schema.int_schema())
        return core_schema.typed_dict_schema({"password": inner})


def test_what_cannot_be_looked_into_is_taken_for_secret() -> None:
    class Model(BaseModel):
        vault: Vault | None = None
        either: Vault | int | None = None
        ordered: int | Card = 0
        root: RootModel[SecretStr] | None = None
        many: RootModel[list[Annotated[SecretStr, Field(min_length=9)]]] | None = None

    for bad in (
        {"vault": {"password": SECRET}},
        {"either": {"password": SECRET}},
        {"ordered": SECRET},
        {"root": SECRET_NUMBER},
        {"many": [SECRET]},
    ):
        found = details(Model, bad)
        assert found
        assert not leaks(found), bad
    for root in (RootModel[Annotated[SecretStr, Field(min_length=9)]], RootModel[list[SecretBytes]]):
        assert not leaks(details(root, SECRET))
    assert words(RootModel[list[int]], ["x"]) == {"0": "Your request: 'x' is not a whole number."}


def test_a_model_that_hides_input_is_obeyed() -> None:
    class Hidden(BaseModel):
        model_config = ConfigDict(hide_input_in_errors=True)
        name: int

    assert words(Hidden, {"name": SECRET}) == {"name": "Name: this is not a whole number. Send it like 12."}


def test_the_check_for_leaks_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from botguard.validation import spots

    monkeypatch.setattr(spots, "is_secret", lambda _: False)
    assert (
        leaks(
            details(Login, {"user": "ada", "password": "long enough", "pin": 1234, "spare": {"a": SECRET}, "codes": []})
        )
        == []
    )
    assert leaks(details(Login, {"user": "ada", "password": SECRET, "pin": 1234}))


def test_limits_that_pydantic_names_are_all_known() -> None:
    from pydantic_core._pydantic_core import list_all_errors

    names = {name for kind in list_all_errors() for name in kind.get("example_context") or {}}
    assert set(LIMITS) <= names
