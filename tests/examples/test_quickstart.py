"""examples/quickstart.py is the README's first sample, to the letter, and prints what the README shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docs.pages import ROOT, blocks

QUICKSTART = ROOT / "examples" / "quickstart.py"


def test_the_readme_shows_the_quickstart_and_what_it_prints(tmp_path: Path) -> None:
    sample = blocks(ROOT / "README.md")[0]
    assert QUICKSTART.read_text(encoding="utf-8").strip() == sample.code.strip()
    command = [sys.executable, "-W", "error", str(QUICKSTART)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert sample.output is not None
    assert done.stdout.strip() == sample.output.strip()
    assert list(tmp_path.iterdir()) == []
