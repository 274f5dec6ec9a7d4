"""What breaks: a connection, a system, a deadline, a process."""

from __future__ import annotations

from botguard.cli.demo.replay import Answer, Replay, statuses
from botguard.cli.demo.shop import RESET_AFTER

__all__ = ["hiccup", "killed", "outage", "slow"]

#: Seconds by which the restarted process is later: more than any run of the shop may take.
LATER = 3600.0


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
    replay.say("/order A-28 SKU-9 1")
    replay.note("the order system is down")
    replay.erp.refusing, calls = -1, replay.erp.calls
    first = replay.say("/order A-21 SKU-9 1")
    tried, second = replay.erp.calls - calls, replay.say("/order A-22 SKU-4 2")
    old = replay.say("/order A-28 SKU-9 1")
    replay.promise(
        "dead_system_left_alone",
        "A dead order system is left alone after three failures in a row, and customers hear so at once.",
        {
            "answers": (["failed", "unavailable"], statuses([first, second])),
            "calls for the first order": (3, tried),
            "calls after it": (0, replay.erp.calls - calls - tried),
        },
    )
    replay.promise(
        "old_answers_need_no_system",
        "Who asks again for what is done hears the old answer, also while the order system is down.",
        {"answer": ("succeeded", old.status), "it is the old answer": (True, old.replayed)},
    )
    replay.erp.refusing = 0
    replay.note("the order system is repaired")
    replay.later(RESET_AFTER)
    answers = [replay.say("/order A-21 SKU-9 1"), replay.say("/order A-22 SKU-4 2")]
    replay.promise(
        "back_after_outage",
        "When it is back, the same messages go through, once each.",
        {
            "answers": (["succeeded", "succeeded"], statuses(answers)),
            "orders A-21 and A-22 in the order system": (
                [1, 1],
                [replay.erp.count("order", "A-21"), replay.erp.count("order", "A-22")],
            ),
        },
    )


def slow(replay: Replay) -> None:
    """The printer of labels prints, and says so too late; later it is quick again."""
    replay.note("the label printer prints, and needs 2 s to say so; half a second is what it gets")
    replay.erp.slow = 2.0
    late, again = replay.say("/label A-17"), replay.say("/label A-17")
    replay.erp.slow = 0.0
    quick = replay.say("/label A-18")
    replay.promise(
        "nobody_waits_for_ever",
        "Who does not answer in time is not waited for, and others are served.",
        {
            "answer": ("failed", late.status),
            "because": (True, "deadline_exceeded" in late.reasons),
            "the next label": ("succeeded", quick.status),
        },
    )
    replay.promise(
        "late_is_not_twice",
        "What may have been done is not done again, and the customer is told that it is not known.",
        {"answer": ("unknown", again.status), "labels for A-17": (1, replay.erp.count("label", "A-17"))},
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
            "processes": (["killed"] * 3, statuses(ends)),
            "what they left: orders, couriers, reservations": ([1, 1, 0], left),
            "answers": (["in_flight"] * 2, statuses(early)),
        },
    )
    replay.note("the bot is restarted, an hour later by its clock, and gets them again, twice")
    answers = replay.restarted([*sayings, *sayings], LATER)
    for place, check in enumerate((_asked, _unknown, _transaction)):
        check(replay, [answers[place], answers[place + len(sayings)]])


def _asked(replay: Replay, answers: list[Answer]) -> None:
    replay.promise(
        "killed_then_asked",
        "Killed after the order was placed: the order system is asked, and the order is not placed again.",
        {
            "answers": (["succeeded", "succeeded"], statuses(answers)),
            "orders A-23 in the order system": (1, replay.erp.count("order", "A-23")),
        },
    )


def _unknown(replay: Replay, answers: list[Answer]) -> None:
    replay.promise(
        "killed_and_nobody_knows",
        "Killed where nobody can be asked: it is not done again, and the customer is told that it is not known.",
        {
            "answers": (["unknown", "unknown"], statuses(answers)),
            "couriers booked": (1, replay.erp.count("courier", "A-17")),
        },
    )


def _transaction(replay: Replay, answers: list[Answer]) -> None:
    replay.promise(
        "killed_in_a_transaction",
        "Killed inside the shop's own database transaction: nothing was left, and it is done exactly once.",
        {
            "answers": (["succeeded", "succeeded"], statuses(answers)),
            "the second one is a repeated answer": (True, answers[1].replayed and not answers[0].replayed),
            "reservations of 4 SKU-9": (1, replay.shop.reservations("SKU-9", 4)),
        },
    )
