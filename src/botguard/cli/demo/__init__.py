"""``botguard demo``: a day of a shop bot, with its failures, and a check of what the bot promised.

``shop.py`` is the bot and reads as a sample; ``scenes.py`` is what happens to it; ``erp.py`` counts what really
happened, outside botguard's own tables.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from botguard.cli.demo.erp import Erp
from botguard.cli.demo.replay import Replay
from botguard.cli.demo.report import Quiet, Text, as_data
from botguard.cli.demo.scenes import play
from botguard.cli.demo.shop import Shop

__all__ = ["NotNew", "run_demo"]


class NotNew(Exception):
    """The file that was to be made cannot be, or is there already."""


def run_demo(database: str | None = None, *, as_json: bool = False, colour: bool = True) -> int:
    """Replay everything and report.

    Args:
        database: a new file to keep; None: a temporary one.
        as_json: print one JSON object instead of lines.
        colour: False: never colours.

    Returns:
        0 if every promise was kept, else 1.

    Raises:
        NotNew: ``database`` is there already, or its folder is not.
    """
    if database is not None:
        path = Path(database)
        effects = path.with_name(path.name + ".effects.jsonl")
        _check_new(path, effects)
        return _replay(path, effects, kept_at=database, as_json=as_json, colour=colour)
    with tempfile.TemporaryDirectory(prefix="botguard-demo-") as folder:
        path = Path(folder, "shop.db")
        return _replay(path, Path(folder, "effects.jsonl"), kept_at=None, as_json=as_json, colour=colour)


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


def _replay(path: Path, effects: Path, *, kept_at: str | None, as_json: bool, colour: bool) -> int:
    text = Text(sys.stdout, colour=colour)
    if not as_json:
        text.opening(kept_at or "a temporary file")
    with closing(Shop(path, Erp(effects))) as shop:
        replay = Replay(shop, path, effects, Quiet(sys.stderr) if as_json else text)
        play(replay)
        if as_json:
            print(json.dumps(as_data(replay, kept_at), indent=2))
        else:
            text.closing(replay, kept_at)
    return 0 if all(promise.kept for promise in replay.promises) else 1
