"""The shop bot in a process of its own: ``python -m botguard.cli.demo.child``, with a task as JSON on standard input.

It answers updates and prints the answers, or is killed right after the effect of the first one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from botguard.cli.demo.erp import Erp, go_on
from botguard.cli.demo.replay import answer_to
from botguard.cli.demo.shop import Shop
from botguard.cli.demo.updates import Updates, read

__all__ = ["main"]


def _die() -> None:
    """Be killed at once: no exception, no clean-up, nothing is flushed."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has one way only, and it is as hard


def main() -> None:
    """Do the task."""
    task = json.load(sys.stdin)
    crash = _die if task["kill"] else go_on
    erp = Erp(Path(task["effects"]), crash)
    shop = Shop(Path(task["database"]), erp, ahead=task["ahead"], crash=crash)
    updates = Updates()
    answers = []
    for update_id in task["updates"]:
        said = read(updates[update_id])
        answers.append(asdict(answer_to(shop.handle(said), said.context.locale)))
    shop.close()
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
