"""Delivers updates to bots, breaks the bots at chosen moments, and delivers again until every order has an end.

Everything is decided by a seed: which order, which bot, what is done to it, how far it must have come, and how much later
it happens. What the operating system makes of that is another matter, so a seed repeats a plan, not a run.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import random
import selectors
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from botguard.errors import StoreUnavailable
from botguard.ports.idempotency import RowState
from botguard.testing.proxy import FaultProxy
from crashes.books import Answer, Books, Broken, Order
from crashes.crew import Bot, Delivery
from crashes.faults import Fault, Kill
from crashes.nursery import Nursery
from crashes.places import Outside, Where
from crashes.shop import Shop, key_of, kind_of

#: Whoever is told so has his value, and the key is another matter: nobody claimed it, or somebody else has taken it over.
_ELSEWHERE = frozenset({"claim_skipped", "lease_lost"})
#: Orders that wait for their end at a time.
OPEN = 48
#: Longest pause of a handler before its effect and after it, in seconds.
PAUSE = 0.004


class Plan(NamedTuple):
    """What a run is to do.

    Args:
        faults: kinds of faults; each strike takes one of them by chance.
        hits: how many are to strike a bot while it holds a claim.
        lease: seconds that a claim lasts.
        bots: processes at work at a time.
        bug: planted in every bot; see bugs.py.
        when: how far a delivery is when a fault is planned: ``sent``, ``held`` (the handler begins), ``did`` (its
            effect happened); each as often as it is listed.
        kinds: of commands; none: all that the store has.
        must_see: what must have been counted, or the run says nothing.
        storm, drain: seconds after which it has reached too little, and after which something is stuck.
    """

    faults: tuple[Fault, ...]
    hits: int
    lease: float = 0.8
    bots: int = 4
    bug: str = ""
    when: tuple[str, ...] = ("sent", "held", "held", "did", "did")
    kinds: tuple[str, ...] = ()
    must_see: tuple[str, ...] = ()
    storm: float = 60.0
    drain: float = 20.0


class Conductor:
    """One run."""

    def __init__(self, nursery: Nursery, where: Where, plan: Plan, seed: int) -> None:
        self._nursery, self._where, self._plan = nursery, where, plan
        self.chance, self.lease = random.Random(seed), plan.lease
        self.outside = Outside(where)
        self.shop = Shop(where, plan.lease)
        self.orders: dict[str, Order] = {}
        #: How often something happened, for whoever reads the report, and for the vacuous.
        self.seen: Counter[str] = Counter()
        self._bots: dict[int, Bot] = {}
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Order]] = []
        self._timers: list[tuple[float, int, Callable[[], Any]]] = []
        self._numbers = count(1)
        self._storming = False
        self._trouble = ""

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> Counter[str]:
        """Storm, heal, drain, check the books.

        Raises:
            Broken: a promise was broken, or the run was vacuous.
        """
        try:
            for _ in range(self._plan.bots):
                self._start()
            self._storming = True
            self._work_until(lambda: self.seen["hits"] >= self._plan.hits, self._plan.storm)
            self._storming = False
            self._work_until(lambda: not self._timers and self._is_idle(), self._plan.drain)
            self._finish_the_rest()
            Books(self.shop, self.outside, self.orders).check(self.seen)
        finally:
            self._close()
        missing = [what for what in self._plan.must_see if not self.seen[what]]
        if self.seen["hits"] < self._plan.hits or missing:
            never = f", and never: {', '.join(missing)}" if missing else ""
            raise Broken(
                f"vacuous: {self.seen['hits']} of {self._plan.hits} faults hit a claim{never}; {self.summary()}"
            )
        return self.seen

    def summary(self) -> str:
        """One line about what happened."""
        return ", ".join(f"{n} {what}" for what, n in sorted(self.seen.items()))

    def later(self, seconds: float, do: Callable[[], Any]) -> None:
        """Do something when so many seconds are over."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), do))

    def trouble(self, what: str) -> None:
        """Something that every bot meets from now on; nothing: it is over."""
        self._trouble = what
        for bot in self._bots.values():
            if what and bot.delivery is not None:
                bot.delivery.order.struck.append(what)

    def _is_idle(self) -> bool:
        return all(bot.is_free for bot in self._bots.values())

    def _is_over(self) -> bool:
        return self._is_idle() and all(order.settled for order in self.orders.values())

    def _work_until(self, reached: Callable[[], bool], patience: float) -> None:
        end = time.monotonic() + patience
        while not reached() and time.monotonic() < end:
            self._assign()
            self._wait(min(end - time.monotonic(), 0.05))

    def _wait(self, seconds: float) -> None:
        if self._timers:
            seconds = min(seconds, self._timers[0][0] - time.monotonic())
        for key, _ in self._selector.select(max(seconds, 0.0)):
            self._hear(key.data)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _finish_the_rest(self) -> None:
        """Every order is delivered until it has an end."""
        self.shop.guard.apply_spool()
        self._work_until(self._is_over, self._plan.drain)
        self.shop.guard.apply_spool()

    # ── bots ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        proxy, where = None, self._where
        if any(fault.needs_proxy for fault in self._plan.faults):
            url = where.database().url
            proxy = FaultProxy(str(url.host), int(url.port or 0))
            where = where._replace(port=proxy.port)
        pid, line = self._nursery.start(where, self._plan.lease, self._plan.bug)
        self._bots[pid] = bot = Bot(pid, line, proxy)
        self._selector.register(line, selectors.EVENT_READ, bot)

    def _hear(self, bot: Bot) -> None:
        try:
            data = bot.line.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self._died(bot)
            return
        *lines, bot.heard = (bot.heard + data).split(b"\n")
        for line in lines:
            at, *about = json.loads(line)
            getattr(self, f"_{at}")(bot, *about)

    def _ready(self, bot: Bot) -> None:
        bot.ready = True

    def _backend(self, bot: Bot, number: int) -> None:
        bot.backends.append(number)

    def _held(self, bot: Bot, order: str, fence: int) -> None:
        assert bot.delivery is not None
        bot.delivery.at, bot.delivery.fence = "held", fence
        self.orders[order].runs += 1
        self._arm(bot)

    def _did(self, bot: Bot, order: str) -> None:
        assert bot.delivery is not None
        bot.delivery.at = "did"
        self._arm(bot)

    def _died(self, bot: Bot) -> None:
        self._selector.unregister(bot.line)
        bot.line.close()
        del self._bots[bot.pid]
        code = self._nursery.reap(bot.pid)
        if bot.proxy is not None:
            bot.proxy.close()
        delivery = bot.doomed
        if code != -9 or delivery is None:
            raise Broken(f"a bot ended by itself with {code}: {self._nursery.last_words()}")
        self._count_hit(delivery)
        self._again(delivery.order, self.chance.uniform(0.0, 1.2) * self.lease)
        self._start()

    # ── deliveries ───────────────────────────────────────────────────────────────────────────────────────────────

    def _assign(self) -> None:
        now = time.monotonic()
        for bot in self._bots.values():
            if bot.is_free:
                order = self._next(now)
                if order is None:
                    return
                self._deliver(bot, order)

    def _next(self, now: float) -> Order | None:
        while self._due and self._due[0][0] <= now:
            order = heapq.heappop(self._due)[2]
            if not order.settled:
                return order
        if not self._storming or sum(not order.settled for order in self.orders.values()) >= OPEN:
            return None
        kind = self.chance.choice(self._plan.kinds or self._where.kinds)
        order = Order(f"{kind}-{len(self.orders)}")
        self.orders[order.name] = order
        if self.chance.random() < 0.15:
            self._again(order, 0.0)  # a twin comes at the same time
        return order

    def _again(self, order: Order, seconds: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), order))

    def _deliver(self, bot: Bot, order: Order) -> None:
        self.seen["deliveries"] += 1
        bot.delivery = delivery = Delivery(order, time.monotonic())
        if self._trouble or bot.trouble:
            order.struck.append(self._trouble or bot.trouble)
        pace = [self.chance.uniform(0.0, PAUSE) for _ in range(2)]
        if self._storming and self.chance.random() < 0.8 and self._may_strike(order):
            delivery.fault = self.chance.choice(self._plan.faults)
            delivery.strikes_at = self.chance.choice(self._plan.when)
            delivery.delay = self.chance.uniform(0.0, 1.5 * PAUSE)
        bot.line.sendall((json.dumps({"order": order.name, "pace": pace}) + "\n").encode())
        self._arm(bot)

    def _may_strike(self, order: Order) -> bool:
        # Whoever is asked whether a sleeper's effect happened can only say that it has not: nobody can fence it outside.
        sleeps = any(fault.waits for fault in self._plan.faults)
        return not (sleeps and kind_of(order.name) == "reconciled")

    def _arm(self, bot: Bot) -> None:
        delivery = bot.delivery
        assert delivery is not None
        if delivery.fault is not None and delivery.at == delivery.strikes_at:
            self.later(delivery.delay, lambda: self._strike(bot, delivery))

    def _strike(self, bot: Bot, delivery: Delivery) -> None:
        if bot.delivery is not delivery or bot.pid not in self._bots or not self._storming:
            return  # it was faster
        assert delivery.fault is not None
        fault, name = delivery.fault, type(delivery.fault).__name__
        self.seen[f"{name} at {delivery.at}"] += 1
        delivery.order.struck.append(f"{name} at {delivery.at}")
        bot.doomed = delivery if isinstance(fault, Kill) else None
        fault.strike(bot, self)
        if fault.waits:
            self._count_hit(delivery)
            self._again(delivery.order, 1.1 * self.lease)
        elif bot.doomed is None and delivery.at in ("held", "did"):
            self.seen["hits"] += 1

    def _count_hit(self, delivery: Delivery) -> None:
        """Did this very run still hold its claim when its process came to its end? Only the row knows."""
        try:
            row = self.shop.storage.idempotency.peek(key_of(delivery.order.name))
        except StoreUnavailable:  # somebody sleeps with the lock of the whole file
            row = None
        if row is not None and row.fence == delivery.fence and row.state is RowState.CLAIMED and row.lease_left > 0:
            self.seen["hits"] += 1
            self.seen[f"claims left {'after' if delivery.at == 'did' else 'before'} the effect"] += 1
        else:
            self.seen["misses"] += 1

    def _ended(self, bot: Bot, name: str, told: dict[str, Any]) -> None:
        delivery, bot.delivery = bot.delivery, None
        assert delivery is not None
        order, answer = delivery.order, Answer(**told)
        order.answers.append(answer)
        if time.monotonic() - delivery.began >= self.lease and not order.struck:
            order.struck.append("it took longer than its lease")
        self.seen[answer.status] += 1
        self.seen.update(reason for reason in answer.reasons if reason in ("completion_lost", "lease_lost"))
        if answer.status in ("succeeded", "unknown") and not _ELSEWHERE.intersection(answer.reasons):
            order.settled = True
        elif answer.status in ("succeeded", "in_flight", "unavailable", "failed"):
            self._again(order, 0.1)
        else:
            raise Broken(f"{name} was answered with {answer} | {order.history()}")

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _close(self) -> None:
        for bot in self._bots.values():
            with contextlib.suppress(ProcessLookupError):
                Kill().strike(bot, self)
            self._nursery.reap(bot.pid)
            bot.line.close()
            if bot.proxy is not None:
                bot.proxy.close()
        self._selector.close()
        self.shop.close()
        self.outside.close()
