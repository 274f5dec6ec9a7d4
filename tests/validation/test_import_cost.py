"""Importing the package must not load what only some hosts need."""

from __future__ import annotations

import subprocess
import sys

import pytest

import botguard.validation

HEAVY = ("phonenumbers", "email_validator", "idna", "dns")
PARTS = ("phone", "quantity", "units", "currencies", "countries", "german", "moments", "describe", "command_line")


def loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )


def check_light(modules: set[str], *allowed: str) -> None:
    assert not modules & (set(HEAVY) - set(allowed)), "something heavy is loaded"


def test_the_package_alone_loads_nothing_of_its_own() -> None:
    before = loaded("import botguard")
    assert not {f"botguard.validation.{part}" for part in PARTS} & before
    check_light(before)


def test_the_names_load_no_library() -> None:
    modules = loaded(
        "from botguard.validation import Phone, Quantity, Email, DateTime, validate_payload; Phone(region='GB')"
    )
    check_light(modules)
    assert not {f"botguard.validation.{part}" for part in ("countries", "german")} & modules


def test_a_library_is_loaded_with_the_first_model_that_needs_it() -> None:
    model = (
        "from typing import Annotated; from pydantic import TypeAdapter; from botguard.validation import {0}; "
        "TypeAdapter(Annotated[str, {1}])"
    )
    check_light(loaded(model.format("Text", "Text(max=5)")))
    assert "phonenumbers" in loaded(model.format("Phone", "Phone(region='GB')"))
    # An ordinary address needs no library at all.
    check_light(loaded(model.format("Email", "Email()") + ".validate_python('a@example.com')"))


def test_the_check_of_imports_sees_one() -> None:
    with pytest.raises(AssertionError):
        check_light(loaded("import phonenumbers"))


def test_a_name_loads_its_own_part_only() -> None:
    modules = loaded("from botguard.validation import Phone")
    assert "botguard.validation.phone" in modules
    assert not {f"botguard.validation.{part}" for part in PARTS if part != "phone"} & modules


def test_every_public_name_is_there() -> None:
    package = botguard.validation
    assert package.__all__ == sorted(package._HOMES, key=lambda name: (name[0].islower(), name))
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="has no attribute 'Fone'"):
        package.Fone  # noqa: B018
