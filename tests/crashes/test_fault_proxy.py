"""botguard.testing.proxy: what passes, what breaks, and where."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from botguard.testing.proxy import FaultProxy


class Echo:
    """A server that greets, answers each line with it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
                self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            connection.sendall(b"hello\n")
            for line in lines:
                self.asked.append(line)
                connection.sendall(line)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


class Client:
    """A connection through the proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._socket = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        self._lines = self._socket.makefile("rb")
        try:
            self.greeting = self.read()
        except OSError:
            self.close()
            raise

    def read(self) -> bytes:
        return self._lines.readline()

    def ask(self, line: bytes) -> bytes:
        self._socket.sendall(line)
        return self.read()

    def send(self, line: bytes) -> None:
        self._socket.sendall(line)

    def be_patient(self, seconds: float) -> None:
        self._socket.settimeout(seconds)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[Client]:
    client = Client(proxy)
    yield client
    client.close()


def is_broken(client: Client) -> bool:
    try:
        return client.ask(b"still there?\n") == b""
    except OSError:
        return True


def is_refused(proxy: FaultProxy) -> bool:
    """Nobody greets a new client."""
    try:
        client = Client(proxy)
    except OSError:
        return True
    client.close()
    return client.greeting == b""


def test_it_passes_on_what_both_say_and_counts_requests(proxy: FaultProxy, client: Client) -> None:
    assert client.greeting == b"hello\n"
    assert client.ask(b"one\n") == b"one\n"
    long = b"x" * 1_000_000 + b"\n"
    assert client.ask(long) == long
    assert proxy.requests == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_is_cut_at_exactly_one_request(proxy: FaultProxy, echo: Echo, client: Client, when: str) -> None:
    other = Client(proxy)
    proxy.at(2, when)  # type: ignore[arg-type]
    assert client.ask(b"one\n") == b"one\n"
    with suppress(OSError):
        assert client.ask(b"two\n") == b""
    assert proxy.fired
    assert is_broken(client)
    assert echo.asked == ([b"one\n"] if when == "before" else [b"one\n", b"two\n"])
    assert other.ask(b"three\n") == b"three\n", "only that connection"
    other.close()


def test_a_fault_beyond_the_last_request_does_not_happen(proxy: FaultProxy, client: Client) -> None:
    proxy.at(3)
    assert client.ask(b"one\n") == b"one\n"
    assert not proxy.fired
    proxy.heal()
    assert [client.ask(b"%d\n" % n) for n in range(3)] == [b"0\n", b"1\n", b"2\n"]


def test_the_server_is_gone_from_one_request_on(proxy: FaultProxy, client: Client) -> None:
    other = Client(proxy)
    proxy.at(1, "before", "down")
    assert is_broken(client)
    assert is_broken(other)
    assert is_refused(proxy)
    proxy.heal()
    again = Client(proxy)
    assert again.ask(b"one\n") == b"one\n"
    for one in (other, again):
        one.close()


def test_cut_resets_what_is_open_and_lets_new_ones_in(proxy: FaultProxy, client: Client) -> None:
    assert proxy.cut() == 1
    assert is_broken(client)
    again = Client(proxy)
    assert again.ask(b"one\n") == b"one\n"
    again.close()


def test_a_stalled_answer_arrives_when_the_network_heals(proxy: FaultProxy, client: Client) -> None:
    proxy.stall()
    client.send(b"one\n")
    client.be_patient(0.05)
    with pytest.raises(TimeoutError):
        client._socket.recv(1)
    client.be_patient(10)
    proxy.heal()
    assert client._socket.recv(4) == b"one\n"


def test_a_request_that_stalls_is_not_lost(proxy: FaultProxy, echo: Echo, client: Client) -> None:
    proxy.at(1, "after", "stall")
    client.send(b"one\n")
    client.be_patient(0.05)
    with pytest.raises(TimeoutError):
        client._socket.recv(1)
    assert echo.asked == [b"one\n"]
    client.be_patient(10)
    proxy.heal()
    assert client._socket.recv(4) == b"one\n"


def test_lost_answers_are_to_requests_that_arrived(proxy: FaultProxy, echo: Echo, client: Client) -> None:
    proxy.lose_answers()
    with suppress(OSError):
        assert client.ask(b"one\n") == b""
    assert echo.asked == [b"one\n"]
    assert is_broken(client)
    proxy.heal()
    again = Client(proxy)
    assert again.ask(b"two\n") == b"two\n"
    again.close()


def test_a_server_that_is_not_there_breaks_its_clients(proxy: FaultProxy) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with FaultProxy("127.0.0.1", port) as nowhere:
        assert is_refused(nowhere)


def test_closing_resets_everybody_and_can_be_repeated(echo: Echo) -> None:
    proxy = FaultProxy("127.0.0.1", echo.port)
    client = Client(proxy)
    proxy.stall()
    proxy.close()
    proxy.close()
    assert is_broken(client)
    client.close()
