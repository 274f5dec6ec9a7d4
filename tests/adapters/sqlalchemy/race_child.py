"""Processes that claim the same keys at once, forked from this one: prints what each has won, round by round."""

from __future__ import annotations

import json
import multiprocessing
import sys
from typing import Any

from sqlalchemy import create_engine

from botguard.adapters.sqlalchemy import SqlAlchemyStorage, prepare
from botguard.errors import StoreUnavailable
from botguard.ports.idempotency import ClaimRequest


def claim_all(url: str, prefix: str, me: int, rounds: int, barrier: Any, answers: Any) -> None:
    engine = create_engine(url)
    prepare(engine)
    store = SqlAlchemyStorage(engine, prefix=prefix).idempotency
    store.peek("warm")
    won = {}
    for number in range(rounds):
        barrier.wait()  # every round begins together, or the first one would win everything
        request = ClaimRequest(f"k{number}", "o", "c", f"p{me}-{number}", "p", b"f", "1", 60.0, takeover=True)
        while True:
            try:
                answer = store.claim(request)
                break
            except StoreUnavailable:  # SQLite's lock is not fair; the same claim id may ask again
                continue
        if answer.won:
            won[number] = answer.fence
        else:
            assert answer.row is not None
    engine.dispose()
    answers.put(won)


def main() -> None:
    url, prefix, processes, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    context: Any = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(processes), context.Queue()
    running = [
        context.Process(target=claim_all, args=(url, prefix, me, rounds, barrier, answers)) for me in range(processes)
    ]
    for process in running:
        process.start()
    sys.stdout.write(json.dumps([answers.get(timeout=240) for _ in running]))
    for process in running:
        process.join()


if __name__ == "__main__":
    main()
