from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from servers import Address, address_of, require_server


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else takes it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def open_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def verdict(name: str, environ: dict[str, str]) -> tuple[str, str]:
    """Return how the request ended, and why.

    Both endings are caught: a skip that escaped from pytest.raises(Failed) would skip this test, not fail it.
    """
    try:
        require_server(name, environ)
    except pytest.skip.Exception as skipped:
        return "skipped", str(skipped)
    except pytest.fail.Exception as failed:
        return "failed", str(failed)
    return "returned", ""


@pytest.mark.parametrize("ci", [{}, {"CI": ""}, {"CI": "false"}, {"CI": "0"}])
def test_a_missing_server_skips_and_says_where_it_looked(closed_port: int, ci: dict[str, str]) -> None:
    ending, reason = verdict("redis", {"BOTGUARD_TEST_REDIS": f"127.0.0.1:{closed_port}", **ci})
    assert ending == "skipped"
    assert f"no redis at 127.0.0.1:{closed_port}" in reason
    assert "BOTGUARD_TEST_REDIS=host:port" in reason


@pytest.mark.parametrize("ci", ["true", "True", "1"])
def test_a_missing_server_fails_in_ci(closed_port: int, ci: str) -> None:
    ending, reason = verdict("redis", {"BOTGUARD_TEST_REDIS": f"127.0.0.1:{closed_port}", "CI": ci})
    assert ending == "failed"
    assert f"no redis at 127.0.0.1:{closed_port}" in reason


def test_a_server_that_listens_is_returned(open_port: int) -> None:
    environ = {"BOTGUARD_TEST_POSTGRESQL": f"127.0.0.1:{open_port}", "CI": "true"}
    assert require_server("postgresql", environ) == ("127.0.0.1", open_port)


@pytest.mark.parametrize(
    ("name", "port"), [("postgresql", 5432), ("mariadb", 3306), ("redis", 6379), ("rabbitmq", 5672)]
)
def test_the_usual_ports(name: str, port: int) -> None:
    assert address_of(name, {}) == Address("127.0.0.1", port)


def test_an_ipv6_address_loses_its_brackets() -> None:
    assert address_of("redis", {"BOTGUARD_TEST_REDIS": "[::1]:7000"}) == Address("::1", 7000)


@pytest.mark.parametrize(
    "text", ["localhost", "localhost:", ":6379", "localhost:http", "localhost:0", "localhost:70000"]
)
def test_a_malformed_address_is_an_error_and_not_a_skip(text: str) -> None:
    with pytest.raises(ValueError, match="BOTGUARD_TEST_REDIS must be host:port"):
        address_of("redis", {"BOTGUARD_TEST_REDIS": text})


def test_an_unknown_server_is_an_error_and_not_a_skip() -> None:
    with pytest.raises(ValueError, match="unknown server 'postgres'"):
        address_of("postgres", {})
