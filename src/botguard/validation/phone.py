"""Phone: telephone numbers in E.164, by Google's data (the phonenumbers package)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from botguard.validation.digits import fold
from botguard.validation.rule import Rule, fail, misdeclared

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber
    from pydantic_core import PydanticCustomError

__all__ = ["Phone"]

#: The whole text is the number: no words, no vanity letters, no second number, no extension.
_SHAPE = re.compile(r"\+?[0-9 .()/-]+")
#: "030/1234567" is a prefix and a number; "030 1234/5" would be two.
_SLASH = re.compile(r"\+?[ (]*[0-9]{2,7}\)? ?/(?=(?:[^0-9]*[0-9]){4})[^/]*")
#: Reserved for films and books, so a hint never shows somebody's number.
_EXAMPLES = {"GB": "020 7946 0958", "US": "(201) 555-0123"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone(Rule):
    """``phone: Annotated[str, Phone(region="ET")]``: "091 123 4567" → "+251911234567".

    The whole text must be one number that is valid in its country's numbering plan. Digits of other scripts
    are taken ("٠٩١١٢٣٤٥٦٧"); words, letters, extensions and a second number are refused.

    Args:
        region: two-letter code of the country whose numbers may come without a country code. There is no
            default: the same digits are another person's number elsewhere.
        foreign: whether numbers of other countries are taken, with "+" and country code.
        example: what hints show; default: an example from the country's numbering plan.
    """

    region: str
    foreign: bool = True
    example: str = ""

    target: ClassVar[type[Any]] = str
    written: ClassVar[str] = 'Annotated[str, Phone(region="ET")]'

    def __post_init__(self) -> None:
        region: Any = self.region
        if not (isinstance(region, str) and len(region) == 2 and region.isascii() and region.isupper()):
            raise misdeclared("Phone", f"region={region!r:.20} is no country code", 'write Phone(region="ET")')

    def prepare(self) -> None:
        import phonenumbers

        if self.region not in phonenumbers.SUPPORTED_REGIONS:
            raise misdeclared(
                "Phone", f"region={self.region!r} is no region with telephone numbers", 'write "GB", not "UK"'
            )

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise fail("phone_not_text")
        text = fold(value, 60)
        if not _SHAPE.fullmatch(text) or ("/" in text and not _SLASH.fullmatch(text)):
            raise fail("not_phone" if any(sign.isdigit() for sign in text) else "phone_no_digits")
        import phonenumbers

        try:
            number = phonenumbers.parse(text, self.region)
        except phonenumbers.NumberParseException as error:
            raise self._unparsed(error.error_type) from None
        if not phonenumbers.is_valid_number(number):
            raise self._invalid(number)
        if not self.foreign and phonenumbers.region_code_for_number(number) != self.region:
            raise fail("phone_foreign", region=self.region)
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    def _unparsed(self, kind: int) -> PydanticCustomError:
        from phonenumbers import NumberParseException as Reason

        if kind == Reason.INVALID_COUNTRY_CODE:
            return fail("phone_unknown_country")
        if kind == Reason.TOO_LONG:
            return fail("phone_too_long", region=self.region)
        if kind in (Reason.TOO_SHORT_NSN, Reason.TOO_SHORT_AFTER_IDD):
            return fail("phone_too_short", region=self.region)
        return fail("not_phone")

    def _invalid(self, number: PhoneNumber) -> PydanticCustomError:
        import phonenumbers
        from phonenumbers import ValidationResult as Result

        # The number's own country where it names one: "+49 30" is too short for Germany, whatever the region.
        code = number.country_code or 0
        region = phonenumbers.region_code_for_country_code(code)
        if phonenumbers.country_code_for_region(self.region) == code or not region.isalpha():
            region = self.region
        reason = phonenumbers.is_possible_number_with_reason(number)
        if reason in (Result.TOO_SHORT, Result.IS_POSSIBLE_LOCAL_ONLY):
            return fail("phone_too_short", region=region)
        if reason == Result.TOO_LONG:
            return fail("phone_too_long", region=region)
        return fail("phone_not_in_use", region=region)

    def sample(self) -> str:
        if self.example or self.region in _EXAMPLES:
            return self.example or _EXAMPLES[self.region]
        import phonenumbers
        from phonenumbers import PhoneNumberFormat, PhoneNumberType

        number = phonenumbers.example_number_for_type(self.region, PhoneNumberType.MOBILE)
        number = number or phonenumbers.example_number(self.region)
        return phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL) if number else ""

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "phone", "examples": [self.sample()]}
