"""The programs in examples/ do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from flaskserver import serve

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

BOT = """\
> /order A-17 tea 2
  ... the shop books 2 x tea
  < Order A-17 is booked.
> (the same update, delivered again)
  < Order A-17 is booked.
> /order A-18 salt many
  < Quantity: 'many' is not a whole number.
> /order
  < Order ID is missing.
  < SKU is missing.
  < Quantity is missing.
  < Write it like this: /order <order id> <sku> <quantity>
> /cancel A-17
  < Please confirm: orders cancel (order id: A-17)?
> [Yes]
  ... the shop cancels A-17
  < Order A-17 is cancelled.
> [Yes] (pressed twice)
  < Order A-17 is cancelled.
orders.create {'statuses': {'succeeded': 2, 'invalid': 1}, 'failures': 0, 'replayed': 1, 'retries': 0, 'degraded': 0}
orders.cancel {'statuses': {'succeeded': 2, 'pending': 1}, 'failures': 0, 'replayed': 1, 'retries': 0, 'degraded': 0}
"""


def test_the_bot_rehearses_without_a_token(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "BOT_TOKEN"}
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "async_bot.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == BOT


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example is asked with curl")
def test_the_api_stops_a_duplicate(tmp_path: Path) -> None:
    documented = (EXAMPLES / "flask_app.py").read_text(encoding="utf-8")
    commands = "\n".join(line.strip() for line in documented.splitlines() if line.startswith("    curl "))
    start = re.search(r"^    (flask .*)$", documented, re.MULTILINE)
    assert start is not None
    with serve(start[1].replace("examples/", f"{EXAMPLES}/"), tmp_path) as server:
        lines = server.curl(commands, tmp_path).splitlines()
        printed = server.stop()
    assert lines[0] == lines[1]
    assert "is booked: 2 x tea." in lines[0]
    assert '"missing_permission"' in lines[2]
    assert 'bot_command_replays_total{command="orders.create",module=""} 1.0' in lines
    assert printed.count("... the shop books 2 x tea") == 1


def test_the_form_stops_a_double_click(tmp_path: Path) -> None:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    browser = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))

    def ask(url: str, **fields: str) -> str:
        data = urllib.parse.urlencode(fields).encode() if fields else None
        with browser.open(url, data) as answer:
            return str(answer.read().decode())

    with serve(f"flask --app {EXAMPLES / 'flask_app.py'} run", tmp_path) as server:
        url = f"http://{server.address}/"
        passwords.add_password(None, url, "ann", "tea")
        page = ask(url)
        key = re.search(r'name="key" value="([^"]+)"', page)
        assert key is not None
        pages = [ask(url, sku="tea", quantity=quantity, key=key[1]) for quantity in ("2", "2", "3")]
        said = [re.search(r"<p>(.*)</p>", answer)[1] for answer in pages]  # type: ignore[index]
        wrong = ask(url, sku="tea", quantity="many", key="other")
        printed = server.stop()
    assert said[0] == said[1]
    assert "is booked: 2 x tea." in said[0]
    assert said[2] == "This does not match an earlier request with the same number."
    assert "&#39;many&#39; is not a whole number." in wrong
    assert [line for line in printed if "the shop books" in line] == ["... the shop books 2 x tea"]
