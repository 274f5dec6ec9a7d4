"""The page docs/reference/validation.md: its snippets run, and it lists every code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from botguard.validation import catalogue, english

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "validation.md").read_text(encoding="utf-8")


def test_the_snippets_run_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_added", {})
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(snippets) >= 5
    names: dict[str, Any] = {"__name__": "page"}
    for snippet in snippets:
        exec(compile(snippet, "validation.md", "exec"), names)


def test_every_code_is_listed_with_its_sentence() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    codes = {
        code: text
        for code, text in english.SENTENCES.items()
        if not code.startswith(("hint.", "label."))
        and not code.endswith((".one", ".zero"))
        and code not in ("this", "yes", "no", "request")
    }
    assert {code: rows.get(code) for code in codes} == codes
