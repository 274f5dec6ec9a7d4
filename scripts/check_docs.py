"""Check what the documentation promises: links, anchors, Python snippets; and that no file names a machine.

Run by `make check` with the standard library alone. Prints file:line: message for each fault, and exits 1 if
there is any.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

# Paths and hosts that hold on one machine only. Each is in two pieces, since this file is checked as well.
MACHINE_PATHS = [
    "/" + "work/",
    "/" + "tmp/h/",
    "/" + "root/",
    "/" + r"home/\w[\w.-]*/",
    "/" + r"Users/\w[\w.-]*/",
]
REGISTRY_HOSTS = [
    "pypi" + r"\.org",
    "pythonhosted" + r"\.org",
    "npmjs" + r"\.(?:org|com)",
    "crates" + r"\.io",
    "deb" + r"\.debian\.org",
    "proxy" + r"\.golang\.org",
]
# A path counts only from its root: the same word inside a longer path or an address is somebody else's.
MACHINE_PATH = re.compile(rf"(?<![\w.~)\]}}-])(?:{'|'.join(MACHINE_PATHS)})")
REGISTRY_HOST = re.compile(rf"(?<![\w-])(?:[\w-]+\.)*(?:{'|'.join(REGISTRY_HOSTS)})(?![\w-])", re.IGNORECASE)

FENCE = re.compile(r"^(?P<indent>\s*)(?P<mark>`{3,}|~{3,})\s*(?P<info>[^`]*)$")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?P<text>.*?)(?:\s+#+)?\s*$")
EXPLICIT_ANCHOR = re.compile(r"""<\w+[^>]*\b(?:id|name)=["']([^"']+)["']""")
CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
INLINE_LINK = re.compile(
    r"""\]\(\s*(?:<(?P<angled>[^>]*)>|(?P<plain>[^\s()]*(?:\([^\s()]*\)[^\s()]*)*))(?:\s+["'(].*?)?\s*\)"""
)
REFERENCE = re.compile(r"^ {0,3}\[(?!\^)[^\]]+\]:\s+<?(?P<target>[^\s>]+)>?")
SCHEME = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


class Fault(NamedTuple):
    path: Path
    line: int
    message: str


class Snippet(NamedTuple):
    line: int  # of its first line of code
    language: str
    code: str


class Document(NamedTuple):
    """A Markdown file taken apart: prose with its line numbers, and fenced blocks."""

    prose: list[tuple[int, str]]
    snippets: list[Snippet]


def main(root: Path) -> int:
    files = tracked_files(root)
    faults = [fault for path in documents(root) for fault in check_document(path, root)]
    faults += [fault for path in files for fault in check_for_machines(path)]
    for fault in sorted(faults):
        print(f"{fault.path.relative_to(root)}:{fault.line}: {fault.message}")
    if faults:
        print(f"{len(faults)} faults in the documentation", file=sys.stderr)
    return 1 if faults else 0


def documents(root: Path) -> list[Path]:
    single = [root / "README.md", root / "CONTRIBUTING.md"]
    return [path for path in single if path.is_file()] + sorted((root / "docs").rglob("*.md"))


def tracked_files(root: Path) -> list[Path]:
    """List what git tracks or would track: a fault should show before it is committed."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        print("not a git checkout: only the documents are searched for machine paths", file=sys.stderr)
        return documents(root)
    paths = {root / name for name in listing.split("\0") if name}
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def check_document(path: Path, root: Path) -> Iterator[Fault]:
    document = parse(path.read_text(encoding="utf-8"))
    for number, text in document.prose:
        for target in link_targets(text):
            message = check_link(target, path, root)
            if message:
                yield Fault(path, number, message)
    for snippet in document.snippets:
        if snippet.language in {"python", "py"}:
            fault = check_snippet(snippet)
            if fault:
                yield Fault(path, *fault)


def parse(text: str) -> Document:
    prose: list[tuple[int, str]] = []
    snippets: list[Snippet] = []
    opening: re.Match[str] | None = None
    start, code = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.match(line)
        if opening is None:
            if fence:
                opening, start, code = fence, number + 1, []
            else:
                prose.append((number, line))
        elif fence and closes(fence, opening):
            snippets.append(Snippet(start, language_of(opening), "\n".join(code)))
            opening = None
        else:
            code.append(line)
    if opening is not None:
        snippets.append(Snippet(start, language_of(opening), "\n".join(code)))
    return Document(prose, snippets)


def closes(fence: re.Match[str], opening: re.Match[str]) -> bool:
    return not fence["info"].strip() and fence["mark"].startswith(opening["mark"])


def language_of(opening: re.Match[str]) -> str:
    words = re.split(r"[\s,{]+", opening["info"].strip().lower())
    return words[0]


def check_snippet(snippet: Snippet) -> tuple[int, str] | None:
    """Compile a snippet; `await` at its top level is allowed, as a page shows bare calls."""
    try:
        compile(textwrap.dedent(snippet.code), "<snippet>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        return snippet.line + (error.lineno or 1) - 1, f"the Python snippet does not compile: {error.msg}"
    return None


def link_targets(line: str) -> Iterator[str]:
    text = CODE_SPAN.sub("", line)
    for match in INLINE_LINK.finditer(text):
        yield match["angled"] or match["plain"] or ""
    reference = REFERENCE.match(text)
    if reference:
        yield reference["target"]


def check_link(target: str, source: Path, root: Path) -> str | None:
    """Return what is wrong with a link, or None. URLs are not followed: the check must work offline."""
    if SCHEME.match(target):
        return None
    name, _, anchor = target.partition("#")
    name = unquote(name.partition("?")[0])
    base = root if name.startswith("/") else source.parent
    path = (base / name.lstrip("/")).resolve() if name else source
    if not path.is_relative_to(root):
        return f"the link {target!r} leaves the repository"
    if not path.exists():
        return f"the link {target!r} has no file"
    if anchor and path.suffix == ".md" and unquote(anchor) not in anchors(path):
        return f"the link {target!r} has no such heading"
    return None


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document, as the usual Markdown hosts derive them from headings."""
    found: set[str] = set()
    for _, line in parse(path.read_text(encoding="utf-8")).prose:
        found.update(EXPLICIT_ANCHOR.findall(line))
        heading = HEADING.match(line)
        if heading:
            found.add(unused(slug(heading["text"]), found))
    return found


def slug(heading: str) -> str:
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[^\w\- ]", "", text.lower())
    return text.strip().replace(" ", "-")


def unused(name: str, taken: set[str]) -> str:
    """Number a repeated heading: the second `Use` of a page is `use-1`."""
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}-{count}"
    return candidate


def check_for_machines(path: Path) -> Iterator[Fault]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # a picture or another binary file
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, what in (
            (MACHINE_PATH, "a path of one machine"),
            (REGISTRY_HOST, "a package registry's host"),
        ):
            match = pattern.search(line)
            if match:
                yield Fault(path, number, f"{match[0]!r} is {what}")


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
