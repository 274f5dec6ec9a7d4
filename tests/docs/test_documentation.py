"""What the documentation shows is run, and its lists are compared with the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, blocks, pages

from botguard.command import CommandOptions, make_command
from botguard.messages.english import SENTENCES as ENGLISH
from botguard.options import Effects, Mode
from botguard.outcome import Outcome, Reason, Status
from botguard.pipeline.order import ORDER
from botguard.ports.events import Event

HERE = Path(__file__).resolve().parent
WITH_CODE = [page for page in pages() if any(not block.not_run for block in blocks(page))]


def run(*command: str | Path, cwd: Path) -> str:
    """Run Python in a folder; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, command)],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def table(page: str, column: int = 0) -> list[str]:
    """The code spans that begin the given column of the page's tables."""
    rows = [line.split("|")[1:-1] for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [row[column].strip() for row in rows if len(row) > column]
    return [match[1] for cell in cells if (match := re.match(r"`([^`]+)`", cell))]


@pytest.mark.parametrize("page", WITH_CODE, ids=named)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    run(HERE / "run_page.py", page, cwd=tmp_path)


def test_the_readme_sample_runs_as_it_stands_in_an_empty_folder(tmp_path: Path) -> None:
    sample = blocks(ROOT / "README.md")[0]
    (tmp_path / "shop.py").write_text(sample.code, encoding="utf-8")
    assert sample.output is not None
    assert run("shop.py", cwd=tmp_path).strip() == sample.output.strip()


def test_a_block_that_is_not_run_says_why() -> None:
    for page in pages():
        lines = page.read_text(encoding="utf-8").splitlines()
        marks = [line for line in lines if "<!-- not run" in line]
        assert len(marks) == sum(1 for block in blocks(page) if block.not_run), named(page)


def test_every_error_code_is_listed_once() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    assert sorted(table("docs/reference/errors.md")) == sorted(set(re.findall(r"BG\d{3}", source)))


def test_every_reason_is_listed_once_with_its_sentence() -> None:
    page = "docs/reference/reasons.md"
    assert table(page) == [str(reason) for reason in Reason]
    text = (ROOT / page).read_text(encoding="utf-8")
    for reason in Reason:
        sentence = ENGLISH.get(str(reason))
        row = next(line for line in text.splitlines() if line.startswith(f"| `{reason}` "))
        assert row.split("|")[4].strip() == (sentence or "–")


def test_every_option_of_a_command_is_listed_once() -> None:
    listed = [name for name in table("docs/reference/command-options.md") if name.isidentifier()]
    assert sorted(listed) == sorted(CommandOptions.__annotations__)


def test_every_status_and_attribute_of_an_outcome_is_listed() -> None:
    listed = table("docs/reference/outcome.md")
    assert [name for name in listed if name in list(Status)] == [str(status) for status in Status]
    attributes = {*vars(Outcome(Status.SUCCEEDED)), *Outcome.__annotations__, *getattr(Outcome, "__slots__", ())}
    assert attributes <= set(listed)


def test_every_field_of_an_event_is_listed_in_order() -> None:
    listed = table("docs/reference/events.md")
    assert [name for name in listed if name in Event._fields] == list(Event._fields)


def test_the_order_of_the_stages_is_the_codes() -> None:
    listed = table("docs/explanation/architecture.md")
    assert [name for name in listed if name in {place.stage for place in ORDER}] == [place.stage for place in ORDER]


#: Where the stages are described that have no page of their own name.
TOGETHER = {"look again": "peek", **dict.fromkeys(("visibility", "context", "consistency", "predict"), "checks")}
TEMPLATE = ["About", "Use", "Defaults", "What it emits", "When the store is down", "Anti-patterns"]


def test_every_stage_has_its_page_and_every_page_its_stage() -> None:
    named_pages = {TOGETHER.get(place.stage, place.stage) for place in ORDER}
    assert named_pages == {page.stem for page in (ROOT / "docs" / "stages").glob("*.md")}
    for stage, page in TOGETHER.items():
        assert stage in (ROOT / "docs" / "stages" / f"{page}.md").read_text(encoding="utf-8"), stage


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "stages").glob("*.md")), ids=lambda page: page.stem)
def test_a_stages_page_follows_the_template(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == TEMPLATE
    assert re.findall(r"^# (.+)$", text, re.MULTILINE) == [page.stem.capitalize()]
    assert blocks(page), "it shows no code that is run"
    sections = dict(zip(TEMPLATE, re.split(r"^## .+$", text, flags=re.MULTILINE)[1:], strict=True))
    assert all(len(section.split()) >= 3 for section in sections.values()), "an empty section"
    reasons = set(re.findall(r"^\|.*$", sections["What it emits"], re.MULTILINE))
    spans = {span for row in reasons for span in re.findall(r"`([a-z]+_[a-z_]+)`", row)}
    assert spans <= {*Reason, *CommandOptions.__annotations__, *Event._fields, "retry_after"}, (
        "a reason that does not exist"
    )
    assert len(text.splitlines()) <= 120, "a page is short"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "stages").glob("*.md")), ids=lambda page: page.stem)
def test_defaults_on_a_stages_page_are_those_of_the_code(page: Path) -> None:
    shown = dict(
        re.findall(r"^\| `([a-z_]+)` \| (`[^`]+`|none|\d+ s|\d+ days) \|", page.read_text("utf-8"), re.MULTILINE)
    )
    command = make_command("orders.create", {})
    for option, said in shown.items():
        if option not in CommandOptions.__annotations__ or option in ("final", "before_effect"):
            continue
        value = getattr(command, option)
        if said == "none":
            assert value in (None, (), ""), option
        elif said.endswith("days"):
            assert value == int(said.split()[0]) * 86400, option
        elif said.endswith(" s"):
            assert value == int(said.split()[0]), option
        else:
            assert said.strip("`").strip('"') == str(value), option


def test_the_glossary_has_the_closed_words_and_each_word_once() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")][2:]
    words = [word.strip() for names, _ in rows for word in names.split(",")]
    assert len(words) == len(set(words)) > 80
    for word in (*Effects, *Mode, *(place.stage for place in ORDER if place.stage in ("handler", "claim", "breaker"))):
        assert word in text, word


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert name == "index.md" or f"({name})" in index, name


def test_every_module_is_on_the_code_map() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "botguard"
    for path in sorted(source.rglob("*.py")):
        name = path.relative_to(source).as_posix()
        if name.startswith(("cli/", "console/")):  # mapped as one line each
            continue
        if path.name != "__init__.py":
            assert f"`{name}`" in text, name
