"""What pydantic found wrong, in words for the person who sent it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, get_args

from botguard.outcome import Detail
from botguard.validation.catalogue import knows, sentence
from botguard.validation.echo import echo, for_people
from botguard.validation.fields import alternatives, choices_of, fields_of, sample_of
from botguard.validation.kinds import KINDS, LIMITS
from botguard.validation.spots import Spot, locate

__all__ = ["MAX_DETAILS", "describe_errors"]

#: More is no help to anybody; the last particular says how many there are.
MAX_DETAILS = 10
#: Codes whose sentence does not repeat the value, so that no example helps either.
_NO_EXAMPLE = frozenset({"unknown_field", "must_be_empty", "given_twice", "not_parts", "too_deep", "text_too_long"})
_HINTS = {
    "number_unclear": "hint.unclear",
    "datetime_twice": "hint.offset",
    "phone_unknown_country": "hint.plus",
}
_SHOWN_CHOICES = 12
_CONTAINERS = (list, tuple, set, frozenset, dict)


def describe_errors(model: Any, error: Any, locale: str = "en") -> tuple[Detail, ...]:
    """One particular for each wrong field, in the order of the model.

    Each has the field's path and title, a sentence from the catalogue, and one good example where there is one. What
    was sent is shown bounded, with control and direction signs written out; never for secret fields (SecretStr and its
    kin, ``Field(repr=False)``, and ``json_schema_extra`` with ``writeOnly``, ``secret`` or ``format: password``), and
    never where the way to the field is not understood. pydantic's own words are never used; those of the host's
    validators are, of a ``PydanticCustomError``, and of a plain ``ValueError`` if they read like a sentence for people.

    Args:
        model: the request model, for titles, examples and secrets.
        error: pydantic's ValidationError.
        locale: "en", "de", "de-AT", or what the host added.
    """
    hidden = bool((getattr(model, "model_config", None) or {}).get("hide_input_in_errors"))
    by_path: dict[str, list[tuple[Spot, Mapping[str, Any]]]] = {}
    for found in error.errors(include_url=False):
        if len(by_path) > MAX_DETAILS:
            break
        spot = locate(model, found["loc"], locale)
        by_path.setdefault(spot.path, []).append((spot._replace(open=spot.open and not hidden), found))
    details = [_detail(group, locale) for group in list(by_path.values())[:MAX_DETAILS]]
    if len(by_path) > MAX_DETAILS:
        rest = max(error.error_count() - MAX_DETAILS, 1)
        details.append(Detail("", "more", sentence("more", locale, n=rest)))
    return tuple(details)


def _detail(group: Sequence[tuple[Spot, Mapping[str, Any]]], locale: str) -> Detail:
    spot, found = group[0]
    code = _code(found)
    if len({_code(one) for _, one in group}) > 1:
        code = "not_choice" if spot.field is not None and choices_of(spot.field.annotation) else "no_match"
    places = _places(spot, found, locale)
    if code in ("value_error", "not_usable", "assertion_error") or not knows(code):
        own = _hosts_words(spot, found)
        if own is not None:
            return own
        code = "not_email" if _is_email(spot) else "not_usable"
    text = sentence(code, locale, **places)
    if not text or ("." in code and _repeats_secret(spot, found, text)):
        code, text = "not_usable", sentence("not_usable", locale, **places)
    return Detail(spot.path, code, text, _hint(code, spot, places, locale))


def _code(found: Mapping[str, Any]) -> str:
    code = str(KINDS.get(found["type"], found["type"]))
    if code in ("too_few_items", "too_many_items") and not isinstance(found.get("input"), _CONTAINERS):
        code = f"text_{found['type']}"  # a secret's length is checked like that of a list
    return code


def _places(spot: Spot, found: Mapping[str, Any], locale: str) -> dict[str, Any]:
    context = found.get("ctx") or {}
    places = {LIMITS.get(name, name): _plain(value) for name, value in context.items() if name != "error"}
    secret = not spot.open or found["type"] in ("extra_forbidden", "missing", "model_type", "dict_type")
    shown = "" if secret else echo(found.get("input"))
    return {**places, "label": spot.label, "value": shown or sentence("this", locale)}


def _plain(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _hosts_words(spot: Spot, found: Mapping[str, Any]) -> Detail | None:
    """What a validator of the host said, if it is meant for people and does not repeat a secret."""
    context = found.get("ctx") or {}
    raised = context.get("error")
    code, text, hint = found["type"], found["msg"], str(context.get("hint", ""))
    if raised is None and code in _pydantics_own():
        return None
    if raised is not None:
        # Subclasses (of Unicode, JSON, an enum …) and assertions are a program's own talk.
        if type(raised) is not ValueError:
            return None
        code, text = "not_usable", str(raised)
    if _repeats_secret(spot, found, text + hint) or not for_people(text) or (hint and not for_people(hint)):
        return None
    return Detail(spot.path, code, f"{spot.label}: {text}" if spot.path else text, hint)


def _repeats_secret(spot: Spot, found: Mapping[str, Any], text: str) -> bool:
    sent = found.get("input")
    if spot.open or not isinstance(sent, str | int) or (isinstance(sent, int) and sent.bit_length() > 200):
        return False
    return str(sent)[:100] in text


@cache
def _pydantics_own() -> frozenset[str]:
    from pydantic_core import core_schema

    return frozenset(get_args(core_schema.ErrorType)) | frozenset(KINDS)


def _is_email(spot: Spot) -> bool:
    kinds = alternatives(spot.field.annotation) if spot.field is not None else ()
    return any(getattr(kind, "__name__", "") in ("EmailStr", "NameEmail") for kind, _ in kinds)


def _hint(code: str, spot: Spot, places: Mapping[str, Any], locale: str) -> str:
    field = spot.field
    if code == "unknown_field":
        known = [f"'{one.sent_as[0]}'" for one in fields_of(spot.parent).values() if one.sent_as]
        return sentence("hint.known", locale, choices=_listed(known)) if known else ""
    if code in ("unit_unknown", "currency_not_accepted"):
        return sentence("hint.units" if code == "unit_unknown" else "hint.choices", locale, **places)
    if code in _NO_EXAMPLE or field is None:
        return ""
    choices = choices_of(field.annotation)
    if choices:
        return sentence("hint.choices", locale, choices=_listed(choices))
    if code in _HINTS:
        return sentence(_HINTS[code], locale, example=sample_of(field))
    return _like(field, locale)


def _like(field: Any, locale: str) -> str:
    example = sample_of(field) if field is not None else ""
    return sentence("hint.like", locale, example=example) if example else ""


def _listed(values: Sequence[Any]) -> str:
    texts = [str(value) for value in values[:_SHOWN_CHOICES]]
    return ", ".join(texts) + (", …" if len(values) > _SHOWN_CHOICES else "")
