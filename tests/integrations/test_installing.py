"""What all integrations share: frameworks that are not there, and headers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from botguard import Actor, Context, InvalidPayload
from botguard.integrations.arrival import acting_context
from botguard.integrations.installing import extra_missing
from botguard.integrations.web import arrival_of, preferred_language

#: An environment in which one library was never installed.
WITHOUT = """
import sys

class Gone:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == {gone!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Gone())
"""


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [("flask", "Flask 3", "flask"), ("fastapi", "FastAPI 0.115", "fastapi"), ("starlette", "Starlette 0.40", "starlette"),
     ("aiogram", "aiogram 3.31", "aiogram")],
)  # fmt: skip
def test_a_framework_that_is_missing_is_told_with_its_extra(module: str, library: str, extra: str) -> None:
    code = WITHOUT.format(gone=module) + f"import botguard.integrations.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"botguard.errors.ExtraMissing: [BG199] botguard.integrations.{module} needs {library} or newer, which is not "
        "installed. It is an extra, so that a host without it stays small. "
        f"Fix: pip install 'botguard[{extra}]'."
    )
    assert done.stderr.count("Traceback") == 1, "the one that matters"


def test_something_else_that_is_missing_keeps_its_own_error() -> None:
    error = ModuleNotFoundError("No module named 'werkzeug'", name="werkzeug")
    assert extra_missing(error, "flask", "Flask 3", "flask") is error


def test_importing_the_package_loads_no_framework() -> None:
    code = (
        "import sys, botguard, botguard.integrations; "
        "print({'flask', 'starlette', 'fastapi', 'aiogram'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, None), ("", None), ("*", None), ("de", "de"), ("de-AT, de;q=0.9", "de-AT"), ("en;q=0.3,ru;q=0.8", "ru"),
        ("fr;q=0, de", "de"), ("de;q=0", None), ("de;q=many,en", "en"), ("de;q=nan,en", "en"), ("de;q=9,en", "en"),
        ("zh-Hant-TW", "zh-Hant-TW"), ("<script>,en", "en"), ("de , en", "de"), ("x" * 10_000, None), ("é,en", "en"),
        ("de; q=0.5,en;q=0.4", "de"),
    ],
)  # fmt: skip
def test_the_preferred_language(header: str | None, language: str | None) -> None:
    assert preferred_language(header) == language


def of(headers: Mapping[str, str], address: str | None = "10.0.0.1") -> Context:
    return acting_context(Context(org="acme", actor=Actor("u1")), arrival_of(headers.get, address, "web"))


def test_keys_of_two_actors_never_meet() -> None:
    def key(actor: str, header: str) -> str | None:
        arrival = arrival_of({"Idempotency-Key": header}.get, None, "web")
        return acting_context(Context(org="acme", actor=Actor(actor)), arrival).delivery

    assert key("a", "b:c") != key("a:b", "c")
    assert len(key("a" * 255, "k" * 255) or "") < 1024


def test_an_address_that_is_none_is_left_out() -> None:
    assert [of({}, address).address for address in ("10.0.0.1", "", None, "x" * 300)] == ["10.0.0.1", None, None, None]


def test_a_stranger_has_no_delivery_and_keeps_the_rest() -> None:
    found = acting_context(None, arrival_of({"Idempotency-Key": "k", "X-Request-ID": "r"}.get, "10.0.0.1", "web"))
    assert found == Context(org="unknown", actor=None, channel="web", address="10.0.0.1", correlation_id="r")


def test_a_correlation_id_is_cut_never_refused() -> None:
    assert of({"X-Request-ID": "x" * 5000}).correlation_id == "x" * 255


def test_a_key_is_checked_before_anybody_is_asked() -> None:
    with pytest.raises(InvalidPayload):
        of({"Idempotency-Key": ""})


def test_the_offline_chat_without_aiogram() -> None:
    code = WITHOUT.format(gone="aiogram") + "import botguard.testing.aiogram"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "botguard.testing.aiogram needs aiogram 3.31 or newer" in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 1
