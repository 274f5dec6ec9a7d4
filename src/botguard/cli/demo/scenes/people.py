"""Who may do what: permissions, other people's numbers, blocked accounts, floods, and questions that want a yes."""

from __future__ import annotations

from collections import Counter

from botguard.cli.demo.replay import Replay, statuses
from botguard.cli.demo.shop import REFUSALS
from botguard.cli.demo.updates import token_pressed

__all__ = ["confirmed_refund", "flood", "not_allowed", "numbers", "revoked", "stranger"]


def numbers(replay: Replay) -> None:
    """A colleague and a customer of another company use a number that is taken here."""
    order = "/order A-17 SKU-9 3"
    own, colleague, elsewhere = replay.say(order, by="Sara"), replay.say(order, by="Omar"), replay.say(order, by="Lena")
    replay.promise(
        "answers_are_personal",
        "Somebody else's number does not open his order: a colleague learns nothing of it.",
        {
            "answers": (["succeeded", "conflict"], statuses([own, colleague])),
            "the colleague hears of the order": (False, "placed" in colleague.message),
        },
    )
    replay.promise(
        "companies_apart",
        "The same number in another company is another order.",
        {
            "answer": ("succeeded", elsewhere.status),
            "it is an old answer": (False, elsewhere.replayed),
            "orders A-17 here and there": (
                [1, 1],
                [replay.erp.count("order", "A-17", "acme"), replay.erp.count("order", "A-17", "bolt")],
            ),
        },
    )


def not_allowed(replay: Replay) -> None:
    """A trainee asks for a refund, and a stranger orders."""
    trainee, stranger = replay.say("/refund A-17", by="Noor"), replay.say("/order A-19 SKU-9 1")
    replay.promise(
        "permission_needed",
        "Who is not allowed to do something, or is not known, changes nothing.",
        {
            "answers": (["denied", "denied"], statuses([trainee, stranger])),
            "refunds that the trainee got": (0, _refunds_by(replay, "noor")),
            "orders A-19 in the order system": (0, replay.erp.count("order", "A-19")),
        },
    )


def _refunds_by(replay: Replay, person: str) -> int:
    return sum(1 for refund in replay.erp.effects("refund") if refund["by"] == person)


def revoked(replay: Replay) -> None:
    """Somebody orders, is blocked, and sends the old message again."""
    first = replay.say("/order A-26 SKU-9 2")
    replay.note("Omar leaves the company, and an administrator blocks his account")
    replay.shop.block("1004")
    again = replay.say("/order A-26 SKU-9 2")
    replay.promise(
        "blocked_means_blocked",
        "Who was blocked hears no old answers either, though there is one.",
        {
            "answers": (["succeeded", "denied"], statuses([first, again])),
            "he hears of the order": (False, "A-26" in again.message),
        },
    )


def stranger(replay: Replay) -> None:
    """Somebody whom nobody knows tries again and again; a customer comes in between."""
    answers = replay.flood(replay.updates.said("/refund A-17", by="Rex"), 2 * REFUSALS + 1, until="throttled")
    customer = replay.say("/stock SKU-4")
    replay.promise(
        "strangers_cut_off",
        "Who is refused again and again is not listened to any more, and nobody else notices.",
        {
            "his last answer": ("throttled", answers[-1].status),
            "answers in which something was done": (0, statuses(answers).count("succeeded")),
            "a customer in between": ("succeeded", customer.status),
        },
    )


def flood(replay: Replay) -> None:
    """Somebody who may do it does it fifteen times in a row."""
    answers = replay.flood(replay.updates.said("/stock SKU-9", by="Noor"), 15)
    other = replay.say("/stock SKU-9", by="Imran")
    replay.promise(
        "flood_throttled",
        "Who floods the bot is slowed down, and others do not notice.",
        {
            "answers": ({"succeeded": 5, "throttled": 10}, dict(Counter(statuses(answers)))),
            "somebody else": ("succeeded", other.status),
        },
    )
    wait = max((answer.retry_after or 0.0 for answer in answers), default=0.0)
    replay.later(wait)
    again = replay.flood(replay.updates.said("/stock SKU-9", by="Noor"), 1)
    replay.promise(
        "refused_calls_are_free",
        "What was refused does not count: after the time that she was told she is heard again.",
        {"she was told a time": (True, wait > 0), "answer": (["succeeded"], statuses(again))},
    )


def confirmed_refund(replay: Replay) -> None:
    """A refund is asked back first. A colleague presses the button; then the one who was asked, twice."""
    asked = replay.say("/refund A-17", by="Imran")
    before = _refunds_by(replay, "imran")
    press = [token_pressed(replay.updates.said("yes TOKEN", n), asked.token) for n in range(3)]
    colleague = replay.deliver(press[0])
    meanwhile = replay.erp.count("refund", "A-17")
    answers = [replay.deliver(press[1]), replay.deliver(press[2])]
    replay.promise(
        "refund_confirmed",
        "A refund waits for a yes, and two of them are one refund.",
        {
            "answers": (["pending", "succeeded", "succeeded"], statuses([asked, *answers])),
            "refunds before the yes": (0, before),
            "refunds after it": (1, _refunds_by(replay, "imran")),
        },
    )
    replay.promise(
        "only_who_was_asked",
        "Somebody else's yes changes nothing, also if he could ask for refunds himself.",
        {
            "answer": ("denied", colleague.status),
            "because": ("confirmation_invalid", ", ".join(colleague.reasons)),
            "refunds after his yes": (0, meanwhile),
        },
    )
