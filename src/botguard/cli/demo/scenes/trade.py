"""Orders and reservations: placed once, read right, and only what the shop can and may do."""

from __future__ import annotations

from botguard.cli.demo.replay import Replay, statuses

__all__ = ["buttons", "common_sense", "five_at_once", "good_order", "last_piece", "mistakes"]


def good_order(replay: Replay) -> None:
    """Somebody looks, orders, and uses an order number twice by mistake."""
    replay.say("/stock SKU-9")
    good = replay.say("/order A-17 SKU-9 3")
    again = replay.say("/order A-17 SKU-9 30")
    replay.promise(
        "order_once",
        "A good order is placed once, and another one under the same number is refused.",
        {
            "answers": (["succeeded", "conflict"], statuses([good, again])),
            "orders A-17 in the order system": (1, replay.erp.count("order", "A-17", "acme")),
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
    """A typing mistake, a forgotten word, and a number that no telephone has."""
    lots, short = replay.say("/order A-19 SKU-9 lots"), replay.say("/order A-19")
    phone, mended = replay.say("/courier A-24 12345"), replay.say("/courier A-24 0911234567")
    replay.promise(
        "mistakes_explained",
        "A message with a mistake changes nothing, and its sender is told what to mend.",
        {
            "answers": (["invalid", "invalid", "invalid"], statuses([lots, short, phone])),
            "the answer names what is wrong": (True, "Quantity" in lots.message and "Phone" in phone.message),
            "orders A-19 in the order system": (0, replay.erp.count("order", "A-19")),
        },
    )
    replay.promise(
        "numbers_written_one_way",
        "What comes through is written one way only: the courier gets the full telephone number.",
        {
            "answer": ("succeeded", mended.status),
            "numbers that the couriers got": (
                ["+251911234567"],
                [c["phone"] for c in replay.erp.effects("courier", "A-24")],
            ),
        },
    )


def buttons(replay: Replay) -> None:
    """A press is sent again under another update id; then the other button of the message is pressed."""
    answers = [replay.say("reserve SKU-9 2"), replay.say("reserve SKU-9 2", 1), replay.say("reserve SKU-4 1")]
    replay.promise(
        "presses_counted",
        "A button press that arrives twice counts once; two buttons of one message are two wishes.",
        {
            "answers": (["succeeded"] * 3, statuses(answers)),
            "answers that repeat an earlier one": ([False, True, False], [answer.replayed for answer in answers]),
            "reservations of 2 SKU-9": (1, replay.shop.reservations("SKU-9", 2)),
            "reservations of 1 SKU-4": (1, replay.shop.reservations("SKU-4", 1)),
        },
    )


def last_piece(replay: Replay) -> None:
    """One delivery is held up at the shelf while its twin buys what lies there."""
    replay.note("two deliveries of one message; the second is done while the first still looks at the shelf")
    answers = replay.overtaken(replay.updates.said("/order A-25 SKU-7 1"))
    replay.promise(
        "overtaken_by_its_twin",
        "Who asks twice for the last piece hears twice that he has it, and not that it is gone.",
        {
            "answers": (["succeeded", "succeeded"], statuses(answers)),
            "the second one repeats the first": (True, answers[0].message == answers[1].message),
            "orders A-25 in the order system": (1, replay.erp.count("order", "A-25")),
        },
    )


#: Orders that are well written and permitted: what is sent, the promise, and what the customer must read.
_UNWISE = (
    (
        "/order A-27 SKU-9 80",
        "rules_hold",
        "What the company's rules forbid is not done, and the customer is told the way that is left.",
        "More than 50 pieces need an offer. Please call the office.",
    ),
    ("/order A-29 SKU-1 2", "unknown_things_refused", "What does not exist cannot be ordered.", "We have no SKU-1."),
    ("/order A-30 SKU-8 9", "stock_is_real", "Nobody can order more than there is.", "Only 5 of SKU-8 are left."),
)


def common_sense(replay: Replay) -> None:
    """What is refused although it is well written and permitted, and what is right after all."""
    for words, name, says, reads in _UNWISE:
        answer, number = replay.say(words), words.split()[1]
        facts = {
            "answer": ("denied", answer.status),
            "the customer reads": (reads, answer.message),
            f"orders {number} in the order system": (0, replay.erp.count("order", number)),
        }
        replay.promise(name, says, facts)
    placed = replay.say("/order A-27 SKU-9 2")
    replay.promise(
        "refused_is_not_used_up",
        "A number that was refused is free for the right order.",
        {"answer": ("succeeded", placed.status)},
    )
    _cancelled(replay)
    aside = replay.say("reserve SKU-4 30")
    replay.promise(
        "forecast_heeded",
        "What would be missing tomorrow is not put aside today.",
        {"answer": ("denied", aside.status), "reservations of 30 SKU-4": (0, replay.shop.reservations("SKU-4", 30))},
    )


def _cancelled(replay: Replay) -> None:
    other = replay.say("/cancel A-27", by="Omar")
    replay.promise(
        "others_orders_unseen",
        "An order of somebody else is not there at all, not even to be refused.",
        {"answer": ("denied", other.status), "he reads": ("There is no order A-27.", other.message)},
    )
    own, again = (replay.say("/cancel A-27", nth, by="Sara") for nth in (0, 1))
    replay.promise(
        "state_looked_at",
        "What is cancelled already is not cancelled again, also by a new message.",
        {
            "answers": (["succeeded", "denied"], statuses([own, again])),
            "cancellations in the order system": (1, replay.erp.count("cancel", "A-27")),
        },
    )
