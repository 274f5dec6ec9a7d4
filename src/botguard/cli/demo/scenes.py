"""The day in scenes. Each delivers recorded updates and then looks at what really happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from botguard.cli.demo.replay import Answer, Replay
from botguard.cli.demo.shop import RESET_AFTER
from botguard.cli.demo.updates import token_pressed

__all__ = ["SCENES", "play"]

#: Seconds by which the restarted process is later: more than any run of the shop may take.
LATER = 3600.0


def _statuses(answers: Sequence[Answer]) -> list[str]:
    return [answer.status for answer in answers]


def good_order(replay: Replay) -> None:
    """Somebody looks, orders, and uses an order number twice by mistake."""
    replay.say("/stock SKU-9")
    good = replay.say("/order A-17 SKU-9 3")
    again = replay.say("/order A-17 SKU-9 30")
    replay.promise(
        "order_once",
        "A good order is placed once, and another one under the same number is refused.",
        {
            "answers": (["succeeded", "conflict"], _statuses([good, again])),
            "orders A-17 in the order system": (1, replay.erp.count("order", "A-17")),
        },
    )


def five_at_once(replay: Replay) -> None:
    """Telegram delivers one update five times at the same moment, and once more later."""
    update = replay.updates.said("/order A-18 SKU-4 1")
    answers = replay.at_once(update, 5)
    late = replay.deliver(update)
    first = [answer for answer in answers if answer.status == "succeeded" and not answer.replayed]
    honest = [a for a in answers if a.status == "in_flight" or (first and a.message == first[0].message)]
    replay.promise(
        "duplicates_stopped",
        "The same message five times at once is one order; the others hear the same answer, or that it is being done.",
        {
            "orders A-18 in the order system": (1, replay.erp.count("order", "A-18")),
            "deliveries that did it": (1, len(first)),
            "answers that are true": (5, len(honest)),
            "a later delivery hears the first answer": (
                True,
                late.replayed and late.message in [a.message for a in first],
            ),
        },
    )


def mistakes(replay: Replay) -> None:
    """A typing mistake and a forgotten word."""
    lots, short = replay.say("/order A-19 SKU-9 lots"), replay.say("/order A-19")
    replay.promise(
        "mistakes_explained",
        "A message with a mistake changes nothing, and its sender is told what to mend.",
        {
            "answers": (["invalid", "invalid"], _statuses([lots, short])),
            "the answer names the wrong field": (True, "Quantity" in lots.message),
            "orders A-19 in the order system": (0, replay.erp.count("order", "A-19")),
        },
    )


def not_allowed(replay: Replay) -> None:
    """A trainee asks for a refund, and a stranger orders."""
    trainee, stranger = replay.say("/refund A-17"), replay.say("/order A-19 SKU-9 1")
    replay.promise(
        "permission_needed",
        "Who is not allowed to do something, or is not known, changes nothing.",
        {
            "answers": (["denied", "denied"], _statuses([trainee, stranger])),
            "refunds in the order system": (0, replay.erp.count("refund", "A-17")),
            "orders A-19 in the order system": (0, replay.erp.count("order", "A-19")),
        },
    )


def buttons(replay: Replay) -> None:
    """A press is sent again under another update id; then the other button of the message is pressed."""
    answers = [replay.say("reserve SKU-9 2"), replay.say("reserve SKU-9 2", 1), replay.say("reserve SKU-4 1")]
    replay.promise(
        "presses_counted",
        "A button press that arrives twice counts once; two buttons of one message are two wishes.",
        {
            "answers": (["succeeded"] * 3, _statuses(answers)),
            "reservations of 2 SKU-9": (1, replay.shop.reservations("SKU-9", 2)),
            "reservations of 1 SKU-4": (1, replay.shop.reservations("SKU-4", 1)),
        },
    )


def confirmed_refund(replay: Replay) -> None:
    """A refund is asked back first; the yes arrives twice."""
    asked = replay.say("/refund A-17", 1)
    before = replay.erp.count("refund", "A-17")
    answers = [replay.deliver(token_pressed(replay.updates.said("yes TOKEN", n), asked.token)) for n in (0, 1)]
    replay.promise(
        "refund_confirmed",
        "A refund waits for a yes, and two of them are one refund.",
        {
            "answers": (["pending", "succeeded", "succeeded"], _statuses([asked, *answers])),
            "refunds before the yes": (0, before),
            "refunds after it": (1, replay.erp.count("refund", "A-17")),
        },
    )


def hiccup(replay: Replay) -> None:
    """The order system refuses two connections and is back."""
    replay.note("the order system refuses the next two connections")
    replay.erp.refusing = 2
    answer = replay.say("/order A-20 SKU-9 1")
    replay.erp.refusing = 0
    replay.promise(
        "refused_connections_retried",
        "A refused connection is tried again; the customer does not notice, and the order is placed once.",
        {
            "answer": ("succeeded", answer.status),
            "tries": (3, answer.attempts),
            "orders A-20 in the order system": (1, replay.erp.count("order", "A-20")),
        },
    )


def outage(replay: Replay) -> None:
    """The order system is down for longer, is left alone, and comes back."""
    replay.note("the order system is down")
    replay.erp.refusing, calls = -1, replay.erp.calls
    first = replay.say("/order A-21 SKU-9 1")
    tried, second = replay.erp.calls - calls, replay.say("/order A-22 SKU-4 2")
    replay.promise(
        "dead_system_left_alone",
        "A dead order system is left alone after three failures in a row, and customers hear so at once.",
        {
            "answers": (["failed", "unavailable"], _statuses([first, second])),
            "calls for the first order": (3, tried),
            "calls for the second order": (0, replay.erp.calls - calls - tried),
        },
    )
    replay.erp.refusing = 0
    replay.note(f"the order system is repaired; the bot looks again after {RESET_AFTER:g} s")
    time.sleep(RESET_AFTER + 0.05)
    answers = [replay.say("/order A-21 SKU-9 1"), replay.say("/order A-22 SKU-4 2")]
    replay.promise(
        "back_after_outage",
        "When it is back, the same messages go through, once each.",
        {
            "answers": (["succeeded", "succeeded"], _statuses(answers)),
            "orders A-21 and A-22 in the order system": (
                [1, 1],
                [replay.erp.count("order", "A-21"), replay.erp.count("order", "A-22")],
            ),
        },
    )


def killed(replay: Replay) -> None:
    """Three bots are killed right after the effect; another one starts later and gets the same updates."""
    sayings = ["/order A-23 SKU-9 5", "/courier A-17", "reserve SKU-9 4"]
    replay.note("each of the next three goes to a bot whose process is killed right after the effect (SIGKILL)")
    ends = replay.killed_after_effect(sayings)
    left = [
        replay.erp.count("order", "A-23"),
        replay.erp.count("courier", "A-17"),
        replay.shop.reservations("SKU-9", 4),
    ]
    replay.note("the same updates arrive at once in the bot that still runs")
    early = [replay.say(words) for words in sayings[:2]]
    replay.promise(
        "nobody_jumps_in",
        "While a killed run may still be at work, nobody else starts it.",
        {
            "processes": (["killed"] * 3, _statuses(ends)),
            "what they left: orders, couriers, reservations": ([1, 1, 0], left),
            "answers": (["in_flight"] * 2, _statuses(early)),
        },
    )
    replay.note("the bot is restarted (its storage's clock says: an hour later) and gets them again, twice")
    answers = replay.restarted([*sayings, *sayings], LATER)
    for place, check in enumerate((_asked, _unknown, _transaction)):
        check(replay, [answers[place], answers[place + len(sayings)]])


def _asked(replay: Replay, answers: list[Answer]) -> None:
    replay.promise(
        "killed_then_asked",
        "Killed after the order was placed: the order system is asked, and the order is not placed again.",
        {
            "answers": (["succeeded", "succeeded"], _statuses(answers)),
            "orders A-23 in the order system": (1, replay.erp.count("order", "A-23")),
        },
    )


def _unknown(replay: Replay, answers: list[Answer]) -> None:
    replay.promise(
        "killed_and_nobody_knows",
        "Killed where nobody can be asked: it is not done again, and the customer is told that it is not known.",
        {
            "answers": (["unknown", "unknown"], _statuses(answers)),
            "couriers booked": (1, replay.erp.count("courier", "A-17")),
        },
    )


def _transaction(replay: Replay, answers: list[Answer]) -> None:
    replay.promise(
        "killed_in_a_transaction",
        "Killed inside the shop's own database transaction: nothing was left, and it is done exactly once.",
        {
            "answers": (["succeeded", "succeeded"], _statuses(answers)),
            "the second one is a repeated answer": (True, answers[1].replayed and not answers[0].replayed),
            "reservations of 4 SKU-9": (1, replay.shop.reservations("SKU-9", 4)),
        },
    )


def the_record(replay: Replay) -> None:
    """Nothing to deliver: the trail is compared with what was answered."""
    answered = {entry.answer.event_id for entry in replay.timeline if entry.answer.event_id}
    recorded = {event.id for event in replay.shop.storage.events.tail(1000)}  # type: ignore[union-attr]
    replay.note(f"{len(answered)} answers are compared with {len(recorded)} lines of the record")
    silent = [e for e in replay.timeline if not e.answer.event_id and e.answer.status not in ("killed", "invalid")]
    replay.promise(
        "everything_recorded",
        "Every answer is in the record of who asked for what, and how it ended.",
        {
            "answers without a record": (0, len(silent)),
            "records that are missing": (0, len(answered - recorded)),
        },
    )


SCENES: tuple[tuple[str, Callable[[Replay], None]], ...] = (
    ("A good order, and its number used twice", good_order),
    ("The same message, five times at once", five_at_once),
    ("Mistakes", mistakes),
    ("People who may not", not_allowed),
    ("Buttons pressed twice", buttons),
    ("A refund that wants a yes", confirmed_refund),
    ("A short failure of the order system", hiccup),
    ("An outage of the order system", outage),
    ("Killed right after the effect, and restarted", killed),
    ("The record", the_record),
)


def play(replay: Replay) -> None:
    """Play all scenes. One that breaks off is a broken promise, and the others are played all the same."""
    for title, scene in SCENES:
        replay.scene(title)
        try:
            scene(replay)
        except Exception as error:  # noqa: BLE001 - whatever it was, the report must say it
            found = f"{type(error).__name__}: {error}"
            replay.note(f"this broke off: {found}")
            name = f"{scene.__name__}_to_its_end"
            replay.promise(name, f"The scene {title!r} comes to its end.", {"it ended with": ("nothing wrong", found)})
