"""The network breaks at every single request of a call to the database; then the update is delivered again."""

from __future__ import annotations

from collections import Counter
from itertools import count
from pathlib import Path
from typing import Literal

import pytest

from botguard import Outcome
from botguard.testing import FakeClock
from botguard.testing.proxy import FaultProxy
from crashes.books import Answer, Books, Broken, Order
from crashes.places import Outside, Where, a_place
from crashes.shop import Shop
from crashes.storms import reproduce

LEASE = 60.0


class Scan:
    """One kind of command, its network broken everywhere; all its orders are in one database.

    Args:
        then: see :class:`FaultProxy`: the connection is cut, or the server is gone until the caller has his answer.
    """

    def __init__(
        self, shop: Shop, proxy: FaultProxy, clock: FakeClock, kind: str, then: Literal["cut", "down"]
    ) -> None:
        self.shop, self.proxy, self.clock, self.kind, self.then = shop, proxy, clock, kind, then
        self.orders: dict[str, Order] = {}
        self.seen: Counter[str] = Counter()

    def run(self) -> None:
        for request in count(1):
            struck = [self._point(request, when) for when in ("before", "after")]
            if not any(struck):
                return

    def _point(self, request: int, when: Literal["before", "after"]) -> bool:
        warm = self._deliver(Order(f"{self.kind}-warm{next(_numbers)}"))
        assert warm.ok, warm
        order = Order(f"{self.kind}-{request}{when}{self.then}")
        self.proxy.at(request, when, self.then)
        self._deliver(order)
        fired = self.proxy.fired
        self.proxy.heal()
        if fired:
            order.struck.append(f"{self.then} {when} request {request}")
        self.shop.guard.apply_spool()
        self.clock.advance(2 * LEASE)  # whoever waits for a lease, waits no longer
        for _ in range(3):  # connections that broke may be noticed only now
            if self._deliver(order).status in ("succeeded", "unknown"):
                break
        self.orders[order.name] = order
        self.seen[order.answers[0].status] += 1
        return fired

    def _deliver(self, order: Order) -> Outcome:
        outcome = self.shop.deliver(order.name)
        told = (outcome.status, outcome.value, outcome.replayed, outcome.degraded, outcome.reasons, outcome.error)
        order.answers.append(Answer(str(told[0]), *told[1:4], list(map(str, told[4])), repr(told[5] or "")))
        return outcome


_numbers = count(1)


def scan_all(where: Where, then: Literal["cut", "down"], kinds: tuple[str, ...]) -> Counter[str]:
    """These kinds of commands, and then the books.

    Raises:
        Broken: a promise was broken, or the scan was vacuous.
    """
    url, clock, outside = where.database().url, FakeClock(), Outside(where)
    orders: dict[str, Order] = {}
    seen: Counter[str] = Counter()
    with FaultProxy(str(url.host), int(url.port or 0)) as proxy:
        shop = Shop(where._replace(port=proxy.port), LEASE, clock=clock)
        for kind in kinds:
            scan = Scan(shop, proxy, clock, kind, then)
            scan.run()
            orders |= scan.orders
            seen += scan.seen
            if len(scan.orders) < 8:
                raise Broken(f"vacuous: only {list(scan.orders)}")
        shop.close()
    directly = Shop(where, LEASE, clock=clock)
    try:
        Books(directly, outside, orders).check(seen)
    finally:
        directly.close()
        outside.close()
    too_early = [order.history() for order in orders.values() if was_told_too_early(order)]
    if too_early:
        raise Broken(f"told that nothing happened, though it had: {'; '.join(too_early)}")
    return seen


def was_told_too_early(order: Order) -> bool:
    """Who is told *unavailable* has had no effect: his next delivery must not find one."""
    first, *more = order.answers
    return first.status == "unavailable" and any(answer.replayed for answer in more[:1])


def hold(tmp_path: Path, place: str, then: Literal["cut", "down"], kinds: tuple[str, ...]) -> None:
    """Scan, and say how to see it again."""
    try:
        with a_place(place, tmp_path) as where:
            seen = scan_all(where, then, kinds or where.kinds)
        require(seen, "succeeded", "failed", *(("unavailable", "visibly unknown in the end") if then == "down" else ()))
    except Broken as error:
        raise Broken(f"{error} | reproduce: {reproduce()}") from None
    print(f"{place}, {then}: {dict(seen)}")  # noqa: T201 - shown by pytest -s


def require(seen: Counter[str], *what: str) -> None:
    """One connection less is mended by asking again; a server that is gone is not, and somebody is told so."""
    never = [one for one in what if not seen[one]]
    if never:
        raise Broken(f"vacuous: never {', '.join(never)}, only {dict(seen)}")


@pytest.mark.parametrize("place", ["postgresql", "mariadb"])
def test_the_connection_is_cut_at_every_request(tmp_path: Path, place: str) -> None:
    hold(tmp_path, place, "cut", ("transactional", "external", "transactional_async"))


@pytest.mark.parametrize("place", ["postgresql", "mariadb"])
def test_the_server_is_gone_from_every_request_on(tmp_path: Path, place: str) -> None:
    hold(tmp_path, place, "down", ("transactional", "idempotent", "external"))


@pytest.mark.soak
@pytest.mark.parametrize("then", ["cut", "down"])
@pytest.mark.parametrize("place", ["postgresql", "mariadb"])
def test_every_kind_soak(tmp_path: Path, place: str, then: Literal["cut", "down"]) -> None:
    hold(tmp_path, place, then, ())
