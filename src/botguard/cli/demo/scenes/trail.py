"""Nothing to deliver: the record is compared with what was answered."""

from __future__ import annotations

from typing import Any

from botguard.cli.demo.replay import Replay

__all__ = ["the_record"]


def the_record(replay: Replay) -> None:
    """Every answer is one line of the record, or one of those that a line counts."""
    replay.shop.guard.flush()  # what is counted per minute is written now, and not at the minute's end
    events: Any = replay.shop.storage.events.tail(10_000)
    runs = {event.id for event in events if event.kind != "refusals"}
    counted = sum(event.count for event in events if event.kind == "refusals")
    answers = [entry.answer for entry in replay.timeline if entry.answer.status != "killed"]
    own = {answer.event_id for answer in answers if answer.event_id}
    asked = len(answers) - replay.shop.unread
    replay.note(
        f"{asked} answers of commands, {len(runs)} lines in the record, and {counted} refusals counted in others"
    )
    replay.promise(
        "everything_recorded",
        "Every answer is in the record of who asked for what, and how it ended; a flood's refusals are counted there.",
        {
            "answers with a line that is missing": (0, len(own - runs)),
            "answers without a line of their own, as many as are counted": (counted, asked - len(own)),
        },
    )
