"""Shared breakers over a real server: processes, their deaths, restarts and lost connections."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.redis.servers import own_redis, shared, wipe
from adapters.redis.test_redis_server import losing
from botguard import ALLOW_ALL, Breaker, Context, Guard, Outcome, Reason, Status
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.redis import RedisBreakers, RedisServer
from botguard.invocation import Actor

PATIENCE = 30.0
ANN = Context(org="acme", actor=Actor("ann"))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    made = shared()
    yield made
    wipe(made)
    made.close()


class Child:
    """See breaker_child.py; what it says is read by a thread, so that nobody waits for ever."""

    def __init__(self, server: RedisServer, *options: float) -> None:
        words = [server._url, server.prefix[1:-2], *map(str, options)]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("breaker_child.py")), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line.strip())

    def tell(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()

    def said(self) -> str:
        return self._said.get(timeout=PATIENCE)

    def ask(self, what: str) -> str:
        self.tell(what)
        return self.said()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass


@pytest.fixture
def children(server: RedisServer) -> Iterator[Any]:
    made: list[Child] = []

    def make(count: int, probes: int = 1, probe_timeout: float = 60.0, reset_after: float = 0.2) -> list[Child]:
        made.extend(Child(server, probes, probe_timeout, reset_after) for _ in range(count))
        for child in made:
            assert child.said() == "ready"
        return made

    yield make
    for child in made:
        child.end()


def until(condition: Any) -> None:
    """Real processes, a real server's clock: ask again until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


def its_time_is_over(server: RedisServer) -> bool:
    view: Any = RedisBreakers(server).look("erp")
    return view.state == "open" and view.wait == 0


@pytest.mark.parametrize("probes", [1, 3])
def test_four_processes_let_exactly_the_probes_through(server: RedisServer, children: Any, probes: int) -> None:
    fleet: list[Child] = children(4, probes)
    assert all(child.ask("run") == "succeeded" for child in fleet)
    assert fleet[0].ask("fail") == "failed handler_error"
    until(lambda: its_time_is_over(server))
    for child in fleet:
        child.tell("burst 4")
    heard: Counter[str] = Counter()
    counts: Counter[Child] = Counter()
    for child in fleet:
        said = [child.said() for _ in range(4)]  # each run either begins its handler or is refused
        heard.update(said)
        counts[child] = said.count("in")
    assert heard == {"in": probes, "unavailable breaker_open": 16 - probes}
    for child in fleet:
        child.tell("go")
    until(lambda: RedisBreakers(server).look("erp").state == "closed")  # type: ignore[union-attr]
    ended = Counter(child.said() for child in fleet for _ in range(counts[child]))
    assert ended == {"succeeded": probes}
    for child in fleet:
        until(lambda child=child: child.ask("run") == "succeeded")


def test_what_one_process_opens_the_others_refuse(server: RedisServer, children: Any) -> None:
    fleet: list[Child] = children(2, reset_after=60.0)
    assert fleet[1].ask("run") == "succeeded"
    assert fleet[0].ask("fail") == "failed handler_error"
    until(lambda: fleet[1].ask("run") == "unavailable breaker_open")


def test_the_probe_of_a_killed_process_is_given_to_another(server: RedisServer, children: Any) -> None:
    fleet: list[Child] = children(3, 1, 1.5)
    fleet[0].ask("fail")
    until(lambda: its_time_is_over(server))
    assert fleet[1].ask("burst 1") == "in"
    fleet[1].process.kill()
    assert fleet[2].ask("run") == "unavailable breaker_open"
    until(lambda: fleet[2].ask("run") == "succeeded")
    assert RedisBreakers(server).look("erp").state == "closed"  # type: ignore[union-attr]


# ── the server's own troubles ───────────────────────────────────────────────────────────────────────────────


class Up:
    """A guard over a server, with a handler that fails as told."""

    def __init__(self, server: RedisServer, **breaker: Any) -> None:
        self.up = True
        breaker = {"fail_max": 1, "reset_after": 60.0, "refresh": 0.05, **breaker}
        self.guard = Guard(
            storage=MemoryStorage(),
            access=ALLOW_ALL,
            breakers={"erp": Breaker(**breaker)},
            breaker_store=RedisBreakers(server),
        )

        @self.guard.command("orders.show", effects="read", breaker="erp")
        def show(payload: dict[str, Any]) -> None:
            if not self.up:
                raise TimeoutError

        @self.guard.command("orders.await", effects="read", breaker="erp")
        async def show_async(payload: dict[str, Any]) -> None:
            if not self.up:
                raise TimeoutError

    def run(self) -> Outcome:
        return self.guard.run("orders.show", {}, context=ANN)

    async def run_async(self) -> Outcome:
        return await self.guard.run_async("orders.await", {}, context=ANN)


def test_it_survives_a_killed_server(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        server = RedisServer(redis.url)
        here, there = Up(server), Up(server)
        assert there.run().ok
        here.up = False
        here.run()
        redis.kill()
        until(lambda: Reason.LOCAL_BREAKER in here.run().reasons)
        refused = here.run()
        assert (refused.status, refused.degraded) == (Status.UNAVAILABLE, True)
        until(lambda: Reason.LOCAL_BREAKER in there.run().reasons)
        assert there.run().ok  # it had not looked: each decides for itself
        redis.start()
        until(lambda: there.run().status is Status.UNAVAILABLE)
        until(lambda: not here.run().degraded)
        assert here.run().status is Status.UNAVAILABLE
        server.close()


def test_a_server_without_its_rows_is_told_again(tmp_path: Path) -> None:
    with own_redis(tmp_path, "--appendonly", "no") as redis:
        server = RedisServer(redis.url)
        here, there = Up(server), Up(server)
        here.up = False
        here.run()
        redis.kill()
        redis.start()
        until(lambda: here.run() and RedisBreakers(server).look("erp").state == "open")  # type: ignore[union-attr]
        until(lambda: there.run().status is Status.UNAVAILABLE)
        server.close()


@pytest.mark.parametrize("lost", range(4))
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_connection_that_is_lost_anywhere_loses_no_probe(server: RedisServer, colour: str, lost: int) -> None:
    """Look, admit and settle of one probe, each with its answer lost in turn; the fourth goes well."""
    breakers: Any = RedisBreakers(server)
    breakers.open("erp", 0, 0.0)
    breakers.settle("erp", 0, "nobody", "ignored", 1, 0.0)  # so that the server knows every script
    breakers.admit("other", 0, "nobody", 1, 1.0)
    assert breakers.look("erp").state == "open"
    kwargs = server._client().connection_pool.connection_kwargs
    answers = [n != lost for n in range(3)]
    with losing((kwargs["host"], kwargs["port"]), answers) as port:
        cut = RedisServer(f"redis://127.0.0.1:{port}/0", prefix=server.prefix[1:-2], protocol=2)
        host = Up(cut, refresh=60.0)

        async def run() -> Outcome:
            outcome = await host.run_async() if colour == "async" else host.run()
            await cut.close_async()
            return outcome

        outcome = asyncio.run(run())
        cut.close()
    assert outcome.ok
    # Without a first look the process knows of nothing, and says so; an answer that is lost later is asked for again.
    assert outcome.degraded is (lost == 0)
    assert breakers.look("erp").state == ("open" if lost == 0 else "closed")


def test_names_and_times_go_over_the_wire(server: RedisServer) -> None:
    breakers: Any = RedisBreakers(server)
    view = breakers.open("Lager, Köln", 0, 1e9)
    assert view.state == "open"
    assert view.wait == pytest.approx(1e9, abs=10)
    assert view.era > 1e15, "the server's clock, so that an era is never seen again"
    wipe(server)
    assert breakers.look("Lager, Köln") == ("closed", 0, 0.0, False)
    assert breakers.open("Lager, Köln", 0, 1.0).era > view.era
