"""The day in scenes. Each delivers recorded updates and then looks at what really happened."""

from __future__ import annotations

from collections.abc import Callable

from botguard.cli.demo.replay import Replay
from botguard.cli.demo.scenes.failures import hiccup, killed, outage, slow
from botguard.cli.demo.scenes.people import confirmed_refund, flood, not_allowed, numbers, revoked, stranger
from botguard.cli.demo.scenes.trade import buttons, common_sense, five_at_once, good_order, last_piece, mistakes
from botguard.cli.demo.scenes.trail import the_record

__all__ = ["SCENES", "play"]

SCENES: tuple[tuple[str, Callable[[Replay], None]], ...] = (
    ("A good order, and its number used twice", good_order),
    ("The same message, five times at once", five_at_once),
    ("Mistakes", mistakes),
    ("Buttons pressed twice", buttons),
    ("The last piece, asked for twice", last_piece),
    ("Rules, stock and forecasts", common_sense),
    ("One number, three people", numbers),
    ("People who may not", not_allowed),
    ("A refund that wants a yes", confirmed_refund),
    ("An account is blocked", revoked),
    ("A stranger who does not give up", stranger),
    ("A flood", flood),
    ("A short failure of the order system", hiccup),
    ("An outage of the order system", outage),
    ("A system that answers too late", slow),
    ("Killed right after the effect, and restarted", killed),
    ("The record", the_record),
)


def play(replay: Replay) -> None:
    """Play all scenes. One that breaks off is a broken promise, and the others are played all the same."""
    for number, (title, scene) in enumerate(SCENES, 1):
        replay.scene(number, len(SCENES), title)
        try:
            scene(replay)
        except Exception as error:  # noqa: BLE001 - whatever it was, the report must say it
            found = f"{type(error).__name__}: {error}"
            replay.note(f"this broke off: {found}")
            name = f"{scene.__name__}_to_its_end"
            replay.promise(name, f"The scene {title!r} comes to its end.", {"it ended with": ("nothing wrong", found)})
