"""What only a real server shows: its clock, a restart, a connection that is lost, a server that is full or locked."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.redis.servers import own_redis, shared, wipe
from botguard import ConfigurationError, StoreUnavailable
from botguard.adapters.redis import RedisClaims, RedisLimits, RedisServer
from botguard.ports.idempotency import Ack, ClaimRequest, RowState
from botguard.ports.limits import Limit

REQUEST = ClaimRequest("k", "acme", "orders.create", "c1", "ann", b"\x00print\xff", "v1", 30.0, False)
PER_USER = Limit("2/hour per user", 2, 3600.0, "fixed-window", "user", "orders.create|2/hour per user")
CAP = Limit("1 concurrent per user", 1, 60.0, "concurrent", "user", "orders.create|1 concurrent per user")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    made = shared()
    yield made
    wipe(made)
    made.close()


# ── the server's clock ──────────────────────────────────────────────────────────────────────────────────────


def test_leases_and_lifetimes_are_judged_by_the_servers_clock(server: RedisServer) -> None:
    claims: Any = RedisClaims(server)
    assert claims.claim(REQUEST).won
    assert 29.0 < claims.peek("k").lease_left <= 30.0
    assert claims.extend("k", "c1", -1.0) is Ack.APPLIED  # its owner died a second ago
    stuck = claims.claim(REQUEST._replace(claim_id="c2"))
    assert not stuck.won
    assert stuck.row.state is RowState.UNKNOWN
    assert stuck.row.lease_left == float("inf")


def test_settled_rows_go_by_themselves_and_unknown_ones_never(server: RedisServer) -> None:
    claims: Any = RedisClaims(server)
    client = server._client()
    for key, state in (("k", RowState.DONE), ("u", RowState.UNKNOWN), ("r", None)):
        assert claims.claim(REQUEST._replace(key=key)).won
        if state is not None:
            assert claims.finish(key, "c1", state, b"x", 100.0, 1) is Ack.APPLIED
    assert 99_000 < client.pttl(server.prefix + "claim:k") <= 101_000
    assert client.pttl(server.prefix + "claim:u") == -1
    assert client.pttl(server.prefix + "claim:r") == -1


def test_a_key_that_is_claimed_anew_does_not_go_with_its_old_lifetime(server: RedisServer) -> None:
    claims: Any = RedisClaims(server)
    assert claims.claim(REQUEST).won
    assert claims.finish("k", "c1", RowState.DONE, b"x", 0.0, 1) is Ack.APPLIED
    assert claims.claim(REQUEST._replace(claim_id="c2")).won
    assert server._client().pttl(server.prefix + "claim:k") == -1


def test_fences_rise_also_after_the_server_has_forgotten_everything(server: RedisServer) -> None:
    claims: Any = RedisClaims(server)
    first = claims.claim(REQUEST).fence
    wipe(server)
    assert claims.claim(REQUEST._replace(claim_id="c2")).fence > first


def test_counters_go_by_themselves(server: RedisServer) -> None:
    limits: Any = RedisLimits(server)
    assert limits.reserve((PER_USER, CAP), ("u1", "u1"), "t1").granted
    lives = [server._client().pttl(key) for key in server._client().scan_iter(match=server.prefix + "limit:*")]
    assert sorted(life > 7_000_000 for life in lives) == [False, True]
    assert min(lives) > 0


# ── restarts and lost connections ───────────────────────────────────────────────────────────────────────────


def test_claims_survive_a_killed_server(tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        server = RedisServer(redis.url)
        claims: Any = RedisClaims(server)
        fence = claims.claim(REQUEST).fence
        assert claims.claim(REQUEST._replace(key="done")).won
        assert claims.finish("done", "c1", RowState.DONE, b"result", 3600.0, 1) is Ack.APPLIED
        redis.kill()
        with pytest.raises(StoreUnavailable) as down:
            claims.peek("k")
        assert not down.value.maybe_applied or "refused" not in str(down.value).lower()
        redis.start()
        assert claims.peek("done").result == b"result"  # the scripts are forgotten, the rows are not
        assert not claims.claim(REQUEST._replace(claim_id="c2")).won
        again = claims.claim(REQUEST)
        assert again.won
        assert again.fence == fence
        assert claims.finish("k", "c1", RowState.DONE, None, 60.0, 1) is Ack.APPLIED
        server.close()


@contextmanager
def losing(address: tuple[str, int], answers: list[bool]) -> Iterator[int]:
    """A proxy that hands every request on; where ``answers`` says False, the answer is lost with its connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(address) as upstream:
            while data := client.recv(65536):
                upstream.sendall(data)
                answer = upstream.recv(65536)
                if b"EVAL" in data and answers and not answers.pop(0):
                    return
                client.sendall(answer)

    def accept() -> None:
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_claim_whose_answer_was_lost_is_in_doubt_and_asked_again_wins(server: RedisServer, colour: Any) -> None:
    assert RedisClaims(server).peek("k") is None
    kwargs = server._client().connection_pool.connection_kwargs
    with losing((kwargs["host"], kwargs["port"]), [False]) as port:
        cut = RedisServer(f"redis://127.0.0.1:{port}/0", prefix=server.prefix[1:-2], protocol=2)
        claims: Any = RedisClaims(cut, colour=colour)

        async def ask() -> Any:
            answer = claims.claim(REQUEST)
            return await answer if hasattr(answer, "__await__") else answer

        async def both() -> None:
            # EVALSHA is answered NOSCRIPT at most once on this server; the first answer of a script is lost.
            with pytest.raises(StoreUnavailable) as lost:
                await ask()
            assert lost.value.maybe_applied
            assert (await ask()).won
            await cut.close_async()

        asyncio.run(both())
        cut.close()
    row: Any = RedisClaims(server).peek("k")
    assert row.claim_id == "c1"


def test_nobody_there_is_no_doubt() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        claims: Any = RedisClaims(RedisServer(f"redis://127.0.0.1:{probe.getsockname()[1]}/0"))
        with pytest.raises(StoreUnavailable) as down:
            claims.claim(REQUEST)
    assert not down.value.maybe_applied


def test_a_server_that_hangs_counts_as_down_and_leaves_doubt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        server = RedisServer(f"redis://127.0.0.1:{mute.getsockname()[1]}/0", timeout=0.1)
        claims: Any = RedisClaims(server)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            claims.claim(REQUEST)
        assert time.monotonic() - began < 5
        server.close()


def test_a_full_server_refuses_and_leaves_no_doubt(tmp_path: Path) -> None:
    with own_redis(tmp_path, "--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as redis:
        server = RedisServer(redis.url)
        claims: Any = RedisClaims(server)
        with pytest.raises(StoreUnavailable, match="maxmemory") as full:
            for n in range(20_000):
                claims.claim(REQUEST._replace(key=f"k{n}", fingerprint=b"x" * 4096))
        assert not full.value.maybe_applied
        server.close()


def test_a_wrong_password_says_what_to_check(tmp_path: Path) -> None:
    with own_redis(tmp_path, "--requirepass", "secret") as redis:
        server = RedisServer(redis.url.replace("redis://", "redis://:wrong@"))
        with pytest.raises(StoreUnavailable, match=r"password") as refused:
            RedisClaims(server).peek("k")
        assert "wrong@" not in str(refused.value)
        server.close()


# ── wiring ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "prefix", "code"),
    [("http://:hush@somewhere", "botguard", "BG211"), ("redis://127.0.0.1", "a{b}", "BG210")],
)
def test_bad_addresses_are_refused_without_their_password(url: str, prefix: str, code: str) -> None:
    with pytest.raises(ConfigurationError, match=code) as refused:
        RedisServer(url, prefix=prefix)
    assert "hush" not in str(refused.value)
