"""A TCP proxy that breaks connections on purpose: between a client and its database, at any request or at any time.

A store that is called through it meets what real networks do: connections that are reset, a server that hangs, and the
worst one, an answer that gets lost after the work was done::

    with FaultProxy("127.0.0.1", 5432) as proxy:
        storage = SqlAlchemyStorage(create_engine(f"postgresql+psycopg://app@127.0.0.1:{proxy.port}/shop"))
        for request in count(1):
            proxy.at(request, "after")
            check(build_guard(storage).run("orders.create", payload, context=context))
            if not proxy.fired:  # the run has fewer requests: every one of them was hit
                break

It runs on a thread of its own, so synchronous clients of the same process can use it. It does not look into what passes:
a *request* is whatever a client sends between two answers. Encrypted connections work as well.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, NamedTuple, Self, TypeVar

from botguard.testing.faults import When

__all__ = ["FaultProxy", "Then"]

_T = TypeVar("_T")

#: What happens at the request that ``at`` names: its connection is reset; the server is gone until ``heal()``; nothing
#: moves any more until ``heal()``.
Then = Literal["cut", "down", "stall"]

_CHUNK = 65536
#: Closing with it sends a reset instead of a polite end, as a machine does that has lost its connections.
_RESET = struct.pack("ii", 1, 0)


class _Plan(NamedTuple):
    request: int
    when: When
    then: Then


class FaultProxy:
    """Passes bytes on between clients and one server, until it is told to break something.

    All faults can be caused from any thread, at any time, and act on every connection through this proxy.

    Args:
        host, port: the server's address.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server_address = (host, port)
        self._links: set[_Link] = set()
        self._plan: _Plan | None = None
        self._down = self._mute = False
        #: Requests so far, over all connections, since the beginning or the last ``at``.
        self.requests = 0
        #: True when the fault of ``at`` has happened.
        self.fired = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="botguard fault proxy", daemon=True)
        self._thread.start()
        self._moving = asyncio.Event()
        self._moving.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        listener = socket.create_server(("127.0.0.1", 0))
        #: Where clients connect: this port of 127.0.0.1.
        self.port = int(listener.getsockname()[1])
        self._listening = self._in_loop(asyncio.start_server(self._serve, sock=listener))

    # ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────

    def at(self, request: int, when: When = "before", then: Then = "cut") -> None:
        """Break something at exactly one request, once. Counting begins anew.

        Args:
            request: which one, from 1, over all connections.
            when: ``before``: the server never gets it. ``after``: the server has answered, and the answer is lost.
            then: see :data:`Then`.
        """

        async def plan() -> None:
            self._plan, self.requests, self.fired = _Plan(request, when, then), 0, False

        self._in_loop(plan())

    def cut(self) -> int:
        """Reset every open connection; returns how many. New ones are let through."""

        async def cut() -> int:
            return self._reset_all()

        return self._in_loop(cut())

    def down(self) -> None:
        """Reset every open connection, and each new one, until ``heal()``."""

        async def down() -> None:
            self._down = True
            self._reset_all()

        self._in_loop(down())

    def stall(self) -> None:
        """Nothing passes in either direction, and nothing is closed, until ``heal()``; then everything goes on."""

        async def stall() -> None:
            self._moving.clear()

        self._in_loop(stall())

    def lose_answers(self) -> None:
        """Requests arrive, but a connection is reset where its next answer should pass, until ``heal()``."""

        async def mute() -> None:
            self._mute = True

        self._in_loop(mute())

    def heal(self) -> None:
        """End every fault, and forget one that ``at`` has planned."""

        async def heal() -> None:
            self._plan, self._down, self._mute = None, False, False
            self._moving.set()

        self._in_loop(heal())

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Reset every connection and stop listening."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            self._listening.close()
            self._reset_all()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # transports close in the loop's next round

        self._in_loop(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _in_loop(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────────────

    def _reset_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._moving.wait()
            if self._down:
                _reset(writer)
                return
            try:
                server = await asyncio.open_connection(*self._server_address)
            except OSError:
                _reset(writer)
                return
            link = _Link(self, (reader, writer), server)
            self._links.add(link)
            try:
                await link.run()
            finally:
                self._links.discard(link)
        except asyncio.CancelledError:  # close(); the server's own task must not end cancelled
            _reset(writer)
        finally:
            self._tasks.discard(task)

    def _asked(self) -> tuple[int, bool]:
        """A request has come: its number, and whether it may pass."""
        self.requests += 1
        return self.requests, self._may_pass(self.requests, "before")

    def _answered(self, number: int) -> bool:
        """The answer to that request has come: may it pass?"""
        return not self._mute and self._may_pass(number, "after")

    def _may_pass(self, number: int, when: When) -> bool:
        plan = self._plan
        if plan is None or self.fired or (number, when) != plan[:2]:
            return True
        self.fired = True
        if plan.then == "stall":
            self._moving.clear()
            return True
        if plan.then == "down":
            self._down = True
            self._reset_all()
        return False


class _Link:
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(
        self,
        proxy: FaultProxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        (self._from_client, self._to_client), (self._from_server, self._to_server) = client, server
        self._waiting = False  # for the answer to a request
        self._number = 0

    async def run(self) -> None:
        """Until one side ends the connection, or a fault does."""
        pumps = [
            asyncio.ensure_future(self._pump(self._from_client, self._to_server, self._request_may_pass)),
            asyncio.ensure_future(self._pump(self._from_server, self._to_client, self._answer_may_pass)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for writer in (self._to_client, self._to_server):
                writer.close()

    def reset(self) -> None:
        """Both sides see their connection break."""
        _reset(self._to_client)
        _reset(self._to_server)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, may_pass: Callable[[], bool]
    ) -> None:
        try:
            while data := await source.read(_CHUNK):
                if not may_pass():
                    self.reset()
                    return
                await self._proxy._moving.wait()  # noqa: SLF001 - one of us
                target.write(data)
                await target.drain()
        except OSError:  # one side is gone without a word: so is the other
            self.reset()

    def _request_may_pass(self) -> bool:
        if self._waiting:  # a further part of the same request
            return True
        self._waiting = True
        self._number, may = self._proxy._asked()  # noqa: SLF001 - one of us
        return may

    def _answer_may_pass(self) -> bool:
        if not self._waiting:  # a greeting, or a further part of the same answer
            return True
        self._waiting = False
        return self._proxy._answered(self._number)  # noqa: SLF001 - one of us


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:  # it is closed already
        pass
    writer.transport.abort()
