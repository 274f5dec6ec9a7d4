"""``botguard demo``: a day of a shop bot, with its failures, and a check of what the bot promised.

``shop.py`` is the bot and reads as a sample; ``scenes/`` is what happens to it; ``erp.py`` counts what really
happened, outside botguard's own tables.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from botguard.cli.app import load_guard
from botguard.cli.demo.erp import Erp
from botguard.cli.demo.own import STORE_DOWN, run_script
from botguard.cli.demo.paper import Paper, Progress
from botguard.cli.demo.replay import Replay
from botguard.cli.demo.report import Quiet, Text, as_data
from botguard.cli.demo.scenes import play
from botguard.cli.demo.script import read_script
from botguard.cli.demo.shop import Shop
from botguard.errors import ConfigurationError, StoreUnavailable

__all__ = ["NotNew", "run_demo", "run_own"]


class NotNew(Exception):
    """The file that was to be made cannot be, or is there already."""


def run_demo(database: str | None = None, *, as_json: bool = False, colour: bool = True, facts: bool = False) -> int:
    """Replay everything and report.

    Args:
        database: a new file to keep; None: a temporary one.
        as_json: print one JSON object instead of lines.
        colour: False: never colours.
        facts: also what was compared for each promise that was kept.

    Returns:
        0 if every promise was kept, else 1.

    Raises:
        NotNew: ``database`` is there already, or its folder is not.
    """
    progress = Progress(sys.stderr, wanted=as_json or sys.stdout.isatty())
    text = Text(Paper(sys.stdout, colour=colour, progress=progress), progress, facts=facts)
    listener = Quiet(progress) if as_json else text
    with tempfile.TemporaryDirectory(prefix="botguard-demo-") as folder:
        path = Path(database or Path(folder, "shop.db"))
        effects = path.with_name(path.name + ".effects.jsonl")
        if database is not None:
            _check_new(path, effects)
        if not as_json:
            text.opening(database or "a temporary file")
        with closing(Shop(path, Erp(effects))) as shop, progress:
            replay = Replay(shop, path, effects, listener)
            play(replay)
        if as_json:
            print(json.dumps(as_data(replay, database), indent=2))
        else:
            text.closing(replay, database)
    return 0 if all(promise.kept for promise in replay.promises) else 1


def run_own(app: str, script: str, *, as_json: bool = False, colour: bool = True) -> int:
    """Run the lines of a script on the guard that ``app`` names.

    Returns:
        0; 1 if a line ended otherwise than expected; 3 if a store could not be reached.

    Raises:
        ConfigurationError: if the script, the guard or a line cannot be used; it says what to write instead.
    """
    steps = read_script(Path(script))
    try:
        guard = load_guard(app)
    except ConfigurationError as error:
        if isinstance(error.__cause__, StoreUnavailable):
            print(f"botguard: {error}", file=sys.stderr)
            return STORE_DOWN
        raise
    return run_script(guard, steps, app=app, script=Path(script).name, as_json=as_json, colour=colour)


def _check_new(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise NotNew(f"{path} is there already; name a new file, since the demo counts from nothing")
        if not path.parent.is_dir():
            raise NotNew(f"there is no folder {path.parent}")
    try:  # fails here, in words, and not in the middle of the first scene
        paths[0].touch()
    except OSError as error:
        raise NotNew(f"{paths[0]} cannot be written: {error.strerror}") from None
