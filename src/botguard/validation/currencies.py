"""Currencies of ISO 4217 with their decimals, and the rule for a currency code.

The list holds what people pay in: no funds, metals and test codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from botguard.validation.rule import Rule, fail, misdeclared

__all__ = ["Currency", "currency_places"]

#: Code and number of decimals. State of January 2026.
_LIST = """
AED2 AFN2 ALL2 AMD2 AOA2 ARS2 AUD2 AWG2 AZN2 BAM2 BBD2 BDT2 BHD3 BIF0 BMD2 BND2 BOB2 BRL2 BSD2 BTN2 BWP2
BYN2 BZD2 CAD2 CDF2 CHF2 CLP0 CNY2 COP2 CRC2 CUP2 CVE2 CZK2 DJF0 DKK2 DOP2 DZD2 EGP2 ERN2 ETB2 EUR2 FJD2
FKP2 GBP2 GEL2 GHS2 GIP2 GMD2 GNF0 GTQ2 GYD2 HKD2 HNL2 HTG2 HUF2 IDR2 ILS2 INR2 IQD3 IRR2 ISK0 JMD2 JOD3
JPY0 KES2 KGS2 KHR2 KMF0 KPW2 KRW0 KWD3 KYD2 KZT2 LAK2 LBP2 LKR2 LRD2 LSL2 LYD3 MAD2 MDL2 MGA2 MKD2 MMK2
MNT2 MOP2 MRU2 MUR2 MVR2 MWK2 MXN2 MYR2 MZN2 NAD2 NGN2 NIO2 NOK2 NPR2 NZD2 OMR3 PAB2 PEN2 PGK2 PHP2 PKR2
PLN2 PYG0 QAR2 RON2 RSD2 RUB2 RWF0 SAR2 SBD2 SCR2 SDG2 SEK2 SGD2 SHP2 SLE2 SOS2 SRD2 SSP2 STN2 SVC2 SYP2
SZL2 THB2 TJS2 TMT2 TND3 TOP2 TRY2 TTD2 TWD2 TZS2 UAH2 UGX0 USD2 UYU2 UZS2 VED2 VES2 VND0 VUV0 WST2 XAF0
XCD2 XCG2 XOF0 XPF0 YER2 ZAR2 ZMW2 ZWG2
"""


@cache
def currencies() -> dict[str, int]:
    """Decimals of every currency, by code."""
    return {entry[:3]: int(entry[3]) for entry in _LIST.split()}


def currency_places(code: str) -> int | None:
    """How many decimals an amount in this currency has, or None for a code that is no currency."""
    return currencies().get(code)


def declared(rule: str, codes: tuple[str, ...]) -> tuple[str, ...]:
    """Codes as a rule accepts them in its declaration."""
    for code in codes:
        if code not in currencies():
            raise misdeclared(rule, f"{code!r} is no currency of ISO 4217", f'write {rule}("EUR")')
    return codes


def read_currency(text: str, accepted: tuple[str, ...]) -> str:
    """The upper-case code; lower case is taken, names and signs are not.

    Raises:
        ValueError: ``currency_unknown``, ``currency_not_accepted``.
    """
    text = text.strip() if len(text) < 20 else text
    code = text.upper() if len(text) == 3 and text.isascii() else ""
    if code not in currencies():
        raise fail("currency_unknown")
    if accepted and code not in accepted:
        raise fail("currency_not_accepted", choices=", ".join(accepted))
    return code


@dataclass(frozen=True, slots=True, init=False)
class Currency(Rule):
    """``currency: Annotated[str, Currency()]``, or ``Currency("EUR", "USD")`` for these: "eur" → "EUR"."""

    codes: tuple[str, ...]

    target: ClassVar[type[Any]] = str
    written: ClassVar[str] = "Annotated[str, Currency()]"

    def __init__(self, *codes: str) -> None:
        object.__setattr__(self, "codes", declared("Currency", codes))

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise fail("currency_unknown")
        return read_currency(value, self.codes)

    def sample(self) -> str:
        return self.codes[0] if self.codes else "EUR"
